"""Encoding to a target: a size, a rate, or how close the decoded picture is to the original.

Each trial is a whole encode, so that a target is met by real bytes and, for closeness, by the
decoded picture, for PSNR in levels of the source's depth, else in 8 bits. Both are found by
secants over quality.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .codec import Codec
from .errors import OutOfReachError
from .geometry import MAX_PIXELS
from .image.depth import BYTE
from .image.picture import at_depth
from .image.pixels import Picture, Source, load
from .image.strips import to_picture
from .metrics import bits_per_pixel, psnr
from .metrics.looks import butteraugli, ssimulacra2
from .progress import Progress, followed
from .rate_control import DEFAULT_QUALITY, OperatingPoint, at_level, operating_point

TRIALS = 9  # at most; most targets are met in half of them
CLOSE = 0.995  # of a target size: near enough to stop
# From one level to the next the size of some pictures jumps by more than 3 %, and SSIMULACRA2 by
# nearly a point. What lies between is reached by the lower level's scale of lambda, up to a level
# beyond where quality would leave it.
BETWEEN = 5  # trials there: a level is about a tenth of the size, this a 32nd of that
# Of secants, in quality:
LEAST_STEP = 2.0  # while all trials lie on one side of the target
BOLD = 1.25  # how much farther than to the target itself these go, so that one lies beyond it
ONE_SIDED = 4  # trials, after which the end of the scale is tried
NARROW = 0.2  # two trials about the target: nothing between them but a border of levels


class Reached(NamedTuple):
    data: bytes  # the .vqc file
    quality: float  # the nearest, where `data` lies between two levels
    value: float  # as the target: bytes, bits per pixel, dB, ...


Told = Callable[[Reached], object] | None  # called with each trial


class Closeness(NamedTuple):
    """A measure of how close a decoded picture is to its original.

    between: of the original and the decoded picture, uint8 [H, W, 3] both. form, digits: of a
    number of it. tune: as of `Codec.encode`. spare: how much better than the target a file may be.
    typical: figures of photographs at the qualities of TYPICAL. Measured values are read as the
    quality that typically has them, in which all measures are nearly straight.
    """

    between: Callable[[np.ndarray, np.ndarray], float]
    form: str
    digits: int
    tune: str
    spare: float
    typical: tuple[float, ...]

    def said(self, value: float) -> str:
        """'31.20 dB'."""
        return self.form.format(f"{value:.{self.digits}f}")

    @property
    def sign(self) -> int:
        """1 if more is closer, -1 if less is."""
        return 1 if self.typical[-1] > self.typical[0] else -1

    def quality_of(self, value: float) -> float:
        """The quality that typically has a value, below 0 and above 100 for one out of reach."""
        known = [self.sign * figure for figure in self.typical]
        at = min(max(1, int(np.searchsorted(known, self.sign * value))), len(known) - 1)
        slope = (TYPICAL[at] - TYPICAL[at - 1]) / (known[at] - known[at - 1])
        return float(TYPICAL[at] + slope * (self.sign * value - known[at]))


# Means of base-7 at effort 1 over eight photographs that nothing was trained on.
TYPICAL = 0, 10, 25, 40, 50, 60, 75, 90, 100
CLOSENESS = {
    "psnr": Closeness(
        psnr, "{} dB", 2, "psnr", 0.05,
        (26.4, 27.8, 29.4, 30.9, 32.2, 33.5, 35.9, 38.5, 40.3),
    ),
    "ssimulacra2": Closeness(
        ssimulacra2, "SSIMULACRA2 {}", 2, "eyes", 0.3,
        (-31.3, -4.8, 20.7, 41.0, 52.9, 62.3, 73.8, 81.8, 85.7),
    ),
    # The 3-norm: the maximum is that of one pixel, which rises and falls as quality rises.
    "butteraugli": Closeness(
        lambda a, b: butteraugli(a, b).norm, "Butteraugli {}", 3, "eyes", 0.015,
        (6.97, 5.2, 3.76, 2.74, 2.19, 1.77, 1.24, 0.88, 0.71),
    ),
}  # fmt: skip
NAMES = ("size", "bpp", *CLOSENESS)


def reach(
    codec: Codec,
    picture: Picture,
    name: str,
    value: float,
    effort: int | None = None,
    max_pixels: int = MAX_PIXELS,
    tune: str | None = None,
    told: Told = None,
    exact: bool = True,
) -> Reached:
    """The file that meets a target.

    name: "size" or "bpp": the best quality in at most `value` bytes or bits per pixel, alpha and
    metadata included. "psnr", "ssimulacra2": the smallest file of at least `value`, dB or points
    (30 is low, 50 medium, 70 high, 90 visually lossless). "butteraugli": the smallest file of a
    3-norm of at most `value` (3.4 is low, 2.4 medium, 1.4 high, 0.5 visually lossless). The
    smallest means to within 0.05 dB, 0.3 points and 0.015.
    effort, tune: as of `Codec.encode`; closeness has the tune of its measure, the squared error for
    PSNR, else what eyes see. told: called with each trial. exact: as of `Codec.encode`.

    Raises OutOfReachError if no quality meets it; MissingExtraError if what measures it is not
    installed; ValueError for another name, or a tune of another measure; and as `Codec.encode`.
    """
    if name not in NAMES:
        raise ValueError(f"target is {name!r}, expected one of {', '.join(NAMES)}")
    if name in CLOSENESS:
        tune = _tune(name, tune)
    search = {"effort": effort, "tune": tune, "exact": exact, "max_pixels": max_pixels}

    measured = partial(_measured, codec, picture, name, max_pixels)

    def trial(quality: float, point: OperatingPoint | None = None) -> Reached:
        data = codec.encode(picture, quality if point is None else point, **search)
        found = Reached(data, quality, measured(data))
        if told is not None:
            told(found)
        return found

    levels = codec.model.config.transform.levels
    if name in CLOSENESS:
        return _closest(trial, CLOSENESS[name], value, levels)
    return _largest(trial, value, "bytes" if name == "size" else name, levels)


def _measured(codec: Codec, picture: Picture, name: str, max_pixels: int, data: bytes) -> float:
    """What a file has of a target."""
    if name == "size":
        return len(data)
    if name == "bpp":
        height, width = picture.rgb.shape[:2]
        return bits_per_pixel(len(data), width, height)
    original = picture if name == "psnr" else at_depth(picture, BYTE)
    strips = codec.decode_strips(data, depth=original.depth, max_pixels=max_pixels)
    decoded = to_picture(strips).rgb
    if name == "psnr":
        return psnr(original.rgb, decoded, original.depth)
    return CLOSENESS[name].between(original.rgb, decoded)


def encode(
    codec: Codec,
    image: Source | list[Source],
    quality: float = DEFAULT_QUALITY,
    *,
    effort: int | None = None,
    tune: str | None = None,
    depth: int | None = None,
    lossless: bool = False,
    exact: bool = True,
    max_pixels: int = MAX_PIXELS,
    progress: Progress = None,
    **target: float | None,
) -> bytes | list[bytes]:
    """`Codec.encode`, or what meets the target that is given: target_size, target_bpp, target_psnr,
    target_ssimulacra2 or target_butteraugli, see `reach`. With a target, progress is told after
    each picture. Raises TypeError for another name, ValueError for two targets or one without loss,
    and as both."""
    given = {name: value for name, value in target.items() if value is not None}
    if unknown := given.keys() - {f"target_{name}" for name in NAMES}:
        raise TypeError(f"unexpected {', '.join(sorted(unknown))}")
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)}: only one target can be met")
    how = {"effort": effort, "tune": tune, "exact": exact, "max_pixels": max_pixels}
    if not given:
        return codec.encode(
            image, quality, **how, depth=depth, lossless=lossless, progress=progress
        )
    if lossless:
        raise ValueError(f"{', '.join(given)} with lossless, which meets no target")
    ((name, value),) = given.items()

    def met(one: Source) -> bytes:
        picture = load(one, max_pixels, depth)
        return reach(codec, picture, name.removeprefix("target_"), value, **how).data

    images = image if isinstance(image, list) else [image]
    files = list(followed(map(met, images), len(images), progress))
    return files if isinstance(image, list) else files[0]


def to_size(codec: Codec, picture: Picture, most: float, *how: Any, **more: Any) -> Reached:
    """`reach` for "size"."""
    return reach(codec, picture, "size", most, *how, **more)


def to_bpp(codec: Codec, picture: Picture, most: float, *how: Any, **more: Any) -> Reached:
    """`reach` for "bpp"."""
    return reach(codec, picture, "bpp", most, *how, **more)


def to_psnr(codec: Codec, picture: Picture, least: float, *how: Any, **more: Any) -> Reached:
    """`reach` for "psnr"."""
    return reach(codec, picture, "psnr", least, *how, **more)


def to_ssimulacra2(codec: Codec, picture: Picture, least: float, *how: Any, **more: Any) -> Reached:
    """`reach` for "ssimulacra2"."""
    return reach(codec, picture, "ssimulacra2", least, *how, **more)


def to_butteraugli(codec: Codec, picture: Picture, most: float, *how: Any, **more: Any) -> Reached:
    """`reach` for "butteraugli"."""
    return reach(codec, picture, "butteraugli", most, *how, **more)


def _tune(name: str, given: str | None) -> str:
    """What a target of closeness is searched by. Raises ValueError for another wish."""
    tune = CLOSENESS[name].tune
    if given not in (None, tune):
        raise ValueError(f"tune is {given!r}, but {name} is met by {tune!r}")
    return tune


Trial = Callable[..., Reached]  # of a quality, and of an operating point in its stead


class _Side(NamedTuple):
    """A trial next to the target, and where it was made: a quality, or an offset of levels."""

    at: float
    found: Reached


class _Secants(NamedTuple):
    """The search for a closeness: the trials next to the target on both sides, as far as known."""

    measure: Closeness
    value: float
    worse: _Side | None = None
    good: _Side | None = None
    trials: int = 0

    def after(self, at: float, found: Reached) -> "_Secants":
        """The search with one trial more."""
        side = "good" if self._gap(found) >= 0 else "worse"
        return self._replace(**{side: _Side(at, found)}, trials=self.trials + 1)

    @property
    def is_done(self) -> bool:
        """Whether what is good is no better than it need be, or no quality is less or between."""
        if self.good is None:
            return False
        if self._gap(self.good.found) <= self.measure.spare or self.good.at == 0:
            return True
        return self.worse is not None and self.good.at - self.worse.at < NARROW

    @property
    def next(self) -> float:
        """Where to try: at first where the target typically is; at the ends, if some trials have
        not gone beyond it."""
        aim = self.value + self.measure.sign * self.measure.spare / 2
        aim = self.measure.quality_of(aim)
        known = [side for side in (self.worse, self.good) if side is not None]
        if not known:
            return min(max(0.0, aim), 100.0)
        start, *others = ((side.at, self.measure.quality_of(side.found.value)) for side in known)
        if not others and self.trials >= ONE_SIDED:
            return 100.0 if self.good is None else 0.0
        if not others:
            least = LEAST_STEP if self.good is None else -LEAST_STEP
            at = start[0] + max(BOLD * (aim - start[1]), least, key=abs)
            return min(max(0.0, at), 100.0)
        (end,) = others
        share = (aim - start[1]) / ((end[1] - start[1]) or 1)
        return start[0] + min(max(0.1, share), 0.9) * (end[0] - start[0])

    def _gap(self, found: Reached) -> float:
        return self.measure.sign * (found.value - self.value)


def _closest(trial: Trial, measure: Closeness, value: float, levels: int) -> Reached:
    """The smallest file that is as close as `value`. Raises OutOfReachError."""
    search = _Secants(measure, value)
    while search.trials < TRIALS and not search.is_done:
        quality = search.next
        search = search.after(quality, trial(quality))
        if search.worse is not None and search.worse.at == 100:
            said = measure.said(search.worse.found.value)
            wanted = measure.form.format(f"{value:g}")
            raise OutOfReachError(f"{wanted} is out of reach: quality 100 has {said}")
    if search.worse is None:
        return search.good.found
    return _between_levels(trial, search, levels)


def _between_levels(trial: Trial, search: _Secants, levels: int) -> Reached:
    """The smallest file: what is good, or the level below it with another scale of lambda."""
    quality, best = search.worse.at, search.good.found
    lower = operating_point(quality, levels)
    offset = lower.level_offset
    if operating_point(search.good.at, levels).level == lower.level:
        return best
    worse, good = search.worse._replace(at=offset), search.good._replace(at=offset + 1)
    search = search._replace(worse=worse, good=good, trials=0)
    while search.trials < BETWEEN and not search.is_done:
        at = search.next
        found = trial(quality, at_level(lower.level, at))
        if len(found.data) >= len(best.data):
            break
        search = search.after(at, found)
        if search.good.found is found:
            best = found
    return best


def _largest(trial: Trial, most: float, unit: str, levels: int) -> Reached:
    """The best quality in at most `most`. Raises OutOfReachError."""
    low = _Side(0.0, trial(0.0))
    if low.found.value > most:
        least = low.found.value
        raise OutOfReachError(f"{most:g} {unit} is out of reach: quality 0 has {least:.4g}")
    high = _Side(100.0, trial(100.0))
    if high.found.value <= most:
        return high.found
    low, high = _around(trial, (low, high), most, TRIALS, NARROW)
    lower, upper = operating_point(low.at, levels), operating_point(high.at, levels)
    if low.found.value >= CLOSE * most or lower.level == upper.level:
        return low.found

    def between(offset: float) -> Reached:
        return trial(low.at, at_level(lower.level, offset))

    offset = lower.level_offset
    sides = low._replace(at=offset), high._replace(at=offset + 1)
    return _around(between, sides, most, BETWEEN)[0].found


def _around(
    trial: Trial, sides: tuple[_Side, _Side], most: float, trials: int, narrow: float = 0.0
) -> tuple[_Side, _Side]:
    """The trials next to `most` below and above, from these on. Values are taken to grow by the
    same factor from one place to the next, which sizes nearly do."""
    low, high = sides
    for _ in range(trials):
        if low.found.value >= CLOSE * most or high.at - low.at < narrow:
            break
        start, aim, end = map(math.log, (low.found.value, CLOSE**0.5 * most, high.found.value))
        at = low.at + min(max(0.1, (aim - start) / (end - start)), 0.9) * (high.at - low.at)
        found = trial(at)
        if found.value > most:
            high = _Side(at, found)
        else:
            low = _Side(at, max(low.found, found, key=lambda item: item.value))
    return low, high
