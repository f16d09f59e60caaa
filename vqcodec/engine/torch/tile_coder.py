"""One tile's latents <-> indices <-> payload, by walking the prior's passes.

Encoder and decoder walk the same passes with the same integer prior; they differ only in
where a pass gets its words from: the latents, a payload, or an array of indices.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...bitstream.container import Segments
from ...entropy import symbols
from ...entropy.rans import Reader, Tables
from ...entropy.sampler import Drawing
from ...nn.fixed import exact_arithmetic
from ...nn.model import Choose, Network, PassResult, PassStep
from ...nn.quantizer import Assignment


class Columns(NamedTuple):
    """What a pass codes: int32 [M, c] each, its positions in raster order by its channels. index,
    row: as of `nn.quantizer.Assignment`. mask: bool [h, w], where the positions are."""

    index: np.ndarray
    row: np.ndarray
    mask: np.ndarray
    channels: slice


class Coded(NamedTuple):
    """A tile in its three forms: `words`, latents and segments. latents: the engine's float type
    [1, C, h, w], in steps."""

    latents: Tensor
    segments: Segments
    passes: tuple[Columns, ...]

    @property
    def words(self) -> np.ndarray:
        """int32 [h, w, C], see `codec.Indices`."""
        return self._map([part.index for part in self.passes], np.int32)

    @property
    def tables(self) -> np.ndarray:
        """int16 [h, w, C]: the number of each word's table, -1 where nothing is coded."""
        return self._map([part.row for part in self.passes], np.int16)

    def _map(self, parts: list[np.ndarray], dtype: type) -> np.ndarray:
        values = np.full((*self.latents.shape[2:], self.latents.shape[1]), -1, dtype=dtype)
        for place, columns in zip(self.passes, parts, strict=True):
            values[place.mask, place.channels] = columns
        return values


