"""Error concealment: latents for tiles that are damaged or lost.

A tile whose fine segment is lost takes the prior's means for it. Over a tile that is lost whole
the pixels around it are continued smoothly, and the encoder gives the latents of that.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..bitstream.container import Segments, tile_grid
from ..bitstream.salvage import Salvaged, TileState
from ..config import STRIDE
from ..errors import CorruptError
from ..geometry import Rectangle, grid_of, widened, within
from ..image.pull_push import extend
from .base import CodedTile, Engine, Maps, TileCoder

MARGIN = 1  # latents around a lost tile that are looked at: with 2 or 8 it is no closer


class Rescued(NamedTuple):
    """What `Codec.decode_damaged` made. states: of each tile, in raster order; LOST ones are
    made up from their neighbours, COARSE ones lack detail. notices: what is missing, one
    phrase each; none for a sound file."""

    image: Image.Image | np.ndarray
    states: tuple[TileState, ...]
    notices: tuple[str, ...]


class Concealed(NamedTuple):
    """The latents of the whole picture, in steps, and what each tile of them was made from:
    TileState.LOST is a guess."""

    latents: Maps
    states: tuple[TileState, ...]


def conceal(engine: Engine, found: Salvaged) -> Concealed:
    """Decode the sound tiles of a damaged file and guess the others.

    Raises CorruptError if no tile has even its coarse segment: there is nothing to guess from.
    """
    header = found.header
    whole = grid_of(header.width, header.height)
    shape = whole.height, whole.width, engine.model.config.transform.latents
    latents = Maps(np.empty(shape, np.float32), whole)
    lost, states = [], []
    for segments, state, region in zip(found.tiles, found.states, tile_grid(header), strict=True):
        tile, state = _decode(engine.tiles, segments, state, region, header.level)
        states.append(state)
        if tile is None:
            lost.append(region)
        else:
            latents.cut(region)[:] = tile.latents
    if len(lost) == len(states):
        raise CorruptError(f"of {len(lost)} tiles not one is left: there is nothing to decode")
    fill(engine, header.level, latents, lost)
    return Concealed(latents, tuple(states))


def fill(engine: Engine, level: int, latents: Maps, lost: Sequence[Rectangle]) -> None:
    """Guess the latents of lost tiles, in steps, from those around them, which are not all lost.

    Those beside known ones come first: what is filled is known to those that follow.
    """
    known = np.ones(latents.values.shape[:2], dtype=bool)
    for tile in lost:
        known[within(tile)] = False
    while lost:
        for tile in lost:
            window = widened(tile, MARGIN, latents.region)
            known_here = known[within(window)]
            if known_here.any():
                guess = _imagine(engine, level, latents.cut(window), known_here)
                latents.cut(tile)[:] = Maps(guess, window).cut(tile)
                known[within(tile)] = True
        lost = [tile for tile in lost if not known[tile.y, tile.x]]


def tile_notices(states: Sequence[TileState]) -> tuple[str, ...]:
    """One phrase for each kind of damage, with the numbers of its tiles, from 1 in raster order."""
    texts = {
        TileState.LOST: "lost, and made up from the others",
        TileState.COARSE: "only coarse, and without detail",
    }
    found = {kind: [n for n, s in enumerate(states, 1) if s is kind] for kind in texts}
    return tuple(
        f"{len(numbers)} of {len(states)} tiles {texts[kind]}: {ranges(numbers)}"
        for kind, numbers in found.items()
        if numbers
    )


def ranges(numbers: list[int]) -> str:
    """[1, 3, 4, 5] -> '1, 3-5'."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)


def _decode(
    coder: TileCoder, segments: Segments, state: TileState, region: Rectangle, level: int
) -> tuple[CodedTile | None, TileState]:
    """The tile from what is sound of it; a payload behind a right checksum may still be wrong."""
    size = region.height, region.width, level
    if state is TileState.WHOLE:
        try:
            return coder.decode(segments, *size), state
        except CorruptError:
            state = TileState.COARSE
    if state is TileState.COARSE:
        try:
            return coder.decode_coarse(segments.coarse, *size), state
        except CorruptError:
            pass
    return None, TileState.LOST


def _imagine(engine: Engine, level: int, latents: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Latents [h, w, C] of which only those where `known`, bool [h, w], are of use -> those of a
    picture that continues them smoothly."""
    # The mean beside what is known: zeros would tint the pixels at the border.
    filled = np.where(known[..., None], latents, latents[known].mean(0))
    pixels = known.repeat(STRIDE, 0).repeat(STRIDE, 1)
    return engine.analyse(extend(engine.synthesise(filled, level), pixels), level)
