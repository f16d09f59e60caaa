"""One tile's latents <-> payload, by walking the prior's passes: FORMAT.md, "Prior".

The networks' sums come from float graphs, whose every sum is an integer below 2**24 and so exact;
what follows them is integer work in numpy. Positions are [M], those of a pass in raster order.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...bitstream.container import Segments
from ...config import ModelConfig, PassConfig
from ...entropy import symbols
from ...entropy.fixed_point import (
    ACT_BITS,
    LATENT_BITS,
    MEAN_BITS,
    MEAN_MAX,
    SUM_BITS,
    TABLE_BITS,
    UNITS_MAX,
)
from ...entropy.rans import Reader, Tables
from .codebooks import STEP, Codebooks

# (pass, state [1, W, h, w], context [h, w, c + 1], level) -> (state, sums [h, w, 2 n])
RunPass = Callable[[int, np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


class Step(NamedTuple):
    """What is known when a pass chooses its words."""

    index: int
    channels: slice
    here: np.ndarray  # bool [h, w]: the positions that it codes
    means: np.ndarray  # int64 [M, c], in 2**-6 steps
    rows: np.ndarray  # int64 [M, c], of the tables


Choose = Callable[[Step], np.ndarray]


class Coded(NamedTuple):
    """words: int32 [h, w, C], see `codec.Indices`. latents: int64 [h, w, C], in 2**-6 steps."""

    words: np.ndarray
    latents: np.ndarray
    segments: Segments


class TileCoder:
    """Codes tiles with the prior whose passes `run` computes."""

    def __init__(
        self,
        config: ModelConfig,
        tensors: dict[str, np.ndarray],
        codebooks: Codebooks,
        tables: Tables,
        run: RunPass,
    ):
        self.config, self.codebooks, self.tables, self.run = config, codebooks, tables, run
        names = ("to_steps", "to_units", "log_steps")
        self.to_steps, self.to_units, self.log_steps = (tensors[n].astype(np.int64) for n in names)
        self.first = tensors["prior.passes.0.level.knots"].astype(np.int64)  # [L, 2 n]

    def encode(self, y: np.ndarray, level: int, kappa: np.ndarray) -> Coded:
        """Code latents y, float32 [h, w, C] in steps; kappa: float32 [C], of the assignment."""

        def choose(step: Step) -> np.ndarray:
            r = y[step.here, step.channels] - np.float32(step.means) / STEP
            return self.codebooks.assign(r, step.rows, kappa[step.channels])

        coarse, pair_row = self.config.prior.coarse_passes, self.config.quantizer.classes
        words, latents, done = self._walk(choose, *y.shape[:2], level)
        parts: tuple[list, list] = ([], [])
        for step, index in done:
            part = parts[step.index >= coarse]
            part += symbols.to_passes(index, step.rows, self.tables.sizes, pair_row)
        return Coded(words, latents, Segments(*(symbols.write(p, self.tables) for p in parts)))

    def decode(self, segments: Segments, height: int, width: int, level: int) -> Coded:
        """Decode a tile of height x width latents. Raises CorruptError if the words are not
        what an encoder writes."""
        readers = [Reader(payload, self.tables) for payload in segments]
        coarse, pair_row = self.config.prior.coarse_passes, self.config.quantizer.classes

        def choose(step: Step) -> np.ndarray:
            reader = readers[step.index >= coarse]
            return symbols.read(reader, step.rows, self.tables.sizes, pair_row)

        words, latents, _ = self._walk(choose, height, width, level)
        for reader in readers:
            reader.finish()
        return Coded(words, latents, segments)

    def _walk(
        self, choose: Choose, height: int, width: int, level: int
    ) -> tuple[np.ndarray, np.ndarray, list[tuple[Step, np.ndarray]]]:
        """Words, latents, and each pass with its indices int64 [M, c]."""
        prior = self.config.prior
        latents = np.zeros((height, width, self.config.transform.latents), np.int64)
        words = np.full(latents.shape, -1, np.int32)
        state = np.zeros((1, prior.width, height, width), np.float32)
        sums = np.broadcast_to(self.first[level], (height, width, self.first.shape[1]))
        done = []
        for index, item in enumerate(prior.passes):
            if level < item.min_level:
                break
            if index:
                state, sums = self.run(index, state, self._context(index, latents, level), level)
            step = self._step(index, sums, level)
            chosen = choose(step)
            words[step.here, step.channels] = chosen
            latents[step.here, step.channels] = step.means + self.codebooks.lookup(
                chosen, step.rows
            )
            done.append((step, chosen))
        return words, latents, done

    def _context(self, index: int, latents: np.ndarray, level: int) -> np.ndarray:
        """What a pass reads: the channels of the pass before it, and where they are known."""
        passes = self.config.prior.passes
        own = slice(passes[index - 1].start, passes[index - 1].stop)
        known = [_mask(p, latents.shape) for p in passes[:index] if p.start == own.start]
        context = np.empty((*latents.shape[:2], own.stop - own.start + 1), np.float32)
        shift = LATENT_BITS + TABLE_BITS - ACT_BITS
        units = _rounded_shift(latents[..., own] * self.to_units[level, own], shift)
        context[..., :-1] = np.clip(units, -UNITS_MAX, UNITS_MAX)  # 0 where not known
        context[..., -1] = np.any(known, axis=0) * 2**ACT_BITS
        return context

    def _step(self, index: int, sums: np.ndarray, level: int) -> Step:
        item, quantizer = self.config.prior.passes[index], self.config.quantizer
        own, here = slice(item.start, item.stop), _mask(item, sums.shape)
        means, scales = np.split(sums[here].astype(np.int64), 2, axis=1)
        means = np.clip(_rounded_shift(means, SUM_BITS - MEAN_BITS), -MEAN_MAX, MEAN_MAX)
        means *= self.to_steps[level, own]
        means = _rounded_shift(means, MEAN_BITS + TABLE_BITS - LATENT_BITS)
        lowest = int(quantizer.log_sigma_min * 2**SUM_BITS)
        scales += self.log_steps[level, own] - lowest
        classes = _rounded_shift(scales * quantizer.per_octave, SUM_BITS)
        rows = self.codebooks.rows(np.clip(classes, 0, quantizer.classes - 1))
        return Step(index, own, here, means, rows)


def _mask(item: PassConfig, shape: tuple[int, ...]) -> np.ndarray:
    """bool [h, w]: where a pass codes."""
    places = np.arange(shape[0])[:, None] % 4 * 4 + np.arange(shape[1]) % 4
    return (item.lattice >> places & 1).astype(bool)


def _rounded_shift(x: np.ndarray, bits: int) -> np.ndarray:
    """x / 2**bits, rounded half up."""
    return (x + (1 << bits - 1)) >> bits
