"""What a search keeps low of a tile's pixels, and where its slope leads.

Distortions are summed over the pixels in 255 units, channels averaged, so that lambda times one
goes with the bits of the tile, as in training.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ...image.eye_distance import EYES_MSE, EYES_UNLIKE
from ...nn.eye_distance import eye_distance


class Judged(NamedTuple):
    """The distortion of pixels as they are seen, clipped; and the slope along them, [1, 3, H, W],
    of their squared error without clipping, so that it leads back into the range."""

    error: float
    slope: Tensor


def judge(distortion: str, out: Tensor, x: Tensor) -> Judged:
    """Judge pixels `out` by the true ones, both [1, 3, H, W] in 0..1, as one picture.

    distortion: of `config.DISTORTIONS`.
    """
    out = out.detach()
    weight = 255**2 / 3 * (1 if distortion == "mse" else EYES_MSE)
    error = weight * float(((out.clamp(0, 1) - x) ** 2).sum())
    slope = 2 * weight * (out - x)
    if distortion == "mse":
        return Judged(error, slope)
    with torch.enable_grad():
        seen = out.requires_grad_()
        unlike = EYES_UNLIKE * x.shape[2] * x.shape[3] * eye_distance(seen, x).sum()
        (more,) = torch.autograd.grad(unlike, seen)
    return Judged(error + float(unlike.detach()), slope.add_(more))
