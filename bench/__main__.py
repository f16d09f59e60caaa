"""The command line of the benchmark."""

import math
from pathlib import Path

import click

from vqcodec.errors import VqcodecError
from vqcodec.image import pixels

from . import ours, pictures
from .curves import Intervals
from .figures import MEASURES, runnable
from .rd import NOTHING, Options, redraw
from .rd import run as run_rd
from .workers import cores

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "valid"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
model_option = click.option("--model", default="", help="Folder or name; default: the shipped one.")
device_option = click.option(
    "--device", type=click.Choice(("cpu", "onnx")), default="cpu", show_default=True,
    help="Ours: the CPU by torch, or by ONNX Runtime.",
)  # fmt: skip


def _list_of(kind: type):
    """Turns "1,2" into a tuple, "" into an empty one."""

    def convert(_context, _parameter, text: str) -> tuple:
        try:
            return tuple(kind(part) for part in text.split(",")) if text else ()
        except ValueError as exc:
            raise click.BadParameter(f"{text!r}, expected {kind.__name__}s and commas") from exc

    return convert


def _interval(_context, _parameter, ends: tuple[float, float] | None) -> tuple | None:
    if ends and not ends[0] < ends[1]:
        raise click.BadParameter(f"{ends[0]:g} to {ends[1]:g} is no interval")
    return ends


def _text(values) -> str:
    return ",".join(map(str, values))


def _list_option(names: str, values, kind: type, help_: str):
    return click.option(
        *names.split(),
        default=_text(values),
        show_default=bool(values),
        callback=_list_of(kind),
        help=help_,
    )


measures_option = _list_option("--measures", MEASURES, str,
                               "PSNR always; those that cannot run are left out.")  # fmt: skip
jobs_option = click.option("--jobs", "-j", type=click.IntRange(1), default=cores,
                           help="Processes. Default: one a core.")  # fmt: skip


@click.group()
def main() -> None:
    """Measure vqcodec next to other codecs."""


@main.command()
@click.option("--images", "folders", multiple=True, type=FOLDER, help="May be repeated.")
@click.option("--from", "source", type=FILE, default=None, metavar="RESULTS.JSON",
              help="Draw plots and report of an earlier run again, measuring nothing; "
              "range, rates and anchor are the run's, if they are not given.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=None,
              help="Folder of results and caches; a run goes on with what it finds there. "
              "Default: runs/bench; with --from the folder of its file.")  # fmt: skip
@model_option
@_list_option("--codecs", Options.codecs, str, "What to measure.")
@_list_option("--qualities", ours.QUALITIES, float, "Ours.")
@_list_option("--efforts", (), int,
              "Ours, a curve each, the first compared with the others. 0, as none: the default of "
              "vqcodec encode.")  # fmt: skip
@_list_option("--realism realisms", (), float,
              "Ours, a curve each besides 0; with --lpips with KID as well.")  # fmt: skip
@click.option("--range", "within", nargs=2, type=float, default=None, callback=_interval,
              help="PSNR in dB over which BD-rates are taken. Default: 26 33.")  # fmt: skip
@click.option("--rates", nargs=2, type=click.FloatRange(0, min_open=True),
              default=None, callback=_interval,
              help="Bits per pixel of ours over which BD-rates are taken as well. "
              "Default: 0.1 1.")  # fmt: skip
@click.option("--anchor", default=None, help="Codec of the last column. Default: jpeg.")
@click.option("--published", type=FILE, default=None,
              help="JSON of curves to draw and compare. Default: if the pictures are the 24 of "
              "Kodak, those of bench/published.json.")  # fmt: skip
@measures_option
@click.option("--lpips", type=FILE, default=None, metavar="WEIGHTS",
              help="LPIPS as well, with these safetensors of SqueezeNet.")  # fmt: skip
