"""Bit depth, colour space and more from chunks and boxes of image files, where Pillow is silent.

PNG (third edition), ISO base media (AVIF and HEIF: ISO/IEC 23008-12) and JPEG 2000. Nothing read
is trusted: what is cut short or damaged says nothing.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from PIL import Image

from .colour_profile import Cicp

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_J2K_SIZE = b"\xff\x4f\xff\x51"  # start of code stream and its marker of sizes
_START_BYTES = 2**16  # in which a JPEG 2000 code stream begins, and at most 2**8 boxes of a file
_META_BYTES = 2**22  # of the boxes that describe the items of a file
_GAIN_MAPS = b"tmap", b"hdrgainmap"  # item of ISO 21496-1, name of Apple's auxiliary picture


class Told(NamedTuple):
    """What a file tells beside its pixels."""

    bits: int = 8  # of a channel
    cicp: Cicp | None = None  # of the pixels that Pillow makes of it
    gain_map: bool = False
    provenance: bool = False  # C2PA
    significant: int | None = None  # bits of a channel that say something: sBIT of PNG


def told_by(image: Image.Image) -> Told:
    """What the file of an image that Pillow opened, and has not loaded yet, tells."""
    file = getattr(image, "fp", None)
    if file is None:
        return Told()
    try:
        offset = file.tell()
        try:
            return _told(file, image.format)
        finally:
            file.seek(offset)
    except (OSError, ValueError, TypeError, struct.error, IndexError, AttributeError):
        return Told()


def _told(file: BinaryIO, format: str | None) -> Told:
    file.seek(0)
    start = file.read(_START_BYTES)
    if start.startswith(_PNG_MAGIC):
        return _told_by_png(file)
    if start[4:8] == b"ftyp":
        return _told_by_meta(_meta(file))
    size = start.find(_J2K_SIZE) if format == "JPEG2000" else -1
    return Told() if size < 0 else Told(bits=(start[size + 42] & 127) + 1)


def _told_by_png(file: BinaryIO) -> Told:
    """From the chunks in front of the pixels."""
    cicp, significant, provenance, offset = None, None, False, len(_PNG_MAGIC)
    while True:
        file.seek(offset)
        size, kind = struct.unpack(">I4s", file.read(8))
        if kind in (b"IDAT", b"IEND"):
            return Told(cicp=cicp, provenance=provenance, significant=significant)
        if kind == b"cICP":
            cicp = _valid(Cicp(*file.read(4)))
        if kind == b"sBIT":
            significant = max(file.read(min(size, 4)))
        provenance |= kind == b"caBX"
        offset += 12 + size


def _valid(cicp: Cicp) -> Cicp | None:
    return cicp if cicp.is_valid else None


def _meta(file: BinaryIO) -> bytes:
    """The content of a file's box `meta`, empty if there is none."""
    offset = 0
    for _ in range(256):
        file.seek(offset)
        head = file.read(16)
        if len(head) < 8:
            break
        size, kind = struct.unpack(">I4s", head[:8])
        skip = 8
        if size == 1:
            (size,), skip = struct.unpack(">Q", head[8:]), 16
        if kind == b"meta":
            file.seek(offset + skip + 4)
            return file.read(min(max(size - skip - 4, 0), _META_BYTES))
        if size < 8:
            break
        offset += size
    return b""


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box; none behind one of a wrong size."""
    offset = 0
    while offset + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        if not 8 <= size <= len(data) - offset:
            return
        yield kind, data[offset + 8 : offset + size]
        offset += size


def _told_by_meta(meta: bytes) -> Told:
    """From the properties of the primary item."""
    boxes = dict(_boxes(meta))
    if b"pitm" not in boxes or b"iprp" not in boxes:
        return Told()
    wide = boxes[b"pitm"][0] > 0  # version 1 has numbers of 4 bytes
    (primary,) = struct.unpack_from(">I" if wide else ">H", boxes[b"pitm"], 4)
    groups = dict(_boxes(boxes[b"iprp"]))
    properties = list(_boxes(groups[b"ipco"])) if b"ipco" in groups else []
    bits, cicp = 8, None
    for number in _associations(groups.get(b"ipma", b"")).get(primary, ()):
        if not 1 <= number <= len(properties):
            continue
        kind, data = properties[number - 1]
        bits = max(bits, _bits_of(kind, data))
        if kind == b"colr" and data[:4] == b"nclx":
            cicp = _valid(Cicp(*struct.unpack_from(">HH", data, 4), 0, 1))
    return Told(bits, cicp, any(name in meta for name in _GAIN_MAPS))


def _associations(data: bytes) -> dict[int, list[int]]:
    """Item -> the numbers of its properties, of a box `ipma`."""
    if len(data) < 8:
        return {}
    version, flags, count = data[0], data[3], struct.unpack_from(">I", data, 4)[0]
    item, size = (">I" if version else ">H"), (2 if flags & 1 else 1)
    offset, found = 8, {}
    for _ in range(count):  # ends with struct.error where the box does
        (number,) = struct.unpack_from(item, data, offset)
        offset += struct.calcsize(item)
        many = data[offset]
        numbers = data[offset + 1 : offset + 1 + many * size]
        if size == 2:
            found[number] = [pair & 0x7FFF for (pair,) in struct.iter_unpack(">H", numbers)]
        else:
            found[number] = [byte & 0x7F for byte in numbers]
        offset += 1 + many * size
    return found


def _bits_of(kind: bytes, data: bytes) -> int:
    """The bits of a channel that a property tells, 0 if it is of something else."""
    if kind == b"av1C":
        return (12 if data[2] & 0x20 else 10) if data[2] & 0x40 else 8
    if kind == b"hvcC":
        return 8 + (data[17] & 7)
    return max(data[5:], default=0) if kind == b"pixi" else 0
