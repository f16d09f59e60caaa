"""One tile's latents <-> indices <-> payload, by walking the prior's passes.

Encoder and decoder walk the same passes with the same integer prior; they differ only in
where a pass gets its words from: the latents, a payload, or an array of indices.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import symbols
from .container import Segments
from .drawing import Drawing
from .nn.fixed import exact_arithmetic
from .nn.model import Choose, Network, PassResult, PassStep
from .nn.quantizer import Assignment
from .rans import Reader, Tables


class Coded(NamedTuple):
    """A tile in its three forms. words: int32 [h, w, C], see `codec.Indices`. latents: the
    engine's float type [1, C, h, w], in steps. bits: what the tables say the words cost.
    tables: int16 [h, w, C], the number of each word's table, -1 where nothing is coded."""

    words: np.ndarray
    latents: Tensor
    segments: Segments
    bits: float
    tables: np.ndarray


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
            return self._collect(self.network.quantise(y.to(self.engine), levels, fidelity))

    def decode(self, segments: Segments, height: int, width: int, level: int) -> Coded:
        """Decode a tile of height x width latents. Raises CorruptError if the words are not
        what an encoder writes."""
        readers = [Reader(payload, self.tables) for payload in segments]
        coarse = self.network.config.prior.coarse_passes

        def choose(step: PassStep) -> Assignment:
            return self._pull(readers[step.index >= coarse], step)

        coded = self._walk(choose, height, width, level)
        for reader in readers:
            reader.finish()
        return coded._replace(segments=segments)

    def decode_coarse(self, payload: bytes, height: int, width: int, level: int) -> Coded:
        """Decode the coarse segment of a tile whose fine one is lost: the other passes take the
        prior's means. Raises CorruptError as `decode`."""
        reader = Reader(payload, self.tables)
        coarse = self.network.config.prior.coarse_passes

        def choose(step: PassStep) -> Assignment:
            return _no_word(step) if step.index >= coarse else self._pull(reader, step)

        coded = self._walk(choose, height, width, level)
        reader.finish()
        return coded._replace(segments=Segments(payload, b""))

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

    def _walk(self, choose: Choose, height: int, width: int, level: int) -> Coded:
        device = self.network.lambdas.device
        like = torch.empty(1, self.channels, height, width, dtype=self.engine, device=device)
        like = like.to(memory_format=torch.channels_last)
        levels = torch.tensor([level], device=device)
        with exact_arithmetic():
            return self._collect(self.network.passes(like, levels, choose))

    def _pull(self, reader: Reader, step: PassStep) -> Assignment:
        """The words of a pass out of a payload."""
        rows = self.network.codebooks.rows(step.classes)
        found = symbols.read(reader, _columns(rows, step), self.tables.sizes, self.pair_row)
        return self._chosen(found, rows, step)

    def _given(self, words: np.ndarray, step: PassStep) -> Assignment:
        """The words of a pass out of an array. Raises ValueError if they do not fit."""
        rows = self.network.codebooks.rows(step.classes)
        found = words[step.mask.cpu().numpy(), step.channels].astype(np.int64)
        symbols.check(found, _columns(rows, step), self.tables.sizes, self.pair_row)
        return self._chosen(found, rows, step)

    def _draw(self, drawing: Drawing, step: PassStep) -> Assignment:
        """Random words of a pass."""
        rows = self.network.codebooks.rows(step.classes)
        return self._chosen(drawing.draw(_columns(rows, step)), rows, step)

    def _chosen(self, found: np.ndarray, rows: Tensor, step: PassStep) -> Assignment:
        """Words found at the pass's positions, int64 [M, c], as maps."""
        index = torch.full_like(rows, -1)
        values = torch.from_numpy(found).to(rows.device)
        index.permute(0, 2, 3, 1)[0][step.mask] = values
        value = self.network.codebooks.lookup(index, step.classes)
        return Assignment(index, rows, value)

    def _collect(self, results: Iterator[PassResult]) -> Coded:
        sizes, split = self.tables.sizes, self.network.config.prior.coarse_passes
        passes: tuple[list, list] = ([], [])
        words, bits = None, 0.0
        for result in results:
            step, chosen = result.step, result.chosen
            if words is None:
                words = np.full((*step.mask.shape, self.channels), -1, dtype=np.int32)
                tables = np.full(words.shape, -1, dtype=np.int16)
            index, rows = _columns(chosen.index, step), _columns(chosen.row, step)
            place = step.mask.cpu().numpy(), step.channels
            words[place], tables[place] = index, rows
            part = passes[step.index >= split]
            part += symbols.to_passes(index, rows, sizes, self.pair_row)
            spent = self.network.codebooks.bits_of(chosen.index, chosen.row)
            bits += float((spent * step.mask).sum())
        segments = Segments(*(symbols.write(part, self.tables) for part in passes))
        return Coded(words, result.latents, segments, bits, tables)


def _no_word(step: PassStep) -> Assignment:
    """Nothing coded: the latents of the pass are its means."""
    none = torch.full_like(step.classes.scalar, -1)
    return Assignment(none, none, torch.zeros_like(step.expected.mean))


def _columns(values: Tensor, step: PassStep) -> np.ndarray:
    """[1, c, h, w] -> [M, c]: the pass's positions in raster order."""
    return values.permute(0, 2, 3, 1)[0][step.mask].cpu().numpy()
