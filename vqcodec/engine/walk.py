"""What both engines' tile coders do alike: where a walk of the prior's passes gets its indices.

Encoder and decoder walk the same passes with the same integer prior; they differ only in where a
pass gets its indices from: the latents, a payload, an array of indices, or a sampler. An engine
gives the walk, and how its steps and choices look.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Generic, Protocol, TypeVar

import numpy as np

from ..bitstream.container import Segments
from ..config import ModelConfig
from ..entropy import symbols
from ..entropy.rans import Reader, Tables
from ..entropy.sampler import IndexSampler
from .base import CodedTile, PassColumns


class Step(Protocol):
    """What is known when a pass chooses its indices."""

    index: int
    channels: slice


AnyStep = TypeVar("AnyStep", bound=Step)
Chosen = TypeVar("Chosen")  # what a pass chose, as the engine has it


class PassWalk(ABC, Generic[AnyStep, Chosen]):
    """A tile coder but for `encode` and `complete`: see `engine.base.TileCoder`."""

    def __init__(self, config: ModelConfig, tables: Tables):
        self.config, self.tables = config, tables
        self.coarse = config.prior.coarse_passes
        self.pair_row = config.quantizer.classes

    @abstractmethod
    def _walk(
        self,
        choose: Callable[[AnyStep], Chosen],
        height: int,
        width: int,
        level: int,
        segments: Segments | None = None,
        count: int | None = None,
    ) -> CodedTile:
        """What the first `count` passes choose, None: all; it is coded unless there are segments
        of it already."""

    @abstractmethod
    def _rows(self, step: AnyStep) -> np.ndarray:
        """The row of the tables of each index of a pass: integer [M, c], -1 where there is none."""

    @abstractmethod
    def _mask(self, step: AnyStep) -> np.ndarray:
        """bool [h, w]: the positions of a pass."""

    @abstractmethod
    def _found(self, indices: np.ndarray, step: AnyStep) -> Chosen:
        """The choice of these indices, integer [M, c]."""

    @abstractmethod
    def _nothing(self, step: AnyStep) -> Chosen:
        """The choice of no index: the latents of the pass are its means."""

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
        coded = self._walk(self._reading(readers), height, width, level, segments, count)
        readers[0].finish()
        return coded.latents

    def decode_coarse(self, payload: bytes, height: int, width: int, level: int) -> CodedTile:
        """Decode the coarse segment alone: see `engine.base.TileCoder`."""
        reader = Reader(payload, self.tables)

        def choose(step: AnyStep) -> Chosen:
            return self._nothing(step) if step.index >= self.coarse else self._pull(reader, step)

        coded = self._walk(choose, height, width, level, Segments(payload, b""))
        reader.finish()
        return coded

    def replay(self, indices: np.ndarray, level: int) -> CodedTile:
        """Code given indices, int32 [h, w, C]. Raises ValueError for ones that do not fit."""
        return self._walk(lambda step: self._given(indices, step), *indices.shape[:2], level)

    def resample(
        self, indices: np.ndarray, level: int, keep: int, sampler: IndexSampler
    ) -> CodedTile:
        """Keep the indices of the first `keep` passes and draw all others anew."""

        def choose(step: AnyStep) -> Chosen:
            return self._given(indices, step) if step.index < keep else self._draw(sampler, step)

        return self._walk(choose, *indices.shape[:2], level)

    def _reading(self, readers: Sequence[Reader]) -> Callable[[AnyStep], Chosen]:
        """Indices out of the coarse and the fine payload."""
        return lambda step: self._pull(readers[step.index >= self.coarse], step)

    def _pull(self, reader: Reader, step: AnyStep) -> Chosen:
        """The indices of a pass out of a payload."""
        rows = self._rows(step)
        return self._found(symbols.read(reader, rows, self.tables.sizes, self.pair_row), step)

    def _given(self, indices: np.ndarray, step: AnyStep) -> Chosen:
        """The indices of a pass out of an array. Raises ValueError if they do not fit."""
        found = indices[self._mask(step), step.channels].astype(np.int64)
        symbols.check(found, self._rows(step), self.tables.sizes, self.pair_row)
        return self._found(found, step)

    def _draw(self, sampler: IndexSampler, step: AnyStep) -> Chosen:
        """Random indices of a pass."""
        return self._found(sampler.draw(self._rows(step)), step)

    def packed(self, coded: CodedTile) -> CodedTile:
        """A tile with the payload of its indices."""
        return coded._replace(segments=self._segments(coded.passes))

    def _segments(self, passes: Sequence[PassColumns]) -> Segments:
        """The payloads of what all passes chose."""
        payloads = []
        for part in (passes[: self.coarse], passes[self.coarse :]):
            coded = (
                symbols.to_passes(item.indices, item.rows, self.tables.sizes, self.pair_row)
                for item in part
            )
            payloads.append(symbols.write(list(chain.from_iterable(coded)), self.tables))
        return Segments(*payloads)
