"""The discriminator of the realism stage: is this patch a photograph's, or a decoder's?

A patch discriminator (Isola et al. 2017, arXiv:1611.07004) that is conditioned on the decoded
latents, as in HiFiC (Mentzer et al. 2020, arXiv:2006.09965). With a perceptual network it also
sees that network's features, as projected GANs do (Sauer et al. 2021, arXiv:2111.01007): a
small discriminator on features that exist already learns in minutes.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (32, 64, 128)  # channels at 1/2, 1/4 and 1/8
SIDE_WIDTH = 32  # channels of the condition, and of each of the given features
SLOPE = 0.2  # of the activation's negative side
DETAIL = 8.0  # amplification of what a 3x3 mean leaves: faint patterns show
GROUPS = 8  # of the normalisation


class Judgement(NamedTuple):
    """logits [B, 1, H/8, W/8]: above 0 for photographs. features: of its layers."""

    logits: Tensor
    features: list[Tensor]


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2),
        nn.GroupNorm(GROUPS, outputs),
        nn.LeakyReLU(SLOPE),
    )


class Discriminator(nn.Module):
    """Pixels float [B, 3, H, W] in 0..1, latents [B, C, H/16, W/16] in standard deviations and
    features of the pixels, [B, c, h, w] each -> Judgement."""

    def __init__(self, latents: int, features: list[int]):
        """features: channels of each of the given features; none without a network for them."""
        super().__init__()
        first, second, third = WIDTHS
        self.trunk = nn.ModuleList(
            _conv(*sizes, 4, 2) for sizes in ((6, first), (first, second), (second, third))
        )
        self.condition = _conv(latents, SIDE_WIDTH, 1)
        self.sides = nn.ModuleList(_conv(count, SIDE_WIDTH, 1) for count in features)
        self.fuse = _conv(third + SIDE_WIDTH * (1 + len(features)), third, 1)
        self.last = _conv(third, third, 3)
        self.head = nn.Conv2d(third, 1, 1)

    def forward(self, x: Tensor, latents: Tensor, features: list[Tensor]) -> Judgement:
        h, maps = torch.cat([2 * x - 1, DETAIL * (x - _mean(x))], 1), []
        for layer in self.trunk:
            h = layer(h)
            maps.append(h)
        grid = h.shape[2:]
        given = [self.condition(latents)]
        for layer, feature in zip(self.sides, features, strict=True):
            given.append(layer(_unit_power(feature)))
        h = torch.cat([h, *(F.interpolate(g, grid, mode=_mode(g, grid)) for g in given)], 1)
        h = self.last(self.fuse(h))
        return Judgement(self.head(h).float(), [*maps, h])


def _mean(x: Tensor) -> Tensor:
    """Of 3x3 pixels."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _mode(x: Tensor, grid: torch.Size) -> str:
    """Finer maps are averaged, coarser ones repeated."""
    return "area" if x.shape[2] > grid[0] else "nearest"


def _unit_power(x: Tensor) -> Tensor:
    """Features with a mean square of about 1 at each position."""
    return x * (x.square().mean(1, keepdim=True) + 1e-6).rsqrt()