@jobs_option
def rd(
    source: Path | None,
    within: tuple[float, float] | None,
    rates: tuple[float, float] | None,
    anchor: str | None,
    published: Path | None,
    measures: tuple[str, ...],
    lpips: Path | None,
    out: Path | None,
    **options,
) -> None:
    """Rate and distortion on all pictures of the folders: tables, plots, a report."""
    changes = {"psnr": within, "rates": rates, "anchor": anchor}
    if (source is None) == (not options["folders"]):
        raise click.UsageError("give either --images FOLDER or --from RESULTS.JSON")
    try:
        if source is not None:
            redraw(source, out or source.parent, changes)
            return
        figures = runnable(measures, str(lpips or ""))
        out = out or Path("runs/bench")
        intervals = Intervals(within or Intervals().psnr, rates or Intervals().rates)
        chosen = {"anchor": anchor or Options.anchor, "published": published or NOTHING}
        run_rd(Options(out=out, intervals=intervals, figures=figures, **chosen, **options))
    except (ValueError, VqcodecError) as exc:
        raise click.ClickException(str(exc)) from exc


@main.command()
@click.option("--images", "folders", multiple=True, required=True, type=FOLDER,
              help="May be repeated.")  # fmt: skip
@click.option("--lpips", required=True, type=FILE, metavar="WEIGHTS", help="As of rd.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              default=Path("runs/realism"), show_default=True,
              help="Folder of the files of all codecs, which are not made again; remove it if the "
              "encoder's code has changed.")  # fmt: skip
@model_option
@_list_option("--rates", (0.1, 0.2, 0.4), float, "Bits per pixel.")
@click.option("--effort", type=click.IntRange(1, 9), default=1, show_default=True)
@measures_option
@jobs_option
def realism(
    folders: tuple[Path, ...], lpips: Path, out: Path, measures: tuple[str, ...], **options
) -> None:
    """The dial between the decoders: figures at some rates, blends of weights against blends of
    pixels, AVIF and WebP at equal bytes, and the time of decoding."""
    from .realism import Options, run

    try:
        figures = runnable(("lpips", *measures), str(lpips))
        run(Options(folders, lpips, out, figures=figures, **options))
    except (ValueError, VqcodecError) as exc:
        raise click.ClickException(str(exc)) from exc


@main.command()
@click.argument("images", nargs=-1, type=FILE)
@model_option
@device_option
@_list_option("--threads", (1, 2), int, "Numbers of threads to try.")
@_list_option("--sizes", (0.1, 1, 4), float, "Megapixels to make of the first picture; up to 100.")
@click.option("--quality", "-q", type=float, default=50, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True)
@click.option("--processes", type=click.IntRange(0), default=3, show_default=True,
              help="Runs of whole processes; 0: none.")  # fmt: skip
@click.option("--memory/--no-memory", default=True, help="Peak memory, in processes of their own.")
def speed(images: tuple[Path, ...], **options) -> None:
    """Speed and memory on IMAGES, or on a made-up one of 768x512, next to the peers."""
    from .speed import Options, run

    rgb = [pixels.load(image).rgb for image in images] or [pictures.sample()]
    run(Options(rgb, **options))


