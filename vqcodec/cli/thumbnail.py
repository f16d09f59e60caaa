"""`vqcodec thumbnail`: what a file manager calls for the small picture that it shows of a file."""

import io
from functools import partial
from pathlib import Path

import click
from PIL import Image, ImageCms, PngImagePlugin

from ..bitstream.container import unpack
from ..errors import OutputError
from ..geometry import QUICK_SCALES
from . import options
from .console import Report, run
from .paths import Job, check_stdout, check_target, read, write
from .streams import STREAM


def _scale(width: int, height: int, size: int) -> int:
    """The smallest quick decode that is not smaller than the thumbnail; 1: none is."""
    return max([1, *(scale for scale in QUICK_SCALES if max(width, height) >= scale * size)])


def _in_srgb(image: Image.Image) -> Image.Image:
    """The colours that the picture's profile means, for viewers that read none."""
    profile = image.info.get("icc_profile")
    if profile is None or image.mode not in ("RGB", "RGBA"):
        return image
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image.convert("RGB"), source, target)
    except (ImageCms.PyCMSError, OSError):
        return image
    if alpha is not None:
        image.putalpha(alpha)
    return image


def _facts(job: Job, data: bytes, size: tuple[int, int]) -> PngImagePlugin.PngInfo:
    """What the specification has a thumbnail say of its file."""
    from ..pillow_plugin import MIME

    facts = {
        "Thumb::Size": len(data),
        "Thumb::Mimetype": MIME,
        "Thumb::Image::Width": size[0],
        "Thumb::Image::Height": size[1],
        "Software": "vqcodec",
    }
    if job.source != STREAM:
        path = Path(job.source).absolute()
        facts |= {"Thumb::URI": path.as_uri(), "Thumb::MTime": int(path.stat().st_mtime)}
    info = PngImagePlugin.PngInfo()
    for name, value in facts.items():
        info.add_text(name, str(value))
    return info


def _make(job: Job, size: int, max_pixels: int, model: str | None) -> None:
    check_target(job, force=True)
    data = read(job.source)
    header = unpack(data, max_pixels).header
    # Torch would take seconds to start.
    codec = options.codec_of(header, model, "onnx")
    scale = _scale(header.width, header.height, size)
    image = codec.decode(data, scale=scale, max_pixels=max_pixels)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    facts = _facts(job, data, (header.width, header.height))
    png = io.BytesIO()
    _in_srgb(image).save(png, "PNG", pnginfo=facts, icc_profile=None)
    _write(job, png.getvalue())


def _write(job: Job, png: bytes) -> None:
    """Write the complete thumbnail: into the file that is there already, since the file manager
    may have made it and read it by its open descriptor, as Xfce's does. Raises OutputError."""
    if job.target == STREAM or not Path(job.target).is_file():
        write(job, png, force=False)
        return
    try:
        Path(job.target).write_bytes(png)
    except OSError as exc:
        raise OutputError(f"cannot write {job.target_name}: {exc.strerror}") from exc


@click.command()
@click.argument("source", metavar="IN", callback=options.source)
@click.argument("out", metavar="OUT", callback=options.target)
@click.option(
    "--size",
    type=click.IntRange(1, 4096),
    default=256,
    show_default=True,
    metavar="N",
    help="The longer side, in pixels, of a picture that is not smaller.",
)
@options.max_pixels
@options.file_model
@options.threads
def thumbnail(source: str, out: str, size: int, max_pixels: int, model: str | None) -> None:
    """Write the thumbnail of a .vqc file, as file managers ask for it.

    IN is a .vqc file, OUT the PNG file to write; - are stdin and stdout. An OUT that exists is
    written over. It gets sRGB pixels and what freedesktop.org's thumbnail specification wants a
    thumbnail to say of its file: Thumb::URI, Thumb::MTime and others. Of large pictures only 1/8
    or 1/4 of the size is decoded. vqcodec desktop install tells file managers of this command.

    \b
    Examples:
      vqcodec thumbnail photo.vqc thumbnail.png
      vqcodec thumbnail photo.vqc thumbnail.png --size 128
      vqcodec thumbnail - - < photo.vqc > thumbnail.png
    """
    job = Job(source, out)
    check_stdout([job], force=False)
    run([(job.name, partial(_make, job, size, max_pixels, model))], Report(quiet=True))
