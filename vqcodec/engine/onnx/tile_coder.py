"""One tile's latents <-> payload, by walking the prior's passes: FORMAT.md, "Prior".

The networks' sums come from float graphs, whose every sum is an integer below 2**24 and so exact;
what follows them is integer work in numpy. Positions are [M], those of a pass in raster order.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...bitstream.container import Segments
from ...config import ModelConfig, PassConfig
from ...entropy.fixed_point import (
    ACT_BITS,
    LATENT_BITS,
    MEAN_BITS,
    MEAN_MAX,
    SUM_BITS,
    TABLE_BITS,
    UNITS_MAX,
)
from ...entropy.rans import Tables
from ...entropy.sampler import IndexSampler
from ...zoo.weights import Tensors
from ..base import CodedTile, PassColumns
from ..walk import PassWalk
from .codebooks import STEP, Codebooks

# (pass, state [1, W, h, w], context [h, w, c + 1], level) -> (state, sums [h, w, 2 n])
RunPass = Callable[[int, np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


class Step(NamedTuple):
    """What is known when a pass chooses its indices."""

    index: int
    channels: slice
    here: np.ndarray  # bool [h, w]: the positions that it codes
    means: np.ndarray  # int32 [M, c], in 2**-6 steps
    scales: np.ndarray  # int32 [M, c], log2 of them over the lowest class's, in 2**-13
    rows: np.ndarray  # int32 [M, c], of the tables


class Chosen(NamedTuple):
    """Of a step, integers [M, c] each: indices and, in 2**-6 steps, what they add to the means."""

    indices: np.ndarray
    residuals: np.ndarray


Choose = Callable[[Step], Chosen]


class TileCoder(PassWalk[Step, Chosen]):
    """See `engine.base.TileCoder`; with the prior whose passes `run` computes."""

    def __init__(
        self,
        config: ModelConfig,
        tensors: Tensors,
        codebooks: Codebooks,
        tables: Tables,
        kappa: Callable[[int], np.ndarray],
        run: RunPass,
    ):
        """kappa: level -> float32 [C], bits that a squared error of one step is worth."""
        super().__init__(config, tables)
        self.codebooks, self.kappa, self.run = codebooks, kappa, run
        names = ("to_steps", "to_units", "log_steps")
        self.to_steps, self.to_units, self.log_steps = (tensors[n].astype(np.int64) for n in names)
        self.first = tensors["prior.passes.0.level.knots"].astype(np.int64)  # [L, 2 n]

    def encode(self, y: np.ndarray, level: int, lambda_scale: float) -> CodedTile:
        """Code latents y, float32 [h, w, C] in steps: see `engine.base.TileCoder`."""
        return self._assigned(y, level, lambda_scale, lambda step: None)

    def assign(
        self, y: np.ndarray, level: int, lambda_scale: np.ndarray
    ) -> tuple[CodedTile, float, list[Step]]:
        """What `encode` gives, without its payload, by a scale of each channel, float32 [C]; what
        the tables say that its indices cost, in bits; and the steps of the passes."""
        steps = []
        coded = self._assigned(y, level, lambda_scale, steps.append, Segments(b"", b""))
        bits = sum(self.codebooks.bits_of(part.indices, part.rows).sum() for part in coded.passes)
        return coded, float(bits), steps

    def _assigned(
        self,
        y: np.ndarray,
        level: int,
        lambda_scale: float | np.ndarray,
        see: Callable[[Step], None],
        segments: Segments | None = None,
    ) -> CodedTile:
        kappa = np.float32(lambda_scale) * self.kappa(level)

        def choose(step: Step) -> Chosen:
            see(step)
            r = at(y[..., step.channels], step.here) - np.float32(step.means) / STEP
            return self._found(self.codebooks.assign(r, step.rows, kappa[step.channels]), step)

        return self._walk(choose, *y.shape[:2], level, segments)

    def complete(
        self,
        given: np.ndarray,
        known: np.ndarray,
        level: int,
        sampler: IndexSampler | None = None,
    ) -> CodedTile:
        """A tile of which a part is known: see `engine.base.TileCoder`."""
        units = np.floor(given * STEP + 0.5).astype(np.int32)

        def choose(step: Step) -> Chosen:
            none, residuals = self._nothing(step), units[step.here, step.channels] - step.means
            if step.index < self.coarse:
                return none._replace(residuals=residuals)
            guess = none if sampler is None else self._draw(sampler, step)
            there = known[step.here][:, None]
            return Chosen(
                np.where(there, none.indices, guess.indices),
                np.where(there, residuals, guess.residuals),
            )

        return self._walk(choose, *known.shape, level, Segments(b"", b""))

    def _rows(self, step: Step) -> np.ndarray:
        return step.rows

    def _mask(self, step: Step) -> np.ndarray:
        return step.here

    def _nothing(self, step: Step) -> Chosen:
        return Chosen(np.full_like(step.rows, -1), np.zeros_like(step.means))

    def _found(self, indices: np.ndarray, step: Step) -> Chosen:
        return Chosen(indices, self.codebooks.lookup(indices, step.rows))

    def _walk(
        self,
        choose: Choose,
        height: int,
        width: int,
        level: int,
        segments: Segments | None = None,
        count: int | None = None,
    ) -> CodedTile:
        prior = self.config.prior
        channels = self.config.transform.latents
        if count is not None:  # zeros for the others would take longer than the passes
            channels = max(item.stop for item in prior.passes[:count])
        latents = np.zeros((height, width, channels), np.int32)
        state = np.zeros((1, prior.width, height, width), np.float32)
        sums = np.broadcast_to(self.first[level], (height, width, self.first.shape[1]))
        passes = []
        for index, item in enumerate(prior.passes[:count]):
            if level < item.min_level:
                break
            if index:
                state, sums = self.run(index, state, self._context(index, latents, level), level)
            step = self._step(index, sums, level)
            chosen = choose(step)
            put(latents[..., step.channels], step.here, step.means + chosen.residuals)
            passes.append(PassColumns(chosen.indices, step.rows, step.here, step.channels))
        segments = self._segments(passes) if segments is None else segments
        return CodedTile(np.float32(latents) / STEP, segments, tuple(passes))

    def _context(self, index: int, latents: np.ndarray, level: int) -> np.ndarray:
        """What a pass reads: the channels of the pass before it, and where they are known."""
        passes = self.config.prior.passes
        channels = slice(passes[index - 1].start, passes[index - 1].stop)
        context = np.empty((*latents.shape[:2], channels.stop - channels.start + 1), np.float32)
        shift = LATENT_BITS + TABLE_BITS - ACT_BITS
        units = _rounded_shift(latents[..., channels] * self.to_units[level, channels], shift)
        context[..., :-1] = np.clip(units, -UNITS_MAX, UNITS_MAX)  # 0 where not known
        context[..., -1] = self.known(index, latents.shape) * 2**ACT_BITS
        return context

    def known(self, index: int, shape: tuple[int, ...]) -> np.ndarray:
        """bool [h, w]: where a pass knows what it reads."""
        passes = self.config.prior.passes
        earlier = [p for p in passes[:index] if p.start == passes[index - 1].start]
        return np.any([lattice(p, shape) for p in earlier], axis=0)

    def _step(self, index: int, sums: np.ndarray, level: int) -> Step:
        item, quantizer = self.config.prior.passes[index], self.config.quantizer
        channels, here = slice(item.start, item.stop), lattice(item, sums.shape)
        means, scales = np.split(at(sums, here).astype(np.int32), 2, axis=1)
        means = np.clip(_rounded_shift(means, SUM_BITS - MEAN_BITS), -MEAN_MAX, MEAN_MAX)
        means = means * self.to_steps[level, channels]  # int64: up to 38 bits
        means = _rounded_shift(means, MEAN_BITS + TABLE_BITS - LATENT_BITS).astype(np.int32)
        lowest = int(quantizer.log_sigma_min * 2**SUM_BITS)
        scales += np.int32(self.log_steps[level, channels] - lowest)
        classes = _rounded_shift(scales * quantizer.per_octave, SUM_BITS)
        rows = self.codebooks.rows(np.clip(classes, 0, quantizer.classes - 1))
        return Step(index, channels, here, means, scales, rows)


def lattice(item: PassConfig, shape: tuple[int, ...]) -> np.ndarray:
    """bool [h, w]: where a pass codes."""
    positions = np.arange(shape[0])[:, None] % 4 * 4 + np.arange(shape[1]) % 4
    return (item.lattice >> positions & 1).astype(bool)


def at(maps: np.ndarray, here: np.ndarray) -> np.ndarray:
    """The values [M, c] of maps [h, w, c] at some positions."""
    return maps.reshape(-1, maps.shape[2]) if here.all() else maps[here]


def put(maps: np.ndarray, here: np.ndarray, values: np.ndarray) -> None:
    """Set maps [h, w, c] at some positions to values [M, c]."""
    if here.all():
        maps[:] = values.reshape(maps.shape)
    else:
        maps[here] = values


def _rounded_shift(x: np.ndarray, bits: int) -> np.ndarray:
    """x / 2**bits, rounded half up."""
    return (x + (1 << bits - 1)) >> bits
