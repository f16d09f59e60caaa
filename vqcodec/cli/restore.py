"""`vqcodec restore`: denoise or enlarge pictures with a network that was trained for it."""

import time
from functools import partial

import click

from ..compare.captions import speed
from ..image import formats
from . import options
from .coding import check_format, run_batch, save_picture
from .console import Report
from .outcome import Done
from .paths import Job, check_stdout, check_target, copy_times, read


def _restore_file(
    job: Job, report: Report, model: str, device: str, force: bool, times: bool
) -> Done:
    from ..generative import restoration

    check_target(job, force)
    check_format(job)
    picture = options.load_picture(read(job.source))
    for notice in picture.notices:
        report.notice(job.name, notice)
    codec = options.load_codec(model, device)
    start = time.perf_counter()
    data = restoration.restore(codec, picture)
    strips = codec.decode_strips(data)
    for notice in save_picture(strips, job.target, None, force):
        report.notice(job.name, notice)
    seconds = time.perf_counter() - start
    if times:
        copy_times(job)
    height, width = picture.rgb.shape[:2]
    area = strips.width * strips.height
    report.line(
        f"{job.name} {width}x{height} -> {job.target_name} {strips.width}x{strips.height},"
        f" {speed(area, seconds)}"
    )
    return Done(len(data), area)


@click.command()
@options.sources
@options.out
@click.option(
    "--model",
    metavar="NAME|DIR",
    required=True,
    help="Model that was trained with --task: it says what is done.",
)
@options.force
@options.device
@options.threads
@options.batch
@options.quiet
@options.verbose
def restore(
    sources: tuple[str, ...],
    out: str | None,
    model: str,
    force: bool,
    device: str,
    batch: options.Batch,
    quiet: bool,
    verbose: bool,
) -> None:
    """Denoise or enlarge pictures.

    IN is any image that Pillow reads, or - for stdin. Without -o, photo.jpg becomes
    photo.restored.png beside it. What is done is what the model was trained for, by vqcodec train
    --task; vqcodec encode with such a model writes the denoised picture as a .vqc file.

    \b
    Examples:
      vqcodec restore --model runs/denoise/model noisy.jpg
      vqcodec restore --model runs/double/model small.png -o large.png
      vqcodec restore --model runs/denoise/model scans/ -r --output-dir clean
    """
    from ..generative import restoration

    jobs = batch.plan(sources, out, ".restored.png", formats.PICTURES)
    check_stdout(jobs, force)
    options.check_model(model)
    restoration.task_of(options.load_codec(model, device))
    work = partial(_restore_file, model=model, device=device, force=force)
    run_batch(jobs, work, batch, quiet, verbose)
