"""Noise inputs of the realism decoder: a hash of the position in the picture.

Latents that are coded as zero say nothing, and a convolution of nothing is flat or repeats
itself. The noise at a position is a hash of its coordinates, so that a picture decoded in
windows is the one decoded whole, and the same each time. Compare the noise inputs of StyleGAN
(Karras et al. 2019, arXiv:1812.04948).
"""

import torch
from torch import Tensor

from ..config import GRAIN_CHANNELS

PER_LATENT = 2  # positions of grain a latent, each way: the decoder's fine grid, at 1/8


def grain(top: int, left: int, height: int, width: int, device: torch.device) -> Tensor:
    """float32 [1, GRAIN_CHANNELS, 2 height, 2 width], uniform with mean 0 and variance 1.

    top, left, height, width: the window, in latents.
    """
    y, x = (
        torch.arange(PER_LATENT * first, PER_LATENT * (first + count), device=device)
        for first, count in ((top, height), (left, width))
    )
    return _noise_at(y[None], x[None])


def grain_at(origins: Tensor, height: int, width: int) -> Tensor:
    """`grain` of a window for each of the origins int64 [B, 2], its top and left:
    [B, GRAIN_CHANNELS, 2 height, 2 width]."""
    y, x = (
        PER_LATENT * origins[:, axis, None] + torch.arange(PER_LATENT * n, device=origins.device)
        for axis, n in enumerate((height, width))
    )
    return _noise_at(y, x)


def _noise_at(y: Tensor, x: Tensor) -> Tensor:
    """At rows [B, h] and columns [B, w] of the fine grid: [B, GRAIN_CHANNELS, h, w]."""
    channel = torch.arange(GRAIN_CHANNELS, device=y.device)
    position = _mix(_mix(y[:, :, None] + 1) + x[:, None]) * GRAIN_CHANNELS
    bits = _mix(position[:, None] + channel[:, None, None])
    return ((bits.double() / 2**32 - 0.5) * 12**0.5).float()


def _mix(n: Tensor) -> Tensor:
    """int64 -> int64 in 0..2**32 - 1 that looks random: two rounds of multiply and shift."""
    for factor in (0x7FEB352D, 0x846CA68B):
        n = n & 0xFFFFFFFF
        n = ((n ^ (n >> 16)) * factor) & 0xFFFFFFFF
    return n ^ (n >> 15)
