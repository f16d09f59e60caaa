"""`vqcodec verify`: check a file's checksums and indices, and its distance to a source."""

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
import numpy as np

from ..bitstream import container
from ..image.strips import to_picture
from . import options
from .console import Report, name_of, run
from .paths import read

if TYPE_CHECKING:
    from ..codec import Codec


def _verify_file(
    source: str,
    against: str | None,
    max_pixels: int,
    model: str | None,
    device: str,
    report: Report,
) -> None:
    from ..metrics import bits_per_pixel

    data = read(source)
    header = container.unpack(data, max_pixels).header
    codec = options.codec_of(header, model, device)
    decoded = None
    if header.exact or against is not None:  # what checksums and indices do not tell: the streams
        decoded = to_picture(codec.decode_strips(data, max_pixels=max_pixels)).rgb
    found = {
        "indices": _count_indices(codec, data, max_pixels) if header.learned else 0,
        "bits_per_pixel": bits_per_pixel(len(data), header.width, header.height),
    }
    if against is not None:
        original = options.load_picture(read(against), max_pixels, header.depth).rgb
        if decoded.shape != original.shape:
            raise click.UsageError(f"{against} is {original.shape[1]}x{original.shape[0]} pixels")
        found |= _closeness(decoded, original, header.depth)
    if report.as_json:
        report.record(source, found)
        return
    close = f", PSNR {found['psnr']:.2f} dB" if against is not None else ""
    close += f", MS-SSIM {found['ms_ssim']:.4f}" if found.get("ms_ssim") is not None else ""
    figures = f"{found['indices']} indices, {found['bits_per_pixel']:.3f} bpp{close}"
    report.line(f"{name_of(source)}: ok, {figures}")


def _count_indices(codec: "Codec", data: bytes, max_pixels: int) -> int:
    return int((codec.read_indices(data, max_pixels=max_pixels).indices >= 0).sum())


def _closeness(decoded: np.ndarray, original: np.ndarray, depth: int) -> dict:
    """PSNR in dB and, where it can be measured, MS-SSIM, of levels of this depth."""
    from ..metrics import MS_SSIM_MIN_SIDE, ms_ssim, psnr

    found = {"psnr": psnr(decoded, original, depth)}
    if find_spec("pytorch_msssim") and min(original.shape[:2]) >= MS_SSIM_MIN_SIDE:
        found["ms_ssim"] = ms_ssim(decoded, original, depth)
    return found


@click.command()
@options.sources
@click.option("--against", metavar="SRC", help="Print PSNR and MS-SSIM against this image, too.")
@options.as_json
@options.max_pixels
@options.file_model
@options.device
@options.quiet
def verify(
    sources: tuple[str, ...],
    against: str | None,
    as_json: bool,
    max_pixels: int,
    model: str | None,
    device: str,
    quiet: bool,
) -> None:
    """Check .vqc files: every checksum, and that indices and exact pixels decode to the last byte.

    Nothing is written. The exit code is 0 if all files are whole. MS-SSIM needs the package
    pytorch-msssim (pip install 'vqcodec[bench]') and sides of 161 pixels; without, it is left out.

    \b
    Examples:
      vqcodec verify *.vqc
      vqcodec verify photo.vqc --against photo.png
    """
    if against is not None and len(sources) > 1:
        raise click.UsageError("--against compares one file with its source")
    report = Report(quiet, as_json=as_json)
    work = partial(
        _verify_file,
        against=against,
        max_pixels=max_pixels,
        model=model,
        device=device,
        report=report,
    )
    run([(source, partial(work, source)) for source in sources], report)
