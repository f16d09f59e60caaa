"""`vqcodec compare`: one picture through this codec and others, at the same size in bytes."""

from functools import partial
from pathlib import Path

import click

from ..compare import comparison
from ..compare.captions import spaced
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
NO_MS_SSIM = "MS-SSIM is left out, it needs pytorch-msssim: pip install 'vqcodec[bench]'"


def _is_page(job: Job) -> bool:
    return Path(job.target).suffix.lower() in PAGES


def _coded(rgb, quality: float, model: str | None, device: str) -> list[comparison.CodedPicture]:
    """Ours, and each peer that this Pillow has, at the size of ours."""
    found = [comparison.ours(options.load_codec(model, device), rgb, quality)]
    for peer in PEERS.values():
        if peer.is_available:
            found.append(comparison.of_size(peer, rgb, found[0].size))
    try:
        return [comparison.with_ms_ssim(coded, rgb) for coded in found]
    except ImportError:
        say(NO_MS_SSIM, to_stderr=True)
        return found


def _make(job: Job, quality: float, model: str | None, device: str, force: bool) -> None:
    check_target(job, force)
    if not _is_page(job):
        check_format(job)
    rgb = options.load_picture(read(job.source)).rgb
    found = _coded(rgb, quality, model, device)
    cells = [comparison.original(rgb), *(coded.cell for coded in found)]
    if _is_page(job):
        write(job, draw_page(f"{job.name} at the same size", cells).encode(), force)
    else:
        pixels.save(draw_row(cells), job.target, overwrite=force)
    say(f"{'':30}{'bytes':>10}{'bpp':>8}{'PSNR':>9}{'MS-SSIM':>10}")
    for coded in found:
        similar = "-" if coded.ms_ssim != coded.ms_ssim else f"{coded.ms_ssim:.4f}"
        say(
            f"{coded.name:30}{spaced(coded.size):>10}{coded.bpp:>8.3f}"
            f"{coded.psnr:>6.2f} dB{similar:>10}"
        )
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
    PNG, original and coded pictures, whole and a detail at twice its size, with bytes, PSNR and
    MS-SSIM; or a self-contained page on which they can be switched in place. Transparency is
    ignored.

    \b
    Examples:
      vqcodec compare photo.jpg
      vqcodec compare photo.jpg -q 20 -o compare.html
    """
    options.check_model(model)
    job = Job(image, out)
    run([(job.source, partial(_make, job, quality, model, device, force))], Report())
