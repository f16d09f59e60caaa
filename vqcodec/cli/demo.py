"""`vqcodec demo`: one picture at three qualities, beside JPEG files of the same size."""

import io
from functools import partial
from typing import NamedTuple

import click
import numpy as np
from PIL import Image

from .. import pixels
from ..errors import VqcodecError
from ..metrics import bits_per_pixel, psnr
from . import options
from .coding import check_format
from .paths import Job, check_target, read
from .report import Report, run, say, spaced
from .sheet import Cell, draw_sheet

QUALITIES = {"low": 10, "middle": 40, "high": 75}
BEST_JPEG = 95  # above, files grow without a visible gain


class Version(NamedTuple):
    """A coded picture."""

    name: str
    size: int  # bytes
    rgb: np.ndarray  # uint8 [H, W, 3]
    psnr: float  # dB

    @property
    def figures(self) -> str:
        """Size, rate and distance to the original."""
        height, width = self.rgb.shape[:2]
        rate = bits_per_pixel(self.size, width, height)
        return f"{spaced(self.size)} B, {rate:.3f} bpp, {self.psnr:.1f} dB"


def jpeg_of_size(rgb: np.ndarray, size: int) -> tuple[int, bytes]:
    """Quality and bytes of the best JPEG of at most `size` bytes; quality 1 if none is so small."""
    low, high, best = 1, BEST_JPEG, encode_jpeg(rgb, 1)
    while low < high:
        middle = (low + high + 1) // 2
        data = encode_jpeg(rgb, middle)
        if len(data) <= size:
            low, best = middle, data
        else:
            high = middle - 1
    return low, best


def encode_jpeg(rgb: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


def _astronaut() -> np.ndarray:
    try:
        from skimage.data import astronaut
    except ImportError as exc:
        text = "the picture of the demo is part of scikit-image: pip install 'vqcodec[demo]'"
        raise VqcodecError(f"{text}, or give an image") from exc
    return astronaut()


def _versions(rgb: np.ndarray, model: str | None, device: str) -> list[tuple[Version, Version]]:
    """Ours and the JPEG at each quality."""
    codec = options.load_codec(model, device)
    pairs = []
    for quality in QUALITIES.values():
        data = codec.encode(rgb, quality)
        painted = np.asarray(codec.decode(data))
        ours = Version(f"vqcodec -q {quality}", len(data), painted, psnr(rgb, painted))
        jpeg_quality, jpeg = jpeg_of_size(rgb, len(data))
        name = f"JPEG quality {jpeg_quality}"
        if len(jpeg) > len(data):
            name += ", its smallest"
        painted = pixels.load(jpeg).rgb
        pairs.append((ours, Version(name, len(jpeg), painted, psnr(rgb, painted))))
    return pairs


def _make(image: str | None, job: Job, model: str | None, device: str, force: bool) -> None:
    check_target(job, force)
    check_format(job)
    rgb = _astronaut() if image is None else pixels.load(read(image)).rgb
    pairs = _versions(rgb, model, device)
    height, width = rgb.shape[:2]
    original = Cell("original", f"{width}x{height}, 24 bpp", rgb)
    rows = [[original, *(Cell(v.name, v.figures, v.rgb) for v in pair)] for pair in pairs]
    pixels.save(draw_sheet(rows), job.target, overwrite=force)
    say(f"{'':8}{'':28}{'bytes':>10}{'bpp':>8}{'PSNR':>9}")
    for quality, pair in zip(QUALITIES, pairs, strict=True):
        for version in pair:
            rate = bits_per_pixel(version.size, width, height)
            say(
                f"{quality:8}{version.name:28}{spaced(version.size):>10}{rate:>8.3f}"
                f"{version.psnr:>6.2f} dB"
            )
            quality = ""
    say(f"{job.name} {width}x{height} -> {job.target_name}")


@click.command()
@click.argument("image", required=False)
@click.option("-o", "--out", metavar="OUT", default="demo.png", show_default=True)
@options.force
@click.option("--model", metavar="NAME|DIR", help="Model by name or folder, not the default one.")
@options.device
def demo(image: str | None, out: str, force: bool, model: str | None, device: str) -> None:
    """Show what the codec does: a sheet of pictures to look at.

    Codes IMAGE, or a photograph that comes with scikit-image, at three qualities and draws the
    result beside the original and the best JPEG of at most the same size: whole, and a detail
    at twice its size. Prints the sizes and PSNRs.

    \b
    Examples:
      vqcodec demo
      vqcodec demo photo.jpg -o sheet.png
    """
    options.check_model(model)
    job = Job(image or "astronaut", out)
    run([(job.name, partial(_make, image, job, model, device, force))], Report())
