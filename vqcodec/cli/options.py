"""Options that several commands share, and the model and device that they name."""

import math
import os
import warnings
from collections.abc import Callable, Collection
from functools import lru_cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from PIL import Image

from ..bitstream.container import Header
from ..engine.extras import DEVICES, has_torch
from ..engine.search import TUNES
from ..geometry import MAX_PIXELS, SCALES, check_crop
from ..image.depth import BYTE
from ..image.metadata import Metadata
from ..image.pixels import Picture, Source, blend, load
from ..rate_control import DEFAULT_EFFORTS, DEFAULT_QUALITY, EFFORTS
from ..zoo import shipped
from .param_types import Crop, Ground
from .paths import Job, plan, plan_tree
from .streams import STREAM, source_of, target_of

if TYPE_CHECKING:
    from ..codec import Codec


def source(ctx: click.Context, param: click.Parameter, given: object) -> object:
    """One path or several to read, stdin under its one name."""
    if isinstance(given, tuple):
        return tuple(map(source_of, given))
    return given and source_of(given)


def target(ctx: click.Context, param: click.Parameter, given: str | None) -> str | None:
    """A path to write, stdout under its one name."""
    return given and target_of(given)


sources = click.argument("sources", metavar="IN...", nargs=-1, required=True, callback=source)
out = click.option(
    "-o",
    "--out",
    metavar="OUT",
    callback=target,
    help="File; folder, if there are several; - is stdout.",
)
force = click.option(
    "-f",
    "--force",
    is_flag=True,
    help="Overwrite existing files: permissions and symbolic links stay, and what other hard links"
    " name stays as it was.",
)
device = click.option(
    "--device",
    type=click.Choice(DEVICES),
    envvar="VQCODEC_DEVICE",
    default="auto",
    show_default=True,
    help="Where the networks run. auto: ONNX Runtime; torch, where it is installed, for large"
    " pictures, on a GPU of CUDA if there is one. cpu: torch's, where it is installed.",
)


def _set_threads(ctx: click.Context, param: click.Parameter, count: int | None) -> None:
    """Tell OpenMP, which reads this when torch is first imported: after the options."""
    if count is not None:
        os.environ["OMP_NUM_THREADS"] = str(count)


threads = click.option(
    "--threads",
    type=click.IntRange(1),
    metavar="N",
    expose_value=False,
    callback=_set_threads,
    help="Threads of the networks, of each process.  [default: one a core, in all]",
)
model = click.option(
    "--model", metavar="NAME|DIR", help="Model by name or folder, not the default one."
)
max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(1),
    envvar="VQCODEC_MAX_PIXELS",
    default=MAX_PIXELS,
    show_default=True,
    metavar="N",
    help="Refuse larger pictures, before they take memory.",
)


def load_picture(source: Source, max_pixels: int = MAX_PIXELS, depth: int | None = BYTE) -> Picture:
    """`pixels.load`, whose limit is Pillow's as well where it is above that. Pillow's remarks on
    odd files are not shown: what matters to the user is in the notices."""
    # Pillow refuses above twice this number. Not in the option: worker processes start anew.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, -(-max_pixels // 2))
    with warnings.catch_warnings():  # not safe in threads: for commands alone
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return load(source, max_pixels, depth)


quiet = click.option("-Q", "--quiet", is_flag=True, help="Print nothing but errors.")
verbose = click.option("-v", "--verbose", is_flag=True, help="Print more about each file.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file.")


