"""`vqcodec encode` and `vqcodec decode`."""

import io
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from ..bitstream.container import Header, read_header, unpack
from ..compare.captions import ratio, spaced, speed
from ..errors import CorruptError, OutputError
from ..geometry import MAX_DIMENSION
from ..image import formats, pixels
from ..image.depth import DEPTHS
from ..image.strip_files import save as save_strips
from ..image.strips import Strips
from ..progress import followed
from . import goals, options
from .console import Report
from .info import anatomy, facts
from .outcome import Done, Work
from .paths import Job, check_stdout, check_target, copy_times, read, write
from .streams import STREAM, write_stdout
from .workers import run_files

if TYPE_CHECKING:
    from ..codec import Codec


def _depth(text: str):
    """The option of a depth; `text` says what it is of."""
    return click.option(
        "--depth", type=click.IntRange(DEPTHS[0], DEPTHS[-1]), metavar="BITS", help=text
    )


def run_batch(
    jobs: list[Job],
    work: Work,
    batch: options.Batch,
    quiet: bool,
    verbose: bool,
    as_json: bool = False,
) -> None:
    """Do `work` on those jobs that are to be done."""
    report = Report(quiet, verbose, any(job.target == STREAM for job in jobs), as_json)
    pending = batch.pending(jobs)
    work = partial(work, times=batch.preserve_times)
    run_files(pending, work, report, batch.jobs, skipped=len(jobs) - len(pending))


def _encode_file(
    job: Job,
    report: Report,
    goal: goals.Goal,
    keep: options.Keep,
    depth: int | None,
    max_pixels: int,
    model: str | None,
    device: str,
    force: bool,
    times: bool,
) -> Done:
    check_target(job, force)
    picture = options.load_picture(read(job.source), max_pixels, depth)
    for notice in picture.notices:
        report.notice(job.name, notice)
    picture = keep.of(picture)
    height, width = picture.rgb.shape[:2]
    codec = options.load_codec(model, device)
    start = time.perf_counter()
    data, reached = goal.encode(codec, picture, max_pixels, report)
    seconds = time.perf_counter() - start
    write(job, data, force)
    if times:
        copy_times(job)
    area = height * width
    report.line(
        f"{job.name} {width}x{height} -> {job.target_name} {spaced(len(data))} B,"
        f" {8 * len(data) / area:.3f} bpp, {ratio(area, len(data))}, {speed(area, seconds)}"
        f"{goal.said(reached)}"
    )
    report.fact(**_facts(job, codec, data, (width, height), seconds))
    effort = goal.effort_of(codec, picture)
    report.fact(ratio=3 * area / len(data), effort=effort, **reached)
    device = _device(codec, read_header(data, MAX_DIMENSION**2))
    search = f"effort {effort}, " if effort else ""
    report.detail(f"{anatomy(facts(data))}; {seconds:.2f} s, {search}{device}")
    return Done(len(data), area)


def _facts(
    job: Job, codec: "Codec", data: bytes, size: tuple[int, int], seconds: float
) -> dict[str, object]:
    """What JSON says of a .vqc file and its picture; size: of what was coded or decoded of it."""
    header = read_header(data, MAX_DIMENSION**2)  # its size is checked by now
    width, height = size
    return {
        "output": job.target,
        "width": width,
        "height": height,
        "bytes": len(data),
        "bits_per_pixel": 8 * len(data) / (header.width * header.height),
        "seconds": seconds,
        "megapixels_per_second": width * height / 1e6 / seconds,
        "model_id": header.model_id.hex(),
        "level": header.level,
        "device": _device(codec, header),
    }


def _device(codec: "Codec", header: Header) -> str:
    """Where the networks ran, if there was need of any: they are not loaded to be named."""
    return codec.device if header.learned else "no networks"


