"""What an encode aims at: a quality, or a size, a rate or a closeness to be met."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, NamedTuple

import click

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
    def packed(quality: float, effort: int, tune: str | None, **given: object) -> object:
        targets = {name: given.pop(name) for name in list(given) if name.startswith(PREFIX)}
        return command(goal=Goal.of(quality, effort, tune, **targets), **given)

    for option in reversed(_OPTIONS):
        packed = option(packed)
    return packed


class Goal(NamedTuple):
    """A quality, or what one of the `--target-*` options says."""

    quality: float
    effort: int
    tune: str | None  # none: as the model was trained
    target: str  # of `targets.NAMES`; empty: the quality
    value: float

    @classmethod
    def of(
        cls, quality: float, effort: int, tune: str | None = None, **targets: float | None
    ) -> "Goal":
        """targets: target_size and so on, none but for the one that is given.

        Raises click.UsageError for more than one, and for one that goes with another tune.
        """
        given = [(name, value) for name, value in targets.items() if value is not None]
        names = [f"--{name.replace('_', '-')}" for name, _ in given]
        if len(given) > 1:
            raise click.UsageError(f"{' and '.join(names)}: only one target can be met")
        if not given:
            return cls(quality, effort, tune, "", 0.0)
        from ..targets import CLOSENESS

        target, value = given[0][0].removeprefix(PREFIX), given[0][1]
        if target in CLOSENESS and tune not in (None, CLOSENESS[target].tune):
            raise click.UsageError(f"{names[0]} does not go with --tune {tune}")
        return cls(quality, effort, tune, target, value)

    def encode(
        self, codec: "Codec", picture: Picture, max_pixels: int, report: Report
    ) -> tuple[bytes, dict]:
        """The .vqc file; its quality, and its closeness if that is the target. The report tells
        each trial. Raises OutOfReachError, MissingExtraError."""
        if not self.target:
            given = {"effort": self.effort, "tune": self.tune, "max_pixels": max_pixels}
            return codec.encode(picture, self.quality, **given), {"quality": self.quality}
        from ..targets import CLOSENESS, reach

        told: list[None] = []

        def tell(found: "Reached") -> None:
            told.append(None)
            report.status(f"trial {len(told)}, quality {found.quality:.1f}")

        given = codec, picture, self.target, self.value, self.effort, max_pixels, self.tune
        data, quality, value = reach(*given, told=tell)
        reached = {"quality": quality}
        return data, reached | ({self.target: value} if self.target in CLOSENESS else {})

    def said(self, reached: dict) -> str:
        """What the report has of what `encode` reached."""
        if not self.target:
            return ""
        from ..targets import CLOSENESS

        close = CLOSENESS[self.target].said(reached[self.target]) if self.target in reached else ""
        return f", quality {reached['quality']:.1f}" + (close and f", {close}")
