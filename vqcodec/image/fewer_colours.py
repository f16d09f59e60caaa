"""Fewer colours: each pixel within a given distance of what it was, for text and drawings.

Colours are taken by how often they occur: one becomes a colour of the palette if none is within
the distance yet. Each colour then goes to the nearest of the palette, which moves to the mean of
those that went to it. Unlike a palette of a fixed size it leaves no pixel far away, and grounds
and strokes keep their colours.
"""

import numpy as np

CHUNK = 2**22  # distances that are held at once


def reduce(rgb: np.ndarray, where: np.ndarray, distance: float) -> np.ndarray:
    """A copy of uint8 [H, W, 3] with fewer colours where bool [H, W] says so.

    distance: Euclidean, in levels of 255; below 1 nothing is changed.
    """
    out = rgb.copy()
    pixels = rgb[where]
    if distance < 1 or not len(pixels):
        return out
    found, inverse, counts = np.unique(packed(pixels), return_inverse=True, return_counts=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], 1).astype(np.float32)
    palette = _cover(colours[np.argsort(-counts, kind="stable")], distance)
    nearest = _nearest(colours, palette)
    sums = np.stack([np.bincount(nearest, counts * c, len(palette)) for c in colours.T], 1)
    means = np.rint(sums / np.bincount(nearest, counts, len(palette))[:, None].clip(1))
    out[where] = means.astype(np.uint8)[nearest][inverse]
    return out


def packed(rgb: np.ndarray) -> np.ndarray:
    """Colours as numbers: uint8 [..., 3] -> uint32 [...], red in the highest bits."""
    return rgb @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def _cover(colours: np.ndarray, distance: float) -> np.ndarray:
    """Those of float32 [N, 3], in their order, that are not within the distance of one before."""
    palette = []
    while len(colours):
        palette.append(colours[0])
        colours = colours[((colours - colours[0]) ** 2).sum(1) > distance**2]
    return np.stack(palette)


def _nearest(colours: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """int64 [N]: the number of the nearest of the palette, float32 [K, 3]."""
    norms = (palette**2).sum(1)
    step = max(1, CHUNK // len(palette))
    parts = (colours[start : start + step] for start in range(0, len(colours), step))
    # Of |c - p|^2 what differs between palette colours.
    return np.concatenate([(norms - 2 * part @ palette.T).argmin(1) for part in parts])
