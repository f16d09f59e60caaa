"""Metadata of a picture: ICC profile, EXIF and XMP, as bytes.

They are kept byte for byte, but for the orientation, which the pixels take over. Nothing here
needs to understand them: a damaged one is carried like any other.
"""

import re
import struct
from collections.abc import Collection
from typing import NamedTuple

from .colour_profile import grey_of, space_of

MAX_METADATA_BYTES = 2**24  # of each; the format's limit. The largest ICC profiles have 4 MiB
ORIENTATION = 0x0112  # the tag of TIFF and EXIF; 1 is upright
EXIF_PREFIX = b"Exif\0\0"  # what JPEG puts before the TIFF stream; Pillow often leaves it there
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_INTEGERS = {1: "B", 3: "H", 4: "I"}  # TIFF types in which an orientation may be written
_TEXT_EXIF = "Raw profile type exif"  # keyword of a PNG text
_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)[0-9]""")


class Metadata(NamedTuple):
    """The three kinds; None is none. Pixels without a profile are sRGB."""

    icc: bytes | None = None  # a profile of RGB pixels
    exif: bytes | None = None  # a TIFF stream, without EXIF_PREFIX
    xmp: bytes | None = None  # a packet of XML

    def without(self, kinds: Collection[str]) -> "Metadata":
        """Drop some of `icc`, `exif` and `xmp`."""
        return self._replace(**dict.fromkeys(kinds))

    def upright(self) -> "Metadata":
        """Say orientation 1 wherever EXIF and XMP tell one."""
        exif = self.exif and _upright_exif(self.exif)
        xmp = self.xmp and _XMP_ORIENTATION.sub(rb"\g<1>1", self.xmp)
        return self._replace(exif=exif, xmp=xmp)


def from_info(info: dict) -> Metadata:
    """Take the metadata out of the `info` of a Pillow image."""
    exif = info.get("exif") or _exif_of_text(info.get(_TEXT_EXIF, ""))
    while exif.startswith(EXIF_PREFIX):
        exif = exif[len(EXIF_PREFIX) :]
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return Metadata(info.get("icc_profile") or None, exif or None, xmp or None)


def _exif_of_text(text: str) -> bytes:
    """EXIF as ImageMagick wrote it before PNG had a chunk for it: three lines, then hex."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return b""


def to_info(metadata: Metadata, grey: bool = False) -> dict[str, bytes]:
    """The entries of a Pillow image's `info`, which are options of its `save` as well.

    grey: the image is; a profile of RGB pixels, which PNG forbids then, becomes one of grey ones.
    """
    if grey and metadata.icc and space_of(metadata.icc) == b"RGB ":
        metadata = metadata._replace(icc=grey_of(metadata.icc) or metadata.icc)
    exif = metadata.exif and EXIF_PREFIX + metadata.exif
    found = {"icc_profile": metadata.icc, "exif": exif, "xmp": metadata.xmp}
    return {name: data for name, data in found.items() if data}


def _upright_exif(exif: bytes) -> bytes:
    """Set the orientation tags of the first directory of a TIFF stream to 1, in place."""
    order = _BYTE_ORDERS.get(exif[:4])
    if order is None:
        return exif
    out = bytearray(exif)
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):  # tag, type, count, value
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == ORIENTATION and kind in _INTEGERS:
                struct.pack_into(f"{order}{_INTEGERS[kind]}", out, entry + 8, 1)
    except struct.error:
        pass  # cut short: there is no tag behind the end
    return bytes(out)
