"""Options that several commands share, and the model and device that they name."""

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import shipped

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
