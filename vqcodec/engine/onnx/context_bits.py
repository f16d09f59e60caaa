"""What latents cost those that they are context for: the slope of these bits, through the prior.

The bits are those of a proxy that has a slope, the logistic distribution of the variance that the
prior expects, in closed form. (That of the Gaussian, which training has, takes the error function,
which numpy lacks, and gains no more.)
"""

import copy
import math

import numpy as np

from ...config import QuantizerConfig
from ...entropy.fixed_point import ACT_BITS, SUM_BITS, TABLE_BITS
from ..search_steps import Assigned, Target
from .both_ways import BothWays, Signs
from .codebooks import STEP
from .tile_coder import Step, TileCoder, at, put

SPREAD = 3**0.5 / math.pi  # of the logistic distribution of variance 1
FAR = 80.0  # float32 holds e to the power of it, and one over that


class ContextBits:
    """Assigns the latents of one tile."""

    def __init__(self, coder: TileCoder, networks: BothWays):
        self.coder, self.networks = copy.copy(coder), networks
        self.coder.run = self._run
        self._signs: list[Signs] = []  # of the passes of this time
        self._noise = np.random.default_rng(0)  # a picture's file is always the same

    def assign(self, target: Target, level: int, differentiate: bool) -> Assigned:
        """The tile that is assigned, its bits and, if asked for, the slope of the proxy along the
        target, by way of the context alone."""
        self._signs = []
        coded, bits, steps = self.coder.assign(target.latents, level, target.lambda_scale)
        return Assigned(coded, bits, self._slope(target, steps, level) if differentiate else None)

    def _run(
        self, index: int, state: np.ndarray, context: np.ndarray, level: int
    ) -> tuple[np.ndarray, np.ndarray]:
        state, sums, signs = self.networks.run_pass(index, state, context, level)
        self._signs.append(signs)
        return state, sums

    def _slope(self, target: Target, steps: list[Step], level: int) -> np.ndarray:
        """From the last pass to the second; the first has no context."""
        prior, y = self.coder.config.prior, target.latents
        slope, state = np.zeros_like(y), np.zeros((1, prior.width, *y.shape[:2]), np.float32)
        for step, signs in zip(reversed(steps[1:]), reversed(self._signs), strict=True):
            sums = self._along_sums(y, step, level)
            state, context = self.networks.pass_slopes(step.index, state, sums, signs, level)
            source = prior.passes[step.index - 1]
            channels = slice(source.start, source.stop)
            units = self.coder.to_units[level, channels] * 2.0 ** (ACT_BITS - TABLE_BITS)
            known = self.coder.known(step.index, y.shape)[..., None]
            slope[..., channels] += context[..., :-1] * np.float32(units) * known
        return slope

    def _along_sums(self, y: np.ndarray, step: Step, level: int) -> np.ndarray:
        """The slope of a pass's own bits along its sums, float32 [h, w, 2 n]."""
        r = at(y[..., step.channels], step.here) - np.float32(step.means) / STEP
        # As rounding spreads them; without that a search gains a tenth less.
        r += self._noise.random(r.shape, np.float32) - np.float32(0.5)
        along_r, along_scale = bit_slopes(r, step.scales, self.coder.config.quantizer)
        to_steps = np.float32(self.coder.to_steps[level, step.channels] * 2.0**-TABLE_BITS)
        columns = np.concatenate([-along_r * to_steps, along_scale], 1) * np.float32(2**-SUM_BITS)
        sums = np.zeros((*y.shape[:2], columns.shape[1]), np.float32)
        put(sums, step.here, columns)
        return sums


def bit_slopes(
    r: np.ndarray, scales: np.ndarray, config: QuantizerConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Of the bits of residuals r, float32 in steps, under the unit-step logistic distribution:
    their slopes along r and along log2 of its scale, float32.

    scales: as of `tile_coder.Step`. Where one is at its bound, its slope still passes if it leads
    away from there.
    """
    octaves = np.float32(scales) * np.float32(2.0**-SUM_BITS)
    bounded = octaves.clip(0, config.classes / config.per_octave)
    inverse = np.exp2(-config.log_sigma_min - bounded) * np.float32(1 / SPREAD)
    near, far = (abs(r) - 0.5) * inverse, (abs(r) + 0.5) * inverse
    # The probabilities of what is nearer to 0, and of what is further from it.
    below, above = (1 / (1 + np.exp(x.clip(-FAR, FAR))) for x in (-near, far))
    along_r = np.sign(r) * inverse * (below - above) * np.float32(1 / math.log(2))
    along_scale = above * far - below * near + inverse / np.expm1(inverse)
    passes = (bounded == octaves) | ((octaves < 0) & (along_scale < 0))
    return along_r, along_scale * passes
