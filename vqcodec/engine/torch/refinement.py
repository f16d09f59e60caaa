"""Search for better indices: what `effort` buys. The format and the decoder do not change.

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

from ...geometry import Rectangle, pixels_of, reach, widened, windows
from ...nn.fixed import exact_arithmetic
from ...nn.model import Network
from ...nn.rate_proxy import GaussianBits, scale_bounds
from ...rate_control import Setting
from ..tiling import Maps

ROUNDS = (None, 1, 3, 5, 7, 11, 16, 22, 31)  # of efforts 1 to 9; 1 takes the encoder's latents
SIDE = 64  # latents of a window that gradients are computed in: memory grows with it
HALO = 4  # latents around a tile that the decoder sees: as the encoder has them, not searched
# Found on crops of held-out training pictures.
STEP = 0.15  # of Newton's; 0.5 diverges
MOMENTUM = 0.5
DECAY = 0.94  # of the step, each round
CONTEXT = 0.5  # weight of the gradient of the context's bits; at 1 it is no better


class Choice(NamedTuple):
    """What to assign words to."""

    latents: Tensor  # [1, C, h, w] of the tile, in steps
    cost: float  # bits + lambda * squared error over the tile's pixels, channels averaged


class Search:
    """One tile's search. After `run`, `best` is the best choice of all rounds."""

    def __init__(
        self, network: Network, rgb: np.ndarray, around: Maps, tile: Rectangle, setting: Setting
    ):
        """rgb: the tile's pixels, uint8 [H, W, 3], without padding. around: the encoder's
        latents of the tile and a halo. tile: in latents."""
        device = network.lambdas.device
        self.network, self.around, self.tile = network, around, tile
        self.engine = network.fixed_tables.to_steps.dtype
        self.levels = torch.tensor([setting.level], device=device)
        self.x = torch.from_numpy(rgb.copy()).to(device).permute(2, 0, 1)[None].float() / 255
        ratio = float(network.lambdas[1] / network.lambdas[0])
        self.weight = float(network.lambdas[setting.level]) * ratio**setting.tilt
        self.curvature = 2 * network.kappa(self.levels, ratio**setting.tilt)
        self.fidelity = setting.fidelity
        self.noise = torch.Generator(device).manual_seed(0)  # a picture's file is always the same
        self.best = Choice(around.cut(tile).clone(), math.inf)

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
        spare = y.requires_grad and self.tile.width * self.tile.height > SIDE**2
        for result in self.network.quantise(y.to(self.engine), self.levels, self.fidelity, spare):
            step, chosen = result.step, result.chosen
            spent = self.network.codebooks.bits_of(chosen.index, chosen.row)
            bits = bits + (spent * step.mask).sum()
            if y.requires_grad:
                r = y.detach()[:, step.channels] - step.expected.mean
                noise = torch.rand(r.shape, generator=self.noise, device=r.device) - 0.5
                rate = GaussianBits.apply(r + noise, step.expected.log_scale, low, high)
                proxy = proxy + (rate * step.mask).sum()
        return result.latents.to(y.dtype), bits, proxy

    def _squared_error(self, latents: Tensor, differentiate: bool) -> tuple[float, Tensor | None]:
        """Of the decoded tile, clipped, in 255 units, channels averaged; and the gradient of that
        of the tile as it is not clipped. One window after the other: what a gradient needs is
        kept for one alone."""
        around, error = self.around.place, 0.0
        whole = Maps(self.around.values.clone(), around)
        whole.cut(self.tile).copy_(latents)
        slope = Maps(torch.zeros_like(whole.values), around)
        halo = reach(self.network.config.transform)
        for window in windows(self.tile, SIDE):
            seen = widened(window, halo, around)
            part = whole.cut(seen).clone().requires_grad_(differentiate)
            out = self.network.synthesise(part, self.levels)
            own = Maps(self.x, pixels_of(self.tile)).cut(pixels_of(window))
            out = Maps(out, pixels_of(seen)).cut(pixels_of(window))
            out = out[..., : own.shape[2], : own.shape[3]]
            error += float(((out.detach().clamp(0, 1) - own) ** 2).sum())
            if differentiate:
                (more,) = torch.autograd.grad(((out - own) ** 2).sum() * 255**2 / 3, part)
                slope.cut(seen).add_(more)
        return error * 255**2 / 3, slope.cut(self.tile) if differentiate else None

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


def search(
    network: Network,
    rgb: np.ndarray,
    around: Maps,
    tile: Rectangle,
    setting: Setting,
    effort: int,
) -> Choice:
    """The best choice for a tile that `effort`, 2 to 9, finds; arguments as of `Search`."""
    with torch.inference_mode(False), torch.enable_grad(), exact_arithmetic():
        around = Maps(around.values.clone(), around.place)  # made in inference mode
        return Search(network, rgb, around, tile, setting).run(ROUNDS[effort - 1])
