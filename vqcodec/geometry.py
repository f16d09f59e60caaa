"""Sizes of pictures: the limits, and how many latents cover them.

Integers only: a size must come out the same on every machine.
"""

from .config import STRIDE
from .errors import ImageTooLargeError

MAX_DIMENSION = 2**18  # pixels per side, a limit of the format; JPEG XL level 5 has 262,144 too
SCALES = 1, 2, 4, 8  # a picture may be painted at 1/scale of its size
QUICK_SCALES = 4, 8  # of which these do not take the time of the whole picture
MAX_PIXELS = 178_956_970  # default of `max_pixels`; Pillow refuses above the same number


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
