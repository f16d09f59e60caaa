"""Decoding with exact parts: their pixels over those of the networks, strip by strip."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..bitstream.container import Exact, Header, tile_grid
from ..bitstream.header import tile_pixels
from ..bitstream.salvage import Salvaged
from ..errors import CorruptError
from ..geometry import Rectangle, end, meet, within
from ..image import webp_lossless
from ..image.depth import BYTE, dtype_of, peak, rescaled
from ..image.strips import join, shrink
from .concealment import ranges
from .exact_blocks import mask_of
from .exact_tiles import fill


class Patch(NamedTuple):
    """Exact pixels of a tile. area: where, at the scale that they have. where: bool [H, W]; None:
    all."""

    area: Rectangle
    pixels: np.ndarray
    where: np.ndarray | None


def overlay(
    rows: Iterator[np.ndarray],
    header: Header,
    exact: Sequence[Exact | None],
    region: Rectangle,
    depth: int,
    scale: int = 1,
) -> Iterator[np.ndarray]:
    """Strips of a region, in pixels, at 1/scale of its size, levels of this depth, with exact
    blocks put over them.

    A region that comes at less than its size begins at a multiple of the scale. Each tile is
    decoded once, when a strip reaches it. Raises CorruptError for a stream that cannot be decoded.
    """
    if not any(exact):
        yield from rows
        return
    x, y = region.x // scale, region.y // scale
    tiles = [(n, tile_pixels(header, tile)) for n, tile in enumerate(tile_grid(header))]
    tiles = [(n, tile) for n, tile in tiles if exact[n] and meet(tile, region)]
    patches: list[Patch] = []
    for strip in rows:
        place = Rectangle(x, y, strip.shape[1], len(strip))
        patches = [patch for patch in patches if end(patch.area) > y]
        while tiles and tiles[0][1].y // scale < end(place):
            number, tile = tiles.pop(0)
            patches.append(_patch(exact[number], tile, header.grey, depth, scale))
        out = strip.copy()
        for patch in patches:
            _put(patch, out, place)
        yield out
        y += len(strip)


def blank(header: Header, region: Rectangle, depth: int) -> Iterator[np.ndarray]:
    """Strips of a region, in pixels, to put exact tiles over: one of each row of tiles."""
    tops = sorted({tile_pixels(header, tile).y for tile in tile_grid(header)})
    bottoms = [min(bottom, end(region)) for bottom in (*tops[1:], header.height)]
    for top, bottom in zip(tops, bottoms, strict=True):
        height = bottom - max(top, region.y)
        if height > 0:
            yield np.zeros((height, region.width, 1 if header.grey else 3), dtype_of(depth))


def exact_share(header: Header, exact: Sequence[Exact | None]) -> float:
    """The share of the picture's pixels that are exact."""
    count = 0
    for part, tile in zip(exact, tile_grid(header), strict=False):
        area = tile_pixels(header, tile)
        if part is not None:
            where = mask_of(part, area)
            count += area.width * area.height if where is None else int(where.sum())
    return count / (header.width * header.height)


def sound(found: Salvaged) -> tuple[tuple[Exact | None, ...], tuple[int, ...]]:
    """The exact parts of a damaged file that can be decoded, and the numbers of lost ones: behind
    a right checksum a stream may still be wrong."""
    parts, lost = list(found.exact), list(found.exact_lost)
    for number, part in enumerate(parts):
        try:
            if part is not None:
                webp_lossless.decode(part.stream)
        except CorruptError:
            parts[number] = None
            lost.append(number)
    return tuple(parts), tuple(sorted(lost))


def lost_notices(lost: Sequence[int], count: int) -> tuple[str, ...]:
    """One phrase, with the numbers of the tiles, from 1; none if there are none."""
    if not lost:
        return ()
    return (f"exact pixels of {len(lost)} of {count} tiles lost: {ranges([n + 1 for n in lost])}",)


def conceal(
    header: Header, exact: Sequence[Exact | None], region: Rectangle, depth: int
) -> Iterator[np.ndarray]:
    """A region, in pixels, of a file of exact pixels alone; over lost tiles the others are
    continued smoothly. Raises CorruptError if all are lost."""
    if not any(exact):
        raise CorruptError(f"of {len(exact)} tiles not one is left: there is nothing to decode")
    whole = Rectangle(0, 0, header.width, header.height)
    if all(exact):
        return overlay(blank(header, region, depth), header, exact, region, depth)
    rows = overlay(blank(header, whole, BYTE), header, exact, whole, BYTE)
    pixels, lost = join(rows, header.height), np.zeros((header.height, header.width), bool)
    for part, tile in zip(exact, tile_grid(header), strict=True):
        if part is None:
            lost[within(tile_pixels(header, tile))] = True
    return iter([rescaled(fill(pixels, lost)[within(region)], peak(BYTE), depth)])


def _patch(exact: Exact, tile: Rectangle, grey: bool, depth: int, scale: int) -> Patch:
    pixels = rescaled(webp_lossless.decode(exact.stream), peak(BYTE), depth)
    pixels = shrink(pixels[..., 1:2] if grey else pixels, scale)
    area = Rectangle(tile.x // scale, tile.y // scale, pixels.shape[1], pixels.shape[0])
    return Patch(area, pixels, mask_of(exact, tile, scale))


def _put(patch: Patch, strip: np.ndarray, place: Rectangle) -> None:
    """Put what is in the strip of a patch there."""
    part = meet(patch.area, place)
    if part is None:
        return
    target, source = within(part, place), within(part, patch.area)
    where = True if patch.where is None else patch.where[source][..., None]
    np.copyto(strip[target], patch.pixels[source], where=where)
