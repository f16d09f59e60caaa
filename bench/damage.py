"""What a lost tile is filled with, next to grey and to copies of its neighbours."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
from tqdm import tqdm

from vqcodec.bitstream import container
from vqcodec.bitstream.container import Header
from vqcodec.codec import Codec
from vqcodec.engine.base import CodedTile, Maps
from vqcodec.engine.concealment import fill
from vqcodec.engine.search import Search
from vqcodec.engine.tiling import synthesise
from vqcodec.geometry import MAX_PIXELS, STRIDE, Rectangle, grid_of, pixels_of, within
from vqcodec.image.pull_push import extend
from vqcodec.image.strips import join
from vqcodec.metrics import psnr

from .pictures import find, load
from .show import show

ACROSS = 4  # tiles a side
LOST = "grey", "nearest pixels", "smooth pixels", "ours"
COARSE = "ours, coarse part left", "without the prior's means"
METHODS = (*LOST, *COARSE, "undamaged")


class Trial(NamedTuple):
    """One tile lost. scores: PSNR in dB over it, by method. others, before: PSNR over the other
    tiles, and what it is without damage. reach: how far from the lost one, in pixels, they
    differ."""

    scores: dict[str, float]
    others: float
    before: float
    reach: float


def crop(rgb: np.ndarray) -> tuple[np.ndarray, int]:
    """The middle of a picture, as large as 16 tiles of a size that files may have can be, and
    that size as tile_log2."""
    tile_log2 = container.MIN_TILE_LOG2
    while ACROSS * STRIDE * 2 ** (tile_log2 + 1) <= min(rgb.shape[:2]):
        tile_log2 += 1
    side = ACROSS * STRIDE * 2**tile_log2
    y, x = ((length - side) // 2 for length in rgb.shape[:2])
    if min(x, y) < 0:
        raise ValueError(f"picture is {rgb.shape[1]}x{rgb.shape[0]}, expected {side} pixels a side")
    return np.ascontiguousarray(rgb[y : y + side, x : x + side]), tile_log2


def copies(rgb: np.ndarray, place: tuple[slice, slice], smooth: bool) -> np.ndarray:
    """The place filled with the nearest pixels around it, or smoothly from them."""
    known = np.ones(rgb.shape[:2], bool)
    known[place] = False
    if smooth:
        return np.rint(extend(rgb.astype(np.float32), known)).astype(np.uint8)
    ys, xs = np.nonzero(known & _ring(place, known.shape))
    inside = np.argwhere(~known)
    far = (inside[:, :1] - ys) ** 2 + (inside[:, 1:] - xs) ** 2
    nearest = far.argmin(1)
    out = rgb.copy()
    out[place] = rgb[ys[nearest], xs[nearest]].reshape(out[place].shape)
    return out


def _ring(place: tuple[slice, slice], shape: tuple[int, int]) -> np.ndarray:
    ring = np.zeros(shape, bool)
    ring[tuple(slice(max(0, part.start - 1), part.stop + 1) for part in place)] = True
    return ring


def trials(
    codec: Codec, rgb: np.ndarray, quality: float, numbers: Iterable[int]
) -> Iterator[Trial]:
    """One for each of the tiles."""
    rgb, tile_log2 = crop(rgb)
    with mock.patch.object(container, "choose_tile_log2", return_value=tile_log2):
        header, coded, _ = codec._encode(rgb, quality, Search(1, "mse"), MAX_PIXELS)
        tiles = list(coded)
    whole = _synthesise(codec, header, _join(header, tiles))
    places = list(container.tile_grid(header))
    for number in numbers:
        place = places[number]
        at = within(pixels_of(place))
        filled = _join(header, tiles)
        fill(codec.engine, header.level, filled, [place])
        versions = {
            "grey": np.full_like(whole, 128),
            "nearest pixels": copies(whole, at, False),
            "smooth pixels": copies(whole, at, True),
            "ours": _synthesise(codec, header, filled),
            **_coarse(codec, header, tiles, number, place),
            "undamaged": whole,
        }
        scores = {name: psnr(*map(np.ascontiguousarray, (image[at], rgb[at])))
                  for name, image in versions.items()}  # fmt: skip
        outside = np.ones(rgb.shape[:2], bool)
        outside[at] = False
        others, before = (
            psnr(image[outside][None], rgb[outside][None]) for image in (versions["ours"], whole)
        )
        yield Trial(scores, others, before, _reach(versions["ours"], whole, at))


def _coarse(
    codec: Codec, header: Header, tiles: list[CodedTile], number: int, place: Rectangle
) -> dict[str, np.ndarray]:
    """The picture with the fine part of one tile lost: with the prior's means, and with zeros."""
    payload = tiles[number].segments.coarse
    coded = codec.engine.tiles.decode_coarse(payload, place.height, place.width, header.level)
    prior = codec.model.config.prior
    known = max(item.stop for item in prior.passes[: prior.coarse_passes])
    bare = coded.latents.copy()
    bare[..., known:] = 0
    variants = coded, coded._replace(latents=bare)
    joined = (_join(header, [*tiles[:number], tile, *tiles[number + 1 :]]) for tile in variants)
    versions = (_synthesise(codec, header, latents) for latents in joined)
    return dict(zip(COARSE, versions, strict=True))


def _join(header: Header, tiles: list[CodedTile]) -> Maps:
    """The latents of the whole picture."""
    rows = [np.concatenate([tile.latents for tile in tiles[n : n + ACROSS]], 1)
            for n in range(0, len(tiles), ACROSS)]  # fmt: skip
    return Maps(np.concatenate(rows), grid_of(header.width, header.height))


def _synthesise(codec: Codec, header: Header, latents: Maps) -> np.ndarray:
    place = Rectangle(0, 0, header.width, header.height)
    rows = synthesise(codec.engine, 0.0, header, place, lambda _, tile: latents.cut(tile))
    return join(rows, header.height)


def _reach(damaged: np.ndarray, whole: np.ndarray, at: tuple[slice, slice]) -> float:
    """How far from the tile, in pixels, the two differ."""
    ys, xs = np.nonzero((damaged != whole).any(2))
    rows, columns = at
    far = np.maximum.reduce([rows.start - ys, ys - rows.stop + 1, columns.start - xs,
                             xs - columns.stop + 1, np.zeros_like(ys)])  # fmt: skip
    return float(far.max(initial=0))


def run(folder: Path, model: str, quality: float, count: int) -> None:
    """Print the mean PSNR over damaged tiles by method, and over the other tiles: `count` tiles of
    each picture, one at a time; others with each picture."""
    codec = Codec.load(model or None, "cpu")
    found: list[Trial] = []
    pictures = tqdm(find([folder]), unit="picture", delay=2, leave=False)
    for turn, picture in enumerate(pictures):
        numbers = [(7 * k + 3 * turn) % ACROSS**2 for k in range(count)]
        found += trials(codec, load(picture), quality, numbers)
    means = {name: np.mean([trial.scores[name] for trial in found]) for name in METHODS}
    lines = [["the tile is filled with", "PSNR, dB", "over grey, dB"]]
    lines += [[n, f"{means[n]:.2f}", f"{means[n] - means['grey']:+.2f}"] for n in METHODS]
    show(lines)
    less = [trial.before - trial.others for trial in found]
    reach = max(trial.reach for trial in found)
    print(
        f"{len(found)} tiles; the other {ACROSS**2 - 1} are {np.mean(less):.2f} dB worse, at most"
        f" {max(less):.2f} dB, and the same beyond {reach:.0f} pixels from it"
    )
