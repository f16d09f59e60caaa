"""`vqcodec demo`: one picture at three qualities, beside JPEG files of the same size."""

from functools import partial

import click
import numpy as np

from ..compare import comparison
from ..compare.captions import spaced
from ..compare.comparison import CodedPicture
from ..compare.contact_sheet import draw_sheet
from ..compare.peers import PEERS
from ..errors import VqcodecError
from ..image import pixels
from . import options
from .coding import check_format
from .console import Report, run
from .paths import Job, check_target, read
from .streams import say

QUALITIES = {"low": 10, "middle": 40, "high": 75}


def _astronaut() -> np.ndarray:
    try:
        from skimage.data import astronaut
    except ImportError as exc:
        text = "the picture of the demo is part of scikit-image: pip install 'vqcodec[demo]'"
        raise VqcodecError(f"{text}, or give an image") from exc
    return astronaut()


def _coded(
    rgb: np.ndarray, model: str | None, device: str
) -> list[tuple[CodedPicture, CodedPicture]]:
    """Ours and the JPEG at each quality."""
    codec = options.load_codec(model, device)
    pairs = []
    for quality in QUALITIES.values():
        ours = comparison.ours(codec, rgb, quality)
        pairs.append((ours, comparison.of_size(PEERS["jpeg"], rgb, ours.size)))
    return pairs


def _make(image: str | None, job: Job, model: str | None, device: str, force: bool) -> None:
    check_target(job, force)
    check_format(job)
    rgb = _astronaut() if image is None else options.load_picture(read(image)).rgb
    pairs = _coded(rgb, model, device)
    height, width = rgb.shape[:2]
    rows = [[comparison.original(rgb), *(coded.cell for coded in pair)] for pair in pairs]
    pixels.save(draw_sheet(rows), job.target, overwrite=force)
    say(f"{'':8}{'':30}{'bytes':>10}{'bpp':>8}{'PSNR':>9}")
    for quality, pair in zip(QUALITIES, pairs, strict=True):
        for coded in pair:
            say(
                f"{quality:8}{coded.name:30}{spaced(coded.size):>10}{coded.bpp:>8.3f}"
                f"{coded.psnr:>6.2f} dB"
            )
            quality = ""
    say(f"{job.name} {width}x{height} -> {job.target_name}")


@click.command()
@click.argument("image", required=False)
@click.option("-o", "--out", metavar="OUT", default="demo.png", show_default=True)
@options.force
@options.model
@options.device
def demo(image: str | None, out: str, force: bool, model: str | None, device: str) -> None:
    """Show what the codec does: a sheet of pictures to look at.

    Codes IMAGE, or a photograph that comes with scikit-image, at three qualities and draws the
    result beside the original and the JPEG of nearly the same size: whole, and a detail
    at twice its size. Prints the sizes and PSNRs.

    \b
    Examples:
      vqcodec demo
      vqcodec demo photo.jpg -o sheet.png
    """
    options.check_model(model)
    job = Job(image or "astronaut", out)
    run([(job.source, partial(_make, image, job, model, device, force))], Report())
