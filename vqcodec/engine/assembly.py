"""Rows of pixels and what a file has beside them, put together as a picture."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ..bitstream.chunks import Beside
from ..bitstream.container import Header
from ..geometry import Rectangle, shrunk, within
from ..image.colour_profile import Cicp
from ..image.depth import check_depth, peak, rescaled
from ..image.strips import Strips, shrink, to_array, to_image, with_alpha


def depth_of(asked: int | None, header: Header) -> int:
    """The depth to decode at. Raises ValueError."""
    depth = header.depth if asked is None else asked
    check_depth(depth)
    return depth


def assemble(
    header: Header,
    region: Rectangle,
    scale: int,
    rows: Iterator[np.ndarray],
    depth: int,
    beside: Beside,
) -> Strips:
    """Rows of a region, in pixels, at 1/scale of its size, of this depth, with the metadata and
    with what belongs to it of alpha."""
    alpha = beside.alpha
    if alpha is not None:
        part = rescaled(alpha[within(region)][..., None], peak(header.depth), depth)
        rows = with_alpha(rows, shrink(part, scale))
    channels = (1 if header.grey else 3) + (alpha is not None)
    size = shrunk(region.width, scale), shrunk(region.height, scale)
    cicp = None if header.cicp is None else Cicp(*header.cicp)
    return Strips(*size, channels, beside.metadata, rows, depth, cicp)


def whole(strips: Strips, depth: int | None) -> Image.Image | np.ndarray:
    """A picture as `Codec.decode` gives it."""
    return to_image(strips) if depth is None else to_array(strips)
