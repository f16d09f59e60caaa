"""Pictures at 1/2, 1/4 or 1/8 of their size: each pixel the mean of a block of pixels.

Without its residual blocks the decoder is affine, and each latent paints its own 16x16 pixels
alone. The means of these over 4x4 or 8x8 pixels are one small matrix away from the latents of
low frequency, which the prior's first passes give: no network paints, and the other passes are
not decoded. Half the size needs more of what the blocks add (35 dB to the reduced picture, where
1/4 has 39 and 1/8 has 41), and is painted whole.
"""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..bitstream.container import Header, Unpacked, tile_grid
from ..config import STRIDE, ModelConfig, PriorConfig
from ..geometry import QUICK_SCALES, SCALES, Rectangle, check_crop, meet, shrunk
from ..image.metadata import Metadata
from ..image.strips import Strips
from ..nn.model import Network
from .tiling import Maps, to_bytes
from .torch.tile_coder import TileCoder


def place_of(header: Header, crop: tuple[int, int, int, int] | None, scale: int) -> Rectangle:
    """The pixels to paint. Raises ValueError for a crop that is not inside the picture, or a
    scale that is not of SCALES."""
    if scale not in SCALES:
        raise ValueError(f"scale is {scale}, expected one of {', '.join(map(str, SCALES))}")
    if crop is not None:
        check_crop(crop, header.width, header.height)
    return Rectangle(*(crop or (0, 0, header.width, header.height)))


def is_quick(config: ModelConfig, place: Rectangle, scale: int) -> bool:
    """Whether `paint` can: its blocks of pixels begin where the picture does, and the blocks of a
    network with a task do more than the rest of it."""
    aligned = place.x % scale == place.y % scale == 0
    return scale in QUICK_SCALES and aligned and config.task is None


@torch.inference_mode()
def paint(coder: TileCoder, file: Unpacked, place: Rectangle, scale: int) -> Iterator[np.ndarray]:
    """Paint a place, in pixels, at 1/scale of its size, one row of tiles after the other: uint8
    [n, ceil(place.width / scale), 3] each, of a grey picture with one channel.

    Raises CorruptError as `TileCoder.decode_start`.
    """
    header, side = file.header, STRIDE // scale
    weight, bias = _affine(coder.network, header.level, scale)
    passes = _passes(coder.network.config.prior, scale)
    x, y = place.x // scale, place.y // scale
    own = Rectangle(x, y, shrunk(place.width, scale), shrunk(place.height, scale))
    for _, row in groupby(enumerate(tile_grid(header)), key=lambda item: item[1].y):
        parts = []
        for number, tile in row:
            area = Rectangle(*(side * length for length in tile))
            if (part := meet(area, own)) is None:
                continue
            size = tile.height, tile.width, header.level
            latents = coder.decode_start(file.tiles[number], *size, passes)
            means = F.conv2d(latents[:, : weight.shape[1]].to(weight.dtype), weight, bias)
            painted = Maps(F.pixel_shuffle(means, side), area).cut(part)
            parts.append(to_bytes(painted[0], header.grey))
        if parts:
            yield np.concatenate(parts, 1)


def strips(
    header: Header,
    place: Rectangle,
    scale: int,
    rows: Iterator[np.ndarray],
    alpha: np.ndarray | None,
    metadata: Metadata,
) -> Strips:
    """Painted rows of a place at 1/scale of its size, with what belongs to it of alpha,
    uint8 [H, W] of the whole picture."""
    if alpha is not None:
        own = alpha[place.y : place.y + place.height, place.x : place.x + place.width]
        rows = _with_alpha(rows, shrink(own[..., None], scale))
    channels = (1 if header.grey else 3) + (alpha is not None)
    size = shrunk(place.width, scale), shrunk(place.height, scale)
    return Strips(*size, channels, metadata, rows)


def shrink(pixels: np.ndarray, scale: int) -> np.ndarray:
    """uint8 [H, W, C] -> [ceil(H / scale), ceil(W / scale), C], the means of blocks, rounded. At
    the right and at the bottom blocks may be smaller."""
    if scale == 1:
        return pixels
    height, width = pixels.shape[:2]
    ys, xs = np.arange(0, height, scale), np.arange(0, width, scale)
    sums = np.add.reduceat(np.add.reduceat(pixels, ys, 0, np.uint32), xs, 1)
    counts = np.diff(ys, append=height)[:, None, None] * np.diff(xs, append=width)[:, None]
    return ((sums + counts // 2) // counts).astype(np.uint8)


def shrink_rows(rows: Iterator[np.ndarray], scale: int) -> Iterator[np.ndarray]:
    """`shrink` of a picture that comes in strips of any height."""
    rest = None
    for strip in rows:
        known = strip if rest is None else np.concatenate([rest, strip])
        whole = len(known) // scale * scale
        if whole:
            yield shrink(known[:whole], scale)
        rest = known[whole:] if whole < len(known) else None
    if rest is not None:
        yield shrink(rest, scale)


def _passes(prior: PriorConfig, scale: int) -> int:
    """How many passes give as many channels as a latent has numbers at this scale."""
    numbers = 3 * (STRIDE // scale) ** 2
    return max(prior.coarse_passes, sum(item.start < numbers for item in prior.passes))


def _affine(network: Network, level: int, scale: int) -> tuple[Tensor, Tensor]:
    """The decoder without blocks: weight [3 n n, c, 1, 1] and bias [3 n n], from the first c
    channels of a latent in steps to n x n pixels in 0..1, n = 16 / scale."""
    prior, device = network.config.prior, network.lambdas.device
    channels = max(item.stop for item in prior.passes[: _passes(prior, scale)])
    # An affine map is known by what it makes of nothing and of each channel alone.
    probes = torch.eye(channels + 1, network.config.transform.latents, device=device)
    probes[channels] = 0
    levels = torch.full((channels + 1,), level, device=device)
    plain = network.with_decoder(network.decoder.without_blocks())
    painted = plain.synthesise(probes[..., None, None], levels)
    means = F.avg_pool2d(painted, scale).flatten(1)  # [c + 1, 3 n n]
    return (means[:-1] - means[-1]).T[..., None, None], means[-1]


def _with_alpha(rows: Iterator[np.ndarray], alpha: np.ndarray) -> Iterator[np.ndarray]:
    """Strips uint8 [n, W, c] -> [n, W, c + 1], with their rows of alpha [H, W, 1]."""
    done = 0
    for strip in rows:
        yield np.dstack([strip, alpha[done : done + len(strip)]])
        done += len(strip)
