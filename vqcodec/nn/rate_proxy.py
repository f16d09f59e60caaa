"""A differentiable rate: the bits of a residual under the prior's Gaussian."""

import math

import torch
from torch import Tensor

from ..config import QuantizerConfig

LEAST = 1e-9  # probability


def scale_bounds(config: QuantizerConfig) -> tuple[float, float]:
    """log2 of the lowest and of the highest scale that a class stands for, in steps."""
    return config.log_sigma_min, config.log_sigma_min + config.classes / config.per_octave


class GaussianBits(torch.autograd.Function):
    """Bits of residuals under the unit-step Gaussian of a scale, with derivatives in closed form.

    Where the scale or a probability is at its bound, the gradient still passes if it leads
    away from there (Balle et al. 2018).
    """

    @staticmethod
    def forward(ctx, r: Tensor, log_scale: Tensor, low: float, high: float) -> Tensor:
        bounded = log_scale.clamp(low, high)
        inverse = torch.exp2(-bounded).mul_(math.sqrt(0.5))
        # Both tails from the far side, where erfc keeps its relative precision.
        near, far = (r.abs() - 0.5).mul_(inverse), (r.abs() + 0.5).mul_(inverse)
        p = (near.erfc() - far.erfc()).mul_(0.5).clamp_(min=LEAST)
        ctx.save_for_backward(r, log_scale, inverse, near, far, p)
        ctx.bounds = low, high
        return p.log2().neg_()

    @staticmethod
    def backward(ctx, grad: Tensor):
        r, log_scale, inverse, near, far, p = ctx.saved_tensors
        low, high = ctx.bounds
        # d erfc(x) / dx = -2 / sqrt(pi) exp(-x^2)
        a, b = (-near * near).exp_(), (-far * far).exp_()
        factor = grad / p * (1 / (math.sqrt(math.pi) * math.log(2)))
        along_r = (a - b) * inverse * r.sign() * factor
        along_scale = (b * far - a * near) * factor * math.log(2)
        passes = ((log_scale >= low) & (log_scale <= high)) | (
            (log_scale < low) & (along_scale < 0)
        )
        return along_r, along_scale * passes, None, None
