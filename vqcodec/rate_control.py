"""Quality 0..100 -> operating point: level of the network, and weight of the distortion."""

import math
from typing import NamedTuple

DEFAULT_QUALITY = 50
EFFORTS = range(1, 10)  # how long an encoder searches
# The most megapixels of an effort that is the default: with a search a picture takes about half as
# long as 12 megapixels do without, which stay within 6 s on two cores (docs/speed.md).
DEFAULT_EFFORTS = {4: 0.45, 3: 0.75, 2: 1.3}
# Networks are trained with one of 1.8 (base-1 and base-2 with 3). On held-out photographs 1.4 costs
# 0.15 to 0.3 % less than 2 in bits + lambda * error, and 1 and 2.8 more.
LAMBDA_SCALE = 1.5
# Between two levels the scale moves the rate. A level costs at least as many bits as this factor
# on the scale (measured: 7 to 11 % at low rates), so that size grows with quality.
SCALE_PER_LEVEL = 1.5
BELOW = 3  # levels' worth of quality below level 0, reached by its scale alone


def default_effort(pixels: int) -> int:
    """The effort for a picture of so many pixels, 1 to 4: large ones are searched less a pixel."""
    return next((e for e, most in DEFAULT_EFFORTS.items() if pixels <= most * 1e6), 1)


class OperatingPoint(NamedTuple):
    """Where on the rate-distortion curve to encode."""

    level: int  # 0..L - 1; the file carries it
    lambda_scale: float  # on lambda in the entropy-constrained assignment; the encoder's business
    level_offset: float  # levels that the quality lies above the level, mostly -0.5 to 0.5


def operating_point(quality: float, levels: int) -> OperatingPoint:
    """The operating point of a quality, 0 (smallest) to 100 (closest).

    Raises ValueError for a quality outside.
    """
    if not 0 <= quality <= 100 or not math.isfinite(quality):
        raise ValueError(f"quality is {quality}, expected 0..100")
    position = quality / 100 * (levels - 1 + BELOW) - BELOW
    level = max(0, min(math.floor(position + 0.5), levels - 1))
    return at_level(level, position - level)


def quality_of(point: OperatingPoint, levels: int) -> float:
    """The quality of an operating point: undoes `operating_point`."""
    return 100 * (point.level + point.level_offset + BELOW) / (levels - 1 + BELOW)


def at_level(level: int, level_offset: float) -> OperatingPoint:
    """A level with the lambda of a quality that lies `level_offset` levels above it."""
    return OperatingPoint(level, LAMBDA_SCALE * SCALE_PER_LEVEL**level_offset, level_offset)