def finite(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """Refuse nan, which every range contains."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a number.", ctx, param)
    return value


crop = click.option(
    "--crop", type=Crop(), metavar="X,Y,W,H", help="Decode only W x H pixels, from X,Y on."
)


SCALE_NAMES = {"1" if scale == 1 else f"1/{scale}": scale for scale in SCALES}
scale = click.option(
    "--scale",
    type=click.Choice(list(SCALE_NAMES)),
    callback=lambda ctx, param, value: SCALE_NAMES[value],
    default="1",
    show_default=True,
    help="Decode at 1/2, 1/4 or 1/8 of the size, 1/4 and 1/8 in a fraction of the time.",
)


realism = click.option(
    "--realism",
    type=click.FloatRange(0, 1),
    callback=finite,
    envvar="VQCODEC_REALISM",
    default=0.0,
    show_default=True,
    help="From 0, the least squared error, to 1, believable texture, if the model has a second"
    " decoder.",
)


def check_inside(crop: tuple[int, int, int, int] | None, header: Header) -> None:
    """Raise click.UsageError unless the crop is a part of the picture."""
    if crop is not None:
        try:
            check_crop(crop, header.width, header.height)
        except ValueError as exc:
            raise click.UsageError(f"--crop: {exc}") from exc


def quality(text: str):
    """The option of a quality; `text` says what it is of, or what it means."""
    return click.option(
        "-q",
        "--quality",
        type=click.FloatRange(0, 100),
        callback=finite,
        default=DEFAULT_QUALITY,
        show_default=True,
        help=text,
    )


strip = click.option(
    "--strip",
    type=click.Choice(["all", *Metadata._fields]),
    multiple=True,
    help="Metadata not to keep; may be repeated.",
)

alpha = click.option(
    "--alpha",
    type=Ground(),
    metavar="lossless|drop|blend:COLOR",
    default=Ground.LOSSLESS,
    show_default=True,
    help="Keep alpha, leave it out, or blend over a colour: a name or #rrggbb.",
)


effort = click.option(
    "--effort",
    type=click.IntRange(EFFORTS[0], EFFORTS[-1]),
    help="How long to search for a smaller and closer coding: 1 is none, 9 thorough.  [default: "
    + "".join(f"{e} up to {most:g} megapixels, " for e, most in DEFAULT_EFFORTS.items())
    + "else 1]",
)

tune = click.option(
    "--tune",
    type=click.Choice(list(TUNES)),
    help="What the search keeps low: psnr, the squared error, or eyes, what eyes see beside it."
    "  [default: as the model was trained]",
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


class Batch(NamedTuple):
    """How to go through many files."""

    recursive: bool
    output_dir: str | None
    jobs: int
    skip_existing: bool
    preserve_times: bool

    def plan(
        self, sources: tuple[str, ...], out: str | None, suffix: str, extensions: Collection[str]
    ) -> list[Job]:
        """A target for each file; `extensions`: of those that `-r` takes from folders.

        Raises click.UsageError, InputError, OutputError.
        """
        if not self.recursive and self.output_dir is None:
            jobs = plan(sources, out, suffix, extensions)
        elif out is not None:
            raise click.UsageError("-o does not go with -r and --output-dir: give --output-dir")
        else:
            taken = extensions if self.recursive else ()
            jobs = plan_tree(sources, self.output_dir, suffix, taken)
        if self.preserve_times and any(STREAM in job for job in jobs):
            raise click.UsageError("--preserve-times needs files, and streams have no times")
        return jobs

    def pending(self, jobs: list[Job]) -> list[Job]:
        """The jobs that `--skip-existing` leaves."""
        return [job for job in jobs if not (self.skip_existing and Path(job.target).is_file())]


_BATCH = (
    click.option("-r", "--recursive", is_flag=True, help="Take the files below folders, too."),
    click.option(
        "--output-dir", metavar="DIR", help="Folder of all outputs; -r keeps its subfolders."
    ),
    click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        metavar="N",
        help="Files at a time, each in a process with its own model.",
    ),
    click.option("--skip-existing", is_flag=True, help="Leave out files whose output exists."),
    click.option("--preserve-times", is_flag=True, help="Outputs get their sources' times."),
)


def batch(command: Callable) -> Callable:
    """The options of Batch, which become the command's argument `batch`."""

    @wraps(command)
    def packed(**given: object) -> object:
        fields = {name: given.pop(name) for name in Batch._fields}
        return command(batch=Batch(**fields), **given)

    for option in reversed(_BATCH):
        packed = option(packed)
    return packed


def _check_folder(ctx: click.Context, param: click.Parameter, model: str | None) -> str | None:
    if model is not None:
        check_model(model)
    return model


file_model = click.option(
    "--model",
    metavar="DIR",
    callback=_check_folder,
    help="Model folder, for files whose model is not installed.",
)


def check_model(model: str | None) -> None:
    """Raise UnknownModelError early, without torch, for a name that is none."""
    if model is None:
        shipped.default_name()
    elif not shipped.is_path(model):
        shipped.find(model)


def codec_of(header: Header, model: str | None, device: str, precise: bool = False) -> "Codec":
    """The codec for a file: of `--model` if that is given, else of the model it names."""
    return load_codec(model or shipped.name_of(header.model_id), device, precise)


@lru_cache(maxsize=4)
def load_codec(model: str | None, device: str, precise: bool = False) -> "Codec":
    """The codec of a model name or folder (None: the default), loaded once.

    Raises UnknownModelError, ModelError, MissingExtraError; click.UsageError if there is no such
    device.
    """
    from ..codec import Codec

    if device in ("cuda", "mps") and has_torch():
        import torch

        found = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
        if not found[device]():
            raise click.UsageError(
                f"--device {device}: torch finds no such GPU here; auto takes what there is"
            )
    return Codec.load(model, device, precise)
