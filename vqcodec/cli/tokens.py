"""`vqcodec tokens`: a file's indices as an array, without its pixels."""

import io
from functools import partial

import click
import numpy as np

from ..bitstream import container
from ..compare.captions import spaced
from . import options
from .console import Report, run
from .paths import Job, check_stdout, check_target, plan, read, write
from .streams import STREAM


def _write_tokens(
    job: Job, max_pixels: int, model: str | None, device: str, force: bool, report: Report
) -> None:
    data = read(job.source)
    header = container.unpack(data, max_pixels).header
    check_target(job, force)
    codec = options.codec_of(header, model, device)
    indices = codec.read_indices(data, max_pixels=max_pixels)
    archive = io.BytesIO()
    np.savez_compressed(
        archive,
        words=indices.indices,
        level=indices.level,
        size=np.array([indices.width, indices.height]),
        model_id=indices.model_id.hex(),
        grey=indices.grey,
        depth=indices.depth,
    )
    write(job, archive.getvalue(), force)
    shape = "x".join(map(str, indices.indices.shape))
    used = int((indices.indices >= 0).sum())
    report.line(f"{job.name} -> {job.target_name} words {shape}, {spaced(used)} indices")


@click.command()
@options.sources
@options.out
@options.max_pixels
@options.force
@options.file_model
@options.device
@options.quiet
def tokens(
    sources: tuple[str, ...],
    out: str | None,
    max_pixels: int,
    force: bool,
    model: str | None,
    device: str,
    quiet: bool,
) -> None:
    """Write the indices of .vqc files as .npz archives; no pixel is computed.

    An archive holds the indices as words (int32 [h, w, C], as vqcodec.Indices describes them),
    level, size (width, height), model_id (hex), grey and depth.

    \b
    Examples:
      vqcodec tokens photo.vqc
      vqcodec tokens coded/*.vqc -o tokens/
    """
    jobs = plan(sources, out, ".npz", {".vqc"})
    check_stdout(jobs, force)
    report = Report(quiet, to_stderr=any(job.target == STREAM for job in jobs))
    work = partial(
        _write_tokens,
        max_pixels=max_pixels,
        model=model,
        device=device,
        force=force,
        report=report,
    )
    run([(job.source, partial(work, job)) for job in jobs], report)
