"""What training minimises: bits per pixel + lambda * squared error, and what it logs."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..nn.model import Network, PassResult


class Losses(NamedTuple):
    objective: Tensor  # what is differentiated: levels weighed equally, rate by the noise proxy
    cost: Tensor  # [B] bpp + lambda * MSE with the tables' bits of the hard assignment
    bpp: Tensor  # [B] hard
    proxy_bpp: Tensor  # [B]
    mse: Tensor  # [B] in 255 units
    pass_bpp: Tensor  # [passes] mean over the batch, hard
    counts: Tensor  # [rows, K] times that each word was used


class LowerBound(torch.autograd.Function):
    """max(x, bound) whose gradient still passes where it would raise x (Balle et al. 2018)."""

    @staticmethod
    def forward(ctx, x: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp(min=bound)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (x,) = ctx.saved_tensors
        return grad * ((x >= ctx.bound) | (grad < 0)), None


def gaussian_bits(r: Tensor, log_scale: Tensor, low: float, high: float) -> Tensor:
    """Bits of uniformly dithered residuals under the unit-step Gaussian (Balle et al. 2018).

    log_scale: log2 of its deviation, bounded to low..high.
    """
    r = (r + torch.rand_like(r) - 0.5).abs()
    log_scale = LowerBound.apply(log_scale, low)
    inverse = torch.exp2(-log_scale.clamp(max=high)) * math.sqrt(0.5)
    # Both tails from the far side, where erfc keeps its relative precision.
    p = 0.5 * (torch.erfc((r - 0.5) * inverse) - torch.erfc((r + 0.5) * inverse))
    return -LowerBound.apply(p, 1e-9).log2()


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
        proxy, hard, pass_bits = 0.0, 0.0, []
        counts = torch.zeros_like(net.codebooks.bits)
        for result in net.quantise(y, levels, self.fidelity):
            step, chosen = result.step, result.chosen
            r = y[:, step.channels] - step.expected.mean
            bits = gaussian_bits(r, step.expected.log_scale, low, high)
            proxy = proxy + (bits * step.mask).sum((1, 2, 3))
            spent = net.codebooks.bits_of(chosen.index, chosen.row)
            spent = (spent * step.mask).sum((1, 2, 3))
            hard = hard + spent
            pass_bits.append(spent.mean())
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
            torch.stack(pass_bits) / area,
            counts,
        )
