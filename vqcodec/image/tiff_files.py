"""TIFF files of 16 bits a channel, written strip by strip: TIFF 6.0, not compressed.

Pillow writes no colours of more than 8 bits. Sizes are known before the pixels, so that the
directory comes first and nothing is written twice.
"""

import struct
from typing import BinaryIO

import numpy as np

from ..errors import OutputError
from .depth import WORD
from .strips import Strips

_START = 8  # bytes before the directory
_STRIP_BYTES = 2**18  # about, of what a reader takes at once
_TYPES = {"H": 3, "I": 4, "B": 7}  # of struct -> of TIFF: SHORT, LONG, UNDEFINED


def write_tiff(file: BinaryIO, strips: Strips, options: dict) -> None:
    """Write a picture of more than 8 bits, scaled to 16.

    options: of PIL.Image.save, of which `icc_profile` is taken. Raises OutputError above 4 GiB.
    """
    head = _head(strips, options.get("icc_profile"))
    file.write(head)
    for strip in strips.at_depth(WORD).rows:
        file.write(np.ascontiguousarray(strip, "<u2"))


def _head(strips: Strips, profile: bytes | None) -> bytes:
    """All that comes before the pixels."""
    channels, row = strips.channels, 2 * strips.width * strips.channels
    count = max(1, _STRIP_BYTES // row)  # rows of a strip
    sizes = [row * min(count, strips.height - y) for y in range(0, strips.height, count)]
    tags = {
        256: ("I", [strips.width]),
        257: ("I", [strips.height]),
        258: ("H", [WORD] * channels),
        259: ("H", [1]),  # not compressed
        262: ("H", [2 if channels > 2 else 1]),  # RGB, or grey with 0 as black
        273: ("I", [0] * len(sizes)),  # where strips begin
        277: ("H", [channels]),
        278: ("I", [count]),
        279: ("I", sizes),
    }
    if channels in (2, 4):
        tags[338] = "H", [2]  # alpha; colours are not multiplied by it
    if profile:
        tags[34675] = "B", profile
    start = len(_packed(tags))
    if start + sum(sizes) >= 2**32:
        raise OutputError("cannot write this picture as TIFF: it would have more than 4 GiB")
    tags[273] = "I", [start + row * y for y in range(0, strips.height, count)]
    return _packed(tags)


def _packed(tags: dict[int, tuple[str, list[int] | bytes]]) -> bytes:
    """Header, directory, and the values that have no place in it, each at an even offset."""
    offset = _START + 2 + 12 * len(tags) + 4
    table, body = struct.pack("<H", len(tags)), b""
    for tag, (kind, values) in tags.items():
        data = struct.pack(f"<{len(values)}{kind}", *values)
        table += struct.pack("<HHI", tag, _TYPES[kind], len(values))
        if len(data) <= 4:
            table += data.ljust(4, b"\0")
        else:
            table += struct.pack("<I", offset + len(body))
            body += data + bytes(len(data) % 2)
    return b"II*\0" + struct.pack("<I", _START) + table + bytes(4) + body
