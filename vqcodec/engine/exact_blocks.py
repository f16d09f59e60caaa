"""Which blocks of a tile are better coded exactly: text and drawings, by R + lambda D.

Screens have many blocks of one colour, which photographs have not: that is looked at first, and
costs a photograph nothing. A tile that may have text is coded by the networks on trial; then each
block is coded in the way that costs less. Below the quality from which exact blocks are truly so,
they have fewer colours first.
"""

from typing import NamedTuple

import numpy as np

from ..bitstream.container import Exact, Header
from ..bitstream.exact_part import blocks_of
from ..bitstream.header import tile_pixels
from ..config import STRIDE
from ..geometry import Rectangle, shrunk, within
from ..image import webp_lossless
from ..image.depth import BYTE
from ..image.fewer_colours import packed, reduce
from ..image.pixels import pad
from ..rate_control import OperatingPoint, quality_of
from . import tiling
from .base import Engine
from .bit_allocation import allocation_of
from .search import Search

FEWEST_COLOURS = 50.0  # up to this quality exact blocks have as few colours as they may
DISTANCE = 32.0  # in levels of 255, how far a colour may then be from what it was
EXACT_QUALITY = 75.0  # from here on those of text are the picture's pixels
ALL_EXACT_QUALITY = 100.0  # and the others, of shades and icons, from here on
TEXT_COLOURS = 80  # of 256 pixels: strokes of one or two colours on a ground have no more
BLOCK_LOG2 = 5  # blocks of 32 pixels: with 16 the map costs more, with 64 they fit less well
ROWS = 4  # every so many rows are looked at
# A tile is tried if of its rows of 16 pixels so many have one colour (of photographs 1 in 30 has as
# many, of screens all), and of its latents so many have text: more than one colour, but so many
# pixels that are as the left one is.
FLAT_ROWS, TEXT, TEXT_LATENTS = 0.12, 0.3, 0.02
CANDIDATE = 0.15  # the same of pixels of a latent that may be exact
FILL_BITS = 1.0  # what a latent under exact blocks costs
EDGE, NEW = 0.3, 1.0  # weights of bits: of a pixel unlike one, or both of its neighbours
REST = 0.003  # of any other pixel


class Rival(NamedTuple):
    """What the networks make of a tile, of each latent: bits and squared errors, [h, w]."""

    bits: np.ndarray
    errors: np.ndarray


def choose(
    engine: Engine, rgb: np.ndarray, header: Header, point: OperatingPoint, tile: Rectangle
) -> Exact | None:
    """What of a tile, in latents, of a picture uint8 [H, W, 3] is better exact, by a trial."""
    area = tile_pixels(header, tile)
    part = rgb[within(area)]
    shares, _ = flat_shares(part)
    config = engine.model.config.transform
    weight = weight_of(config.lambdas(), point)
    quality = quality_of(point, config.levels)
    rival = _rival(engine, rgb, header, point, tile)
    where = shares >= CANDIDATE
    fewer = with_fewer_colours(part, where, quality)
    errors = _errors(fewer, part)
    bits = _share_bits(fewer, where)
    side = 2**BLOCK_LOG2 // STRIDE
    gain = rival.bits - bits + weight * (rival.errors - errors)
    blocks = (_sums(gain * where, side) > 0) & (_sums(~where, side) == 0)
    if not blocks.any():
        return None
    mixed = _coded(fewer, blocks)
    chosen = spread(blocks, side, where.shape)
    cost = 8 * len(mixed.stream) + FILL_BITS * chosen.sum() + weight * errors[chosen].sum()
    cost += (rival.bits + weight * rival.errors)[~chosen].sum()
    options = [(cost, mixed), ((rival.bits + weight * rival.errors).sum(), None)]
    if where.mean() > 0.5:  # chosen are fewer: grounds cost nothing either way
        options.append(_wholly(part, quality, weight))
    return min(options, key=lambda item: item[0])[1]


