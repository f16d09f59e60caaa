"""Noise inputs of the realism decoder, in numpy: see `nn.grain`."""

import numpy as np

from ...config import GRAIN_CHANNELS

PER_LATENT = 2  # positions of grain a latent, each way: the decoder's fine grid, at 1/8


def grain(top: int, left: int, height: int, width: int) -> np.ndarray:
    """float32 [2 height, 2 width, GRAIN_CHANNELS], uniform with mean 0 and variance 1.

    top, left, height, width: the window, in latents.
    """
    y = np.arange(PER_LATENT * top, PER_LATENT * (top + height), dtype=np.uint64)
    x = np.arange(PER_LATENT * left, PER_LATENT * (left + width), dtype=np.uint64)
    position = _mix(_mix(y[:, None] + np.uint64(1)) + x) * np.uint64(GRAIN_CHANNELS)
    bits = _mix(position[..., None] + np.arange(GRAIN_CHANNELS, dtype=np.uint64))
    return np.float32((bits.astype(np.float64) / 2**32 - 0.5) * 12**0.5)


def _mix(n: np.ndarray) -> np.ndarray:
    """uint64 -> uint64 in 0..2**32 - 1 that looks random: two rounds of multiply and shift."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(16)
    for factor in (0x7FEB352D, 0x846CA68B):
        n = n & low
        n = ((n ^ (n >> shift)) * np.uint64(factor)) & low
    return n ^ (n >> np.uint64(15))
