"""Latents of damaged tiles: what is sound is decoded, the rest is guessed.

A tile whose fine segment is lost takes the prior's means for it. Over a tile that is lost whole
the pixels around it are continued smoothly, and the encoder gives the latents of that.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..bitstream.container import Segments, tile_grid
from ..bitstream.salvage import Salvaged, TileState
from ..config import STRIDE
from ..errors import CorruptError
from ..geometry import Rectangle, grid_of, widened
from ..nn.model import Network
from .tiling import Maps
from .torch.tile_coder import Coded, TileCoder

SMOOTHING = 64  # sweeps of each scale; 256 win 0.07 dB over lost tiles, for four times the time
MARGIN = 1  # latents around a lost tile that are looked at: with 2 or 8 it is no closer


class Concealed(NamedTuple):
    """The latents of the whole picture, in steps, and what each tile of them was made from:
    TileState.LOST is a guess."""

    latents: Maps
    states: tuple[TileState, ...]


def conceal(coder: TileCoder, found: Salvaged) -> Concealed:
    """Decode the sound tiles of a damaged file and guess the others.

    Raises CorruptError if no tile has even its coarse segment: there is nothing to guess from.
    """
    header = found.header
    whole, device = grid_of(header.width, header.height), coder.network.lambdas.device
    values = torch.empty(1, coder.channels, whole.height, whole.width, device=device)
    latents = Maps(values.contiguous(memory_format=torch.channels_last), whole)
    lost, states = [], []
    for segments, state, place in zip(found.tiles, found.states, tile_grid(header), strict=True):
        tile, state = _decode(coder, segments, state, place, header.level)
        states.append(state)
        if tile is None:
            lost.append(place)
        else:
            latents.cut(place).copy_(tile.latents)
    if len(lost) == len(states):
        raise CorruptError(f"of {len(lost)} tiles not one is left: there is nothing to paint")
    fill(coder.network, header.level, latents, lost)
    return Concealed(latents, tuple(states))


@torch.inference_mode()
def fill(network: Network, level: int, latents: Maps, lost: Sequence[Rectangle]) -> None:
    """Guess the latents of lost places, in steps, from those around them, which are not all lost.

    Those beside known ones come first: what is filled is known to those that follow.
    """
    known = torch.ones(latents.values.shape[-2:], dtype=torch.bool, device=latents.values.device)
    for place in lost:
        _cut(known, place).fill_(False)
    while lost:
        for place in lost:
            window = widened(place, MARGIN, latents.place)
            seen = _cut(known, window)
            if bool(seen.any()):
                guess = _imagine(network, level, latents.cut(window), seen)
                latents.cut(place).copy_(Maps(guess, window).cut(place))
                _cut(known, place).fill_(True)
        lost = [place for place in lost if not known[place.y, place.x]]


def tile_notices(states: Sequence[TileState]) -> tuple[str, ...]:
    """One phrase for each kind of damage, with the numbers of its tiles, from 1 in raster order."""
    texts = {
        TileState.LOST: "lost, and painted from the others",
        TileState.COARSE: "only coarse, and painted without detail",
    }
    found = {kind: [n for n, s in enumerate(states, 1) if s is kind] for kind in texts}
    return tuple(
        f"{len(numbers)} of {len(states)} tiles {texts[kind]}: {_ranges(numbers)}"
        for kind, numbers in found.items()
        if numbers
    )


def _ranges(numbers: list[int]) -> str:
    """[1, 3, 4, 5] -> '1, 3-5'."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)


def extend(values: Tensor, known: Tensor) -> Tensor:
    """Fill unknown places smoothly from the known ones around them.

    values: [1, C, h, w]. known: bool [h, w], at least one. Known values stay as they are.
    """
    return _pull_push(torch.where(known, values, 0), known[None, None])


def _pull_push(values: Tensor, known: Tensor) -> Tensor:
    """Solve it for means of blocks of 2x2, and start from there: what is far away counts little,
    and large gaps are as smooth as small ones.

    values: [1, C, h, w], 0 where known, bool [1, 1, h, w], is False.
    """
    if bool(known.all()):
        return values
    mean, share = (F.avg_pool2d(x, 2, ceil_mode=True) for x in (values, known.to(values.dtype)))
    coarse = _pull_push(mean / share.clamp(min=1e-6), share > 0)
    spread = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    filled = torch.where(known, values, spread[..., : values.shape[2], : values.shape[3]])
    rows, columns = _around(~known[0, 0])
    gap, missing = filled[..., rows, columns], ~known[..., rows, columns]
    for _ in range(SMOOTHING):
        smoother = F.avg_pool2d(F.pad(gap, (1, 1, 1, 1), mode="replicate"), 3, 1)
        gap.copy_(torch.where(missing, smoother, gap))
    return filled


def _around(gap: Tensor) -> tuple[slice, slice]:
    """The rows and columns of a gap, bool [h, w], and one more on each side."""
    places = (torch.nonzero(gap.any(axis)).flatten() for axis in (1, 0))
    return tuple(slice(max(0, int(at[0]) - 1), int(at[-1]) + 2) for at in places)


def _decode(
    coder: TileCoder, segments: Segments, state: TileState, place: Rectangle, level: int
) -> tuple[Coded | None, TileState]:
    """The tile from what is sound of it; words behind a right checksum may still be wrong."""
    size = place.height, place.width, level
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


def _imagine(network: Network, level: int, latents: Tensor, known: Tensor) -> Tensor:
    """Latents [1, C, h, w] of which only those where `known`, bool [h, w], are of use -> those of
    a picture that continues them smoothly."""
    levels = torch.tensor([level], device=latents.device)
    # The mean beside what is known: zeros would tint the pixels at the border.
    mean = latents[..., known].mean(-1)[..., None, None]
    painted = network.synthesise(torch.where(known, latents, mean), levels)
    pixels = known.repeat_interleave(STRIDE, 0).repeat_interleave(STRIDE, 1)
    return network.analyse(extend(painted, pixels), levels)


def _cut(maps: Tensor, place: Rectangle) -> Tensor:
    """The tile's view of [..., h, w]."""
    return maps[..., place.y : place.y + place.height, place.x : place.x + place.width]
