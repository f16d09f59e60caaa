"""Encoding with exact parts: which tiles have them, and what is left to the networks.

Under exact blocks the networks code a smooth continuation of what is around, which costs them next
to nothing, and leaves no seam: nothing near the border of a block is changed.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from ..bitstream.container import Exact, Header, tile_count, tile_grid
from ..bitstream.header import NO_MODEL, tile_pixels
from ..errors import InputError
from ..geometry import Rectangle, within
from ..image import webp_lossless
from ..image.depth import BYTE
from ..image.pull_push import doubled, extend
from ..image.strips import shrink
from ..progress import followed, stage
from ..rate_control import OperatingPoint
from .base import CodedTile, Engine
from .exact_blocks import choose, is_worth_a_trial, mask_of
from .scheduling import AT_ONCE, Ahead
from .search import Search
from .tiling import each_tile, encode_tile

FILL_LOG2 = 3  # the fill is computed at 1/8 of the size
TRIAL = 3  # how many times as long as coding a tile its trial takes, about
Found = TypeVar("Found")
Tell = Callable[[float], object]


class Plan(NamedTuple):
    """How to code a picture. rgb: what the networks code, uint8 [H, W, 3]. exact: of each tile; of
    none if there is nothing exact. done: the share of the work that planning was."""

    header: Header
    rgb: np.ndarray
    exact: tuple[Exact | None, ...] = ()
    done: float = 0.0


def plan(engine: Engine, whole: Plan, point: OperatingPoint, tell: Tell) -> Plan:
    """Find the exact blocks of a picture without any. tell: takes the share done of all work.

    Those of a model with a task would bring back what it undoes; above 8 bits there are none.
    """
    header, rgb = whole.header, whole.rgb
    if engine.model.config.task is not None or header.depth != BYTE:
        return whole
    tiles = list(tile_grid(header))
    is_tried = partial(is_worth_a_trial, rgb, header)
    tried = [n for n, worth in enumerate(_each(engine, is_tried, tiles)) if worth]
    if not tried:
        return whole
    work = partial(choose, engine, rgb, header, point)
    done = TRIAL * len(tried) / (TRIAL * len(tried) + len(tiles))
    found = _each(engine, work, [tiles[n] for n in tried])
    chosen = dict(zip(tried, followed(found, len(tried), stage(tell, 0, done)), strict=True))
    exact = tuple(chosen.get(n) for n in range(len(tiles)))
    if not any(exact):
        return whole._replace(done=done)
    areas = [tile_pixels(header, tile) for tile in tiles]
    maps = [part and mask_of(part, area) for part, area in zip(exact, areas, strict=True)]
    if all(found is not None and found.all() for found in maps):
        exact = tuple(Exact(part.stream) for part in exact)
        return Plan(without_networks(header), rgb, exact, done)
    filled = rgb.copy()
    for area, found in zip(areas, maps, strict=True):
        if found is not None:
            filled[within(area)] = fill(rgb[within(area)], found)
    return Plan(replace(header, exact=True), filled, exact, done)


def _each(
    engine: Engine, work: Callable[[Rectangle], Found], tiles: list[Rectangle]
) -> Iterator[Found]:
    """What `work` makes of each tile, a few at a time."""
    with engine.ahead(min(AT_ONCE, len(tiles))) as ahead:
        yield from ahead.map(work, tiles)


def learned_tiles(
    engine: Engine, plan: Plan, point: OperatingPoint, search: Search, tell: Tell
) -> Iterator[CodedTile]:
    """The tiles of a picture as the networks code them, while they are asked for; none if all is
    exact. tell: as of `plan`."""
    if not plan.header.learned:
        tell(1.0)
        return iter(())
    encode = partial(encode_tile, engine, plan.rgb, plan.header, point, search)
    most = AT_ONCE if search.effort == 1 else 1  # a search takes 0.8 GB
    tiles = each_tile(engine, plan.header, lambda _, tile: encode(tile), most)
    return followed(tiles, tile_count(plan.header), stage(tell, plan.done, 1))


def without_networks(header: Header) -> Header:
    """That of the same picture as exact pixels alone. Raises InputError for one of other than 8
    bits."""
    if header.depth != BYTE:
        raise InputError(f"exact pixels have {BYTE} bits, those of this picture {header.depth}")
    return replace(header, model_id=NO_MODEL, level=0, exact=True, learned=False)


def without_loss(rgb: np.ndarray, header: Header) -> Iterator[Exact]:
    """The exact parts of all tiles of a picture, some at a time."""
    tiles = list(tile_grid(header))

    def work(tile: Rectangle) -> Exact:
        part = rgb[within(tile_pixels(header, tile))]
        return Exact(webp_lossless.encode(part, webp_lossless.SMALL))

    with Ahead(min(AT_ONCE, len(tiles), os.cpu_count() or 1)) as ahead:
        yield from ahead.map(work, tiles)


def fill(rgb: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Pixels of a tile, uint8 [H, W, 3], with its exact ones, bool [H, W], continued smoothly from
    the others."""
    if exact.all():
        return np.full_like(rgb, np.rint(rgb.mean((0, 1))))
    scale = 2**FILL_LOG2
    known = ~exact[::scale, ::scale]  # blocks are multiples of that
    values = extend(shrink(rgb, scale).astype(np.float32), known)
    for _ in range(FILL_LOG2):
        values = doubled(doubled(values, 0), 1)
    height, width = rgb.shape[:2]
    smooth = np.rint(values[:height, :width]).astype(np.uint8)
    return np.where(exact[..., None], smooth, rgb)
