"""Degraded training inputs of restoration networks: noise, or reduced and enlarged again."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import STRIDE, TaskConfig
from .data import Crops

RIDGE = 2.0  # squared, in 255 units: what enlarged blocks hardly have is not amplified


def degrade(x: Tensor, task: TaskConfig, generator: torch.Generator) -> Tensor:
    """Clean pixels [B, 3, H, W] in 0..1 -> as a picture file would have them degraded.

    Noise is Gaussian; a factor reduces and enlarges again, bicubic with antialiasing, which is
    what `Image.resize` of Pillow does. Rounded to 8 bits and clipped at each stage. H and W are
    multiples of the factor. generator: of the noise, on any device.
    """
    if task.sigma:
        noise = torch.randn(x.shape, generator=generator, device=generator.device).to(x.device)
        return _to_8_bits(x + noise * (task.sigma / 255))
    size = x.shape[-2:]
    small = F.interpolate(x, [n // task.factor for n in size], mode="bicubic", antialias=True)
    large = F.interpolate(_to_8_bits(small), size, mode="bicubic", antialias=True)
    return _to_8_bits(large)


def _to_8_bits(x: Tensor) -> Tensor:
    return (x * 255).round().clamp(0, 255) / 255


def best_linear(
    crops: Crops, mean: float, task: TaskConfig, generator: torch.Generator, rounds: int = 60
) -> tuple[Tensor, Tensor]:
    """Least squares from degraded 16x16 RGB blocks to clean ones, in 255 units less the mean:
    float32 [768, 768], degraded times it is nearest to clean; and the covariance of degraded
    blocks [768, 768]. Rows are ordered as `pixel_unshuffle(x, 16)` orders channels.
    """
    size = 3 * STRIDE * STRIDE
    covariance, cross, count = torch.zeros(size, size, dtype=torch.float64), 0, 0
    for _ in range(rounds):
        clean = crops.varied(16, 128).cpu()
        a, b = (_blocks(x, mean) for x in (degrade(clean, task, generator), clean))
        covariance, cross, count = covariance + a.T @ a, cross + a.T @ b, count + len(a)
    covariance = covariance / count
    solved = torch.linalg.solve(covariance + RIDGE * torch.eye(size).double(), cross / count)
    return solved.float(), covariance.float()


def _blocks(x: Tensor, mean: float) -> Tensor:
    """float64 [N, 768]."""
    size = 3 * STRIDE * STRIDE
    return (
        F.pixel_unshuffle((x - mean) * 255, STRIDE).permute(0, 2, 3, 1).reshape(-1, size).double()
    )
