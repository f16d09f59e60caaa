"""Transforms of large pictures in bounded memory: overlapping windows without seams.

The transforms are convolutions with zeros outside the picture. A window that is cut with a
halo as wide as their receptive field, and that ends where the picture ends, gives the numbers
of the whole picture: what the networks see at once is no matter of the format.
"""

from collections.abc import Callable, Iterator
from itertools import groupby, islice
from typing import TypeVar

import numpy as np

from ..bitstream.container import Header, Unpacked, tile_grid
from ..geometry import Rectangle, cover, end, grid_of, meet, pixels_of, reach, widened, within
from ..image.depth import BYTE, to_levels, to_unit
from ..image.pixels import pad
from ..rate_control import OperatingPoint
from .base import REFINEMENT_HALO, CodedTile, Engine, Maps
from .scheduling import AT_ONCE
from .search import Search

SIDE = 64  # latents of a window. On CPUs smaller ones lose to their halo, larger ones to the caches
WHOLE = 2**13  # latents, 2 megapixels: what is not more is synthesised in one window

Result = TypeVar("Result")
LatentsOf = Callable[[int, Rectangle], np.ndarray]  # of a tile: number, rectangle -> [h, w, C]


def to_pixels(x: np.ndarray, grey: bool, depth: int) -> np.ndarray:
    """Pixels float32 [H, W, 3], about 0..1, which it overwrites -> levels of this depth [H, W, 3],
    or [H, W, 1] of a grey picture: uint8, or uint16 above 8 bits."""
    if grey:
        x = x.mean(2, keepdims=True)
    return to_levels(x, depth)


def analyse(
    engine: Engine, rgb: np.ndarray, level: int, region: Rectangle, depth: int = BYTE
) -> np.ndarray:
    """The latents of one region of a picture: float32 [region.height, region.width, C], in steps.

    rgb: the whole picture, levels [H, W, 3] of this depth. region: in latents.
    """
    grid = grid_of(rgb.shape[1], rgb.shape[0])
    window = widened(region, reach(engine.model.config.transform), grid)
    part = to_unit(pad(rgb[within(pixels_of(window))]), depth)
    return Maps(engine.analyse(part, level), window).cut(region)


def encode_tile(
    engine: Engine,
    rgb: np.ndarray,
    header: Header,
    point: OperatingPoint,
    search: Search,
    tile: Rectangle,
) -> CodedTile:
    """Code one tile, in latents, of a picture [H, W, 3], levels of the header's depth."""
    whole = grid_of(header.width, header.height)
    region = widened(tile, REFINEMENT_HALO if search.effort > 1 else 0, whole)
    y = Maps(analyse(engine, rgb, header.level, region, header.depth), region)
    if search.effort == 1:
        return engine.tiles.encode(y.cut(tile), header.level, point.lambda_scale)
    part = to_unit(rgb[within(pixels_of(tile))], header.depth)
    return engine.refine(part, y, tile, point, search)


def read_tile(engine: Engine, file: Unpacked, number: int, region: Rectangle) -> CodedTile:
    """Decode the tile of this number. Raises CorruptError as `TileCoder.decode`."""
    segments = file.tiles[number]
    return engine.tiles.decode(segments, region.height, region.width, file.header.level)


def each_tile(
    engine: Engine, header: Header, work: Callable[[int, Rectangle], Result], most: int = AT_ONCE
) -> Iterator[Result]:
    """What `work` makes of the number and rectangle of each tile, a few at a time."""
    tiles = list(enumerate(tile_grid(header)))
    with engine.ahead(min(most, len(tiles))) as ahead:
        yield from ahead.map(lambda tile: work(*tile), tiles)


