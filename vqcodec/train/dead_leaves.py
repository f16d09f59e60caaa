"""Synthetic training crops (dead leaves): sharp edges, straight lines and even surfaces.

Photographs that were stored as JPEG files hardly have them, but buildings, prints and screens do,
and a network that has not met them spends several times the bits that they need. The crops are
dead leaves: shapes that cover one another (Lee, Mumford and Huang 2001, "Occlusion models for
natural images").
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

LEAVES = 12  # laid over a crop; each is left out by chance
SIDES = 4  # of a polygon
FAR = 1e4  # pixels
EVEN = 0.6  # of the leaves have one colour and its shading, the others texture as well


def dead_leaves(photographs: Tensor, generator: torch.Generator) -> Tensor:
    """float32 [B, 3, S, S] in 0..1 -> drawn crops, as many. The photographs are what some of the
    leaves are textured with. generator: on any device."""
    count, _, size, _ = photographs.shape
    texture = photographs - photographs.mean((2, 3), keepdim=True)
    canvas = _textured(texture, generator)
    for _ in range(LEAVES):
        alpha = _leaf(count, size, generator).to(canvas.device)
        canvas = torch.lerp(canvas, _textured(texture, generator), alpha)
    return canvas.clamp(0, 1)


class LeafPool:
    """Drawn crops of one size, made once; each time others of them, turned over by chance."""

    def __init__(self, photographs: Iterator[Tensor], generator: torch.Generator):
        """photographs: batches [B, 3, S, S] in 0..1, as many crops as the pool is to have, on the
        device of the generator."""
        parts = [dead_leaves(x, generator).mul(255).round().byte() for x in photographs]
        self.crops, self.generator = torch.cat(parts), generator

    def sample(self, count: int) -> Tensor:
        """float32 [count, 3, S, S] in 0..1."""
        drawn = {"generator": self.generator, "device": self.generator.device}
        x = self.crops[torch.randint(len(self.crops), (count,), **drawn)].float() / 255
        across, down = torch.rand(2, count, 1, 1, 1, **drawn) < 0.5
        x = torch.where(across, x.flip(3), x)
        return torch.where(down, x.flip(2), x)


def _textured(texture: Tensor, generator: torch.Generator) -> Tensor:
    """[B, 3, S, S]: a colour, mostly a greyish one, that shades into another."""
    count, _, size, _ = texture.shape
    drawn = {"generator": generator, "device": generator.device}
    grey, chance, strength = torch.rand(3, count, 1, 1, 1, **drawn)
    hue, slope = 0.08 * torch.randn(2, count, 3, 1, 1, **drawn)
    angle = 2 * math.pi * torch.rand(count, 1, 1, **drawn)
    shade = _along(angle, size) / size
    colour = (grey + hue + slope * shade[:, None]).to(texture.device)
    return colour + torch.where(chance < EVEN, 0, strength).to(texture.device) * texture


def _along(angle: Tensor, size: int) -> Tensor:
    """[B, S, S] for angles [B, 1, 1]: pixels along that direction from the centre."""
    position = torch.arange(size, device=angle.device) - (size - 1) / 2
    return angle.cos() * position + angle.sin() * position[:, None]


def _leaf(count: int, size: int, generator: torch.Generator) -> Tensor:
    """float32 [B, 1, S, S]: how much of each pixel a leaf covers. It is a polygon, a line, a side
    of an edge or a row of parallel lines; borders are half a pixel to two wide."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, generator=generator, device=device)

    device = generator.device
    kind = torch.randint(5, (count, 1, 1), generator=generator, device=device)  # 4: none
    turn, width = uniform(0, 2 * math.pi), torch.exp2(uniform(-0.5, 3.5))
    centre, spacing = uniform(-size / 2, size / 2), width + uniform(4, size / 2)
    polygon = torch.full((count, size, size), FAR, device=device)
    for side in range(SIDES):
        angle = turn + 2 * math.pi / SIDES * (side + uniform(-0.3, 0.3))
        away = uniform(2, size / 3) + centre * angle.cos()
        polygon = torch.minimum(polygon, away - _along(angle, size))
    across = _along(turn, size) - centre
    line = width / 2 - across.abs()
    rows = width / 2 - (torch.remainder(across, spacing) - spacing / 2).abs()
    kinds = torch.stack([polygon, line, across, rows, torch.full_like(polygon, -FAR)])
    inside = kinds[kind.flatten(), torch.arange(count, device=device)]
    return (0.5 + inside / uniform(0.5, 2)).clamp(0, 1)[:, None]
