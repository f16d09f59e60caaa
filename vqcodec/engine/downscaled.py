"""Fast decoding at 1/4 or 1/8 of the size: each pixel is the mean of a block of pixels.

Without its residual blocks the decoder is affine, and each latent gives 16x16 pixels alone. The
means of these over 4x4 or 8x8 pixels are one small matrix away from the latents of low frequency,
which the prior's first passes give: no network runs, and the other passes are not decoded. Half
the size needs more of what the blocks add (35 dB to the reduced picture, where 1/4 has 39 and 1/8
has 41), and is synthesised whole.
"""

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from ..bitstream.container import Unpacked, tile_grid
from ..config import STRIDE, ModelConfig, PriorConfig
from ..geometry import QUICK_SCALES, Rectangle, meet, shrunk
from ..image.depth import BYTE
from .base import Engine, Maps
from .tiling import to_pixels


def is_quick(config: ModelConfig, region: Rectangle, scale: int) -> bool:
    """Whether `synthesise` can: its blocks of pixels begin where the picture does, and the blocks
    of a network with a task do more than the rest of it."""
    aligned = region.x % scale == region.y % scale == 0
    return scale in QUICK_SCALES and aligned and config.task is None


def synthesise(
    engine: Engine, file: Unpacked, region: Rectangle, scale: int, depth: int = BYTE
) -> Iterator[np.ndarray]:
    """A region, in pixels, at 1/scale of its size, one row of tiles after the other: levels of this
    depth [n, ceil(region.width / scale), 3] each, of a grey picture with one channel.

    Raises CorruptError as `TileCoder.decode_start`.
    """
    header, side = file.header, STRIDE // scale
    weight, bias = _affine(engine, header.level, scale)
    passes = _passes(engine.model.config.prior, scale)
    x, y = region.x // scale, region.y // scale
    whole = Rectangle(x, y, shrunk(region.width, scale), shrunk(region.height, scale))
    for _, row in groupby(enumerate(tile_grid(header)), key=lambda item: item[1].y):
        parts = []
        for number, tile in row:
            area = Rectangle(*(side * length for length in tile))
            if (part := meet(area, whole)) is None:
                continue
            size = tile.height, tile.width, header.level
            latents = engine.tiles.decode_start(file.tiles[number], *size, passes)
            means = latents[..., : len(weight)] @ weight + bias  # [h, w, n n 3]
            means = means.reshape(*means.shape[:2], side, side, 3).swapaxes(1, 2)
            pixels = means.reshape(side * tile.height, side * tile.width, 3)
            parts.append(to_pixels(Maps(pixels, area).cut(part), header.grey, depth))
        if parts:
            yield np.concatenate(parts, 1)


def _passes(prior: PriorConfig, scale: int) -> int:
    """How many passes give as many channels as a latent has numbers at this scale."""
    numbers = 3 * (STRIDE // scale) ** 2
    return max(prior.coarse_passes, sum(item.start < numbers for item in prior.passes))


def _affine(engine: Engine, level: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The decoder without blocks: weight float32 [c, n n 3] and bias [n n 3], from the first c
    channels of a latent in steps to n x n pixels in 0..1, n = 16 / scale."""
    config = engine.model.config
    prior, side = config.prior, STRIDE // scale
    channels = max(item.stop for item in prior.passes[: _passes(prior, scale)])
    # An affine map is known by what it makes of nothing and of each channel alone.
    probes = np.eye(channels + 1, config.transform.latents, dtype=np.float32)
    probes[channels] = 0
    x = engine.synthesise_affine(probes[:, None], level)  # [16 (c + 1), 16, 3]
    x = x.reshape(channels + 1, side, scale, side, scale, 3)
    means = x.mean((2, 4)).reshape(channels + 1, -1)
    return means[:-1] - means[-1], means[-1]
