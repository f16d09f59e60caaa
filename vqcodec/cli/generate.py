"""`vqcodec sample` and `vqcodec inpaint`: sampling and inpainting with the prior."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..bitstream import container
from ..compare.captions import spaced
from ..geometry import MAX_PIXELS, check_size
from ..image import pixels
from . import options
from .coding import check_format
from .console import Report, run
from .paths import Job, check_stdout, check_target, read, write
from .streams import STREAM, write_stdout

if TYPE_CHECKING:
    from ..codec import Codec, Indices

Draw = Callable[..., "Indices"]  # takes a seed
COARSE = "coarse"
SIZE = 768, 512  # pixels, as of the Kodak pictures
WHITE = 128  # of a mask: from here on it is a hole


class Size(click.ParamType):
    """Width and height in pixels."""

    name = "size"

    def convert(self, value: object, param: click.Parameter, ctx: click.Context) -> object:
        """Read `WxH`; fails for anything else."""
        width, _, height = str(value).partition("x")
        try:
            found = int(width), int(height)
        except ValueError:
            found = 0, 0
        if min(found) < 1:
            self.fail(f"{value!r}: expected WxH, two numbers of pixels.", param, ctx)
        return found


class Keep(click.ParamType):
    """How many passes of the prior stay as they are: a number, or COARSE."""

    name = "keep"

    def convert(self, value: object, param: click.Parameter, ctx: click.Context) -> object:
        """Read `coarse` or a number; fails for anything else."""
        if value == COARSE:
            return COARSE
        return click.IntRange(0).convert(value, param, ctx)


temperature = partial(
    click.option, "--temperature", type=click.FloatRange(0), callback=options.finite, metavar="T"
)
seed = click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="S",
    help="Of the random numbers: the same again for the same seed.",
)


def _names(out: str, count: int, seed: int) -> list[Job]:
    """A target for each sample; if there are several, the seed of each is part of its name."""
    if count == 1:
        return [Job(f"seed {seed}", out)]
    if out == STREAM:
        raise click.UsageError("-n: several samples do not go to stdout")
    path = Path(out)
    return [
        Job(f"seed {s}", str(path.with_name(f"{path.stem}-{s}{path.suffix}")))
        for s in range(seed, seed + count)
    ]


def _is_vqc(job: Job) -> bool:
    return Path(job.target).suffix.lower() == ".vqc"


def _save(picture: pixels.Picture, job: Job, force: bool, report: Report) -> None:
    """Write a picture in the format of the target's extension; stdout takes PNG."""
    if job.target != STREAM:
        notices = pixels.save(picture, job.target, overwrite=force)
    else:
        out = io.BytesIO()
        notices = pixels.save(picture, out, "png")
        write_stdout(out.getvalue())
    for notice in notices:
        report.notice(job.name, notice)


def _new(
    size: tuple[int, int], level: int | None, temperature: float, model: str | None, device: str
) -> tuple["Codec", Draw]:
    """The codec, and what draws another picture for each seed."""
    from ..generative import generate

    check_size(*size, MAX_PIXELS)
    codec = options.load_codec(model, device)
    if level is not None:
        _check_most("--level", level, codec.model.config.transform.levels - 1)
    return codec, partial(generate.sample, codec, *size, level=level, temperature=temperature)


def _variation(
    source: str, keep: int | str, temperature: float, model: str | None, device: str
) -> tuple["Codec", Draw]:
    """The codec, and what draws a variation of a file for each seed."""
    from ..generative import generate

    data = read(source)
    codec = options.codec_of(container.unpack(data).header, model, device)
    if keep == COARSE:
        keep = None
    else:
        _check_most("--keep", keep, len(codec.model.config.prior.passes))
    tokens = codec.read_indices(data)
    return codec, partial(generate.vary, codec, tokens, keep=keep, temperature=temperature)


def _check_most(option: str, value: int, most: int) -> None:
    """Raise click.UsageError for a value above what the model has."""
    if value > most:
        raise click.UsageError(f"{option}: {value} is above {most}, the most of this model")


def _write_sample(
    job: Job,
    seed: int,
    codec: "Codec",
    draw: Draw,
    realism: float,
    force: bool,
    report: Report,
) -> None:
    tokens = draw(seed=seed)
    line = f"{job.name} -> {job.target_name} {tokens.width}x{tokens.height}, level {tokens.level}"
    if _is_vqc(job):
        data = codec.write_indices(tokens)
        write(job, data, force)
        line += f", {spaced(len(data))} B, {8 * len(data) / (tokens.width * tokens.height):.3f} bpp"
    else:
        _save(pixels.load(codec.decode_indices(tokens, realism=realism)), job, force, report)
    report.line(line)


@click.command()
@click.option("-n", "--count", type=click.IntRange(1), default=1, metavar="N", help="How many.")
@click.option("--size", type=Size(), metavar="WxH", help="In pixels.  [default: 768x512]")
@click.option(
    "--level",
    type=click.IntRange(0),
    metavar="L",
    help="Fineness of the latents.  [default: that of quality 30]",
)
@temperature(
    default=1.0,
    show_default=True,
    help="1 draws as the prior expects; below it what is likely is likelier, 0 is the likeliest.",
)
@seed
@click.option("--from", "source", metavar="FILE", callback=options.source,
              help="Vary this .vqc file.")  # fmt: skip
