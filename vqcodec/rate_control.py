"""Quality 0..100 -> level of the network and weight of the error in the assignment."""

import math
from typing import NamedTuple

DEFAULT_QUALITY = 50
EFFORTS = range(1, 10)  # how long an encoder searches
DEFAULT_EFFORT = 4
# Networks are trained with one of 1.8 (base-1 and base-2 with 3). On held-out photographs 1.4 costs
# 0.15 to 0.3 % less than 2 in bits + lambda * error, and 1 and 2.8 more.
FIDELITY = 1.5
# Between two levels the fidelity moves the rate. A level costs at least as many bits as this
# factor on the fidelity (measured: 7 to 11 % at low rates), so that size grows with quality.
FIDELITY_PER_LEVEL = 1.5
BELOW = 3  # levels' worth of quality below level 0, reached by its fidelity alone


class Setting(NamedTuple):
    level: int  # 0..L - 1; the file carries it
    fidelity: float  # of the entropy-constrained assignment; the encoder's own business
    tilt: float  # levels that the quality lies above the level, mostly -0.5 to 0.5


def setting(quality: float, levels: int) -> Setting:
    """The setting for a quality, 0 (smallest) to 100 (closest).

    Raises ValueError for a quality outside.
    """
    if not 0 <= quality <= 100 or not math.isfinite(quality):
        raise ValueError(f"quality is {quality}, expected 0..100")
    place = quality / 100 * (levels - 1 + BELOW) - BELOW
    level = max(0, min(math.floor(place + 0.5), levels - 1))
    return at_level(level, place - level)


def at_level(level: int, tilt: float) -> Setting:
    """A level with the fidelity of a quality that lies `tilt` levels above it."""
    return Setting(level, FIDELITY * FIDELITY_PER_LEVEL**tilt, tilt)
