"""Layers of the transforms: residual blocks and vectors that vary with the level."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """[1x1, depthwise 3x3, 1x1] then [1x1 to twice the width, 1x1], each added to its input."""

    def __init__(self, width: int):
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(width, width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.Conv2d(width, width, 1),
        )
        self.expand = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, width, 1),
        )
        for branch in (self.mix, self.expand):
            nn.init.normal_(branch[-1].weight, std=0.02)
            nn.init.zeros_(branch[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(x)
        return x + self.expand(x)


class LevelVector(nn.Module):
    """A vector of `size` numbers for each level, interpolated between a few trained knots.

    Neighbouring levels share what they learn, so that many levels cost no training time.
    """

    def __init__(self, size: int, levels: int, knots: int):
        super().__init__()
        self.knots = nn.Parameter(torch.zeros(knots, size))
        place = torch.linspace(0, knots - 1, levels)
        weights = (1 - (place[:, None] - torch.arange(knots)).abs()).clamp(min=0)
        self.register_buffer("weights", weights, persistent=False)  # [L, knots]

    def table(self) -> Tensor:
        """float32 [L, size]."""
        return self.weights @ self.knots

    def forward(self, levels: Tensor) -> Tensor:
        """levels int64 [B] -> float32 [B, size]."""
        return self.weights[levels] @ self.knots


def as_map(vectors: Tensor) -> Tensor:
    """[B, C] -> [B, C, 1, 1], to add to or multiply a feature map."""
    return vectors[:, :, None, None]
