"""The steps of a search for better latents of one tile: what `effort` buys. Format and decoder do
not change.

The encoder's latents are only a first target for the assignment. Each round decodes what was
assigned, and moves the target by a step of Newton's method in bits + lambda * distortion: along
the gradient of the decoded picture's distortion, through the decoder, and along that of the bits
which a latent costs those that it is context for, through the prior. (Without the latter effort 4
gains 16 % less, a quarter less at quality 20.) The curvature, of which the assignment takes half as
the worth of an error, is that of squared error on the linear path, nearly orthonormal, times a
factor of each channel that is found on the way. The choice of the best round is the result, so that
more rounds are never worse. Compare the stochastic Gumbel annealing of Yang, Bamler and Mandt 2020,
"Improving inference for neural image compression", which searches scalar codecs' latents.
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from ..config import ModelConfig
from ..rate_control import OperatingPoint
from .base import CodedTile

ROUNDS = (None, 2, 3, 5, 7, 11, 16, 22, 31)  # of efforts 1 to 9; 1 takes the encoder's latents
# Found on crops of held-out training pictures, for both distortions.
STEP = 0.1  # of Newton's; 0.5 diverges
MOMENTUM = 0.5
DECAY = 0.94  # of the step, each round
# The first step is longer by so much, and the others by less each round: with few rounds it pays.
HASTE, HASTE_DECAY = 0.5, 0.8
CONTEXT = 0.5  # weight of the gradient of the context's bits; at 1 it is no better
# Least and most; with less detail goes that SSIMULACRA2 sees.
BENDS = 1.0, 8.0
MEMORY = 0.5  # of the bends, each round


class Bends:
    """How curved the distortion is along each channel, in curvatures of its squared error on the
    linear path: 1 where nothing is known.

    A slope at what is decoded, over the way to it from the encoder's latents, where slopes are
    about 0. Errors of colour have four times the curvature to eyes, and where the decoder adds
    much to the linear path, it is seen as well. A factor of each place, found so, changes nothing.
    """

    def __init__(self, curvature: np.ndarray):
        """curvature: that of 1, float32 [C]."""
        self.curvature, self.values = curvature, np.ones_like(curvature)
        self._rise = self._run = np.zeros_like(curvature)

    def update(self, slope: np.ndarray, way: np.ndarray) -> None:
        """slope, way: float32 [h, w, C]."""
        rise = np.einsum("hwc,hwc->c", slope, way)
        run = self.curvature * np.einsum("hwc,hwc->c", way, way)
        self._rise, self._run = MEMORY * self._rise + rise, MEMORY * self._run + run
        little = 0.002 * self._run.mean() + 1e-9  # what has hardly moved stays near 1
        self.values = ((self._rise + little) / (self._run + little)).clip(*BENDS)


class Target(NamedTuple):
    """What to assign the indices of a tile to. latents: float32 [h, w, C], in steps. lambda_scale:
    float32 [C], of each channel, see `OperatingPoint`."""

    latents: np.ndarray
    lambda_scale: np.ndarray


class Choice(NamedTuple):
    """A tile with its indices, without its payload."""

    coded: CodedTile | None
    cost: float  # bits + lambda * distortion over the tile's pixels


class Assigned(NamedTuple):
    """What a target becomes."""

    coded: CodedTile  # without its payload
    bits: float
    # Along the target, of the bits of those that it is context for, float32 [h, w, C]; None if it
    # was not asked for.
    slope: np.ndarray | None


class Judged(NamedTuple):
    """The distortion of a tile, in 255 units, its channels averaged, summed over the pixels, so
    that lambda times it goes with bits, as in training."""

    error: float
    slope: np.ndarray | None  # along the latents, float32 [h, w, C]; None if it was not asked for


class Descent(ABC):
    """A search, but for what an engine computes. After `run`, `best` is the best choice of all
    rounds; the first of these is the encoder's, so that none is worse."""

    def __init__(
        self, config: ModelConfig, kappa: np.ndarray, start: np.ndarray, point: OperatingPoint
    ):
        """kappa: float32 [C], as of `Network.kappa` at the point's level, for a scale of 1.
        start: the encoder's latents of the tile, float32 [h, w, C], in steps."""
        lambdas = config.transform.lambdas()
        scale = (lambdas[1] / lambdas[0]) ** point.level_offset
        self.level, self.lambda_scale = point.level, point.lambda_scale
        self.weight = lambdas[point.level] * scale
        self.bends = Bends(np.float32(2 * scale) * kappa)
        self.start = start
        self.best = Choice(None, math.inf)

    @abstractmethod
    def _assigned(self, target: Target, differentiate: bool) -> Assigned:
        """Assign the tile's indices. differentiate: the slope of the bits is asked for."""

    @abstractmethod
    def _judged(self, latents: np.ndarray, differentiate: bool) -> Judged:
        """Decode the tile's pixels, and judge them."""

    def run(self, rounds: int) -> Choice:
        """Try the first choice, and `rounds` steps from there."""
        y, speed = self.start, 0.0
        for number in range(rounds):
            speed = MOMENTUM * speed + self._newton(y)
            step = STEP * DECAY**number * (1 + HASTE * HASTE_DECAY**number)
            y = y + np.float32(step) * speed
        self._tried(y, differentiate=False)
        return self.best

    def _target(self, y: np.ndarray) -> Target:
        return Target(y, np.float32(self.lambda_scale) * self.bends.values)

    def _tried(self, y: np.ndarray, differentiate: bool) -> tuple[Assigned, np.ndarray | None]:
        """Try latents, and keep their choice if it is the best so far; with the slope of
        lambda * distortion along what is decoded."""
        assigned = self._assigned(self._target(y), differentiate)
        error, slope = self._judged(assigned.coded.latents, differentiate)
        cost = assigned.bits + self.weight * error
        if self.best.coded is None or cost < self.best.cost:
            self.best = Choice(assigned.coded, cost)
        return assigned, None if slope is None else np.float32(self.weight) * slope

    def _newton(self, y: np.ndarray) -> np.ndarray:
        """Try y; the step from there."""
        assigned, along_error = self._tried(y, differentiate=True)
        latents = assigned.coded.latents
        self.bends.update(along_error, latents - self.start)
        # Straight through: what is decoded moves with its y.
        gradient = along_error + CONTEXT * assigned.slope
        return latents - gradient / (self.bends.curvature * self.bends.values) - y
