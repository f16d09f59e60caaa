"""`vqcodec demo`: one picture at three qualities, beside AVIF and JPEG files of the same size."""

from functools import partial

import click
import numpy as np

from ..codec import Codec
from ..compare import comparison
from ..compare.closeness import installed
from ..compare.comparison import CodedPicture
from ..compare.contact_sheet import draw_row, draw_sheet
from ..compare.html_page import draw_page
from ..compare.peers import PEERS
from ..errors import VqcodecError
from ..image import pixels
from . import options
from .coding import check_format
from .compare import is_page
from .console import Report, run
from .paths import Job, check_target, read, write
from .streams import say

QUALITIES = {"low": 10, "middle": 40, "high": 75}
BESIDE = "avif", "jpeg"


def _astronaut() -> np.ndarray:
    try:
        from skimage.data import astronaut
    except ImportError as exc:
        text = "the picture of the demo is part of scikit-image: pip install 'vqcodec[demo]'"
        raise VqcodecError(f"{text}, or give an image") from exc
    return astronaut()


def _coded(codec: Codec, rgb: np.ndarray, qualities: list[float]) -> list[list[CodedPicture]]:
    """Ours at each quality, and the others that Pillow can write at its size."""
    peers = [PEERS[name] for name in BESIDE if PEERS[name].is_available]
    rows = []
    for quality in qualities:
        ours = comparison.ours(codec, rgb, quality)
        rows.append([ours, *(comparison.of_size(peer, rgb, ours.size) for peer in peers)])
    return rows


def _make(image: str | None, job: Job, quality: float | None, force: bool, **which: str) -> None:
    """which: model and device."""
    check_target(job, force)
    if not is_page(job):
        check_format(job)
    rgb = _astronaut() if image is None else options.load_picture(read(image)).rgb
    qualities = QUALITIES if quality is None else {"": quality}
    measures, missing = installed()
    if missing:
        say(missing, to_stderr=True)
    rows = [
        [coded.measured(rgb, measures) for coded in row]
        for row in _coded(options.load_codec(**which), rgb, list(qualities.values()))
    ]
    height, width = rgb.shape[:2]
    first, cells = comparison.original(rgb), [[coded.cell for coded in row] for row in rows]
    if is_page(job):
        groups = dict(zip(qualities, cells, strict=True))
        write(job, draw_page(job.name, first, groups, missing).encode(), force)
    else:
        whole = [[first, *row] for row in cells]
        sheet = draw_sheet(whole) if quality is None else draw_row(whole[0])
        pixels.save(sheet, job.target, overwrite=force)
    named = [
        (name if number == 0 else "", coded)
        for name, row in zip(qualities, rows, strict=True)
        for number, coded in enumerate(row)
    ]
    for line in comparison.table(named):
        say(line)
    say(f"{job.name} {width}x{height} -> {job.target_name}")


@click.command()
@click.argument("image", required=False)
@click.option("-o", "--out", metavar="OUT", default="demo.png", show_default=True)
@click.option(
    "-q",
    "--quality",
    type=click.FloatRange(0, 100),
    callback=options.finite,
    help="One quality instead of three, in larger pictures.",
)
@options.force
@options.model
@options.device
def demo(image: str | None, out: str, quality: float | None, force: bool, **which: str) -> None:
    """Show what the codec does: a sheet of pictures to look at.

    Codes IMAGE, or a photograph that comes with scikit-image, at three qualities and draws the
    result beside the original and the AVIF and JPEG of nearly the same size: whole, and a detail
    at twice its size, or a page on which they can be flipped in place if OUT ends in .html. Prints
    sizes, PSNR and what else is installed of SSIMULACRA2, Butteraugli and ColorVideoVDP.

    \b
    Examples:
      vqcodec demo
      vqcodec demo photo.jpg -q 30 -o sheet.png
      vqcodec demo photo.jpg -o demo.html
    """
    options.check_model(which["model"])
    job = Job(image or "astronaut", out)
    run([(job.source, partial(_make, image, job, quality, force, **which))], Report())
