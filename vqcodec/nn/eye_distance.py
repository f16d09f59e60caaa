"""A differentiable perceptual distance: structural similarity in the XYB colour space.

The structure term of SSIM (Wang et al. 2004, "Image quality assessment: from error visibility to
structural similarity") in the colours of JPEG XL, with the mean term as SSIMULACRA 2 has it
(Sneyers, github.com/cloudinary/ssimulacra2). It is not that metric: SSIMULACRA 2 takes Gaussian
windows at each pixel of six scales, adds maps of edges gained and of detail lost, and weighs 108
norms by weights fitted to human scores, to a score of 0..100. Here windows are uniform and every
second one is left out, there are five scales and the one map, and the few weights are set by hand.

No step depends on values or copies from the host, so that a CUDA graph can hold it. Each picture
is compared by itself, whatever else is in the batch.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..image.eye_distance import (
    BIAS,
    LMS,
    NORM_FLOOR,
    PLANE_WEIGHTS,
    SCALE_WEIGHTS,
    STRIDE,
    VARIANCE_FLOOR,
    WINDOW,
    WORST_WEIGHT,
)


def eye_distance(a: Tensor, b: Tensor) -> Tensor:
    """float32 [B]: 0 for equal pictures, about 0.01 for what is hardly seen, at most 2.3.

    a, b: sRGB [B, 3, H, W] in 0..1; what is outside counts as clipped. Scales are left out at
    which a side is less than a window, all but the first; with sides of 112 there are all five.
    """
    a, b = linear_light(a), linear_light(b)
    total, weights = 0.0, 0.0
    for number, weight in enumerate(SCALE_WEIGHTS):
        if number:
            if min(a.shape[2:]) < 2 * WINDOW:
                break
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        total = total + weight * _pooled(_window_distances(xyb(a), xyb(b)))
        weights += weight
    return total / weights


def linear_light(srgb: Tensor) -> Tensor:
    """sRGB, clipped to 0..1 -> linear light in 0..1, float32."""
    x = srgb.float().clamp(0, 1)
    return torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def xyb(linear: Tensor) -> Tensor:
    """Linear RGB [B, 3, H, W] in 0..1 -> X (red less green), Y, B less Y, each scaled and shifted
    to about 0..1 as SSIMULACRA 2 does."""
    red, green, blue = linear.unbind(1)
    long, middle, short = (
        (r * red + g * green + b * blue + BIAS) ** (1 / 3) - BIAS ** (1 / 3) for r, g, b in LMS
    )
    y = (long + middle) / 2
    return torch.stack([7 * (long - middle) + 0.42, y + 0.01, short - y + 0.55], 1)


def _window_distances(p: Tensor, q: Tensor) -> Tensor:
    """One less the similarity of each window, not below 0: XYB [B, 3, H, W] -> [B, 3, h, w]."""
    size = [min(WINDOW, side) for side in p.shape[2:]]

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, size, STRIDE)

    mean_p, mean_q = mean(p), mean(q)
    # In brackets, so that it is exactly twice the covariance where the pictures are equal.
    variances = (mean(p * p) - mean_p * mean_p) + (mean(q * q) - mean_q * mean_q)
    covariance = mean(p * q) - mean_p * mean_q
    structure = (2 * covariance + VARIANCE_FLOOR) / (variances + VARIANCE_FLOOR)
    return (1 - (1 - (mean_p - mean_q) ** 2) * structure).clamp(min=0)


def _pooled(distances: Tensor) -> Tensor:
    """[B, 3, h, w] -> [B]: mean and norm of fourth powers of each plane, then all planes."""
    power = distances.square().square().mean((2, 3))
    worst = (power + NORM_FLOOR).sqrt().sqrt() - NORM_FLOOR**0.25
    planes = distances.mean((2, 3)) + WORST_WEIGHT * worst  # [B, 3]
    return sum(w * plane for w, plane in zip(PLANE_WEIGHTS, planes.unbind(1), strict=True))
