"""What training minimises: bits per pixel + lambda * squared error, and what it logs."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..nn.model import Network, PassResult

LEAST = 1e-9  # probability


class Losses(NamedTuple):
    objective: Tensor  # what is differentiated: levels weighed equally, rate by the noise proxy
    cost: Tensor  # [B] bpp + lambda * MSE with the tables' bits of the hard assignment
    bpp: Tensor  # [B] hard
    proxy_bpp: Tensor  # [B]
    mse: Tensor  # [B] in 255 units
    pass_bpp: Tensor  # [passes] mean over the batch, hard
    counts: Tensor  # [rows, K] times that each word was used


class GaussianBits(torch.autograd.Function):
    """Bits of residuals under the unit-step Gaussian of a scale, with its own derivatives.

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


def gaussian_bits(r: Tensor, log_scale: Tensor, low: float, high: float) -> Tensor:
    """Bits of uniformly dithered residuals (Balle et al. 2018).

    log_scale: log2 of the Gaussian's deviation, bounded to low..high.
    """
    return GaussianBits.apply(r + torch.rand_like(r) - 0.5, log_scale, low, high)


def count_words(result: PassResult, sizes: Tensor, counts: Tensor) -> None:
    """Add a pass's hard assignments to `counts` [rows, K]."""
    row, index = result.chosen.row, result.chosen.index
    used = (row >= 0) & result.step.mask
    row = row[used]
    flat = row * counts.shape[1] + torch.minimum(index[used], sizes[row] - 1)
    counts += torch.bincount(flat, minlength=counts.numel()).view_as(counts)


class Objective(nn.Module):
    """Runs the network on a batch and returns `Losses`."""

    def __init__(self, network: Network, fidelity: float, autocast: bool):
        super().__init__()
        self.network, self.fidelity, self.autocast = network, fidelity, autocast

    def forward(self, x: Tensor, levels: Tensor) -> Losses:
        net, config = self.network, self.network.config.quantizer
        low = config.log_sigma_min
        high = low + config.classes / config.per_octave
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast):
            y = net.analyse(x, levels)
        proxy, hard = torch.zeros(len(x), device=x.device), torch.zeros(len(x), device=x.device)
        pass_bits = torch.zeros(len(net.config.prior.passes), device=x.device)
        counts = torch.zeros_like(net.codebooks.bits)
        for result in net.quantise(y, levels, self.fidelity):
            step, chosen = result.step, result.chosen
            r = y[step.items, step.channels] - step.expected.mean
            bits = gaussian_bits(r, step.expected.log_scale, low, high)
            proxy = proxy.index_add(0, step.items, (bits * step.mask).sum((1, 2, 3)))
            spent = net.codebooks.bits_of(chosen.index, chosen.row)
            spent = (spent * step.mask).sum((1, 2, 3))
            hard = hard.index_add(0, step.items, spent)
            pass_bits[step.index] = spent.sum() / len(x)
            count_words(result, net.codebooks.sizes, counts)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast):
            out = net.synthesise(result.latents, levels)
        mse = ((out - x) ** 2).mean((1, 2, 3)) * 255**2
        area = x.shape[-1] * x.shape[-2]
        lambdas = net.lambdas[levels]
        # One over the typical cost of a level, so that each level counts alike.
        weight = lambdas**-0.5 / (net.lambdas**-0.5).mean()
        objective = (weight * (proxy / area + lambdas * mse)).mean()
        bpp = hard.detach() / area
        mse_now = mse.detach()
        return Losses(
            objective,
            bpp + lambdas * mse_now,
            bpp,
            proxy.detach() / area,
            mse_now,
            pass_bits / area,
            counts,
        )
