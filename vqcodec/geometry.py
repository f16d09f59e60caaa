"""Sizes and rectangles of pictures: limits, latents that cover pixels, crops, tiles, halos.

Integers only: a size must come out the same on every machine. A rectangle is in latents or in
pixels, as the function that takes it says.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from .config import STRIDE, TransformConfig
from .errors import ImageTooLargeError

MAX_DIMENSION = 2**18  # pixels per side, a limit of the format; JPEG XL level 5 has 262,144 too
SCALES = 1, 2, 4, 8  # a picture may be decoded at 1/scale of its size
QUICK_SCALES = 4, 8  # of which these do not take the time of the whole picture
MAX_PIXELS = 178_956_970  # default of `max_pixels`; Pillow refuses above the same number


class Rectangle(NamedTuple):
    """A region of a picture, in latents or in pixels. x, y: of its left upper corner."""

    x: int
    y: int
    width: int
    height: int


def latents_across(pixels: int) -> int:
    """Return the number of latents that cover a side of `pixels` pixels: ceil(pixels / 16)."""
    return -(-pixels // STRIDE)


def shrunk(pixels: int, scale: int) -> int:
    """Return how long a side of `pixels` pixels is at 1/scale of its size."""
    return -(-pixels // scale)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageTooLargeError if a side is above MAX_DIMENSION or the area above `max_pixels`.

    A side below 16 pixels counts as 16: it takes a row of latents, as 16 do. (Padding of longer
    sides less than doubles an area, and is not counted.)
    """
    if max(width, height) > MAX_DIMENSION:
        raise ImageTooLargeError(
            f"picture is {width}x{height} pixels, the format allows {MAX_DIMENSION} per side"
        )
    across, down = max(width, STRIDE), max(height, STRIDE)
    if across * down > max_pixels:
        coded = f" pixels, coded as {across}x{down}" if min(width, height) < STRIDE else ""
        raise ImageTooLargeError(
            f"picture is {width}x{height}{coded} = {across * down} pixels,"
            f" the limit is {max_pixels}"
        )


def check_crop(crop: tuple[int, int, int, int], width: int, height: int) -> None:
    """Raise ValueError unless crop, x, y, width and height in pixels, is a part of the picture."""
    x, y, across, down = crop
    if min(x, y) < 0 or min(across, down) < 1 or x + across > width or y + down > height:
        raise ValueError(f"crop is {across}x{down} at {x},{y}, the picture is {width}x{height}")


def reach(config: TransformConfig) -> int:
    """How many latents away, in each direction, the pixels at a latent matter to it, and it to
    pixels: the 3x3 convolutions at 1/16, and those at 1/8 at half a latent each; of encoder or
    decoder, whichever sees further."""
    of_encoder = config.encoder_blocks[1] + config.encoder_fine_reach
    return max(of_encoder, config.coarse_blocks + config.fine_reach)


def grid_of(width: int, height: int) -> Rectangle:
    """All latents of a picture of so many pixels."""
    return Rectangle(0, 0, latents_across(width), latents_across(height))


def cover(crop: Rectangle) -> Rectangle:
    """Pixels -> the latents that cover them."""
    x, y = crop.x // STRIDE, crop.y // STRIDE
    right, bottom = latents_across(crop.x + crop.width), latents_across(end(crop))
    return Rectangle(x, y, right - x, bottom - y)


def pixels_of(region: Rectangle) -> Rectangle:
    """Latents -> their pixels."""
    return Rectangle(*(STRIDE * number for number in region))


def widened(region: Rectangle, by: int, grid: Rectangle) -> Rectangle:
    """The region with a halo of `by` latents, which ends where the grid ends."""
    around = Rectangle(region.x - by, region.y - by, region.width + 2 * by, region.height + 2 * by)
    return meet(around, grid)


def windows(region: Rectangle, side: int) -> Iterator[Rectangle]:
    """Parts of a region of at most `side` latents each way, as even as can be, in raster order."""
    down, across = (-(-length // side) for length in (region.height, region.width))
    rows = [region.height * n // down for n in range(down + 1)]
    columns = [region.width * n // across for n in range(across + 1)]
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield Rectangle(region.x + left, region.y + top, right - left, bottom - top)


def meet(a: Rectangle, b: Rectangle) -> Rectangle | None:
    """What two rectangles have in common; None is nothing."""
    x, y = max(a.x, b.x), max(a.y, b.y)
    width = min(a.x + a.width, b.x + b.width) - x
    height = min(end(a), end(b)) - y
    return Rectangle(x, y, width, height) if min(width, height) > 0 else None


def within(part: Rectangle, region: Rectangle | None = None) -> tuple[slice, slice]:
    """The rows and the columns of a part of a region in an array of that region; None: in an array
    of the whole picture."""
    x, y = (part.x, part.y) if region is None else (part.x - region.x, part.y - region.y)
    return slice(y, y + part.height), slice(x, x + part.width)


def end(region: Rectangle) -> int:
    """The row behind the last one."""
    return region.y + region.height


def region_of(
    crop: tuple[int, int, int, int] | None, scale: int, width: int, height: int
) -> Rectangle:
    """The pixels that a crop names, None: all. Raises ValueError for a crop that is not inside the
    picture, or a scale that is not of SCALES."""
    if scale not in SCALES:
        raise ValueError(f"scale is {scale}, expected one of {', '.join(map(str, SCALES))}")
    if crop is not None:
        check_crop(crop, width, height)
    return Rectangle(*(crop or (0, 0, width, height)))
