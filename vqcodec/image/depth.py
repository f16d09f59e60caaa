"""Bit depth: levels of 8 to 16 bits a channel, 0 to 2**depth - 1, and from one depth to another.

Levels of 8 bits are uint8, all others uint16.
"""

import numpy as np

BYTE, WORD = 8, 16
DEPTHS = range(BYTE, WORD + 1)


def check_depth(depth: int) -> None:
    """Raise ValueError for a depth that is none."""
    if depth not in DEPTHS:
        raise ValueError(f"depth is {depth}, expected {DEPTHS[0]}..{DEPTHS[-1]}")


def peak(depth: int) -> int:
    """The largest level."""
    return 2**depth - 1


def dtype_of(depth: int) -> type:
    """What an array of levels holds."""
    return np.uint8 if depth == BYTE else np.uint16


def rescaled(levels: np.ndarray, highest: int, depth: int) -> np.ndarray:
    """Integers 0..highest, at most 65535, as levels of this depth, rounded."""
    if highest == peak(depth):
        return levels.astype(dtype_of(depth), copy=False)
    wide = levels.astype(np.uint32)  # products are below 2**32
    wide *= peak(depth)
    wide += highest // 2
    wide //= highest
    return wide.astype(dtype_of(depth))


def to_levels(values: np.ndarray, depth: int) -> np.ndarray:
    """float32 of about 0..1, which it overwrites -> levels, rounded and clipped."""
    values *= peak(depth)
    values += 0.5
    return np.clip(values, 0, peak(depth), out=values).astype(dtype_of(depth))


def to_unit(levels: np.ndarray, depth: int) -> np.ndarray:
    """float32 in 0..1 of levels above 8 bits; levels of 8 bits as they are, as engines take
    them."""
    return levels if depth == BYTE else levels / np.float32(peak(depth))