@main.command()
@click.argument("image", required=False, type=FILE)
@_list_option("--sizes", (0.4, 12, 100), float, "Megapixels to make of the picture.")
@_list_option("--models", ("base-7",), str, "Ours, by name or folder.")
@_list_option("--devices", ("cpu", "onnx"), str, "Ours: the CPU by torch, or by ONNX Runtime.")
@_list_option("--efforts", (1,), int, "Ours; 0: that of vqcodec encode.")
@_list_option("--peers", ("avif-s6", "webp", "jxl", "hyperprior"), str, "Those that are there.")
@click.option("--quality", "-q", type=float, default=50, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
def sizes(image: Path | None, **options) -> None:
    """Time and memory over the size of IMAGE, or of a made-up one: ours by model and engine, next
    to the peers."""
    from .sizes import Options, run

    run(Options(pixels.load(image).rgb if image else pictures.sample(), **options))


@main.command()
@click.argument("image", required=False, type=FILE)
@model_option
@device_option
@click.option("--quality", "-q", type=float, default=50, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True)
def together(image: Path | None, model: str, device: str, quality: float, runs: int) -> None:
    """Two processes that encode IMAGE at once on two cores, against one alone; effort 1."""
    from .together import run

    rgb = pixels.load(image).rgb if image else pictures.sample()
    run(rgb, model, quality, device, runs)


@main.command()
@model_option
@_list_option("--sizes", (4, 24), float, "Megapixels of the pictures; at least 1.")
@click.option("--quality", "-q", type=float, default=50, show_default=True)
@click.option("--effort", type=click.IntRange(1, 9), default=1, show_default=True)
def memory(model: str, sizes, quality, effort) -> None:
    """Peak memory and time of whole processes on made-up pictures."""
    from .memory import run

    run(list(sizes), model, quality, effort)


@main.command()
@click.argument("folder", type=FOLDER)
@model_option
@_list_option("--qualities -q", (20, 50, 80), float, "Ours.")
def identity(folder: Path, model: str, qualities) -> None:
    """Read every picture's file in many ways; exit code 1 if any indices differ."""
    from .identity import run

    if run(folder, model, list(qualities)):
        raise SystemExit(1)


@main.command()
@click.argument("folder", type=FOLDER)
@model_option
@_list_option("--qualities -q", (10, 50, 100), float, "Ours.")
def precise(folder: Path, model: str, qualities) -> None:
    """What decoding in bfloat16 moves of pixels and PSNR, where the processor has it."""
    from .precise import run

    run(folder, model, list(qualities))


@main.command()
@click.argument("folder", type=FOLDER)
@model_option
@_list_option("--qualities -q", (20, 50, 80), float, "Ours.")
def overhead(folder: Path, model: str, qualities) -> None:
    """Bytes that are not coder words, and coded bits against the prior's cross-entropy."""
    from .overhead import run

    run(folder, model, list(qualities))


@main.command()
@click.argument("folder", type=FOLDER)
@model_option
@_list_option("--qualities -q", (30, 70), float, "Ours.")
def scales(folder: Path, model: str, qualities) -> None:
    """Pictures at 1/2, 1/4 and 1/8: PSNR against the reduced whole, time on one core."""
    from .scales import run

    run(folder, model, list(qualities))


@main.command()
@click.argument("folder", type=FOLDER)
@model_option
@_list_option("--qualities -q", (0, 10, 20, 30, 40, 50, 65, 75), float, "Ours.")
@_list_option("--targets", (32, 34, 36, 38, 40, 42), float, "dB that a file is to have.")
@click.option("--effort", type=click.IntRange(1, 9), help="Ours.  [default: the command's]")
def screens(folder: Path, model: str, qualities, targets, effort: int | None) -> None:
    """Text and drawings: bits of the smallest files of at least some PSNR, AVIF's beside them."""
    from .screens import run

    run(folder, model, list(qualities), list(targets), effort)


@main.command()
@click.argument("folder", type=FOLDER)
@model_option
@_list_option("--targets", (0.1, 0.2, 0.4, 0.8, 1.2), float, "Bits per pixel to aim at.")
@click.option("--effort", type=click.IntRange(1, 9), default=4, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
def rates(folder: Path, model: str, targets, effort: int, threads: int) -> None:
    """Size over qualities 0, 5, ..., 100, and what --target-bpp reaches."""
    from .rates import run

    run(folder, model, list(targets), effort, threads)


@main.command()
@click.argument("folder", type=FOLDER)
@model_option
@click.option("--by", type=click.Choice(["psnr", "ssimulacra2", "butteraugli"]),
              default="ssimulacra2", show_default=True)  # fmt: skip
@click.option("--target", type=float, default=70, show_default=True)
@click.option("--within", type=float, default=0.5, show_default=True, help="How near is near.")
@click.option("--effort", type=click.IntRange(1, 9), default=1, show_default=True)
def looks(folder: Path, model: str, by: str, target: float, within: float, effort: int) -> None:
    """Whether --target-ssimulacra2 and its like are met, how nearly, and in how many encodes."""
    from .rates import run_looks

    run_looks(folder, model, by, target, within, effort)


@main.command()
@click.argument("folder", type=FOLDER)
@model_option
@click.option("--quality", "-q", type=float, default=50, show_default=True)
@click.option("--tiles", type=click.IntRange(1, 16), default=16, show_default=True,
              help="How many of each picture.")  # fmt: skip
def damage(folder: Path, model: str, quality: float, tiles: int) -> None:
    """Lose one of 16 tiles of a picture at a time; PSNR of what is put in its place."""
    from .damage import run

    run(folder, model, quality, tiles)


@main.command()
@click.option("--images", "folders", multiple=True, required=True, type=FOLDER,
              help="Clean pictures; may be repeated.")  # fmt: skip
@click.option("--model", required=True, help="Folder or name of a model with a task.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise.")
def restore(folders: tuple[Path, ...], model: str, seed: int) -> None:
    """PSNR of degraded pictures, and of what a model with a task makes of them."""
    from .restore import run

    try:
        run(folders, model, seed)
    except (ValueError, VqcodecError) as exc:
        raise click.ClickException(str(exc)) from exc


@main.command()
@model_option
@_list_option("--levels", (4, 12, 24, 40), int, "Of the samples.")
@click.option("--count", type=click.IntRange(1), default=4, show_default=True)
def sample(model: str, levels, count: int) -> None:
    """Bits of samples against the entropy that the prior expects of them."""
    from .generated import run_sample

    run_sample(model, list(levels), count)


@main.command()
@click.option("--images", "folder", required=True, type=FOLDER)
@model_option
@click.option("--side", type=click.IntRange(1), default=64, show_default=True,
              help="Of the hole, in pixels.")  # fmt: skip
def inpaint(folder: Path, model: str, side: int) -> None:
    """Fill a hole in the middle of each picture; PSNR over it, by method."""
    from .generated import run_inpaint

    run_inpaint(folder, model, side)


@main.command()
@click.option("--count", type=click.IntRange(1), default=200_000, show_default=True)
@click.option("--decoded", type=click.FloatRange(0, 1), default=0.05, show_default=True,
              help="Share that goes through the networks, too.")  # fmt: skip
@click.option("--minutes", type=click.FloatRange(0), default=math.inf, help="Stop after these.")
@click.option("--seeds", type=FOLDER, default=GOLDEN, show_default=True,
              help="Folder of valid .vqc files.")  # fmt: skip
@model_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random numbers.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/fuzz"),
              show_default=True, help="Where inputs go that do what they should not.")  # fmt: skip
def fuzz(
    count: int, decoded: float, minutes: float, seeds: Path, model: str, seed: int, out: Path
) -> None:
    """Read COUNT mutated files; exit code 1 if any crashes, hangs or takes memory."""
    from .fuzz import run

    if run(seeds, model, count, decoded, seed, out, minutes):
        raise SystemExit(1)


@main.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@model_option
def flips(files: tuple[Path, ...], model: str) -> None:
    """Every single-bit flip and truncation of FILES; exit code 1 if any is decoded as if sound."""
    from .flips import run

    if run(list(files), model):
        raise SystemExit(1)


@main.command()
@model_option
@click.option("--count", type=click.IntRange(1), default=2000, show_default=True)
def leak(model: str, count: int) -> None:
    """Memory of one process over COUNT encodes and decodes."""
    from .leak import run

    run(model, count)


if __name__ == "__main__":
    main(prog_name="python -m bench")
