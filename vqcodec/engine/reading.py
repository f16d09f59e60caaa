"""The pixels of a file, strip by strip: networks, exact parts, and what damage has left of both."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ..bitstream.container import Unpacked
from ..bitstream.salvage import Salvaged, TileState
from ..geometry import Rectangle
from ..image.depth import BYTE
from ..image.strips import shrink_rows
from . import downscaled, exact_pixels, tiling
from .base import Engine
from .concealment import conceal, tile_notices

EngineOf = Callable[..., Engine]  # as `Engines.pick`


def rows_of(
    engine_of: EngineOf,
    file: Unpacked,
    region: Rectangle,
    scale: int,
    realism: float,
    depth: int,
) -> Iterator[np.ndarray]:
    """A region of a file, in pixels, at 1/scale of its size: strips of levels of this depth
    [n, w, 3 or 1].

    A file without learned streams asks for no engine. Raises CorruptError while it is read.
    """
    header = file.header

    def over(rows: Iterator[np.ndarray], scale: int = 1) -> Iterator[np.ndarray]:
        return exact_pixels.overlay(rows, header, file.exact, region, depth, scale)

    if not header.learned:
        return shrink_rows(over(exact_pixels.blank(header, region, depth)), scale)
    engine = engine_of(region.width * region.height // scale**2, precise=depth > BYTE)
    if downscaled.is_quick(engine.model.config, region, scale):
        return over(downscaled.synthesise(engine, file, region, scale, depth), scale)
    read = partial(tiling.read_tile, engine, file)
    rows = tiling.synthesise(
        engine, realism, header, region, lambda *tile: read(*tile).latents, depth
    )
    return shrink_rows(over(rows), scale)


def rescued_rows(
    engine_of: EngineOf,
    found: Salvaged,
    region: Rectangle,
    scale: int,
    realism: float,
    depth: int,
) -> tuple[Iterator[np.ndarray], tuple[TileState, ...], tuple[str, ...]]:
    """The same of a damaged file; the states of its tiles, and notices of what is missing.

    Raises CorruptError if there is nothing to decode.
    """
    header = found.header
    exact, lost = exact_pixels.sound(found)
    if not header.learned:
        states = tuple(TileState.LOST if part is None else TileState.WHOLE for part in exact)
        rows = exact_pixels.conceal(header, exact, region, depth)
        return shrink_rows(rows, scale), states, tile_notices(states)
    engine = engine_of(header.width * header.height, precise=depth > BYTE)
    latents, states = conceal(engine, found)
    rows = tiling.synthesise(
        engine, realism, header, region, lambda _, tile: latents.cut(tile), depth
    )
    rows = exact_pixels.overlay(rows, header, exact, region, depth)
    notices = (*tile_notices(states), *exact_pixels.lost_notices(lost, len(exact)))
    return shrink_rows(rows, scale), states, notices
