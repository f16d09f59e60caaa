"""The encoder's and the decoder's transforms: pixels <-> latents.

Both transforms are fully convolutional with a finite receptive field. Each has a linear
path, the PCA of 16x16 blocks, and a convolutional path that adds to it.
Latents are in units of the quantiser's step; `Gains` holds the steps of every level.
"""

import torch
from torch import Tensor, nn

from ..config import (
    DECODER_GAIN,
    ENCODER_GAIN,
    GRAIN_CHANNELS,
    PIXEL_MEAN,
    STEM_GAIN,
    STEP_LAMBDA,
    STRIDE,
    TransformConfig,
)
from ..engine.torch.runtime import point_conv
from ..geometry import Rectangle, widened, within
from .blocks import LevelEmbedding, PointConv, Residual, as_map

FINE = 8  # pixels a position of the fine blocks, each way
MEANS = 8  # latents, the first, that are computed in float32 by every encoder


def to_blocks(x: Tensor, side: int) -> Tensor:
    """As F.pixel_unshuffle, [B, c, H, W] -> [B, c side^2, H/side, W/side], but the channels of a
    block in raster order, each with its c: runs of memory in channels_last."""
    x = x.movedim(1, -1).unflatten(2, (-1, side)).unflatten(1, (-1, side))  # [B, h, i, w, j, c]
    return x.transpose(2, 3).flatten(3).movedim(-1, 1)


def from_blocks(x: Tensor, side: int) -> Tensor:
    """The inverse of `to_blocks`."""
    x = x.movedim(1, -1).unflatten(-1, (side, side, -1))  # [B, h, w, i, j, c]
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2).movedim(-1, 1)


class Gains(nn.Module):
    """Per level and channel: latents / steps of the quantiser, for either direction.

    scale float32 [C]: standard deviation of each PCA latent in 255 units, orthonormal.
    """

    def __init__(self, config: TransformConfig):
        super().__init__()
        size, levels = config.latents, config.levels
        self.register_buffer("scale", torch.ones(size, dtype=torch.float32))
        steps = (STEP_LAMBDA / torch.tensor(config.lambdas(), dtype=torch.float32)).sqrt()
        self.register_buffer("steps", steps, persistent=False)  # [L]
        self.encode = LevelEmbedding(size, levels, config.knots)
        self.decode = LevelEmbedding(size, levels, config.knots)

    def to_steps(self) -> Tensor:
        """float32 [L, C]: steps of the quantiser in one standard deviation."""
        return self.scale / self.steps[:, None] * self.encode.table().exp()

    def to_units(self) -> Tensor:
        """float32 [L, C]: standard deviations in one step of the quantiser."""
        return self.steps[:, None] / self.scale * self.decode.table().exp()

    def step_energy(self) -> Tensor:
        """float32 [L, C]: squared error in 255 units that an error of one step makes."""
        return (self.to_units() * self.scale) ** 2


def in_nested(weight: Tensor) -> Tensor:
    """Weights, channels first: the order of F.pixel_shuffle of 16x16 blocks -> that of `to_blocks`
    by 8 and then by 2."""
    weight = weight.unflatten(0, (-1, 2, FINE, 2, FINE))  # [c, i, y, j, x, ...]
    return weight.permute(1, 3, 2, 4, 0, *range(5, weight.ndim)).flatten(0, 4)


class LinearPath(nn.Module):
    """PCA of 16x16 RGB blocks: float32 [768, C] of orthonormal columns to start with.

    The parameters have the pixels as F.pixel_shuffle does, the maps, 1/8 as large, as `to_blocks`.
    """

    def __init__(self, latents: int):
        super().__init__()
        basis = torch.zeros(3 * STRIDE * STRIDE, latents, dtype=torch.float32)
        self.analysis = nn.Parameter(basis.clone())
        self.synthesis = nn.Parameter(basis.clone())

    def forward(self, blocks: Tensor, rough: Tensor, count: int) -> Tensor:
        """Blocks of 8x8 pixels -> the first `count` latents. rough: the blocks in the type in which
        all but the first latents are computed; bfloat16 is too coarse for these, which have the
        means, but moves PSNR by less than 0.005 dB by the others, at quality 50 as at 100."""
        with torch.autocast(blocks.device.type, enabled=False):
            weight = in_nested(self.analysis[:, :count]).T[:, :, None, None]
            if rough.dtype == blocks.dtype:
                return point_conv(to_blocks(blocks, 2), weight)
            first = point_conv(to_blocks(blocks, 2), weight[:MEANS])
            others = point_conv(to_blocks(rough, 2), weight[MEANS:].to(rough.dtype))
            parts = [first.movedim(1, -1), others.float().movedim(1, -1)]
            return torch.cat(parts, -1).movedim(-1, 1)  # channels_last

    def inverse(self, latents: Tensor, mean: float) -> Tensor:
        """The first latents, the others being zero -> blocks of 8x8 pixels, and `mean`."""
        with torch.autocast(latents.device.type, enabled=False):
            weight = in_nested(self.synthesis[:, : latents.shape[1]])
            bias = weight.new_full((len(weight),), mean)
            return from_blocks(point_conv(latents, weight[:, :, None, None], bias), 2)


