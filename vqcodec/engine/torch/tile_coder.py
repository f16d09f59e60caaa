"""Tiles with the networks of torch: see `engine.walk`."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from ...bitstream.container import Segments
from ...entropy.rans import Tables
from ...entropy.sampler import IndexSampler
from ...nn.model import Choose, Network, PassResult, PassStep
from ...nn.quantizer import Assignment
from ..base import CodedTile, PassColumns
from ..walk import PassWalk
from .runtime import exact_sums, isolated
from .tensors import to_array, to_map


class TileCoder(PassWalk[PassStep, Assignment]):
    """See `engine.base.TileCoder`; with a network whose prior computes in `dtype`."""

    def __init__(self, network: Network, tables: Tables, dtype: torch.dtype):
        super().__init__(network.config, tables)
        self.network, self.dtype = network, dtype
        self.device = network.lambdas.device

    def encode(self, y: np.ndarray, level: int, lambda_scale: float) -> CodedTile:
        """Code latents y, float32 [h, w, C] in steps: see `engine.base.TileCoder`."""
        with isolated(), exact_sums(self.device):
            latents, levels = self._map(y), torch.tensor([level], device=self.device)
            return self.coded(self.network.quantise(latents, levels, lambda_scale))

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
            none, value = self._nothing(step), latents[:, step.channels] - step.expected.mean
            if step.index < self.coarse:
                return none._replace(value=value)
            guess = none if sampler is None else self._draw(sampler, step)
            return Assignment(*map(partial(torch.where, where), (*none[:2], value), guess))

        return self._walk(choose, *known.shape, level)

    def bits(self, coded: CodedTile) -> float:
        """What the tables say that a tile's indices cost."""
        total = 0.0
        for part in coded.passes:
            maps = (torch.from_numpy(columns).T[None, :, :, None] for columns in part[:2])
            total += float(self.network.codebooks.bits_of(*maps).sum())
        return total

    def _map(self, y: np.ndarray) -> Tensor:
        return to_map(y, self.device).to(self.dtype)

    def _walk(
        self,
        choose: Choose,
        height: int,
        width: int,
        level: int,
        segments: Segments | None = None,
        count: int | None = None,
    ) -> CodedTile:
        with isolated(), exact_sums(self.device):
            results = islice(self._passes(choose, height, width, level), count)
            return self.coded(results, segments)

    def _passes(self, choose: Choose, height: int, width: int, level: int) -> Iterator[PassResult]:
        shape = 1, self.network.config.transform.latents, height, width
        layout = torch.channels_last
        like = torch.empty(shape, dtype=self.dtype, device=self.device, memory_format=layout)
        return self.network.passes(like, torch.tensor([level], device=self.device), choose)

    def _rows(self, step: PassStep) -> np.ndarray:
        return _columns(step.classes.row, step)

    def _mask(self, step: PassStep) -> np.ndarray:
        return step.mask.cpu().numpy()

    def _nothing(self, step: PassStep) -> Assignment:
        none = torch.full_like(step.classes.scalar, -1)
        return Assignment(none, none, torch.zeros_like(step.expected.mean))

    def _found(self, indices: np.ndarray, step: PassStep) -> Assignment:
        """Indices at the pass's positions, integer [M, c], as maps."""
        row = step.classes.row
        values = torch.from_numpy(indices.astype(np.int32, copy=False)).to(row.device)
        if step.everywhere:
            index = values.view(1, *step.mask.shape, -1).movedim(-1, 1)
        else:
            index = torch.full_like(row, -1)
            index.movedim(1, -1)[0][step.mask] = values
        return Assignment(index, row, self.network.codebooks.lookup(index, step.classes))

    def coded(self, results: Iterable[PassResult], segments: Segments | None = None) -> CodedTile:
        """What the passes chose; it is coded unless there are segments of it already."""
        columns: list[PassColumns] = []
        for result in results:
            step, chosen = result.step, result.chosen
            parts = (_columns(values, step) for values in (chosen.index, chosen.row))
            columns.append(PassColumns(*parts, self._mask(step), step.channels))
        if segments is None:
            segments = self._segments(columns)
        return CodedTile(to_array(result.latents.detach()), segments, tuple(columns))


def _columns(values: Tensor, step: PassStep) -> np.ndarray:
    """[1, c, h, w] -> [M, c]: the pass's positions in raster order."""
    values = values.movedim(1, -1)[0]
    return (values.flatten(0, 1) if step.everywhere else values[step.mask]).cpu().numpy()
