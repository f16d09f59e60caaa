"""Refinement of the latents of one picture: what `effort` buys. Format and decoder do not change.

The encoder's latents are only a first target for the assignment. Each round decodes what was
assigned, and moves the target by a step of Newton's method in bits + lambda * squared error:
along the gradient of the decoded picture's error, through the decoder, and along that of the
bits which a latent costs those that it is context for, through the prior. The curvature is that
of the linear path, nearly orthonormal. The choice of the best round is the result, so that more
rounds are never worse. Compare the stochastic Gumbel annealing of Yang, Bamler and Mandt 2020,
"Improving inference for neural image compression", which searches scalar codecs' latents.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...geometry import Rectangle, pixels_of, reach, widened, windows, within
from ...nn.rate_proxy import GaussianBits, scale_bounds
from ...nn.transforms import Decoder
from ...rate_control import OperatingPoint
from ..base import Maps
from .runtime import exact_sums, isolated_with_gradients
from .tensors import to_array, to_map
from .tile_coder import TileCoder

ROUNDS = (None, 1, 3, 5, 7, 11, 16, 22, 31)  # of efforts 1 to 9; 1 takes the encoder's latents
SIDE = 64  # latents of a window that gradients are computed in: memory grows with it
# Found on crops of held-out training pictures.
STEP = 0.15  # of Newton's; 0.5 diverges
MOMENTUM = 0.5
DECAY = 0.94  # of the step, each round
CONTEXT = 0.5  # weight of the gradient of the context's bits; at 1 it is no better


class Choice(NamedTuple):
    """What to assign indices to."""

    latents: Tensor  # [1, C, h, w] of the tile, in steps
    cost: float  # bits + lambda * squared error over the tile's pixels, channels averaged


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
    ):
        """rgb: the tile's pixels, uint8 [H, W, 3], without padding. around: the encoder's
        latents of the tile and a halo, float32 [h, w, C]. tile: in latents."""
        self.network, self.decoder, self.dtype = coder.network, decoder, coder.dtype
        self.region, self.tile = around.region, tile
        self.around = to_map(around.values, coder.device)
        self.levels = torch.tensor([point.level], device=coder.device)
        self.x = to_map(rgb, coder.device).float() / 255
        ratio = float(self.network.lambdas[1] / self.network.lambdas[0])
        scale = ratio**point.level_offset
        self.weight = float(self.network.lambdas[point.level]) * scale
        self.curvature = 2 * self.network.kappa(self.levels, scale)
        self.lambda_scale = point.lambda_scale
        # A picture's file is always the same.
        self.noise = torch.Generator(coder.device).manual_seed(0)
        self.best = Choice(_cut(self.around, tile, self.region).clone(), math.inf)

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
        for result in self.network.quantise(
            y.to(self.dtype), self.levels, self.lambda_scale, checkpointing
        ):
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

    def _squared_error(self, latents: Tensor, differentiate: bool) -> tuple[float, Tensor | None]:
        """Of the decoded tile, clipped, in 255 units, channels averaged; and the gradient of that
        of the tile as it is not clipped. One window after the other: what a gradient needs is
        kept for one alone."""
        error, whole = 0.0, self.around.clone()
        _cut(whole, self.tile, self.region).copy_(latents)
        slope = torch.zeros_like(whole)
        halo = reach(self.network.config.transform)
        for window in windows(self.tile, SIDE):
            with_halo, pixels = widened(window, halo, self.region), pixels_of(window)
            part = _cut(whole, with_halo, self.region).clone().requires_grad_(differentiate)
            out = self.network.synthesise(part, self.levels, decoder=self.decoder)
            target = _cut(self.x, pixels, pixels_of(self.tile))
            height, width = target.shape[2:]
            out = _cut(out, pixels, pixels_of(with_halo))[..., :height, :width]
            error += float(((out.detach().clamp(0, 1) - target) ** 2).sum())
            if differentiate:
                (more,) = torch.autograd.grad(((out - target) ** 2).sum() * 255**2 / 3, part)
                _cut(slope, with_halo, self.region).add_(more)
        slope = _cut(slope, self.tile, self.region) if differentiate else None
        return error * 255**2 / 3, slope

    def _measure(
        self, y: Tensor, latents: Tensor, bits: Tensor, differentiate: bool = False
    ) -> Tensor | None:
        """Keep y if its choice is the best so far. Returns the gradient of its error."""
        error, slope = self._squared_error(latents, differentiate)
        cost = float(bits) + self.weight * error
        if cost < self.best.cost:
            self.best = Choice(y.detach(), cost)
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
        along_error = self._measure(y, latents, bits, differentiate=True)
        gradient = self.weight * along_error + CONTEXT * along_bits
        return latents - gradient / self.curvature - y.detach()


def refine(
    coder: TileCoder,
    decoder: Decoder,
    rgb: np.ndarray,
    around: Maps,
    tile: Rectangle,
    point: OperatingPoint,
    effort: int,
) -> np.ndarray:
    """The best latents of a tile that `effort`, 2 to 9, finds: float32 [h, w, C] in steps;
    arguments as of `Refinement`."""
    with isolated_with_gradients(), exact_sums(coder.device):
        refinement = Refinement(coder, decoder, rgb, around, tile, point)
        return to_array(refinement.run(ROUNDS[effort - 1]).latents)


def _cut(maps: Tensor, part: Rectangle, region: Rectangle) -> Tensor:
    """The view of a part of a region, [..., h, w]."""
    return maps[(..., *within(part, region))]