class Encoder(nn.Module):
    """float [B, 3, H, W] in 0..1, H and W multiples of 16 -> latents [B, C, H/16, W/16]."""

    def __init__(self, config: TransformConfig):
        super().__init__()
        fine, coarse = config.fine_width, config.coarse_width
        fine_blocks, coarse_blocks = config.encoder_blocks
        self.stem = PointConv(3 * 64, fine, side_in=FINE)
        self.fine = nn.Sequential(*(Residual(fine) for _ in range(fine_blocks)))
        self.down = nn.Conv2d(fine, coarse, 2, stride=2, dtype=torch.float32)
        self.coarse = nn.Sequential(*(Residual(coarse) for _ in range(coarse_blocks)))
        self.head = PointConv(coarse, config.latents)
        self.fine_level = LevelEmbedding(fine, config.levels, config.knots)
        self.coarse_level = LevelEmbedding(coarse, config.levels, config.knots)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, linear: LinearPath, scale: Tensor, levels: Tensor) -> Tensor:
        """Latents in standard deviations; the caller turns them into steps with `Gains`.

        scale: of the first latents, as many as are to be computed.
        """
        blocks = to_blocks(x, FINE) - PIXEL_MEAN
        rough = blocks.to(self.stem.weight.dtype)
        y = linear(blocks, rough, len(scale)) * (255 / scale)[:, None, None]
        h = self.stem(rough * STEM_GAIN)
        h = self.fine(h + as_map(self.fine_level(levels)).to(h.dtype))
        h = self.down(h)
        h = self.coarse(h + as_map(self.coarse_level(levels)).to(h.dtype))
        return y.float() + ENCODER_GAIN * self.head(h, len(scale)).float()


class Decoder(nn.Module):
    """Latents [B, C, h, w] in standard deviations -> float [B, 3, 16h, 16w], about 0..1.

    Of the latents the last ones may be left out, if they are zero; scale is of those given.
    grained: it takes grain as well, [B, GRAIN_CHANNELS, 2h, 2w], as the realism decoder does.
    """

    def __init__(self, config: TransformConfig, grained: bool = False):
        super().__init__()
        self.config = config
        fine, coarse = config.fine_width, config.coarse_width
        self.stem = PointConv(config.latents, coarse)
        self.coarse = nn.Sequential(*(Residual(coarse) for _ in range(config.coarse_blocks)))
        self.up = PointConv(coarse, 4 * fine, side_out=2)
        self.fine = nn.Sequential(*(Residual(fine) for _ in range(config.fine_blocks)))
        self.head = PointConv(fine, 3 * 64, side_out=FINE)
        self.fine_level = LevelEmbedding(fine, config.levels, config.knots)
        self.coarse_level = LevelEmbedding(coarse, config.levels, config.knots)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        if grained:
            self.grain = PointConv(GRAIN_CHANNELS, fine, bias=False)

    @property
    def is_grained(self) -> bool:
        return hasattr(self, "grain")

    @property
    def blocks(self) -> tuple[nn.Module, nn.Module]:
        """The residual blocks, most of the work: what may be in bfloat16."""
        return self.coarse, self.fine

    def forward(
        self,
        y: Tensor,
        linear: LinearPath,
        scale: Tensor,
        levels: Tensor,
        noise: Tensor | None = None,
        affine: bool = False,
        part: Rectangle | None = None,
    ) -> Tensor:
        """affine: leave out the residual blocks: an affine map from each latent to its 16x16
        pixels. part: the latents whose pixels are wanted; None: all.

        Where the blocks are in bfloat16, the sum of the coarse ones stays in float32, as does all
        around the blocks: a tenth of the time, and a third of what bfloat16 costs in PSNR.
        """
        whole = Rectangle(0, 0, y.shape[3], y.shape[2])
        part = part or whole
        near = widened(part, self.config.fine_reach, whole)
        blocks = linear.inverse(_cut(y, part) * (scale / 255)[:, None, None], PIXEL_MEAN)
        h = self.stem(y) + as_map(self.coarse_level(levels))
        h = h if affine else self.coarse(h)
        h = from_blocks(self.up(_cut(h, near)), 2)
        if noise is not None:
            h = h + self.grain(_cut(noise, near, 2))
        h = h + as_map(self.fine_level(levels))
        if not affine:
            kinds = (tensor.dtype for tensor in self.fine.parameters())
            h = self.fine(h.to(next(kinds, h.dtype))).to(h.dtype)
        h = self.head(_cut(h, part, 2, near))
        return from_blocks(blocks.add_(h, alpha=DECODER_GAIN), FINE)


def _cut(x: Tensor, part: Rectangle, size: int = 1, region: Rectangle | None = None) -> Tensor:
    """The view of a part, in latents, of a map with size x size positions a latent. region: what
    the map is of; None: the first latent is its first."""
    rows, columns = within(part, region)
    return x[
        ...,
        size * rows.start : size * rows.stop,
        size * columns.start : size * columns.stop,
    ]
