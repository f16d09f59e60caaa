"""Layers of the transforms: residual blocks and embeddings of the level."""

import torch
from torch import Tensor, nn

from ..engine.torch.runtime import can_fuse, fused, point_conv


def in_raster(weight: Tensor, side: int) -> Tensor:
    """Weights, channels first: the order of F.pixel_shuffle -> that of `transforms.to_blocks`."""
    return weight.unflatten(0, (-1, side * side)).transpose(0, 1).flatten(0, 1)


class PointConv(nn.Conv2d):
    """nn.Conv2d of a 1x1 kernel, faster.

    side_in, side_out: the channels that go in or come out are blocks of so many positions a side.
    The parameters have them as F.pixel_shuffle does, the maps as `transforms.to_blocks`.
    """

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, side_in: int = 1, side_out: int = 1
    ):
        super().__init__(inputs, outputs, 1, bias=bias, dtype=torch.float32)
        self.side_in, self.side_out = side_in, side_out

    def forward(self, x: Tensor, outputs: int | None = None) -> Tensor:
        """outputs: how many channels to compute, the first ones. Those that x lacks are zero."""
        weight, bias = self.weight[:outputs, : x.shape[1]], self.bias
        bias = bias if bias is None else bias[:outputs]
        if self.side_in > 1:
            weight = in_raster(weight.transpose(0, 1), self.side_in).transpose(0, 1)
        if self.side_out > 1:
            weight, bias = in_raster(weight, self.side_out), in_raster(bias, self.side_out)
        return point_conv(x, weight, bias)


class Residual(nn.Module):
    """[1x1, depthwise 3x3, 1x1] then [1x1 to twice the width, 1x1], each added to its input."""

    def __init__(self, width: int):
        super().__init__()
        self.mix = nn.Sequential(
            PointConv(width, width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, groups=width, dtype=torch.float32),
            PointConv(width, width),
        )
        self.expand = nn.Sequential(
            PointConv(width, 2 * width),
            nn.ReLU(inplace=True),
            PointConv(2 * width, width),
        )
        for branch in (self.mix, self.expand):
            nn.init.normal_(branch[-1].weight, std=0.02)
            nn.init.zeros_(branch[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        kind = self.mix[0].weight.dtype
        if (
            kind == torch.bfloat16 and x.dtype == torch.float32
        ):  # the sum is finer than the branches
            x = x + self.mix(x.to(kind))
            return x + self.expand(x.to(kind))
        if x.dtype == kind and not torch.is_grad_enabled() and can_fuse(x.device, x.dtype):
            return self._in_fewer_steps(x)  # not with autocast
        x = self.mix(x).add_(x)
        return self.expand(x).add_(x)

    def _in_fewer_steps(self, x: Tensor) -> Tensor:
        """The same: a fifth faster, since maps are read and written less often."""
        enter, _, spread, leave = self.mix
        x = fused(fused(fused(x, enter, "relu"), spread), leave, "add", x)
        enter, _, leave = self.expand
        return fused(fused(x, enter, "relu"), leave, "add", x)


class LevelEmbedding(nn.Module):
    """A vector of `size` numbers for each level, interpolated between a few trained knots.

    Neighbouring levels share what they learn, so that many levels cost no training time.
    """

    def __init__(self, size: int, levels: int, knots: int):
        super().__init__()
        self.knots = nn.Parameter(torch.zeros(knots, size, dtype=torch.float32))
        position = torch.linspace(0, knots - 1, levels, dtype=torch.float32)
        weights = (1 - (position[:, None] - torch.arange(knots)).abs()).clamp(min=0)
        self.register_buffer("weights", weights, persistent=False)  # [L, knots]

    def table(self) -> Tensor:
        """float32 [L, size]."""
        return self.weights @ self.knots

    def forward(self, levels: Tensor) -> Tensor:
        """levels int64 [B] -> float32 [B, size]."""
        if len(self.knots) == len(self.weights):  # the table itself
            return self.knots[levels]
        return self.weights[levels] @ self.knots


def as_map(vectors: Tensor) -> Tensor:
    """[B, C] -> [B, C, 1, 1], to add to or multiply a feature map."""
    return vectors[:, :, None, None]
