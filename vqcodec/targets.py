"""Encoding to a target size, rate or PSNR: bisection over quality.

Size grows with quality, and PSNR practically does; each trial is a whole encode, so that the
target is met by real bytes and, for PSNR, by the decoded 8-bit picture.
"""

from collections.abc import Callable
from typing import NamedTuple

from .codec import Codec
from .errors import OutOfReachError
from .geometry import MAX_PIXELS
from .image.pixels import Picture, load
from .metrics import bits_per_pixel, psnr
from .rate_control import OperatingPoint, at_level, operating_point

TRIALS = 9  # 100 / 2**9: a fifth of a step of quality, about 0.4 % of size
CLOSE = 0.995  # of a target size: near enough to stop
# From one level to the next the size of some pictures jumps by more than 3 %. What lies between is
# reached by the lower level's scale of lambda, up to a level beyond where quality would leave it.
BETWEEN = 5  # trials there: a level is about a tenth of the size, this a 32nd of that


class Reached(NamedTuple):
    data: bytes  # the .vqc file
    quality: float  # the nearest, where `data` lies between two levels
    value: float  # bytes, bits per pixel or dB, as the target


def to_size(
    codec: Codec,
    picture: Picture,
    most: float,
    effort: int | None = None,
    max_pixels: int = MAX_PIXELS,
    tune: str | None = None,
) -> Reached:
    """The best quality in at most `most` bytes, alpha and metadata included.

    Raises OutOfReachError if quality 0 takes more.
    """
    return _largest(codec, _encoder(codec, picture, effort, max_pixels, tune), most, len, "bytes")


def to_bpp(
    codec: Codec,
    picture: Picture,
    most: float,
    effort: int | None = None,
    max_pixels: int = MAX_PIXELS,
    tune: str | None = None,
) -> Reached:
    """The best quality in at most `most` bits per pixel. Raises OutOfReachError."""
    height, width = picture.rgb.shape[:2]

    def measure(data: bytes) -> float:
        return bits_per_pixel(len(data), width, height)

    return _largest(codec, _encoder(codec, picture, effort, max_pixels, tune), most, measure, "bpp")


def to_psnr(
    codec: Codec,
    picture: Picture,
    least: float,
    effort: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Reached:
    """The smallest file of at least `least` dB, searched for a low squared error whatever the
    model was trained for. Raises OutOfReachError if quality 100 is less."""
    encode = _encoder(codec, picture, effort, max_pixels, "psnr")

    def trial(quality: float) -> Reached:
        data = encode(quality)
        decoded = load(codec.decode(data, max_pixels=max_pixels), max_pixels)
        return Reached(data, quality, psnr(decoded.rgb, picture.rgb))

    best = trial(100)
    if best.value < least:
        raise OutOfReachError(f"{least:g} dB is out of reach: quality 100 has {best.value:.2f} dB")
    low, high = 0.0, 100.0
    lowest = trial(low)
    if lowest.value >= least:
        return lowest
    for _ in range(TRIALS):
        middle = trial((low + high) / 2)
        if middle.value >= least:
            best, high = middle, middle.quality
        else:
            low = middle.quality
    return best


def _encoder(
    codec: Codec, picture: Picture, effort: int | None, max_pixels: int, tune: str | None
) -> Callable[[float | OperatingPoint], bytes]:
    """Quality -> file."""
    search = {"effort": effort, "tune": tune}
    return lambda quality: codec.encode(picture, quality, **search, max_pixels=max_pixels)


def _largest(
    codec: Codec,
    encode: Callable[[float | OperatingPoint], bytes],
    most: float,
    measure: Callable[[bytes], float],
    unit: str,
) -> Reached:
    def trial(quality: float, between: OperatingPoint | None = None) -> Reached:
        data = encode(quality if between is None else between)
        return Reached(data, quality, measure(data))

    best = trial(0)
    if best.value > most:
        raise OutOfReachError(f"{most:g} {unit} is out of reach: quality 0 has {best.value:.4g}")
    low, high = 0.0, 100.0
    highest = trial(high)
    if highest.value <= most:
        return highest
    best, low, high = _bisect(trial, best, (low, high), most, TRIALS)
    levels = codec.model.config.transform.levels
    lower, upper = operating_point(low, levels), operating_point(high, levels)
    if best.value >= CLOSE * most or lower.level == upper.level:
        return best

    def between(offset: float) -> Reached:
        return trial(low, at_level(lower.level, offset))

    return _bisect(between, best, (lower.level_offset, lower.level_offset + 1), most, BETWEEN)[0]


def _bisect(
    trial: Callable[[float], Reached],
    best: Reached,
    between: tuple[float, float],
    most: float,
    trials: int,
) -> tuple[Reached, float, float]:
    """The largest of `best` and what is tried that has at most `most`; and the qualities, within
    `between`, between which the next trial would be."""
    low, high = between
    for _ in range(trials):
        middle = (low + high) / 2
        found = trial(middle)
        if found.value > most:
            high = middle
            continue
        best, low = max(best, found, key=lambda item: item.value), middle
        if best.value >= CLOSE * most:
            break
    return best, low, high
