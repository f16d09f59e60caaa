"""Places in a picture, as rectangles of latents or pixels: what a crop needs of the tiles.

Integers only, without torch.
"""

from collections.abc import Iterator
from itertools import pairwise

from .config import STRIDE, TransformConfig
from .container import Rectangle
from .geometry import latents_across


def reach(config: TransformConfig) -> int:
    """How many latents away, in each direction, the pixels at a latent matter to it, and it to
    pixels: the 3x3 convolutions at 1/16, and those at 1/8 at half a latent each."""
    return config.coarse_blocks + -(-config.fine_blocks // 2)


def grid_of(width: int, height: int) -> Rectangle:
    """All latents of a picture of so many pixels."""
    return Rectangle(0, 0, latents_across(width), latents_across(height))


def cover(crop: Rectangle) -> Rectangle:
    """Pixels -> the latents that cover them."""
    x, y = crop.x // STRIDE, crop.y // STRIDE
    right, bottom = latents_across(crop.x + crop.width), latents_across(end(crop))
    return Rectangle(x, y, right - x, bottom - y)


def pixels_of(place: Rectangle) -> Rectangle:
    """Latents -> their pixels."""
    return Rectangle(*(STRIDE * number for number in place))


def widened(place: Rectangle, by: int, grid: Rectangle) -> Rectangle:
    """The place with a halo of `by` latents, which ends where the grid ends."""
    around = Rectangle(place.x - by, place.y - by, place.width + 2 * by, place.height + 2 * by)
    return meet(around, grid)


def windows(place: Rectangle, side: int) -> Iterator[Rectangle]:
    """Parts of a place of at most `side` latents each way, as even as can be, in raster order."""
    down, across = (-(-length // side) for length in (place.height, place.width))
    rows = [place.height * n // down for n in range(down + 1)]
    columns = [place.width * n // across for n in range(across + 1)]
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield Rectangle(place.x + left, place.y + top, right - left, bottom - top)


def meet(a: Rectangle, b: Rectangle) -> Rectangle | None:
    """What two rectangles have in common; None is nothing."""
    x, y = max(a.x, b.x), max(a.y, b.y)
    width = min(a.x + a.width, b.x + b.width) - x
    height = min(end(a), end(b)) - y
    return Rectangle(x, y, width, height) if min(width, height) > 0 else None


def within(part: Rectangle, place: Rectangle) -> tuple[slice, slice]:
    """The rows and the columns that a part of a place has in an array of the place."""
    x, y = part.x - place.x, part.y - place.y
    return slice(y, y + part.height), slice(x, x + part.width)


def end(place: Rectangle) -> int:
    """The row behind the last one."""
    return place.y + place.height