def _wholly(part: np.ndarray, quality: float, weight: float) -> tuple[float, Exact]:
    """Cost and exact part of a tile that is exact in all of its blocks; without fewer colours, too,
    which a picture drawn with a palette is smaller with."""
    fewer = with_fewer_colours(part, np.ones(_counts(part.shape, STRIDE), bool), quality)
    blocks = np.ones(_counts(part.shape, 2**BLOCK_LOG2), bool)
    options = []
    for rgb in [fewer] if quality <= FEWEST_COLOURS else [fewer, part]:
        coded = _coded(rgb, blocks)
        options.append((8 * len(coded.stream) + weight * _errors(rgb, part).sum(), coded))
    return min(options, key=lambda item: item[0])


def is_worth_a_trial(rgb: np.ndarray, header: Header, tile: Rectangle) -> bool:
    """Whether a tile, in latents, of a picture may have text."""
    return may_have_text(*flat_shares(rgb[within(tile_pixels(header, tile))]))


def may_have_text(shares: np.ndarray, flat: np.ndarray) -> bool:
    """Whether a tile with these `flat_shares` is worth a trial."""
    text = (shares >= TEXT) & (flat < 1)
    return flat.mean() >= FLAT_ROWS and text.mean() >= TEXT_LATENTS


def weight_of(lambdas: list[float], point: OperatingPoint) -> float:
    """Bits that a squared error is worth, in levels of 255 and in the mean of R, G and B."""
    return lambdas[point.level] * (lambdas[1] / lambdas[0]) ** point.level_offset


def distance_of(quality: float, exact_from: float = EXACT_QUALITY) -> float:
    """How far a colour of a block that is exact from a quality on may be from what it was."""
    share = (exact_from - quality) / (exact_from - FEWEST_COLOURS)
    return DISTANCE * min(1.0, max(0.0, share))


def with_fewer_colours(rgb: np.ndarray, where: np.ndarray, quality: float) -> np.ndarray:
    """A copy with fewer colours in the latents' pixels that bool [h, w] names, as the quality has
    it."""
    text = colours_of(rgb) <= TEXT_COLOURS
    distances = distance_of(quality), distance_of(quality, ALL_EXACT_QUALITY)
    if distances[0] == distances[1]:
        return reduce(rgb, spread(where, STRIDE, rgb.shape), distances[0])
    for part, distance in zip((where & text, where & ~text), distances, strict=True):
        rgb = reduce(rgb, spread(part, STRIDE, rgb.shape), distance)
    return rgb


