"""`vqcodec info`: what a .vqc file is, from its bytes alone."""

from functools import partial
from typing import NamedTuple

import click

from ..bitstream.container import ALPHA, tile_count, unpack
from ..compare.captions import ratio, spaced
from ..engine.exact_pixels import exact_share
from ..errors import UnknownModelError
from ..geometry import MAX_DIMENSION, STRIDE
from ..image import formats, pixels
from ..image.colour_profile import Cicp
from ..zoo import shipped
from . import options
from .console import Report, run
from .paths import Job, check_target, read
from .streams import STREAM, say


class Facts(NamedTuple):
    """What a .vqc file is; the fields are the keys of `--json`."""

    bytes: int
    width: int
    height: int
    mode: str  # of the decoded picture: L, LA, RGB or RGBA
    depth: int  # bits of a channel
    cicp: list[int] | None  # primaries, transfer, matrix and full range, as H.273 numbers them
    bits_per_pixel: float
    format_version: int
    model_id: str  # hex
    model: str | None  # the name, if it is installed
    decoders: list[str]  # that the model has; empty if it is not installed
    level: int
    tiles: int
    coarse_bytes: int
    fine_bytes: int
    exact_bytes: int  # of exact pixels
    exact_share: float  # of the pixels that are exact
    lossless: bool  # all are, and no model is needed
    overhead_bytes: int  # header, sizes, checksums and chunks
    chunks: list[dict]  # kind and bytes of each


def facts(data: bytes) -> Facts:
    """Check and describe a whole file, of any size: no index is decoded. Raises FormatError."""
    header, tiles, chunks, exact = unpack(data, MAX_DIMENSION**2)
    coarse = sum(len(tile.coarse) for tile in tiles)
    fine = sum(len(tile.fine) for tile in tiles)
    mode = "L" if header.grey else "RGB"
    mode += "A" if any(chunk.kind == ALPHA for chunk in chunks) else ""
    pixels_exact = sum(len(part.stream) for part in exact if part is not None)
    try:
        if not header.learned:
            raise UnknownModelError("no model was used")
        entry = shipped.entry_of(header.model_id)
        name, decoders = entry.name, list(entry.decoders)
    except UnknownModelError:
        name, decoders = None, []
    return Facts(
        bytes=len(data),
        width=header.width,
        height=header.height,
        mode=mode,
        depth=header.depth,
        cicp=header.cicp and list(header.cicp),
        bits_per_pixel=8 * len(data) / (header.width * header.height),
        format_version=header.version,
        model_id=header.model_id.hex(),
        model=name,
        decoders=decoders,
        level=header.level,
        tiles=tile_count(header),
        coarse_bytes=coarse,
        fine_bytes=fine,
        exact_bytes=pixels_exact,
        exact_share=exact_share(header, exact),
        lossless=not header.learned,
        overhead_bytes=len(data) - coarse - fine - pixels_exact,
        chunks=[{"kind": c.kind.decode(), "bytes": len(c.data)} for c in chunks],
    )


def anatomy(found: Facts) -> str:
    """Model, level and the parts of the bytes, in one line: what `-v` adds."""
    name = "none" if found.lossless else found.model or found.model_id
    return (
        f"model {name}, level {found.level}, tiles {found.tiles},"
        f" bytes: {spaced(found.coarse_bytes)} coarse + {spaced(found.fine_bytes)} fine"
        f" + {spaced(found.exact_bytes)} exact + {spaced(found.overhead_bytes)} overhead"
    )


def _model(found: Facts) -> str:
    if found.lossless:
        return "none: all pixels are exact"
    return f"{found.model_id} ({found.model or shipped.absent(bytes.fromhex(found.model_id))})"


def _text(name: str, found: Facts) -> str:
    pixels = found.width * found.height
    chunks = ", ".join(f"{c['kind']} {spaced(c['bytes'])} B" for c in found.chunks)
    lines = [
        f"{name}: {found.width}x{found.height}, {spaced(found.bytes)} B,"
        f" {found.bits_per_pixel:.3f} bpp, {ratio(pixels, found.bytes)}",
        f"  format    version {found.format_version}",
        f"  model     {_model(found)}",
        f"  decoders  {', '.join(found.decoders) or ('none' if found.lossless else 'unknown')}",
        f"  mode      {found.mode}, {found.depth} bits",
        *([f"  colours   {Cicp(*found.cicp).name}"] if found.cicp else []),
        f"  level     {found.level}",
        f"  tiles     {found.tiles}",
        f"  coarse    {spaced(found.coarse_bytes)} B",
        f"  fine      {spaced(found.fine_bytes)} B",
        f"  exact     {spaced(found.exact_bytes)} B, {found.exact_share:.0%} of the pixels",
        f"  overhead  {spaced(found.overhead_bytes)} B",
        f"  chunks    {chunks or 'none'}",
    ]
    return "\n".join(lines)


def _describe(job: Job, report: Report) -> None:
    found = facts(read(job.source))
    if report.as_json:
        report.record(job.source, found._asdict())
    else:
        say(_text(job.name, found))


def _draw(job: Job, model: str | None, device: str, force: bool) -> None:
    """Write the map of a file."""
    data = read(job.source)
    header = unpack(data).header
    check_target(job, force)
    name = formats.name_of(job.target, None)
    codec = options.codec_of(header, model, device)
    from ..compare import bit_allocation
    from ..compare.bit_map import draw_map, summary

    found = bit_allocation.measure(codec, data)
    scalars = codec.model.config.quantizer.classes
    sheet = draw_map(pixels.load(codec.decode(data)).rgb, found, scalars)
    pixels.save(sheet, job.target, name, force)
    rates = found.bits / STRIDE**2
    say(
        f"{job.name} -> {job.target_name}: {rates.min():.3f} to {rates.max():.3f} bpp;"
        f" {summary(found, scalars)}"
    )


@click.command()
@options.sources
@options.as_json
@click.option(
    "--map", "map_", metavar="OUT", help="Draw where the bits go, over the picture, as an image."
)
@options.force
@options.file_model
@options.device
def info(
    sources: tuple[str, ...],
    as_json: bool,
    map_: str | None,
    force: bool,
    model: str | None,
    device: str,
) -> None:
    """Describe .vqc files: size, model, level and where the bytes go.

    Every checksum is verified; neither the model nor torch is needed, but for --map. That draws
    the bits of each block of 16x16 pixels over the picture, and which codewords
    the file uses.

    \b
    Examples:
      vqcodec info photo.vqc
      vqcodec info *.vqc --json | jq .bits_per_pixel
      vqcodec info photo.vqc --map map.png
      vqcodec encode photo.jpg -o - | vqcodec info -
    """
    if map_ is not None and (len(sources) > 1 or as_json):
        raise click.UsageError("--map draws one file, and prints no JSON")
    jobs = [Job(source, map_ or STREAM) for source in sources]
    report = Report(as_json=as_json)
    work = partial(_describe, report=report)
    if map_ is not None:
        work = partial(_draw, model=model, device=device, force=force)
    run([(job.source, partial(work, job)) for job in jobs], report)
