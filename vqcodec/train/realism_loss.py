"""The losses of the realism stage, each as one number a picture."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .realism_scene import Scene

COLOUR_WEIGHT = 4.0  # of the squared error of 16x16 means, against drifting colours
# Pixels, of a latent: patterns that the decoder can repeat, those of a half of it included. With 8
# a decoder wove a canvas of 16, which `bench.repeats` found to stand out four times as much.
PERIOD = 16
REPEATS = 8  # blocks each way that are averaged, if there are as many
PATTERN_WEIGHT = 24.0  # white texture loses 0.4 of its error by it, a pattern 24 times


def unit(gradient: Tensor) -> Tensor:
    """Each picture's gradient [B, 3, H, W] with a length of 1."""
    return gradient / (gradient.square().sum((1, 2, 3), keepdim=True).sqrt() + 1e-12)


def squared_error(scene: Scene, y: Tensor) -> Tensor:
    """float [B], in 255 units: what the decoder keeps low. Errors of 16x16 means count more, and
    what the change to the fidelity decoder's pixels repeats from block to block."""
    error = (scene.x - y) * 255
    blocks = F.pixel_unshuffle((y - scene.fidelity) * 255, PERIOD)
    blocks = blocks - blocks.mean(1, keepdim=True)
    window = [min(REPEATS, side) for side in blocks.shape[2:]]
    colour, repeated = F.avg_pool2d(error, 16), F.avg_pool2d(blocks, window)
    terms = (error, 1.0), (colour, COLOUR_WEIGHT), (repeated, PATTERN_WEIGHT)
    return torch.stack([weight * e.square().mean((1, 2, 3)) for e, weight in terms]).sum(0)


def loss_of_psnr(scene: Scene, y: Tensor) -> Tensor:
    """float [B], in dB: by how much y is worse than the fidelity decoder's pixels."""
    before, after = (
        (p.detach().clamp(0, 1) - scene.x).square().mean((1, 2, 3)) + 1e-6
        for p in (scene.fidelity, y)
    )
    return 10 * (after / before).log10()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean loss of logits [B, 1, h, w]: that of logistic regression (Goodfellow et al. 2014)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def deception_loss(fake: Tensor) -> Tensor:
    """float [B]: the non-saturating loss of the decoder."""
    return F.softplus(-fake).mean((1, 2, 3))


def matching_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """float [B]: mean distance of the discriminator's features (Wang et al. 2018,
    arXiv:1711.11585)."""
    parts = [(a - b).abs().mean((1, 2, 3)) for a, b in zip(real, fake, strict=True)]
    return torch.stack(parts).sum(0)
