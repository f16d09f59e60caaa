"""What a picture is to the codec: levels of RGB and alpha, and what stands beside them."""

from typing import NamedTuple

import numpy as np

from . import colour_profile
from .colour_profile import Cicp
from .depth import BYTE, peak, rescaled
from .metadata import Metadata


class Picture(NamedTuple):
    """A picture as the codec takes it. Levels are uint8, or uint16 if `depth` is above 8."""

    rgb: np.ndarray  # [H, W, 3], 0..2**depth - 1; of any value where alpha is 0
    alpha: np.ndarray | None = None  # [H, W], as rgb, 0 is transparent; None if all is opaque
    metadata: Metadata = Metadata()
    notices: tuple[str, ...] = ()  # what the source had and this has not, one phrase each
    grey: bool = False  # the source had one channel; the three of rgb are equal
    depth: int = BYTE  # bits of a channel, 8..16
    cicp: Cicp | None = None  # what colours they are, where no profile can say it


def of_levels(levels: np.ndarray, depth: int, clear: np.ndarray | None = None) -> Picture:
    """The picture of levels [H, W, C], C as of L, LA, RGB or RGBA; opaque alpha is none.

    clear: bool [H, W], where pixels without alpha are transparent.
    """
    channels, alpha, highest = levels.shape[2], None, peak(depth)
    if channels in (2, 4):
        alpha = np.ascontiguousarray(levels[..., -1])
    elif clear is not None:
        alpha = np.where(clear, 0, highest).astype(levels.dtype)
    if alpha is not None and alpha.min() == highest:
        alpha = None
    grey = channels < 3
    rgb = levels[..., [0, 0, 0]] if grey else np.ascontiguousarray(levels[..., :3])
    return Picture(rgb, alpha, grey=grey, depth=depth)


def at_depth(picture: Picture, depth: int) -> Picture:
    """The same picture in levels of another depth, rounded; a notice if that is less."""
    if depth == picture.depth:
        return picture
    rgb, alpha = (
        None if levels is None else rescaled(levels, peak(picture.depth), depth)
        for levels in (picture.rgb, picture.alpha)
    )
    lost = () if depth > picture.depth else (reduced(picture.depth, depth),)
    notices = (*picture.notices, *lost)
    return picture._replace(rgb=rgb, alpha=alpha, depth=depth, notices=notices)


def reduced(depth: int, to: int) -> str:
    """The notice of levels that lose bits."""
    return f"{depth} bits reduced to {to}"


def blend(picture: Picture, colour: tuple[int, int, int]) -> Picture:
    """Put a picture on a ground of one colour, RGB 0..255 each: it has no alpha then."""
    if picture.alpha is None:
        return picture
    highest = peak(picture.depth)
    ground = rescaled(np.array(colour), peak(BYTE), picture.depth).astype(np.uint32)
    alpha = picture.alpha[..., None].astype(np.uint32)  # [H, W, 1]
    mixed = picture.rgb * alpha + ground * (highest - alpha)  # at most highest**2
    rgb = ((mixed + highest // 2) // highest).astype(picture.rgb.dtype)
    grey = picture.grey and len(set(colour)) == 1
    icc, notices = picture.metadata.icc, picture.notices
    if icc and colour_profile.space_of(icc) == b"GRAY" and not grey:
        icc, notices = None, (*notices, "colour profile dropped: not one of RGB pixels")
    metadata = picture.metadata._replace(icc=icc)
    return picture._replace(rgb=rgb, alpha=None, metadata=metadata, notices=notices, grey=grey)
