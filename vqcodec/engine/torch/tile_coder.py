"""One tile's latents <-> indices <-> payload, by walking the prior's passes.

Encoder and decoder walk the same passes with the same integer prior; they differ only in
where a pass gets its indices from: the latents, a payload, or an array of indices.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice

import numpy as np
import torch
from torch import Tensor

from ...bitstream.container import Segments
from ...entropy import symbols
from ...entropy.rans import Reader, Tables
from ...entropy.sampler import IndexSampler
from ...nn.model import Choose, Network, PassResult, PassStep
from ...nn.quantizer import Assignment
from ..base import CodedTile, PassColumns
from .runtime import exact_sums, isolated
from .tensors import to_array, to_map


class TileCoder:
    """See `engine.base.TileCoder`; with a network whose prior computes in `dtype`."""

    def __init__(self, network: Network, tables: Tables, dtype: torch.dtype):
        self.network, self.tables, self.dtype = network, tables, dtype
        self.pair_row = network.config.quantizer.classes
        self.coarse = network.config.prior.coarse_passes
        self.device = network.lambdas.device

    def encode(self, y: np.ndarray, level: int, lambda_scale: float | np.ndarray) -> CodedTile:
        """Code latents y, float32 [h, w, C] in steps: see `engine.base.TileCoder`."""
        with isolated(), exact_sums(self.device):
            latents, levels = self._map(y), torch.tensor([level], device=self.device)
            scale = torch.as_tensor(lambda_scale, dtype=torch.float32, device=self.device)
            return self._coded(self.network.quantise(latents, levels, scale))

    def decode(self, segments: Segments, height: int, width: int, level: int) -> CodedTile:
        """Decode a tile of height x width latents. Raises CorruptError if the payload is not
        what an encoder writes."""
        readers = [Reader(payload, self.tables) for payload in segments]
        coded = self._walk(self._reading(readers), height, width, level, segments)
        for reader in readers:
            reader.finish()
        return coded

    def decode_start(
        self, segments: Segments, height: int, width: int, level: int, count: int
    ) -> np.ndarray:
        """The latents of the first passes: see `engine.base.TileCoder`."""
        readers = [Reader(payload, self.tables) for payload in segments]
        with isolated(), exact_sums(self.device):
            for result in islice(self._passes(self._reading(readers), height, width, level), count):
                latents = result.latents
            readers[0].finish()
            return to_array(latents)

    def decode_coarse(self, payload: bytes, height: int, width: int, level: int) -> CodedTile:
        """Decode the coarse segment alone: see `engine.base.TileCoder`."""
        reader = Reader(payload, self.tables)

        def choose(step: PassStep) -> Assignment:
            return _nothing(step) if step.index >= self.coarse else self._pull(reader, step)

        coded = self._walk(choose, height, width, level, Segments(payload, b""))
        reader.finish()
        return coded

    def complete(
        self,
        given: np.ndarray,
        known: np.ndarray,
        level: int,
        sampler: IndexSampler | None = None,
    ) -> CodedTile:
        """A tile of which a part is known: see `engine.base.TileCoder`."""
        latents, where = self._map(given), torch.from_numpy(known).to(self.device)

        def choose(step: PassStep) -> Assignment:
            none, value = _nothing(step), latents[:, step.channels] - step.expected.mean
            if step.index < self.coarse:
                return none._replace(value=value)
            guess = none if sampler is None else self._draw(sampler, step)
            return Assignment(*map(partial(torch.where, where), (*none[:2], value), guess))

        return self._walk(choose, *known.shape, level)

    def replay(self, indices: np.ndarray, level: int) -> CodedTile:
        """Code given indices, int32 [h, w, C]. Raises ValueError for ones that do not fit."""
        return self._walk(lambda step: self._given(indices, step), *indices.shape[:2], level)

    def resample(
        self, indices: np.ndarray, level: int, keep: int, sampler: IndexSampler
    ) -> CodedTile:
        """Keep the indices of the first `keep` passes and draw all others anew."""

        def choose(step: PassStep) -> Assignment:
            return self._given(indices, step) if step.index < keep else self._draw(sampler, step)

        return self._walk(choose, *indices.shape[:2], level)

    def bits(self, coded: CodedTile) -> float:
        """What the tables say that a tile's indices cost."""
        total = 0.0
        for part in coded.passes:
            maps = (torch.from_numpy(columns).T[None, :, :, None] for columns in part[:2])
            total += float(self.network.codebooks.bits_of(*maps).sum())
        return total

    def _map(self, y: np.ndarray) -> Tensor:
        return to_map(y, self.device).to(self.dtype)

    def _reading(self, readers: Sequence[Reader]) -> Choose:
        """Indices out of the coarse and the fine payload."""
        return lambda step: self._pull(readers[step.index >= self.coarse], step)

    def _walk(
        self,
        choose: Choose,
        height: int,
        width: int,
        level: int,
        segments: Segments | None = None,
    ) -> CodedTile:
        with isolated(), exact_sums(self.device):
            return self._coded(self._passes(choose, height, width, level), segments)

    def _passes(self, choose: Choose, height: int, width: int, level: int) -> Iterator[PassResult]:
        shape = 1, self.network.config.transform.latents, height, width
        layout = torch.channels_last
        like = torch.empty(shape, dtype=self.dtype, device=self.device, memory_format=layout)
        return self.network.passes(like, torch.tensor([level], device=self.device), choose)

    def _pull(self, reader: Reader, step: PassStep) -> Assignment:
        """The indices of a pass out of a payload."""
        rows = _columns(step.classes.row, step)
        return self._chosen(symbols.read(reader, rows, self.tables.sizes, self.pair_row), step)

    def _given(self, indices: np.ndarray, step: PassStep) -> Assignment:
        """The indices of a pass out of an array. Raises ValueError if they do not fit."""
        found = indices[step.mask.cpu().numpy(), step.channels].astype(np.int32)
        rows = _columns(step.classes.row, step)
        symbols.check(found, rows, self.tables.sizes, self.pair_row)
        return self._chosen(found, step)

    def _draw(self, sampler: IndexSampler, step: PassStep) -> Assignment:
        """Random indices of a pass."""
        return self._chosen(sampler.draw(_columns(step.classes.row, step)), step)

    def _chosen(self, found: np.ndarray, step: PassStep) -> Assignment:
        """Indices found at the pass's positions, integer [M, c], as maps."""
        row = step.classes.row
        values = torch.from_numpy(found.astype(np.int32, copy=False)).to(row.device)
        if step.everywhere:
            index = values.view(1, *step.mask.shape, -1).movedim(-1, 1)
        else:
            index = torch.full_like(row, -1)
            index.movedim(1, -1)[0][step.mask] = values
        return Assignment(index, row, self.network.codebooks.lookup(index, step.classes))

    def _coded(self, results: Iterator[PassResult], segments: Segments | None = None) -> CodedTile:
        """What the passes chose; it is coded unless there are segments of it already."""
        columns: list[PassColumns] = []
        for result in results:
            step, chosen = result.step, result.chosen
            parts = (_columns(values, step) for values in (chosen.index, chosen.row))
            columns.append(PassColumns(*parts, step.mask.cpu().numpy(), step.channels))
        if segments is None:
            segments = self._segments(columns)
        return CodedTile(to_array(result.latents), segments, tuple(columns))

    def _segments(self, columns: list[PassColumns]) -> Segments:
        split, sizes = self.coarse, self.tables.sizes
        payloads = []
        for part in (columns[:split], columns[split:]):
            passes = [symbols.to_passes(c.indices, c.rows, sizes, self.pair_row) for c in part]
            payloads.append(symbols.write(list(chain(*passes)), self.tables))
        return Segments(*payloads)


def _nothing(step: PassStep) -> Assignment:
    """Nothing coded: the latents of the pass are its means."""
    none = torch.full_like(step.classes.scalar, -1)
    return Assignment(none, none, torch.zeros_like(step.expected.mean))


def _columns(values: Tensor, step: PassStep) -> np.ndarray:
    """[1, c, h, w] -> [M, c]: the pass's positions in raster order."""
    values = values.movedim(1, -1)[0]
    return (values.flatten(0, 1) if step.everywhere else values[step.mask]).cpu().numpy()
