"""Both transforms in bounded memory: a picture in windows, each with a halo around it.

The transforms are convolutions with zeros outside the picture. A window that is cut with a
halo as wide as their receptive field, and that ends where the picture ends, gives the numbers
of the whole picture: what the networks see at once is no matter of the format.
"""

from collections.abc import Callable, Iterator
from itertools import groupby, islice, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .ahead import AT_ONCE, Ahead
from .config import STRIDE, TransformConfig
from .container import Header, Rectangle, tile_grid
from .geometry import latents_across
from .nn.model import Network
from .pixels import pad

SIDE = 64  # latents of a window. On CPUs smaller ones lose to their halo, larger ones to the caches
WHOLE = 2**13  # latents, 2 megapixels: what is not more is painted in one window

LatentsOf = Callable[[int, Rectangle], Tensor]  # number and place of a tile -> [1, C, h, w], steps


def reach(config: TransformConfig) -> int:
    """How many latents away, in each direction, the pixels at a latent matter to it, and it to
    pixels: the 3x3 convolutions at 1/16, and those at 1/8 at half a latent each."""
    return config.coarse_blocks + -(-config.fine_blocks // 2)


def grid_of(width: int, height: int) -> Rectangle:
    """All latents of a picture of so many pixels."""
    return Rectangle(0, 0, latents_across(width), latents_across(height))


def widened(place: Rectangle, by: int, grid: Rectangle) -> Rectangle:
    """The place with a halo of `by` latents, which ends where the grid ends."""
    around = Rectangle(place.x - by, place.y - by, place.width + 2 * by, place.height + 2 * by)
    return meet(around, grid)


def windows(place: Rectangle, side: int) -> Iterator[Rectangle]:
    """Parts of a place of at most `side` latents each way, as even as can be, in raster order."""
    down, across = (-(-length // side) for length in (place.height, place.width))
    rows = [place.height * n // down for n in range(down + 1)]
    columns = [place.width * n // across for n in range(across + 1)]
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield Rectangle(place.x + left, place.y + top, right - left, bottom - top)


def pixels_of(place: Rectangle) -> Rectangle:
    """Latents -> their pixels."""
    return Rectangle(*(STRIDE * number for number in place))


def meet(a: Rectangle, b: Rectangle) -> Rectangle | None:
    """What two rectangles have in common; None is nothing."""
    x, y = max(a.x, b.x), max(a.y, b.y)
    width = min(a.x + a.width, b.x + b.width) - x
    height = min(_end(a), _end(b)) - y
    return Rectangle(x, y, width, height) if min(width, height) > 0 else None


def to_bytes(x: Tensor, grey: bool) -> np.ndarray:
    """Painted pixels float [3, H, W], about 0..1 -> uint8 [H, W, 3], or [H, W, 1] of a grey
    picture."""
    if grey:
        x = x.mean(0, keepdim=True)
    return (x * 255 + 0.5).clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()


class Maps(NamedTuple):
    """Values [1, C, h, w] of a place."""

    values: Tensor
    place: Rectangle

    def cut(self, part: Rectangle) -> Tensor:
        """The view of a part of the place."""
        x, y = part.x - self.place.x, part.y - self.place.y
        return self.values[:, :, y : y + part.height, x : x + part.width]


@torch.inference_mode()
def analyse(network: Network, rgb: np.ndarray, level: int, place: Rectangle) -> Tensor:
    """The latents of one place of a picture: float32 [1, C, place.height, place.width], in steps.

    rgb: the whole picture, uint8 [H, W, 3]. place: in latents.
    """
    grid = grid_of(rgb.shape[1], rgb.shape[0])
    window = widened(place, reach(network.config.transform), grid)
    own, device = pixels_of(window), network.lambdas.device
    part = pad(rgb[own.y : _end(own), own.x : own.x + own.width])
    x = torch.from_numpy(part).to(device).permute(2, 0, 1)[None].float().div_(255)
    x = x.contiguous(memory_format=torch.channels_last)
    y = network.analyse(x, torch.tensor([level], device=device))
    return Maps(y, window).cut(place)


@torch.inference_mode()
def paint(
    network: Network, header: Header, crop: Rectangle, latents_of: LatentsOf
) -> Iterator[np.ndarray]:
    """Paint a place of a picture strip by strip, from the top: uint8 [n, crop.width, 3] each,
    of a grey picture [n, crop.width, 1].

    crop: in pixels, inside the picture. latents_of is asked once for each tile whose latents
    matter to the crop, a few ahead of the painting, in several threads at once.
    """
    region = _cover(crop)
    needed = widened(region, reach(network.config.transform), grid_of(header.width, header.height))
    side = SIDE if region.width * region.height > WHOLE else max(region.width, region.height)
    across = -(-region.width // side)
    parts = ((n, tile, meet(tile, needed)) for n, tile in enumerate(tile_grid(header)))
    tiles = [item for item in parts if item[2]]

    def work(item: tuple[Maps, Rectangle, Rectangle]) -> tuple[Rectangle, np.ndarray]:
        known, strip, window = item
        return strip, _paint_window(network, header, known, window)

    with Ahead(network.lambdas.device, min(AT_ONCE, len(tiles))) as ahead:
        latents = ahead.map(lambda item: latents_of(*item[:2]), tiles)
        windows = _windows(network, _bands(network, needed, tiles, latents), needed, region, side)
        # One window is painted at once, with all threads; else up to the end of the next strip.
        alone = side >= max(region.width, region.height)
        painted = map(work, windows) if alone else ahead.map(work, windows, across + 1)
        while row := list(islice(painted, across)):
            yield _crop_strip(np.concatenate([part for _, part in row], 1), row[0][0], crop)


def _windows(
    network: Network, bands: Iterator[Maps], needed: Rectangle, region: Rectangle, side: int
) -> Iterator[tuple[Maps, Rectangle, Rectangle]]:
    """What to paint, in raster order: known latents, the strip of the region, its window."""
    halo, top = reach(network.config.transform), region.y
    for known in bands:
        # The rows whose halo is known, too: in the last band that is all of them.
        ready = _end(region) if _end(known.place) == _end(needed) else _end(known.place) - halo
        while top < ready:
            strip = region._replace(y=top, height=min(side, ready - top))
            for x in range(region.x, region.x + region.width, side):
                width = min(side, region.x + region.width - x)
                yield known, strip, Rectangle(x, top, width, strip.height)
            top = _end(strip)


def _bands(
    network: Network,
    needed: Rectangle,
    tiles: list[tuple[int, Rectangle, Rectangle]],
    latents: Iterator[Tensor],
) -> Iterator[Maps]:
    """For each row of tiles the latents known by then, without those that are too far above to
    matter to rows whose halo was not known the time before. tiles: number, place, needed part."""
    device, channels = network.lambdas.device, network.config.transform.latents
    overlap = 2 * reach(network.config.transform)
    kept = torch.empty(1, channels, 0, needed.width, device=device)
    for _, row in groupby(tiles, key=lambda item: item[1].y):
        row = list(row)
        own = row[0][2]
        band = torch.empty(1, channels, own.height, needed.width, device=device)
        band = band.contiguous(memory_format=torch.channels_last)
        for _, tile, part in row:
            x = part.x - needed.x
            band[..., x : x + part.width] = Maps(next(latents), tile).cut(part)
        known = torch.cat([kept, band], 2) if kept.shape[2] else band
        kept = known[:, :, -overlap:]
        height = known.shape[2]
        yield Maps(known, Rectangle(needed.x, _end(own) - height, needed.width, height))


@torch.inference_mode()
def _paint_window(network: Network, header: Header, known: Maps, window: Rectangle) -> np.ndarray:
    """Paint latents that are known, as is their halo: uint8 [16 * height, 16 * width, 3 or 1]."""
    grid = grid_of(header.width, header.height)
    around = widened(window, reach(network.config.transform), grid)
    levels = torch.tensor([header.level], device=known.values.device)
    painted = network.synthesise(known.cut(around), levels, (around.y, around.x))
    painted = Maps(painted, pixels_of(around))
    return to_bytes(painted.cut(pixels_of(window))[0], header.grey)


def _crop_strip(rgb: np.ndarray, strip: Rectangle, crop: Rectangle) -> np.ndarray:
    """What belongs to the crop of a painted strip."""
    painted = pixels_of(strip)
    own = meet(painted, crop)
    y, x = own.y - painted.y, own.x - painted.x
    return np.ascontiguousarray(rgb[y : y + own.height, x : x + own.width])


def _end(place: Rectangle) -> int:
    """The row behind the last one."""
    return place.y + place.height


def _cover(crop: Rectangle) -> Rectangle:
    """Pixels -> the latents that cover them."""
    x, y = crop.x // STRIDE, crop.y // STRIDE
    right, bottom = latents_across(crop.x + crop.width), latents_across(_end(crop))
    return Rectangle(x, y, right - x, bottom - y)
