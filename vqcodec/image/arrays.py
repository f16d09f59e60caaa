"""Arrays and tensors as pixels, whichever package they are of: none of them is imported.

A torch tensor may be on a GPU and have a gradient; others must become an array of numpy by its
own protocol, `__array__`.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..errors import InputError
from . import depth as depths

CHANNELS = 1, 3, 4  # grey, RGB, and RGB with alpha
EXPECTED = "uint8, uint16, or float in 0..1, [H, W], [H, W, C] or [C, H, W], C 1, 3 or 4"


@runtime_checkable
class Array(Protocol):
    """An array of numpy, or what becomes one."""

    def __array__(self, *args: Any, **options: Any) -> np.ndarray: ...


def channels_last(source: Array) -> np.ndarray:
    """A picture [H, W, C], of any size but none, uint8, uint16 or float; not copied if it
    need not be.

    source: [H, W], [H, W, C], or [C, H, W] where the last axis can be no channels.
    Raises InputError.
    """
    pixels = _to_numpy(source)
    shape = pixels.shape
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif pixels.ndim == 3 and shape[2] not in CHANNELS:
        pixels = np.moveaxis(pixels, 0, 2)
    known = pixels.dtype.name in ("uint8", "uint16") or pixels.dtype.kind == "f"
    if not known or pixels.ndim != 3 or pixels.shape[2] not in CHANNELS:
        batch = "; a batch is encoded as list(batch)" if len(shape) == 4 else ""
        raise InputError(f"array is {pixels.dtype} {list(shape)}, expected {EXPECTED}{batch}")
    if pixels.size == 0:
        raise InputError(f"array is {list(shape)}, expected at least one pixel")
    return pixels


def to_levels(pixels: np.ndarray, depth: int | None = None) -> tuple[np.ndarray, int]:
    """Levels of an array as `channels_last` gives it, and their depth.

    depth: of uint16, the bits that it uses, by default 16; of others the depth that they come to,
    by default 8. Raises InputError for floats outside 0..1, and levels outside the depth.
    """
    if pixels.dtype == np.uint8:
        to = depth or depths.BYTE
        return depths.rescaled(pixels, depths.peak(depths.BYTE), to), to
    low, high = pixels.min(), pixels.max()
    if pixels.dtype.kind == "f":
        if not (low >= 0 and high <= 1):  # false for NaN as well
            raise InputError(f"float pixels are {low:g}..{high:g}, expected 0..1")
        to = depth or depths.BYTE
        scaled = pixels.astype(np.float32, copy=False) * depths.peak(to)
        return np.rint(scaled).astype(depths.dtype_of(to)), to
    to = depth or 16
    if high > depths.peak(to):
        raise InputError(f"levels are {low}..{high}, expected 0..{depths.peak(to)} of {to} bits")
    return pixels.astype(depths.dtype_of(to), copy=False), to


def _to_numpy(source: Array) -> np.ndarray:
    if hasattr(source, "detach"):  # torch
        source = source.detach().cpu()
        if str(source.dtype) == "torch.bfloat16":  # numpy has no such type
            source = source.float()
    return np.asarray(source)
