"""What an encode aims at: a quality, or a size, a rate or a closeness to be met."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, NamedTuple

import click

from ..engine.search import search_of
from ..image.pixels import Picture
from . import options
from .console import Report
from .param_types import Bytes

if TYPE_CHECKING:
    from ..codec import Codec
    from ..targets import Reached

PREFIX = "target_"


def _target(name: str, metavar: str, text: str, most: float | None = None):
    return click.option(
        f"--target-{name}",
        type=click.FloatRange(0, most, min_open=True),
        callback=options.finite,
        metavar=metavar,
        help=text,
    )


_OPTIONS = (
    options.quality("0 is the smallest file, 100 the closest picture; 62.5 is possible."),
    options.effort,
    options.tune,
    click.option("--lossless", is_flag=True, help="Keep every pixel as it is."),
    click.option(
        "--exact/--no-exact",
        default=True,
        show_default=True,
        help="Keep text and drawings exact from -q 75 on, nearly so below, where that is better."
        " Without, the file has indices of the whole picture.",
    ),
    click.option(
        "--target-size",
        type=Bytes(),
        metavar="BYTES",
        help="The best quality in at most so many bytes: 40000, 40kB, 39KiB, 1.5MB.",
    ),
    _target("bpp", "BITS", "The same in at most so many bits per pixel."),
    _target("psnr", "DB", "The smallest file of at least so many decibels."),
    _target(
        "ssimulacra2",
        "POINTS",
        "The smallest file of at least so many points: 30 looks like low quality, 50 medium, 70"
        " high, 90 visually lossless. Takes the extra 'eyes'.",
        100,
    ),
    _target(
        "butteraugli",
        "NORM",
        "The smallest file whose 3-norm is at most this: 3.4 looks like low quality, 2.4 medium,"
        " 1.4 high, 0.5 visually lossless. Takes libjxl's butteraugli_main.",
    ),
)


def goal(command: Callable) -> Callable:
    """The options of a Goal, which becomes the command's argument `goal`."""

    @wraps(command)
    def packed(quality: float, effort: int | None, tune: str | None, **given: object) -> object:
        ways = {name: given.pop(name) for name in ("lossless", "exact")}
        targets = {name: given.pop(name) for name in list(given) if name.startswith(PREFIX)}
        return command(goal=Goal.of(quality, effort, tune, **ways, **targets), **given)

    for option in reversed(_OPTIONS):
        packed = option(packed)
    return packed


class Goal(NamedTuple):
    """A quality, or what one of the `--target-*` options says."""

    quality: float
    effort: int | None  # none: by the picture's size
    tune: str | None  # none: as the model was trained
    target: str  # of `targets.NAMES`; empty: the quality
    value: float
    lossless: bool = False
    exact: bool = True

    @classmethod
    def of(
        cls,
        quality: float,
        effort: int | None,
        tune: str | None = None,
        lossless: bool = False,
        exact: bool = True,
        **targets: float | None,
    ) -> "Goal":
        """targets: target_size and so on, none but for the one that is given.

        Raises click.UsageError for more than one, for one that goes with another tune, and for
        what does not go with `lossless`.
        """
        given = [(name, value) for name, value in targets.items() if value is not None]
        names = [f"--{name.replace('_', '-')}" for name, _ in given]
        if len(given) > 1:
            raise click.UsageError(f"{' and '.join(names)}: only one target can be met")
        if lossless and (names or not exact):
            raise click.UsageError(f"--lossless does not go with {(*names, '--no-exact')[0]}")
        if not given:
            return cls(quality, effort, tune, "", 0.0, lossless, exact)
        from ..targets import CLOSENESS

        target, value = given[0][0].removeprefix(PREFIX), given[0][1]
        if target in CLOSENESS and tune not in (None, CLOSENESS[target].tune):
            raise click.UsageError(f"{names[0]} does not go with --tune {tune}")
        return cls(quality, effort, tune, target, value, exact=exact)

    def encode(
        self, codec: "Codec", picture: Picture, max_pixels: int, report: Report
    ) -> tuple[bytes, dict]:
        """The .vqc file; its quality, and its closeness if that is the target. The report tells
        each trial. Raises OutOfReachError, MissingExtraError."""
        if not self.target:
            given = {"effort": self.effort, "tune": self.tune, "max_pixels": max_pixels}
            given |= {"lossless": self.lossless, "exact": self.exact}
            given["progress"] = report.share
            quality = None if self.lossless else self.quality
            return codec.encode(picture, self.quality, **given), {"quality": quality}
        from ..targets import CLOSENESS, reach

        told: list[None] = []

        def tell(found: "Reached") -> None:
            told.append(None)
            report.status(f"trial {len(told)}, quality {found.quality:.1f}")

        given = codec, picture, self.target, self.value, self.effort, max_pixels, self.tune
        data, quality, value = reach(*given, told=tell, exact=self.exact)
        reached = {"quality": quality}
        return data, reached | ({self.target: value} if self.target in CLOSENESS else {})

    def effort_of(self, codec: "Codec", picture: Picture) -> int | None:
        """The effort that `encode` takes; None if nothing is searched."""
        if self.lossless:
            return None
        return search_of(codec.model.config, self.effort, self.tune, picture.rgb.shape).effort

    def said(self, reached: dict) -> str:
        """What the report has of what `encode` reached."""
        if not self.target:
            return ""
        from ..targets import CLOSENESS

        close = CLOSENESS[self.target].said(reached[self.target]) if self.target in reached else ""
        return f", quality {reached['quality']:.1f}" + (close and f", {close}")
