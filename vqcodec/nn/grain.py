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
    channel = torch.arange(GRAIN_CHANNELS, device=device)
    position = _mix(_mix(y[:, None] + 1) + x) * GRAIN_CHANNELS
    bits = _mix(position + channel[:, None, None])
    return ((bits.double() / 2**32 - 0.5) * 12**0.5).float()[None]


def _mix(n: Tensor) -> Tensor:
    """int64 -> int64 in 0..2**32 - 1 that looks random: two rounds of multiply and shift."""
    for factor in (0x7FEB352D, 0x846CA68B):
        n = n & 0xFFFFFFFF
        n = ((n ^ (n >> 16)) * factor) & 0xFFFFFFFF
    return n ^ (n >> 15)