@click.option(
    "--keep",
    type=Keep(),
    metavar="coarse|N",
    help="What of FILE stays: its coarse indices, or the first N passes.  [default: coarse]",
)
@options.realism
@click.option("-o", "--out", metavar="OUT", default="sample.png", show_default=True,
              callback=options.target)  # fmt: skip
@options.force
@options.model
@options.device
@options.threads
@options.quiet
def sample(
    count: int,
    size: tuple[int, int] | None,
    level: int | None,
    temperature: float,
    seed: int,
    source: str | None,
    keep: int | str | None,
    realism: float,
    out: str,
    force: bool,
    model: str | None,
    device: str,
    quiet: bool,
) -> None:
    """Draw pictures from the prior, or variations of a file.

    Indices are drawn from the prior, coarse to fine, and decoded, or written if OUT ends in .vqc.
    The prior knows texture and light, not things: samples are abstract. With --from FILE the
    coarse indices stay as they are and only the fine ones are drawn: the same scene with other
    detail, without alpha and metadata. Of several samples each has its seed, S, S + 1 and so on,
    in its name.

    \b
    Examples:
      vqcodec sample
      vqcodec sample -n 4 --size 512x512 --temperature 0.8 -o abstract.png
      vqcodec sample --from photo.vqc --keep 4 -o variation.vqc
    """
    if source is None and keep is not None:
        raise click.UsageError("--keep needs --from FILE")
    if source is not None and (size is not None or level is not None):
        raise click.UsageError("--from FILE has its own size and level: leave --size and --level")
    options.check_model(model)
    jobs = _names(out, count, seed)
    check_stdout(jobs, force)
    report = Report(quiet, to_stderr=out == STREAM)
    found: list[tuple[Codec, Draw]] = []

    def start() -> None:
        for job in jobs:
            check_target(job._replace(source=source or STREAM), force)
            if not _is_vqc(job):
                check_format(job)
        if source is None:
            found.append(_new(size or SIZE, level, temperature, model, device))
        else:
            kept = COARSE if keep is None else keep
            found.append(_variation(source, kept, temperature, model, device))

    run([("sample" if source is None else Job(source, out).name, start)], report)
    work = partial(_write_sample, realism=realism, force=force, report=report)
    work = partial(work, codec=found[0][0], draw=found[0][1])
    run([(job.name, partial(work, job, seed + n)) for n, job in enumerate(jobs)], report)


def _inpaint(
    job: Job,
    mask: str,
    temperature: float | None,
    seed: int,
    model: str | None,
    device: str,
    force: bool,
    report: Report,
) -> None:
    check_target(job, force)
    check_target(job._replace(source=mask), force)
    check_format(job)
    picture = options.load_picture(read(job.source))
    for notice in picture.notices:
        report.notice(job.name, notice)
    hole = options.load_picture(read(mask)).rgb.max(2) >= WHITE
    from ..generative import generate

    codec = options.load_codec(model, device)
    filled = generate.inpaint(codec, picture, hole, temperature=temperature, seed=seed)
    _save(filled, job, force, report)
    height, width = hole.shape
    report.line(
        f"{job.name} {width}x{height} -> {job.target_name}, {spaced(int(hole.sum()))} pixels filled"
    )


@click.command()
@click.argument("image", callback=options.source)
@click.option("--mask", required=True, metavar="MASK", callback=options.source,
              help="Picture: white where to fill.")  # fmt: skip
@click.option("-o", "--out", required=True, metavar="OUT", callback=options.target,
              help="Image file; - is stdout, as PNG.")  # fmt: skip
@temperature(
    help="Draw detail, at 1 as the prior expects it.  [default: fill with what is expected]"
)
@seed
@options.force
@options.model
@options.device
@options.threads
@options.quiet
def inpaint(
    image: str,
    mask: str,
    out: str,
    temperature: float | None,
    seed: int,
    force: bool,
    model: str | None,
    device: str,
    quiet: bool,
) -> None:
    """Fill a hole in a picture from what is around it.

    MASK is a picture of the same size, at least half as bright as white in the hole. Pixels
    outside it, alpha and metadata stay as they are. Holes are continued smoothly: surfaces and
    soft edges, no objects.

    \b
    Examples:
      vqcodec inpaint photo.jpg --mask hole.png -o whole.png
      vqcodec inpaint photo.jpg --mask hole.png --temperature 1 --seed 3 -o whole.png
    """
    if image == mask == STREAM:
        raise click.UsageError("only one of IMAGE and MASK can be stdin")
    options.check_model(model)
    job = Job(image, out)
    check_stdout([job], force)
    report = Report(quiet, to_stderr=out == STREAM)
    work = partial(*(_inpaint, job, mask, temperature, seed, model, device, force), report)
    run([(job.name, work)], report)
