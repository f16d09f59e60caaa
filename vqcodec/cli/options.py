"""Options that several commands share, and the model and device that they name."""

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from PIL import ImageColor

from .. import shipped
from ..metadata import Metadata
from ..pixels import Picture, blend

if TYPE_CHECKING:
    from ..codec import Codec

sources = click.argument("sources", metavar="IN...", nargs=-1, required=True)
force = click.option("-f", "--force", is_flag=True, help="Overwrite existing files.")
device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the networks run; auto takes a GPU if there is one.",
)
quiet = click.option("-Q", "--quiet", is_flag=True, help="Print nothing but errors.")
verbose = click.option("-v", "--verbose", is_flag=True, help="Print more about each file.")


def finite(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """Refuse nan, which every range contains."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a number.", ctx, param)
    return value


strip = click.option(
    "--strip",
    type=click.Choice(["all", *Metadata._fields]),
    multiple=True,
    help="Metadata not to keep; may be repeated.",
)


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


alpha = click.option(
    "--alpha",
    type=Ground(),
    metavar="lossless|drop|blend:COLOR",
    default=Ground.LOSSLESS,
    show_default=True,
    help="Keep alpha, leave it out, or blend over a colour: a name or #rrggbb.",
)


class Keep(NamedTuple):
    """What of a source is coded: the values of `--strip` and `--alpha`."""

    strip: tuple[str, ...]
    alpha: str | tuple[int, int, int]

    def of(self, picture: Picture) -> Picture:
        """Take away what is not to be kept."""
        kinds = Metadata._fields if "all" in self.strip else self.strip
        picture = picture._replace(metadata=picture.metadata.without(kinds))
        if self.alpha == Ground.DROP:
            return picture._replace(alpha=None)
        return picture if self.alpha == Ground.LOSSLESS else blend(picture, self.alpha)


def check_model(model: str | None) -> None:
    """Raise UnknownModelError early, without torch, for a name that is none."""
    if model is None:
        shipped.default_name()
    elif not Path(model).is_dir():
        shipped.find(model)


@lru_cache(maxsize=4)
def load_codec(model: str | None, device: str) -> "Codec":
    """The codec of a model name or folder (None: the default), loaded once.

    Raises UnknownModelError, ModelError; click.UsageError if there is no such device.
    """
    import torch

    from ..codec import Codec

    if device == "cuda" and not torch.cuda.is_available():
        raise click.UsageError("--device cuda: torch finds no GPU here; auto would take the CPU")
    return Codec.load(model, device)
