"""Refinement of the latents of one picture: what `effort` buys. Format and decoder do not change.

The encoder's latents are only a first target for the assignment. Each round decodes what was
assigned, and moves the target by a step of Newton's method in bits + lambda * distortion: along
the gradient of the decoded picture's distortion, through the decoder, and along that of the bits
which a latent costs those that it is context for, through the prior. The curvature, of which the
assignment takes half as the worth of an error, is that of squared error on the linear path, nearly
orthonormal, times a factor of each channel that is found on the way. The choice of the best round
is the result, so that more rounds are never worse. Compare the stochastic Gumbel annealing of Yang,
Bamler and Mandt 2020, "Improving inference for neural image compression", which searches scalar
codecs' latents.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...geometry import Rectangle, pixels_of, reach, widened, windows, within
from ...nn.rate_proxy import GaussianBits, scale_bounds
from ...nn.transforms import Decoder
from ...rate_control import OperatingPoint
from ..base import Maps, Target
from ..search import Search
from .distortion import judge
from .runtime import exact_sums, isolated_with_gradients
from .tensors import to_array, to_map, to_unit_map
from .tile_coder import TileCoder

ROUNDS = (None, 1, 3, 5, 7, 11, 16, 22, 31)  # of efforts 1 to 9; 1 takes the encoder's latents
SIDE = 64  # latents of a window that gradients are computed in: memory grows with it
# Found on crops of held-out training pictures, for both distortions.
STEP = 0.1  # of Newton's; 0.5 diverges
MOMENTUM = 0.5
DECAY = 0.94  # of the step, each round
CONTEXT = 0.5  # weight of the gradient of the context's bits; at 1 it is no better
BENDS = (
    1.0,
    8.0,
)  # least and most; with less detail goes that SSIMULACRA2 sees
MEMORY = 0.5  # of the bends, each round


class Bends:
    """How curved the distortion is along each channel, in curvatures of its squared error on the
    linear path: 1 where nothing is known.

    A slope at what is decoded, over the way to it from the encoder's latents, where slopes are
    about 0. Errors of colour have four times the curvature to eyes, and where the decoder adds
    much to the linear path, it is seen as well. A factor of each place, found so, changes nothing.
    """

    def __init__(self, curvature: Tensor):
        """curvature: that of 1, [1, C, 1, 1]."""
        self.curvature, self.values = curvature, torch.ones_like(curvature)
        self._rise = self._run = torch.zeros_like(curvature)

    def update(self, slope: Tensor, way: Tensor) -> None:
        """slope, way: [1, C, h, w]."""
        rise = (slope * way).sum((2, 3), keepdim=True)
        run = (self.curvature * way**2).sum((2, 3), keepdim=True)
        self._rise, self._run = MEMORY * self._rise + rise, MEMORY * self._run + run
        little = 0.002 * self._run.mean() + 1e-9  # what has hardly moved stays near 1
        self.values = ((self._rise + little) / (self._run + little)).clamp(*BENDS)


class Choice(NamedTuple):
    """What to assign indices to."""

    latents: Tensor  # [1, C, h, w] of the tile, in steps
    bends: Tensor  # [1, C, 1, 1], with which they are assigned
    cost: float  # bits + lambda * distortion over the tile's pixels


class Refinement:
    """One tile's. After `run`, `best` is the best choice of all rounds."""

    def __init__(
        self,
        coder: TileCoder,
        decoder: Decoder,
        rgb: np.ndarray,
        around: Maps,
        tile: Rectangle,
        point: OperatingPoint,
        distortion: str,
    ):
        """rgb: the tile's pixels, as of `Engine.refine`, without padding. around: the encoder's
        latents of the tile and a halo, float32 [h, w, C]. tile: in latents. distortion: of
        `config.DISTORTIONS`."""
        self.network, self.decoder, self.dtype = coder.network, decoder, coder.dtype
        self.region, self.tile, self.distortion = around.region, tile, distortion
        self.around = to_map(around.values, coder.device)
        self.levels = torch.tensor([point.level], device=coder.device)
        self.x = to_unit_map(rgb, coder.device)
        ratio = float(self.network.lambdas[1] / self.network.lambdas[0])
        scale = ratio**point.level_offset
        self.weight = float(self.network.lambdas[point.level]) * scale
        self.bends = Bends(2 * self.network.kappa(self.levels, scale))
        self.lambda_scale = point.lambda_scale
        # A picture's file is always the same.
        self.noise = torch.Generator(coder.device).manual_seed(0)
        self.start = _cut(self.around, tile, self.region).clone()
        self.best = Choice(self.start, self.bends.values, math.inf)

    def run(self, rounds: int) -> Choice:
        """Try the first choice, and `rounds` steps from there."""
        y, speed = self.best.latents, 0.0
        for number in range(rounds + 1):
            move = self._newton(y, last=number == rounds)
            speed = MOMENTUM * speed + move
            y = y + STEP * DECAY**number * speed
        return self.best

    def _decoded(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Assign: latents as they are decoded, their bits, and a proxy of the bits that is
        differentiable in y by way of the context alone."""
        low, high = scale_bounds(self.network.config.quantizer)
        bits, proxy = 0.0, y.new_zeros(())
        checkpointing = y.requires_grad and self.tile.width * self.tile.height > SIDE**2
        scale = self.lambda_scale * self.bends.values.flatten()
        for result in self.network.quantise(y.to(self.dtype), self.levels, scale, checkpointing):
            step, chosen = result.step, result.chosen
            spent = self.network.codebooks.bits_of(chosen.index, chosen.row)
            bits = bits + (spent * step.mask).sum()
            if y.requires_grad:
                r = y.detach()[:, step.channels] - step.expected.mean
                noise = torch.rand(
                    r.shape, generator=self.noise, device=r.device, dtype=torch.float32
                )
                rate = GaussianBits.apply(r + noise - 0.5, step.expected.log_scale, low, high)
                proxy = proxy + (rate * step.mask).sum()
        return result.latents.to(y.dtype), bits, proxy

    def _judged(self, latents: Tensor, differentiate: bool) -> tuple[float, Tensor | None]:
        """The distortion of the decoded tile, and its gradient. Eyes compare the tile as a whole,
        and squared error is that of one window after the other; in either case what a gradient
        needs of the decoder is kept for one window alone."""
        whole = self.around.clone()
        _cut(whole, self.tile, self.region).copy_(latents)
        whole.requires_grad_(differentiate)
        error, slope = 0.0, torch.zeros_like(whole)
        parts = windows(self.tile, SIDE) if self.distortion == "mse" else [self.tile]
        for part in parts:
            out = self._synthesised(whole, part)
            own = _cut(self.x, pixels_of(part), pixels_of(self.tile))
            out = out[..., : own.shape[2], : own.shape[3]]
            judged = judge(self.distortion, out, own)
            error += judged.error
            if differentiate:
                slope += torch.autograd.grad(out, whole, judged.slope)[0]
        return error, _cut(slope, self.tile, self.region) if differentiate else None

    def _synthesised(self, whole: Tensor, part: Rectangle) -> Tensor:
        """The pixels of a part of the tile. A gradient computes the windows again, if they are
        several."""
        decode = partial(self.network.synthesise, levels=self.levels, decoder=self.decoder)
        if max(part.width, part.height) > SIDE and whole.requires_grad:
            decode = partial(checkpoint, decode, use_reentrant=False, preserve_rng_state=False)
        pixels = pixels_of(part)
        out = whole.new_empty(1, 3, pixels.height, pixels.width)
        for window in windows(part, SIDE):
            seen = widened(window, reach(self.network.config.transform), self.region)
            decoded = decode(_cut(whole, seen, self.region))
            decoded = _cut(decoded, pixels_of(window), pixels_of(seen))
            _cut(out, pixels_of(window), pixels).copy_(decoded)
        return out

    def _measure(
        self, y: Tensor, latents: Tensor, bits: Tensor, differentiate: bool = False
    ) -> Tensor | None:
        """Keep y if its choice is the best so far. Returns the gradient of its distortion."""
        error, slope = self._judged(latents, differentiate)
        cost = float(bits) + self.weight * error
        if cost < self.best.cost:
            self.best = Choice(y.detach(), self.bends.values, cost)
        return slope

    def _newton(self, y: Tensor, last: bool) -> Tensor:
        """Try y; the step from there, zeros if it is the last."""
        if last:
            with torch.no_grad():
                latents, bits, _ = self._decoded(y)
                self._measure(y, latents, bits)
            return torch.zeros_like(y)
        y = y.detach().requires_grad_()
        latents, bits, proxy = self._decoded(y)
        (along_bits,) = torch.autograd.grad(proxy, y)
        latents = latents.detach()  # straight through: each moves with its y
        along_error = self.weight * self._measure(y, latents, bits, differentiate=True)
        self.bends.update(along_error, latents - self.start)
        gradient = along_error + CONTEXT * along_bits
        return latents - gradient / (self.bends.curvature * self.bends.values) - y.detach()


def refine(
    coder: TileCoder,
    decoder: Decoder,
    rgb: np.ndarray,
    around: Maps,
    tile: Rectangle,
    point: OperatingPoint,
    search: Search,
) -> Target:
    """The best that a search of effort 2 to 9 finds for a tile; arguments as of `Refinement`."""
    with isolated_with_gradients(), exact_sums(coder.device):
        refinement = Refinement(coder, decoder, rgb, around, tile, point, search.distortion)
        best = refinement.run(ROUNDS[search.effort - 1])
        scale = point.lambda_scale * best.bends.flatten()
        return Target(to_array(best.latents), scale.cpu().numpy())


def _cut(maps: Tensor, part: Rectangle, region: Rectangle) -> Tensor:
    """The view of a part of a region, [..., h, w]."""
    return maps[(..., *within(part, region))]
