"""Pixels without loss <-> the bitstream of WebP lossless, RFC 9649, by way of Pillow.

A .vqc file has the bitstream without its container, RIFF: it is added and taken away here. Of
coders that every install has it is the smallest: screenshots take half of the bytes of PNG.
"""

import io
import struct

import numpy as np
from PIL import Image, WebPImagePlugin

from ..errors import CorruptError, ImageTooLargeError

_RIFF = struct.Struct("<4sI4s4sI")  # RIFF, size behind it; WEBP; VP8L, its size
FAST = {"method": 3, "quality": 75}  # for trials: 3 % larger than SMALL, at half of its time
SMALL = {"method": 4, "quality": 100}  # method 6 takes ten times as long, and wins 2 %


def encode(rgb: np.ndarray, how: dict[str, int]) -> bytes:
    """The bitstream of uint8 [H, W, 3], of at most 16383 pixels a side. how: FAST or SMALL."""
    out = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(rgb))
    image.save(out, "WEBP", lossless=True, exact=True, icc_profile=b"", exif=b"", xmp=b"", **how)
    *_, size = _RIFF.unpack_from(out.getbuffer())
    return bytes(out.getbuffer()[_RIFF.size : _RIFF.size + size])


def decode(stream: bytes) -> np.ndarray:
    """uint8 [H, W, 3] of a bitstream, of the size that its first bytes say.

    Raises CorruptError if it cannot be decoded in full; ImageTooLargeError above twice Pillow's
    own limit, which is its user's to set.
    """
    size = len(stream)
    padded = stream + bytes(size % 2)
    riff = _RIFF.pack(b"RIFF", _RIFF.size - 8 + len(padded), b"WEBP", b"VP8L", size)
    try:
        # Not Image.open, which warns of sizes, and they are known.
        with WebPImagePlugin.WebPImageFile(io.BytesIO(riff + padded)) as image:
            return np.array(image.convert("RGB"))
    except MemoryError:
        raise
    except Image.DecompressionBombError as exc:
        raise ImageTooLargeError(f"exact pixels of a tile: {exc}") from exc
    except Exception as exc:  # Pillow raises almost anything on a damaged file
        raise CorruptError(f"exact pixels cannot be read: {exc}") from exc
