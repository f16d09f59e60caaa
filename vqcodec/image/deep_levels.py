"""Levels of more than 8 bits from image files: Pillow has no mode for colours of 16 bits.

It keeps the high byte of each level. Which byte that is, its decoders are told by the raw mode of a
tile (Pillow's "Writing your own image plugin"): told the other order, they give the low bytes.
"""

import io
import sys
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..errors import InputError

GREY_MODES = {"I", "I;16", "I;16B", "I;16L", "I;16N"}  # whole levels
HIGHEST = 2**16 - 1
_OTHER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}  # order of bytes
_FAMILIES = "RGB", "RGBX", "RGBA", "RGBa"


class Deep(NamedTuple):
    """Levels as they are in a file."""

    levels: np.ndarray  # integers [H, W, C], C as of L, LA, RGB or RGBA
    highest: int  # that there can be


def load(image: Image.Image, raw: str) -> Deep | None:
    """Load an image, and give its whole levels; None if their high bytes are all that there is.

    raw: `losses.raw_mode` of its file. Raises InputError, and what Pillow's plugins raise on
    damaged files.
    """
    if _decoder(image) == "ppm":
        return _ppm_levels(image, raw)
    if image.mode in GREY_MODES:
        image.load()
        return Deep(_whole(np.asarray(image)), 4095 if raw == "I;12" else HIGHEST)
    if raw == "LA;16B":
        pairs = _decoded(image, "RGBA")  # four bytes are two levels
        image.load()
        return Deep(pairs.view(">u2").astype(np.uint16), HIGHEST)
    family, _, order = raw.partition(";16")
    if family not in _FAMILIES or order not in _OTHER or _has_planes(image):
        return None
    plain = family.upper()
    low = _decoded(image, f"{plain};16{_OTHER[order]}")
    if family == "RGBa":
        levels = _unmultiplied(_joined(_decoded(image, f"{plain};16{order}"), low))
        image.load()
    else:
        image.load()
        levels = _joined(np.asarray(image), low)
    return Deep(levels, HIGHEST)


def _whole(grey: np.ndarray) -> np.ndarray:
    """[H, W], integers -> uint16 [H, W, 1]. Raises InputError for what they cannot hold."""
    low, high = int(grey.min()), int(grey.max())
    if low < 0 or high > HIGHEST:
        raise InputError(f"integer pixels are {low}..{high}, expected 0..{HIGHEST}")
    return grey.astype(np.uint16)[..., None]


def transparent(levels: np.ndarray, clear: object) -> np.ndarray | None:
    """bool [H, W]: where the one transparent level or colour of PNG is; None without one.

    clear: of Pillow's `info`.
    """
    colour = (clear,) if isinstance(clear, int) else clear
    if not isinstance(colour, tuple) or len(colour) != levels.shape[2]:
        return None
    return (levels == np.array(colour)).all(2)


def _decoder(image: Image.Image) -> str:
    tiles = getattr(image, "tile", None)
    return tiles[0][0] if tiles else ""


def check_planes(image: Image.Image) -> None:
    """Raise InputError for the deep levels that Pillow takes for levels of 8 bits: those of a TIFF
    file of separate planes that are not compressed."""
    if _has_planes(image) and _decoder(image) == "raw" and max(image.tag_v2.get(258, (8,))) > 8:
        raise InputError("planes of more than 8 bits without compression: Pillow reads no such")


def _has_planes(image: Image.Image) -> bool:
    """Whether channels are apart in a TIFF file, where Pillow has its own ways."""
    return getattr(image, "tag_v2", {}).get(284) == 2 and len(image.getbands()) > 1


def _decoded(image: Image.Image, raw: str, decoder: str | None = None) -> np.ndarray:
    """uint8 [H, W, C]: the pixels of the image's file, read anew with this raw mode."""
    file, start = image.fp, image.fp.tell()
    file.seek(0)
    data = file.read()
    file.seek(start)
    with Image.open(io.BytesIO(data), formats=[image.format]) as other:
        if image.tell():
            other.seek(image.tell())
        other.tile = [_told(tile, raw, decoder) for tile in other.tile]
        return np.array(other)


def _told(tile: NamedTuple, raw: str, decoder: str | None) -> NamedTuple:
    """The tile of a Pillow image with another raw mode and, if given, for another decoder."""
    kind, extents, offset, arguments = tile
    more = arguments[1:] if isinstance(arguments, tuple) and decoder is None else ()
    return tile._make((decoder or kind, extents, offset, (raw, *more)))


def _ppm_levels(image: Image.Image, raw: str) -> Deep | None:
    """Levels of PNM, up to its own largest one."""
    highest = image.tile[0][3][-1]
    if raw == "L":
        levels = _decoded(image, "I;16B", "raw")[..., None]
    else:
        levels = _joined(*(_decoded(image, f"RGB;16{order}", "raw") for order in "BL"))
    return Deep(np.minimum(levels, highest), highest)


def _joined(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    levels = high.astype(np.uint16)
    levels <<= 8
    levels |= low
    return levels


def _unmultiplied(levels: np.ndarray) -> np.ndarray:
    """Colours that were multiplied by their alpha, 16 bits each, as they are without; clipped."""
    alpha = np.maximum(levels[..., 3:], 1).astype(np.uint32)
    colours = (levels[..., :3] * np.uint32(65535) + alpha // 2) // alpha
    return np.dstack([np.minimum(colours, 65535), levels[..., 3:]]).astype(np.uint16)
