"""Streaming output: pictures that come strip by strip, and image files written as they come.

PNG and PPM are written without holding the picture; for any other format it is put together.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from . import formats, pixels
from .atomic_write import write_atomically
from .metadata import Metadata

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> colour type
PAETH = 4  # the filter that suits photographs best
FILTERED_BYTES = 2**18  # at once: what the filter works on stays in the caches


class Strips(NamedTuple):
    """A picture of `width` x `height` pixels, which can be read once, from the top.

    rows: uint8 [n, width, channels] each, of any n >= 1; together `height` rows.
    """

    width: int
    height: int
    channels: int  # 1: grey; 2: grey and alpha; 3: RGB; 4: RGBA
    metadata: Metadata
    rows: Iterator[np.ndarray]


def join(rows: Iterator[np.ndarray], height: int) -> np.ndarray:
    """The whole picture of `Strips.rows`: uint8 [height, width, channels]."""
    first = next(rows)
    if len(first) == height:
        return first
    out = np.empty((height, *first.shape[1:]), np.uint8)
    out[: len(first)], done = first, len(first)
    for strip in rows:
        out[done : done + len(strip)] = strip
        done += len(strip)
    return out


def to_image(strips: Strips) -> Image.Image:
    """The whole picture, without its metadata: L, LA, RGB or RGBA."""
    whole = join(strips.rows, strips.height)
    return Image.fromarray(whole[..., 0] if strips.channels == 1 else whole)


def save(
    strips: Strips,
    target: str | os.PathLike | BinaryIO,
    format: str | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write a picture as an image file: as `pixels.save`, with its arguments, notices and errors,
    and with those that `strips.rows` raises."""
    is_path = isinstance(target, str | os.PathLike)
    name = formats.name_of(target if is_path else "", format)
    write = {"PNG": _write_png, "PPM": _write_ppm}.get(name)
    if write is None or (name == "PPM" and strips.channels in (2, 4)):
        return pixels.save(_picture(strips), target, format, overwrite)
    size = strips.width, strips.height
    options, notices, grey = formats.saving(name, strips.metadata, strips.channels < 3, size)
    strips = strips if grey or strips.channels > 2 else _in_colour(strips)
    if is_path:
        write_atomically(target, lambda file: write(file, strips, options), overwrite)
    else:
        write(target, strips, options)
    return notices


def _picture(strips: Strips) -> pixels.Picture:
    whole = join(strips.rows, strips.height)
    alpha = whole[..., -1] if strips.channels in (2, 4) else None
    grey = strips.channels < 3
    rgb = whole[..., [0, 0, 0]] if grey else whole[..., :3]
    return pixels.Picture(rgb, alpha, strips.metadata, grey=grey)


def _in_colour(strips: Strips) -> Strips:
    """RGB, or RGBA, for grey, or grey and alpha."""
    order = [0, 0, 0, 1][: strips.channels + 2]
    rows = (strip[..., order] for strip in strips.rows)
    return strips._replace(channels=len(order), rows=rows)


def _write_ppm(file: BinaryIO, strips: Strips, options: dict) -> None:
    magic = b"P5" if strips.channels == 1 else b"P6"
    file.write(magic + b"\n%d %d\n255\n" % (strips.width, strips.height))
    for strip in strips.rows:
        file.write(strip)


def _write_png(file: BinaryIO, strips: Strips, options: dict) -> None:
    """options: of PIL.Image.save."""
    colour = PNG_COLOUR[strips.channels]
    header = struct.pack(">IIBBBBB", strips.width, strips.height, 8, colour, 0, 0, 0)
    file.write(PNG_MAGIC)
    _write_chunk(file, b"IHDR", header)
    file.write(_png_metadata(options))
    deflate = zlib.compressobj()
    for rows in _filtered(strips):
        _write_chunk(file, b"IDAT", deflate.compress(rows))
    _write_chunk(file, b"IDAT", deflate.flush())
    _write_chunk(file, b"IEND", b"")


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    if data or kind == b"IEND":
        check = zlib.crc32(data, zlib.crc32(kind))
        file.write(struct.pack(">I", len(data)) + kind)
        file.write(data + struct.pack(">I", check))


def _png_metadata(options: dict) -> bytes:
    """The chunks that Pillow writes for these options, taken from a file of one pixel."""
    out = io.BytesIO()
    Image.new("RGB", (1, 1)).save(out, "PNG", **options)
    data = out.getvalue()
    start = len(PNG_MAGIC) + 25  # behind IHDR
    return data[start : data.rindex(b"IDAT") - 4]  # the last: metadata may hold the word


def _filtered(strips: Strips) -> Iterator[np.ndarray]:
    """The rows as PNG has them, uint8 [n, 1 + width * channels]: the number of the filter, then
    the difference of each byte to its prediction (PNG specification, 9.4)."""
    size = strips.width * strips.channels
    count = max(1, FILTERED_BYTES // size)
    above = np.zeros((1, size), np.uint8)
    for strip in strips.rows:
        flat = strip.reshape(-1, size)
        for start in range(0, len(flat), count):
            rows = flat[start : start + count]
            out = np.empty((len(rows), 1 + size), np.uint8)
            out[:, 0] = PAETH
            out[:, 1:] = rows - _paeth(np.concatenate([above, rows]), strips.channels)
            above = rows[-1:]
            yield out


def _paeth(rows: np.ndarray, channels: int) -> np.ndarray:
    """Predict all rows but the first from left, above and above left: uint8 [n - 1, size]."""
    padded = np.pad(rows, ((0, 0), (channels, 0))).astype(np.int16)
    a, b, c = padded[1:, :-channels], padded[:-1, channels:], padded[:-1, :-channels]
    to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    best = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
    return best.astype(np.uint8)


def shrink(pixels: np.ndarray, scale: int) -> np.ndarray:
    """uint8 [H, W, C] -> [ceil(H / scale), ceil(W / scale), C], the means of blocks, rounded. At
    the right and at the bottom blocks may be smaller."""
    if scale == 1:
        return pixels
    height, width = pixels.shape[:2]
    ys, xs = np.arange(0, height, scale), np.arange(0, width, scale)
    sums = np.add.reduceat(np.add.reduceat(pixels, ys, 0, np.uint32), xs, 1)
    counts = np.diff(ys, append=height)[:, None, None] * np.diff(xs, append=width)[:, None]
    return ((sums + counts // 2) // counts).astype(np.uint8)


def shrink_rows(rows: Iterator[np.ndarray], scale: int) -> Iterator[np.ndarray]:
    """`shrink` of a picture that comes in strips of any height."""
    rest = None
    for strip in rows:
        known = strip if rest is None else np.concatenate([rest, strip])
        whole = len(known) // scale * scale
        if whole:
            yield shrink(known[:whole], scale)
        rest = known[whole:] if whole < len(known) else None
    if rest is not None:
        yield shrink(rest, scale)


def with_alpha(rows: Iterator[np.ndarray], alpha: np.ndarray) -> Iterator[np.ndarray]:
    """Strips uint8 [n, W, c] -> [n, W, c + 1], with their rows of alpha [H, W, 1]."""
    done = 0
    for strip in rows:
        yield np.dstack([strip, alpha[done : done + len(strip)]])
        done += len(strip)