def synthesise(
    engine: Engine,
    realism: float,
    header: Header,
    crop: Rectangle,
    latents_of: LatentsOf,
    depth: int = BYTE,
) -> Iterator[np.ndarray]:
    """A crop of a picture strip by strip, from the top: levels of this depth [n, crop.width, 3]
    each, of a grey picture [n, crop.width, 1].

    crop: in pixels, inside the picture. latents_of is asked once for each tile whose latents
    matter to the crop, a few ahead of the synthesis, in several threads at once.
    """
    region = cover(crop)
    halo = reach(engine.model.config.transform)
    needed = widened(region, halo, grid_of(header.width, header.height))
    side = SIDE if region.width * region.height > WHOLE else max(region.width, region.height)
    across = -(-region.width // side)
    parts = ((n, tile, meet(tile, needed)) for n, tile in enumerate(tile_grid(header)))
    tiles = [item for item in parts if item[2]]

    def work(item: tuple[Maps, Rectangle, Rectangle]) -> tuple[Rectangle, np.ndarray]:
        known, strip, window = item
        x = _window(engine, realism, header, known, window)
        return strip, to_pixels(x, header.grey, depth)

    with engine.ahead(min(AT_ONCE, len(tiles))) as ahead:
        latents = ahead.map(lambda item: latents_of(*item[:2]), tiles)
        bands = _bands(needed, tiles, latents, 2 * halo)
        windows = _windows(bands, needed, region, side, halo)
        # One window is computed with all threads; else up to the end of the next strip.
        alone = side >= max(region.width, region.height)
        done = map(work, windows) if alone else ahead.map(work, windows, across + 1)
        while row := list(islice(done, across)):
            yield _crop_strip(np.concatenate([part for _, part in row], 1), row[0][0], crop)


def _windows(
    bands: Iterator[Maps], needed: Rectangle, region: Rectangle, side: int, halo: int
) -> Iterator[tuple[Maps, Rectangle, Rectangle]]:
    """What to synthesise, in raster order: known latents, the strip of the region, its window."""
    top = region.y
    for known in bands:
        # The rows whose halo is known, too: in the last band that is all of them.
        ready = end(region) if end(known.region) == end(needed) else end(known.region) - halo
        while top < ready:
            strip = region._replace(y=top, height=min(side, ready - top))
            for x in range(region.x, region.x + region.width, side):
                width = min(side, region.x + region.width - x)
                yield known, strip, Rectangle(x, top, width, strip.height)
            top = end(strip)


def _bands(
    needed: Rectangle,
    tiles: list[tuple[int, Rectangle, Rectangle]],
    latents: Iterator[np.ndarray],
    overlap: int,
) -> Iterator[Maps]:
    """For each row of tiles the latents known by then, without those that are too far above to
    matter to rows whose halo was not known the time before. tiles: number, rectangle, and the
    part that is needed."""
    kept = None
    for _, row in groupby(tiles, key=lambda item: item[1].y):
        parts = [(part, Maps(next(latents), tile).cut(part)) for _, tile, part in row]
        band = np.concatenate([values for _, values in parts], 1) if len(parts) > 1 else parts[0][1]
        known = band if kept is None else np.concatenate([kept, band])
        kept = known[-overlap:]
        bottom = end(parts[0][0])
        region = Rectangle(needed.x, bottom - len(known), needed.width, len(known))
        yield Maps(known, region)


def _window(
    engine: Engine, realism: float, header: Header, known: Maps, window: Rectangle
) -> np.ndarray:
    """Pixels of latents that are known, as is their halo: float32 [16 height, 16 width, 3]."""
    grid = grid_of(header.width, header.height)
    around = widened(window, reach(engine.model.config.transform), grid)
    part = window._replace(x=window.x - around.x, y=window.y - around.y)
    origin = around.y, around.x
    return engine.synthesise(known.cut(around), header.level, realism, origin, part)


def _crop_strip(rgb: np.ndarray, strip: Rectangle, crop: Rectangle) -> np.ndarray:
    """What belongs to the crop of a strip."""
    whole = pixels_of(strip)
    return np.ascontiguousarray(rgb[within(meet(whole, crop), whole)])
