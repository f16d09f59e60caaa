"""Pictures that come strip by strip, so that a large one is never held as a whole."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from .colour_profile import Cicp
from .depth import BYTE, peak, rescaled
from .metadata import Metadata, to_info
from .picture import Picture

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # of Pillow, by channels


class Strips(NamedTuple):
    """A picture of `width` x `height` pixels, which can be read once, from the top.

    rows: levels [n, width, channels] each, of any n >= 1, uint8, or uint16 if `depth` is above 8;
    together `height` rows.
    """

    width: int
    height: int
    channels: int  # 1: grey; 2: grey and alpha; 3: RGB; 4: RGBA
    metadata: Metadata
    rows: Iterator[np.ndarray]
    depth: int = BYTE  # bits of a channel, 8..16
    cicp: Cicp | None = None  # what colours they are, where the file says it by numbers

    def at_depth(self, depth: int) -> "Strips":
        """The same picture in levels of another depth, rounded."""
        rows = (rescaled(strip, peak(self.depth), depth) for strip in self.rows)
        return self._replace(rows=rows, depth=depth)


def join(rows: Iterator[np.ndarray], height: int) -> np.ndarray:
    """The whole picture of `Strips.rows`: [height, width, channels]."""
    first = next(rows)
    if len(first) == height:
        return first
    out = np.empty((height, *first.shape[1:]), first.dtype)
    out[: len(first)], done = first, len(first)
    for strip in rows:
        out[done : done + len(strip)] = strip
        done += len(strip)
    return out


def to_array(strips: Strips) -> np.ndarray:
    """The whole picture, without its metadata: [H, W] if it is grey, else [H, W, channels]."""
    whole = join(strips.rows, strips.height)
    return whole[..., 0] if strips.channels == 1 else whole


def to_picture(strips: Strips) -> Picture:
    """The whole picture, as the codec takes it."""
    whole = join(strips.rows, strips.height)
    alpha = whole[..., -1] if strips.channels in (2, 4) else None
    grey = strips.channels < 3
    rgb = whole[..., [0, 0, 0]] if grey else whole[..., :3]
    what = {"grey": grey, "depth": strips.depth, "cicp": strips.cicp}
    return Picture(rgb, alpha, strips.metadata, **what)


def to_image(strips: Strips) -> Image.Image:
    """The whole picture, of 8 bits, L, LA, RGB or RGBA, with its metadata in `info`. Each strip
    becomes one of the image's while others work on the next."""
    mode = MODES[strips.channels]
    image, done = Image.new(mode, (strips.width, strips.height)), 0
    for strip in strips.rows:
        size = strips.width, len(strip)
        part = Image.frombuffer(mode, size, np.ascontiguousarray(strip), "raw", mode, 0, 1)
        image.paste(part, (0, done))
        done += len(strip)
    image.info.update(to_info(strips.metadata, strips.channels < 3))
    if strips.cicp:
        image.info["cicp"] = strips.cicp
    return image


def shrink(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Levels [H, W, C] -> [ceil(H / scale), ceil(W / scale), C], the means of blocks, rounded. At
    the right and at the bottom blocks may be smaller."""
    if scale == 1:
        return pixels
    height, width = pixels.shape[:2]
    ys, xs = np.arange(0, height, scale), np.arange(0, width, scale)
    sums = np.add.reduceat(np.add.reduceat(pixels, ys, 0, np.uint32), xs, 1)
    counts = np.diff(ys, append=height)[:, None, None] * np.diff(xs, append=width)[:, None]
    return ((sums + counts // 2) // counts).astype(pixels.dtype)


def shrink_rows(rows: Iterator[np.ndarray], scale: int) -> Iterator[np.ndarray]:
    """`shrink` of a picture that comes in strips of any height."""
    rest = None
    for strip in rows:
        known = strip if rest is None else np.concatenate([rest, strip])
        whole = len(known) // scale * scale
        if whole:
            yield shrink(known[:whole], scale)
        rest = known[whole:] if whole < len(known) else None
    if rest is not None:
        yield shrink(rest, scale)


def with_alpha(rows: Iterator[np.ndarray], alpha: np.ndarray) -> Iterator[np.ndarray]:
    """Strips [n, W, c] -> [n, W, c + 1], with their rows of alpha [H, W, 1]."""
    done = 0
    for strip in rows:
        yield np.dstack([strip, alpha[done : done + len(strip)]])
        done += len(strip)