@click.command()
@options.sources
@options.out
@goals.goal
@options.alpha
@options.strip
@_depth("Bits of a channel that the picture is to have.  [default: the source's]")
@options.max_pixels
@options.force
@options.model
@options.device
@options.threads
@options.batch
@options.as_json
@options.quiet
@options.verbose
def encode(
    sources: tuple[str, ...],
    out: str | None,
    goal: goals.Goal,
    alpha: str | tuple[int, int, int],
    strip: tuple[str, ...],
    depth: int | None,
    max_pixels: int,
    force: bool,
    model: str | None,
    device: str,
    batch: options.Batch,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Compress images to .vqc files.

    IN is any image that Pillow reads, or - for stdin. Without -o, photo.jpg becomes photo.vqc
    beside it. Alpha, ICC profile, EXIF and XMP are kept, and orientation is applied to the pixels.
    What a .vqc file cannot keep, such as animation, is named on stderr. With --json it is in the
    object of the file, as are failures; objects go to stdout, or to stderr if OUT is stdout.

    \b
    Examples:
      vqcodec encode photo.jpg
      vqcodec encode photo.jpg -q 20 -o small.vqc
      vqcodec encode *.png -o coded/
      vqcodec encode photos/ -r --output-dir coded -j 4 --skip-existing
      vqcodec encode photo.jpg --target-size 40kB
      vqcodec encode photo.jpg --target-ssimulacra2 70
      vqcodec encode *.png -o coded/ --json | jq .bits_per_pixel
      vqcodec encode photo.jpg --strip exif --strip xmp
      vqcodec encode logo.png --alpha blend:white
      vqcodec encode screenshot.png --lossless
      curl -s https://example.org/a.png | vqcodec encode - > a.vqc
    """
    jobs = batch.plan(sources, out, ".vqc", formats.PICTURES)
    check_stdout(jobs, force)
    options.check_model(model)
    work = partial(
        _encode_file,
        goal=goal,
        keep=options.Keep(strip, alpha),
        depth=depth,
        max_pixels=max_pixels,
        model=model,
        device=device,
        force=force,
    )
    run_batch(jobs, work, batch, quiet, verbose, as_json)


def _decode_file(
    job: Job,
    report: Report,
    image_format: str | None,
    how: dict[str, object],
    allow_damaged: bool,
    model: str | None,
    device: str,
    precise: bool,
    force: bool,
    times: bool,
) -> Done:
    """how: further arguments of `Codec.decode_strips`."""
    data, max_pixels = read(job.source), how["max_pixels"]
    # Before the model: a damaged file is told at once.
    header = read_header(data, max_pixels) if allow_damaged else unpack(data, max_pixels).header
    options.check_inside(how["crop"], header)
    check_target(job, force)
    check_format(job, image_format)
    codec = options.codec_of(header, model, device, precise)
    start = time.perf_counter()
    strips, damage = _decode(codec, data, allow_damaged, how)
    seconds = [time.perf_counter() - start]
    rows = followed(_clocked(strips.rows, seconds), strips.height, report.share, len)
    strips = strips._replace(rows=rows)
    for notice in save_picture(strips, job.target, image_format, force):
        report.notice(job.name, notice)
    if times:
        copy_times(job)
    report.line(
        f"{job.name} {spaced(len(data))} B -> {job.target_name} {strips.width}x{strips.height},"
        f" {speed(strips.width * strips.height, sum(seconds))}"
    )
    size = strips.width, strips.height
    report.fact(**_facts(job, codec, data, size, sum(seconds)), realism=how["realism"])
    if damage:
        raise CorruptError(f"decoded, but damaged: {'; '.join(damage)}")
    device = _device(codec, header)
    report.detail(f"{anatomy(facts(data))}; {sum(seconds):.2f} s, {device}")
    return Done(len(data), strips.width * strips.height)


def _decode(
    codec: "Codec", data: bytes, allow_damaged: bool, how: dict[str, object]
) -> tuple[Strips, tuple[str, ...]]:
    """The picture, and what is damaged of it. how: further arguments of `Codec.decode_strips`."""
    if not allow_damaged:
        return codec.decode_strips(data, **how), ()
    strips, _, damage = codec.decode_damaged_strips(data, **how)
    return strips, damage


def _clocked(rows: Iterator[np.ndarray], seconds: list[float]) -> Iterator[np.ndarray]:
    """Pass strips on, and note the time that decoding them takes, without that of writing."""
    while True:
        start = time.perf_counter()
        strip = next(rows, None)
        seconds.append(time.perf_counter() - start)
        if strip is None:
            return
        yield strip


def save_picture(
    strips: Strips, target: str, image_format: str | None, force: bool
) -> tuple[str, ...]:
    """Write a decoded picture with its metadata; return notices of what the format has not."""
    if target != STREAM:
        return save_strips(strips, target, image_format, force)
    out = io.BytesIO()
    notices = save_strips(strips, out, image_format or "png")
    write_stdout(out.getvalue())
    return notices


def check_format(job: Job, image_format: str | None = None) -> None:
    """Find out before the work, on one pixel, that the format cannot be written.

    image_format: None leaves it to the extension. Raises OutputError.
    """
    extension = "png" if job.target == STREAM else Path(job.target).suffix[1:]
    pixel = np.zeros((1, 1, 3), np.uint8)
    pixels.save(pixel, io.BytesIO(), image_format or extension or "without extension")


def _format(ctx: click.Context, param: click.Parameter, given: str | None) -> str | None:
    """The name without the dot of an extension. Raises OutputError if it could be no name."""
    name = given and given.removeprefix(".")
    if name is not None and not name.isalnum():
        raise OutputError(f"image format {given!r} cannot be written")
    return name


@click.command()
@options.sources
@options.out
@click.option(
    "--format",
    "image_format",
    metavar="FORMAT",
    callback=_format,
    help="png, webp, jpeg, ...: not by the extension of OUT. Default of stdout: png.",
)
@_depth("Bits of a channel to decode to: 8 of any file.  [default: the file's]")
@options.crop
@options.scale
@options.realism
@click.option(
    "--allow-damaged",
    is_flag=True,
    help="Decode what can be saved of damaged files and guess the rest; the exit code stays 4.",
)
@options.max_pixels
@options.force
@options.file_model
@options.device
@click.option(
    "--precise",
    is_flag=True,
    help="Never compute pixels in bfloat16, which moves them by up to two levels in 255; above 8"
    " bits they never are.",
)
@options.threads
@options.batch
@options.as_json
@options.quiet
@options.verbose
def decode(
    sources: tuple[str, ...],
    out: str | None,
    image_format: str | None,
    depth: int | None,
    crop: tuple[int, int, int, int] | None,
    scale: int,
    realism: float,
    allow_damaged: bool,
    max_pixels: int,
    force: bool,
    model: str | None,
    device: str,
    precise: bool,
    batch: options.Batch,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Decode .vqc files as images.

    IN is a .vqc file, or - for stdin. Without -o, photo.vqc becomes photo.png beside it. The
    extension of OUT decides the format. The model is the one that the file names. PNG and PPM
    files are written as they are decoded, so that pictures of any size need little memory. These
    and TIFF hold what a file has beyond 8 bits.

    \b
    Examples:
      vqcodec decode photo.vqc
      vqcodec decode photo.vqc -o photo.webp
      vqcodec decode coded/*.vqc -o decoded/ --format jpeg
      vqcodec decode photo.vqc --crop 4000,3000,512,512 -o detail.png
      vqcodec decode photo.vqc --scale 1/8 -o thumbnail.png
      vqcodec decode photo.vqc --realism 1 -o textured.png
      vqcodec decode coded/ -r --output-dir decoded -j 4
      vqcodec decode photo.vqc -o - | display
      vqcodec decode coded/*.vqc -o decoded/ --json | jq .seconds
      vqcodec decode cut.vqc --allow-damaged
    """
    jobs = batch.plan(sources, out, f".{(image_format or 'png').lower()}", {".vqc"})
    check_stdout(jobs, force)
    how = {"depth": depth, "crop": crop, "scale": scale, "realism": realism}
    work = partial(
        _decode_file,
        image_format=image_format,
        how=how | {"max_pixels": max_pixels},
        allow_damaged=allow_damaged,
        model=model,
        device=device,
        precise=precise,
        force=force,
    )
    run_batch(jobs, work, batch, quiet, verbose, as_json)
