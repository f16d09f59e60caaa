"""Types of option values: sizes in bytes, crops, colours."""

import math

import click
from PIL import ImageColor


class Crop(click.ParamType):
    """A part of a picture: x, y, width and height in pixels."""

    name = "crop"

    def convert(self, value: object, param: click.Parameter, ctx: click.Context) -> object:
        """Read `X,Y,W,H`; fails for anything else."""
        try:
            found = tuple(int(number) for number in str(value).split(","))
        except ValueError:
            found = ()
        if len(found) != 4:
            self.fail(f"{value!r}: expected X,Y,W,H, four numbers of pixels.", param, ctx)
        return found


class Ground(click.ParamType):
    """What to do with alpha: LOSSLESS, DROP, or the colour, RGB, to blend it over."""

    name = "ground"
    LOSSLESS, DROP = "lossless", "drop"

    def convert(self, value: object, param: click.Parameter, ctx: click.Context) -> object:
        """Read `lossless`, `drop` or `blend:COLOR`; fails for anything else."""
        if value in (self.LOSSLESS, self.DROP) or isinstance(value, tuple):
            return value
        how, _, colour = str(value).partition(":")
        try:
            found = ImageColor.getrgb(colour)
        except ValueError:
            found = ()
        if how != "blend" or len(found) != 3:
            text = "expected lossless, drop or blend:COLOR, a name or #rrggbb"
            self.fail(f"{value!r}: {text}.", param, ctx)
        return found


class Bytes(click.ParamType):
    """A size: a number, and a unit if it is not of bytes."""

    name = "bytes"
    # Of the meanings of K the smaller one: a file of at most so many bytes satisfies both.
    UNITS = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6} | {
        "kib": 2**10,
        "mib": 2**20,
    }

    def convert(self, value: object, param: click.Parameter, ctx: click.Context) -> object:
        """Read `40000`, `40kB` or `39.1KiB`; fails for anything else."""
        text = str(value).strip().lower()
        number = text.rstrip("bkmi ")
        try:
            found = float(number) * self.UNITS[text[len(number) :].strip()]
        except (ValueError, KeyError):
            found = 0.0
        if not 0 < found < math.inf:
            expected = "expected a number of bytes above 0, such as 40000, 40kB or 39KiB"
            self.fail(f"{value!r}: {expected}.", param, ctx)
        return found