class TileCoder:
    """Codes tiles of one level with a network whose prior computes in `engine`."""

    def __init__(self, network: Network, tables: Tables, engine: torch.dtype):
        self.network, self.tables, self.engine = network, tables, engine
        self.pair_row = network.config.quantizer.classes
        self.channels = network.config.transform.latents

    def encode(self, y: Tensor, level: int, fidelity: float) -> Coded:
        """Code latents y [1, C, h, w] in steps; fidelity as in `Network.kappa`."""
        levels = torch.tensor([level], device=y.device)
        with exact_arithmetic():
            return self._coded(self.network.quantise(y.to(self.engine), levels, fidelity))

    def decode(self, segments: Segments, height: int, width: int, level: int) -> Coded:
        """Decode a tile of height x width latents. Raises CorruptError if the words are not
        what an encoder writes."""
        readers = [Reader(payload, self.tables) for payload in segments]
        coded = self._walk(self._reading(readers), height, width, level, segments)
        for reader in readers:
            reader.finish()
        return coded

    def decode_start(
        self, segments: Segments, height: int, width: int, level: int, count: int
    ) -> Tensor:
        """Decode only the first passes of a tile, the coarse ones or more: their latents
        [1, C, h, w] in steps, zero in the channels of the others. Raises CorruptError as `decode`,
        if the coarse words are not what an encoder writes, or others that are read."""
        readers = [Reader(payload, self.tables) for payload in segments]
        with exact_arithmetic():
            for result in islice(self._passes(self._reading(readers), height, width, level), count):
                latents = result.latents
        readers[0].finish()
        return latents

    def decode_coarse(self, payload: bytes, height: int, width: int, level: int) -> Coded:
        """Decode the coarse segment of a tile whose fine one is lost: the other passes take the
        prior's means. Raises CorruptError as `decode`."""
        reader = Reader(payload, self.tables)
        coarse = self.network.config.prior.coarse_passes

        def choose(step: PassStep) -> Assignment:
            return _no_word(step) if step.index >= coarse else self._pull(reader, step)

        coded = self._walk(choose, height, width, level, Segments(payload, b""))
        reader.finish()
        return coded

    def complete(
        self, given: Tensor, known: Tensor, level: int, drawing: Drawing | None = None
    ) -> Coded:
        """A tile of which only a part is known. given: [1, C, h, w] in steps, of the coarse
        passes' channels everywhere, of the others where `known`, bool [h, w]. The rest is drawn
        or, without a `drawing`, takes the prior's means."""
        coarse = self.network.config.prior.coarse_passes

        def choose(step: PassStep) -> Assignment:
            none, value = _no_word(step), given[:, step.channels] - step.expected.mean
            if step.index < coarse:
                return none._replace(value=value)
            guess = none if drawing is None else self._draw(drawing, step)
            return Assignment(*map(partial(torch.where, known), (*none[:2], value), guess))

        return self._walk(choose, *known.shape, level)

    def replay(self, words: np.ndarray, level: int) -> Coded:
        """Code given words, int32 [h, w, C]. Raises ValueError for words that do not fit."""
        return self._walk(lambda step: self._given(words, step), *words.shape[:2], level)

    def redraw(self, words: np.ndarray, level: int, keep: int, drawing: Drawing) -> Coded:
        """Keep the words of the first `keep` passes, as `replay`, and draw all others anew."""

        def choose(step: PassStep) -> Assignment:
            return self._given(words, step) if step.index < keep else self._draw(drawing, step)

        return self._walk(choose, *words.shape[:2], level)

    def bits(self, coded: Coded) -> float:
        """What the tables say that a tile's words cost."""
        total = 0.0
        for part in coded.passes:
            maps = (torch.from_numpy(columns).T[None, :, :, None] for columns in part[:2])
            total += float(self.network.codebooks.bits_of(*maps).sum())
        return total

    def _reading(self, readers: Sequence[Reader]) -> Choose:
        """Words out of the coarse and the fine payload."""
        coarse = self.network.config.prior.coarse_passes
        return lambda step: self._pull(readers[step.index >= coarse], step)

    def _walk(
        self,
        choose: Choose,
        height: int,
        width: int,
        level: int,
        segments: Segments | None = None,
    ) -> Coded:
        with exact_arithmetic():
            return self._coded(self._passes(choose, height, width, level), segments)

    def _passes(self, choose: Choose, height: int, width: int, level: int) -> Iterator[PassResult]:
        device = self.network.lambdas.device
        shape, layout = (1, self.channels, height, width), torch.channels_last
        like = torch.empty(shape, dtype=self.engine, device=device, memory_format=layout)
        return self.network.passes(like, torch.tensor([level], device=device), choose)

    def _pull(self, reader: Reader, step: PassStep) -> Assignment:
        """The words of a pass out of a payload."""
        rows = _columns(step.classes.row, step)
        return self._chosen(symbols.read(reader, rows, self.tables.sizes, self.pair_row), step)

    def _given(self, words: np.ndarray, step: PassStep) -> Assignment:
        """The words of a pass out of an array. Raises ValueError if they do not fit."""
        found = words[step.mask.cpu().numpy(), step.channels].astype(np.int32)
        rows = _columns(step.classes.row, step)
        symbols.check(found, rows, self.tables.sizes, self.pair_row)
        return self._chosen(found, step)

    def _draw(self, drawing: Drawing, step: PassStep) -> Assignment:
        """Random words of a pass."""
        return self._chosen(drawing.draw(_columns(step.classes.row, step)), step)

    def _chosen(self, found: np.ndarray, step: PassStep) -> Assignment:
        """Words found at the pass's positions, integer [M, c], as maps."""
        row = step.classes.row
        values = torch.from_numpy(found.astype(np.int32, copy=False)).to(row.device)
        if step.everywhere:
            index = values.view(1, *step.mask.shape, -1).movedim(-1, 1)
        else:
            index = torch.full_like(row, -1)
            index.movedim(1, -1)[0][step.mask] = values
        return Assignment(index, row, self.network.codebooks.lookup(index, step.classes))

    def _coded(self, results: Iterator[PassResult], segments: Segments | None = None) -> Coded:
        """What the passes chose; it is coded unless there are segments of it already."""
        columns: list[Columns] = []
        for result in results:
            step, chosen = result.step, result.chosen
            parts = (_columns(values, step) for values in (chosen.index, chosen.row))
            columns.append(Columns(*parts, step.mask.cpu().numpy(), step.channels))
        if segments is None:
            segments = self._segments(columns)
        return Coded(result.latents, segments, tuple(columns))

    def _segments(self, columns: list[Columns]) -> Segments:
        split, sizes = self.network.config.prior.coarse_passes, self.tables.sizes
        payloads = []
        for part in (columns[:split], columns[split:]):
            passes = [symbols.to_passes(c.index, c.row, sizes, self.pair_row) for c in part]
            payloads.append(symbols.write(list(chain(*passes)), self.tables))
        return Segments(*payloads)


def _no_word(step: PassStep) -> Assignment:
    """Nothing coded: the latents of the pass are its means."""
    none = torch.full_like(step.classes.scalar, -1)
    return Assignment(none, none, torch.zeros_like(step.expected.mean))


def _columns(values: Tensor, step: PassStep) -> np.ndarray:
    """[1, c, h, w] -> [M, c]: the pass's positions in raster order."""
    values = values.movedim(1, -1)[0]
    return (values.flatten(0, 1) if step.everywhere else values[step.mask]).cpu().numpy()
