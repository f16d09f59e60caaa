"""Sampling and inpainting with the prior.

`sample` and `vary` give tokens, which `Codec.decode_indices` decodes and `Codec.write_indices`
writes as a file. `inpaint` gives pixels. What is drawn is the same again for the same seed.
"""

import numpy as np

from ..bitstream.container import Header, choose_tile_log2, tile_grid
from ..codec import Codec
from ..config import STRIDE
from ..engine.tiling import analyse
from ..entropy.sampler import IndexSampler
from ..errors import InputError
from ..geometry import (
    MAX_PIXELS,
    Rectangle,
    check_size,
    grid_of,
    latents_across,
    pixels_of,
    widened,
    within,
)
from ..image import pixels
from ..image.pixels import Picture, Source
from ..image.pull_push import extend
from ..rate_control import operating_point
from ..tokens import Indices

SAMPLE_QUALITY = 30  # of which samples have the level: above it their detail is mostly noise
HOLE_QUALITY = 25  # 5 and 50 fill holes as closely, within 0.05 dB on 10 photographs
MARGIN = 8  # latents around a hole that are looked at: more than the networks' reach


def sample(
    codec: Codec,
    width: int,
    height: int,
    *,
    level: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Indices:
    """Tokens of a picture of so many pixels, drawn from the prior, coarse to fine.

    level: 0..L - 1, the fineness of the latents; None: that of quality 30. temperature: as of
    `IndexSampler`.
    Raises ImageTooLargeError; ValueError for a size, level, temperature or seed out of range.
    """
    if min(width, height) < 1:
        raise ValueError(f"size is {width}x{height}, expected at least one pixel")
    check_size(width, height, max_pixels)
    levels = codec.model.config.transform.levels
    level = _level(codec, SAMPLE_QUALITY) if level is None else level
    if not 0 <= level < levels:
        raise ValueError(f"level is {level}, expected 0..{levels - 1}")
    grid = latents_across(height), latents_across(width)
    blank = np.zeros((*grid, codec.model.config.transform.latents), np.int32)
    tokens = Indices(codec.model.id, level, width, height, blank)
    return codec.resample_indices(tokens, 0, IndexSampler(codec.model.freqs, temperature, seed))


def vary(
    codec: Codec,
    indices: Indices,
    *,
    keep: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> Indices:
    """A variation of a picture's tokens: indices of the first passes stay, the others are drawn.

    keep: how many of the prior's passes stay; None: the coarse ones.
    Raises as `Codec.decode_indices`; ValueError for a keep, temperature or seed out of range.
    """
    prior = codec.model.config.prior
    keep = prior.coarse_passes if keep is None else keep
    if not 0 <= keep <= len(prior.passes):
        raise ValueError(f"keep is {keep}, expected 0..{len(prior.passes)} passes")
    return codec.resample_indices(indices, keep, IndexSampler(codec.model.freqs, temperature, seed))


def inpaint(
    codec: Codec,
    image: Source,
    mask: np.ndarray,
    *,
    temperature: float | None = None,
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Picture:
    """Fill a hole in a picture from what is around it. Pixels outside the hole stay as they are,
    and so do alpha and metadata.

    mask: bool [H, W], True in the hole. temperature: None fills it with what the prior expects,
    which is closest on average; a number draws detail at that temperature, see `IndexSampler`.
    Raises InputError if the mask is not of the picture's size, or leaves nothing of it or nothing
    to fill, and as `pixels.load`; ValueError for a temperature or seed out of range.
    """
    picture = pixels.load(image, max_pixels)
    _check_mask(mask, picture.rgb)
    sampler = None if temperature is None else IndexSampler(codec.model.freqs, temperature, seed)
    rgb, hole = picture.rgb.copy(), mask.copy()
    height, width = mask.shape
    grid = grid_of(width, height)
    header = Header(codec.model.id, 0, width, height, choose_tile_log2(width, height))
    parts = [part for tile in tile_grid(header) if (part := _hole_in(hole, tile))]
    while parts:
        # First where most is known: what is filled is known to those that follow.
        windows = [widened(part, MARGIN, grid) for part in parts]
        best = min(range(len(parts)), key=lambda n: float(_cut(hole, windows[n]).mean()))
        part, window = parts.pop(best), windows[best]
        filled = _fill(codec, _cut(rgb, window), _cut(hole, window), sampler, picture.grey)
        inner = part._replace(x=part.x - window.x, y=part.y - window.y)
        missing = _cut(hole, part)
        _cut(rgb, part)[missing] = _cut(filled, inner)[missing]
        missing[:] = False
    return picture._replace(rgb=rgb)


def _level(codec: Codec, quality: float) -> int:
    return operating_point(quality, codec.model.config.transform.levels).level


def _check_mask(mask: np.ndarray, rgb: np.ndarray) -> None:
    if mask.dtype != bool or mask.ndim != 2:
        raise ValueError(f"mask is {mask.dtype} {list(mask.shape)}, expected bool [H, W]")
    if mask.shape != rgb.shape[:2]:
        (height, width), (rows, columns) = mask.shape, rgb.shape[:2]
        raise InputError(f"mask is {width}x{height} pixels, the picture is {columns}x{rows}")
    if mask.all() or not mask.any():
        raise InputError(f"mask marks {'all' if mask.any() else 'none'} of the picture")


def _hole_in(hole: np.ndarray, tile: Rectangle) -> Rectangle | None:
    """The smallest region, in latents, that has all of the hole that is in the tile."""
    ys, xs = (np.flatnonzero(_cut(hole, tile).any(axis)) // STRIDE for axis in (1, 0))
    if not ys.size:
        return None
    x, y = int(xs[0]), int(ys[0])
    return Rectangle(tile.x + x, tile.y + y, int(xs[-1]) + 1 - x, int(ys[-1]) + 1 - y)


def _cut(values: np.ndarray, region: Rectangle) -> np.ndarray:
    """The view of [H, W, ...] of a region in latents."""
    return values[within(pixels_of(region))]


def _fill(
    codec: Codec, rgb: np.ndarray, hole: np.ndarray, sampler: IndexSampler | None, grey: bool
) -> np.ndarray:
    """Pixels uint8 [H, W, 3] to take in the hole. What is outside it is of no use.

    The hole is continued smoothly, and the encoder sees that: its coarse latents are kept, and
    those of detail whose pixels are all known. The other detail comes from the prior, as that of
    a tile whose fine part is lost.
    """
    height, width = hole.shape
    level, engine = _level(codec, HOLE_QUALITY), codec.engine
    smooth = _to_bytes(_continue(rgb, hole))
    grid = grid_of(width, height)
    blocks = pixels.pad(hole[..., None]).reshape(grid.height, STRIDE, grid.width, STRIDE)
    y = analyse(engine, smooth, level, grid)
    latents = engine.tiles.complete(y, ~blocks.any((1, 3)), level, sampler).latents
    decoded = 255 * engine.synthesise(latents, level)[:height, :width]
    if grey:
        decoded = np.broadcast_to(decoded.mean(2, keepdims=True), decoded.shape)
    # Without a seam: the decoder's error at the border is continued, too, and taken away.
    return _to_bytes(decoded + _continue(rgb - decoded, hole))


def _continue(values: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Values [H, W, 3] with the hole filled smoothly from around it, float32."""
    return extend(values.astype(np.float32), ~hole)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)
