"""`vqcodec compare`: one picture through this codec and others, at the same size in bytes."""

from functools import partial
from pathlib import Path

import click

from ..compare import comparison
from ..compare.closeness import installed
from ..compare.contact_sheet import draw_row
from ..compare.html_page import draw_page
from ..compare.peers import PEERS
from ..image import pixels
from . import options
from .coding import check_format
from .console import Report, run
from .paths import Job, check_target, read, write
from .streams import say

PAGES = ".html", ".htm"


def is_page(job: Job) -> bool:
    """Whether a page is asked for, and not a sheet."""
    return Path(job.target).suffix.lower() in PAGES


def _coded(rgb, quality: float, model: str | None, device: str) -> list[comparison.CodedPicture]:
    """Ours, and each peer that this Pillow has, at the size of ours."""
    found = [comparison.ours(options.load_codec(model, device), rgb, quality)]
    for peer in PEERS.values():
        if peer.is_available:
            found.append(comparison.of_size(peer, rgb, found[0].size))
    return found


def _make(job: Job, quality: float, model: str | None, device: str, force: bool) -> None:
    check_target(job, force)
    if not is_page(job):
        check_format(job)
    rgb = options.load_picture(read(job.source)).rgb
    measures, missing = installed()
    if missing:
        say(missing, to_stderr=True)
    found = [coded.measured(rgb, measures) for coded in _coded(rgb, quality, model, device)]
    first, cells = comparison.original(rgb), [coded.cell for coded in found]
    if is_page(job):
        page = draw_page(f"{job.name} at the same size", first, {"": cells}, missing)
        write(job, page.encode(), force)
    else:
        pixels.save(draw_row([first, *cells]), job.target, overwrite=force)
    for line in comparison.table([("", coded) for coded in found]):
        say(line)
    say(f"{job.name} {rgb.shape[1]}x{rgb.shape[0]} -> {job.target_name}")


@click.command()
@click.argument("image")
@click.option("-o", "--out", metavar="OUT", default="compare.png", show_default=True,
              help="A sheet, or a page if it ends in .html.")  # fmt: skip
@options.quality("Of ours; the others follow its size.")
@options.force
@options.model
@options.device
def compare(
    image: str, out: str, quality: float, force: bool, model: str | None, device: str
) -> None:
    """Show IMAGE through this codec, AVIF, WebP and JPEG at the same size.

    Each of the others is coded at the quality whose file is nearest to ours in bytes. OUT is one
    PNG, original and coded pictures, whole and a detail at twice its size, with bytes, PSNR,
    SSIMULACRA2, Butteraugli's 3-norm and ColorVideoVDP (else MS-SSIM), as far as these are
    installed; or a self-contained page on which they can be flipped in place, by keys and by click.
    Transparency is ignored.

    \b
    Examples:
      vqcodec compare photo.jpg
      vqcodec compare photo.jpg -q 20 -o compare.html
    """
    options.check_model(model)
    job = Job(image, out)
    run([(job.source, partial(_make, job, quality, model, device, force))], Report())
