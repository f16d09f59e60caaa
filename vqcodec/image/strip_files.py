"""Image files written as a picture comes: PNG, PPM and, above 8 bits, TIFF.

For any other format the picture is put together, in 8 bits.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from . import formats, pixels
from .atomic_write import write_atomically
from .depth import BYTE, WORD, dtype_of, peak
from .picture import reduced
from .strips import Strips, to_picture
from .tiff_files import write_tiff

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> colour type
PAETH = 4  # the filter that suits photographs best
FILTERED_BYTES = 2**18  # at once: what the filter works on stays in the caches
ZLIB_HEADER, DEFLATE_END = b"\x78\x9c", b"\x03\x00"  # of RFC 1950; an empty last block
NOISE = 0.3  # of the bytes: what compresses no better without repetitions


def save(
    strips: Strips,
    target: str | os.PathLike | BinaryIO,
    format: str | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write a picture as an image file: as `pixels.save`, with its arguments, notices and errors,
    and with those that `strips.rows` raises. PNG and TIFF files of 9 to 15 bits have 16, as PNG
    scales them."""
    is_path = isinstance(target, str | os.PathLike)
    name = formats.name_of(target if is_path else "", format)
    write, lost = _writer(name, strips), ()
    if write is None:
        if strips.depth > BYTE:
            lost = (f"{reduced(strips.depth, BYTE)}: {name} holds no more",)
            strips = strips.at_depth(BYTE)
        return (*lost, *pixels.save(to_picture(strips), target, format, overwrite))
    if name == "PPM" and strips.channels in (2, 4):
        lost, strips = (formats.no_alpha(name),), _opaque(strips)
    size = strips.width, strips.height
    # Pillow reads no TIFF file of grey with alpha above 8 bits: that is written in colour.
    can_grey = strips.channels == 1 or (strips.channels == 2 and name != "TIFF")
    options, notices, grey = formats.saving(name, strips.metadata, can_grey, size, strips.cicp)
    strips = strips if grey or strips.channels > 2 else _in_colour(strips)
    if is_path:
        write_atomically(target, lambda file: write(file, strips, options), overwrite)
    else:
        write(target, strips, options)
    return (*lost, *notices)


def _writer(name: str, strips: Strips) -> Callable[[BinaryIO, Strips, dict], None] | None:
    """What writes the format of this Pillow name; None leaves it to Pillow."""
    if name == "TIFF" and strips.depth == BYTE:
        return None
    return {"PNG": _write_png, "PPM": _write_ppm, "TIFF": write_tiff}.get(name)


def _opaque(strips: Strips) -> Strips:
    """Without alpha."""
    count = strips.channels - 1
    return strips._replace(channels=count, rows=(strip[..., :count] for strip in strips.rows))


def _in_colour(strips: Strips) -> Strips:
    """RGB, or RGBA, for grey, or grey and alpha."""
    order = [0, 0, 0, 1][: strips.channels + 2]
    rows = (strip[..., order] for strip in strips.rows)
    return strips._replace(channels=len(order), rows=rows)


def _big_endian(strip: np.ndarray) -> np.ndarray:
    """The bytes of levels, the high one first."""
    return np.ascontiguousarray(strip, ">u2" if strip.itemsize == 2 else np.uint8)


def _write_ppm(file: BinaryIO, strips: Strips, options: dict) -> None:
    magic = b"P5" if strips.channels == 1 else b"P6"
    file.write(magic + b"\n%d %d\n%d\n" % (strips.width, strips.height, peak(strips.depth)))
    for strip in strips.rows:
        file.write(_big_endian(strip))


def _write_png(file: BinaryIO, strips: Strips, options: dict) -> None:
    """options: of PIL.Image.save."""
    bits = BYTE if strips.depth == BYTE else WORD
    colour = PNG_COLOUR[strips.channels]
    header = struct.pack(">IIBBBBB", strips.width, strips.height, bits, colour, 0, 0, 0)
    file.write(PNG_MAGIC)
    _write_chunk(file, b"IHDR", header)
    if strips.depth < bits:
        _write_chunk(file, b"sBIT", bytes([strips.depth] * strips.channels))
    file.write(_png_metadata(options))
    for text in _compressed(_filtered(strips.at_depth(bits))):
        _write_chunk(file, b"IDAT", text)
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


def _compressed(parts: Iterator[np.ndarray]) -> Iterator[bytes]:
    """A zlib stream of uint8 parts, each coded in the way that suits it."""
    check = zlib.adler32(b"")
    yield ZLIB_HEADER
    for part in parts:
        check = zlib.adler32(part, check)
        yield _deflated(part)
    yield DEFLATE_END + struct.pack(">I", check)


def _deflated(part: np.ndarray) -> bytes:
    """Filtered rows of a photograph have few repetitions, whose search takes zlib seven times as
    long as all else: it is left out, for 3 % more bytes, where a short one finds too few."""
    quick = _deflate(part, zlib.Z_DEFAULT_COMPRESSION, zlib.Z_RLE)
    is_noise = len(quick) > NOISE * part.nbytes
    some, gain = (part[: -(-len(part) // 8)], 2) if is_noise else (part, 1)
    if gain * len(_deflate(some, 2)) / some.nbytes > len(quick) / part.nbytes:
        return quick
    return _deflate(part, zlib.Z_DEFAULT_COMPRESSION)


def _deflate(part: np.ndarray, level: int, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """Blocks of Deflate (RFC 1951) that end at a whole byte, and are not the last."""
    deflate = zlib.compressobj(level, wbits=-zlib.MAX_WBITS, strategy=strategy)
    return deflate.compress(part) + deflate.flush(zlib.Z_SYNC_FLUSH)


def _filtered(strips: Strips) -> Iterator[np.ndarray]:
    """The rows as PNG has them, uint8 [n, 1 + bytes of a row]: the number of the filter, then
    the difference of each byte to its prediction (PNG specification, 9.4)."""
    pixel = strips.channels * np.dtype(dtype_of(strips.depth)).itemsize
    size = strips.width * pixel
    count = max(1, FILTERED_BYTES // size)
    above = np.zeros((1, size), np.uint8)
    for strip in strips.rows:
        flat = _big_endian(strip).view(np.uint8).reshape(-1, size)
        for start in range(0, len(flat), count):
            rows = flat[start : start + count]
            out = np.empty((len(rows), 1 + size), np.uint8)
            out[:, 0] = PAETH
            out[:, 1:] = rows - _paeth(np.concatenate([above, rows]), pixel)
            above = rows[-1:]
            yield out


def _paeth(rows: np.ndarray, pixel: int) -> np.ndarray:
    """Predict all rows but the first from left, above and above left, `pixel` bytes
    before: uint8 [n - 1, size]."""
    padded = np.pad(rows, ((0, 0), (pixel, 0))).astype(np.int16)
    a, b, c = padded[1:, :-pixel], padded[:-1, pixel:], padded[:-1, :-pixel]
    to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    best = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
    return best.astype(np.uint8)