def colours_of(rgb: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> int [h, w]: how many colours each latent's pixels have."""
    colours = packed(pad(rgb))
    down, across = (side // STRIDE for side in colours.shape)
    blocks = colours.reshape(down, STRIDE, across, STRIDE).swapaxes(1, 2)
    ordered = np.sort(blocks.reshape(down, across, -1), -1)
    return 1 + (ordered[..., 1:] != ordered[..., :-1]).sum(-1)


def flat_shares(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [H, W, 3] -> two of float64 [h, w]: of each latent's pixels the share that is as the
    left neighbour is, and of its rows the share that has one colour. Some rows are looked at."""
    rows = rgb[::ROWS]
    same = rows[:, 1:] == rows[:, :-1]
    equal = np.zeros(rows.shape[:2])
    equal[:, 1:] = same[..., 0] & same[..., 1] & same[..., 2]
    equal[:, ::STRIDE] = 1  # within the latent they have no left neighbour
    down, across = np.arange(0, len(equal), STRIDE // ROWS), np.arange(0, equal.shape[1], STRIDE)
    shares = np.add.reduceat(equal, across, 1) / np.diff(across, append=equal.shape[1])
    counts = np.diff(down, append=len(equal))[:, None]
    return tuple(np.add.reduceat(x, down, 0) / counts for x in (shares, (shares == 1) * 1.0))


def _rival(
    engine: Engine, rgb: np.ndarray, header: Header, point: OperatingPoint, tile: Rectangle
) -> Rival:
    quick = Search(1, "mse")
    coded = tiling.encode_tile(engine, rgb, header, point, quick, tile)
    area = tile_pixels(header, tile)
    decoded = engine.synthesise(coded.latents, header.level)[: area.height, : area.width]
    found = tiling.to_pixels(np.ascontiguousarray(decoded), header.grey, BYTE)
    bits = allocation_of(engine.model, coded.indices, coded.tables).bits
    return Rival(bits, _errors(found, rgb[within(area)]))


def _errors(found: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """Squared errors of each latent's pixels, in the mean of R, G and B: float64 [h, w]."""
    squares = (found.astype(np.float32) - rgb) ** 2
    return _sums(squares.mean(2), STRIDE)


def _share_bits(rgb: np.ndarray, where: np.ndarray) -> np.ndarray:
    """What each latent's pixels take of the exact stream of those that bool [h, w] names."""
    blanked = _blanked(rgb, spread(where, STRIDE, rgb.shape))
    bits = 8 * len(webp_lossless.encode(blanked, webp_lossless.FAST))
    colours = packed(rgb)
    padded = np.pad(colours, ((1, 0), (1, 0)), mode="edge")
    unlike = (colours != padded[1:, :-1]).astype(np.int8) + (colours != padded[:-1, 1:])
    weights = np.array([REST, EDGE, NEW])[unlike]
    sums = _sums(weights, STRIDE)
    return bits * sums / sums[where].sum()


def _coded(rgb: np.ndarray, blocks: np.ndarray) -> Exact:
    """The exact part of the blocks that bool [down, across] names."""
    blanked = _blanked(rgb, spread(blocks, 2**BLOCK_LOG2, rgb.shape))
    stream = webp_lossless.encode(blanked, webp_lossless.SMALL)
    return Exact(stream, BLOCK_LOG2, runs_of(blocks))


def _blanked(rgb: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The pixels where bool [H, W] says so, one colour elsewhere."""
    if where.all():
        return rgb
    colours, counts = np.unique(packed(rgb[where][::ROWS]), return_counts=True)
    colour = int(colours[counts.argmax()])
    return np.where(
        where[..., None], rgb, np.uint8([colour >> 16, colour >> 8 & 255, colour & 255])
    )


def runs_of(blocks: np.ndarray) -> tuple[int, ...]:
    """The map of exact blocks, bool [down, across], as `Exact` has it."""
    above = np.zeros_like(blocks)
    above[1:] = blocks[:-1]
    bits = (blocks ^ above).ravel()
    ends = np.flatnonzero(bits[1:] != bits[:-1]) + 1
    runs = np.diff(ends, prepend=0, append=bits.size).tolist()
    return (0, *runs) if bits[0] else tuple(runs)


def map_of(runs: tuple[int, ...], down: int, across: int) -> np.ndarray:
    """Undo `runs_of`."""
    bits = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(down, across)
    return np.logical_xor.accumulate(bits, 0)


def mask_of(exact: Exact, tile: Rectangle, scale: int = 1) -> np.ndarray | None:
    """bool [H, W]: the exact pixels of a tile at 1/scale of its size; None: all."""
    if exact.block_log2 is None:
        return None
    across, down = blocks_of(tile, exact.block_log2)
    blocks = map_of(exact.runs, down, across)
    shape = shrunk(tile.height, scale), shrunk(tile.width, scale)
    return spread(blocks, 2**exact.block_log2 // scale, shape)


def spread(blocks: np.ndarray, side: int, shape: tuple[int, ...]) -> np.ndarray:
    """[down, across] of blocks -> [H, W] of what is in them, `side` each way."""
    return blocks.repeat(side, 0)[: shape[0]].repeat(side, 1)[:, : shape[1]]


def _counts(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    return -(-shape[0] // side), -(-shape[1] // side)


def _sums(values: np.ndarray, side: int) -> np.ndarray:
    """The sums of blocks of [H, W], float64 [down, across]; the last ones may be smaller."""
    down, across = (np.arange(0, length, side) for length in values.shape)
    return np.add.reduceat(np.add.reduceat(values.astype(np.float64), down, 0), across, 1)
