"""Both transforms in bounded memory: a picture in windows, each with a halo around it.

The transforms are convolutions with zeros outside the picture. A window that is cut with a
halo as wide as their receptive field, and that ends where the picture ends, gives the numbers
of the whole picture: what the networks see at once is no matter of the format.
"""

from collections.abc import Callable, Iterator
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..bitstream.container import Header, tile_grid
from ..geometry import Rectangle, cover, end, grid_of, meet, pixels_of, reach, widened, within
from ..image.pixels import pad
from ..nn.model import Network
from .torch.scheduling import AT_ONCE, Ahead

SIDE = 64  # latents of a window. On CPUs smaller ones lose to their halo, larger ones to the caches
WHOLE = 2**13  # latents, 2 megapixels: what is not more is painted in one window

LatentsOf = Callable[[int, Rectangle], Tensor]  # number and place of a tile -> [1, C, h, w], steps


def keep_pages() -> None:
    """Have glibc keep the memory of a picture's maps for the next one: it gives back what is more
    than twice the largest block that was ever freed, of at most 32 MB (mallopt(3), "dynamic mmap
    threshold"), and the pages that come anew each time took a tenth of the time of a picture."""
    torch.empty(31 << 20, dtype=torch.uint8)


def to_bytes(x: Tensor, grey: bool) -> np.ndarray:
    """Painted pixels float [3, H, W], about 0..1 -> uint8 [H, W, 3], or [H, W, 1] of a grey
    picture."""
    if grey:
        x = x.mean(0, keepdim=True)
    return (x * 255).add_(0.5).clamp_(0, 255).byte().permute(1, 2, 0).cpu().numpy()


class Maps(NamedTuple):
    """Values [1, C, h, w] of a place."""

    values: Tensor
    place: Rectangle

    def cut(self, part: Rectangle) -> Tensor:
        """The view of a part of the place."""
        rows, columns = within(part, self.place)
        return self.values[:, :, rows, columns]


@torch.inference_mode()
def analyse(network: Network, rgb: np.ndarray, level: int, place: Rectangle) -> Tensor:
    """The latents of one place of a picture: float32 [1, C, place.height, place.width], in steps.

    rgb: the whole picture, uint8 [H, W, 3]. place: in latents.
    """
    grid = grid_of(rgb.shape[1], rgb.shape[0])
    window = widened(place, reach(network.config.transform), grid)
    own, device = pixels_of(window), network.lambdas.device
    part = pad(rgb[own.y : end(own), own.x : own.x + own.width])
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
    region = cover(crop)
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
        ready = end(region) if end(known.place) == end(needed) else end(known.place) - halo
        while top < ready:
            strip = region._replace(y=top, height=min(side, ready - top))
            for x in range(region.x, region.x + region.width, side):
                width = min(side, region.x + region.width - x)
                yield known, strip, Rectangle(x, top, width, strip.height)
            top = end(strip)


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
        yield Maps(known, Rectangle(needed.x, end(own) - height, needed.width, height))


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
    return np.ascontiguousarray(rgb[within(meet(painted, crop), painted)])
