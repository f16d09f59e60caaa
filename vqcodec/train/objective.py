"""What training minimises: bits per pixel + lambda * squared error, and what it logs."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..nn.model import Network, PassResult
from ..nn.rate_proxy import GaussianBits, scale_bounds


class Losses(NamedTuple):
    objective: Tensor  # what is differentiated: levels weighed equally, rate by the noise proxy
    cost: Tensor  # [B] bpp + lambda * MSE with the tables' bits of the hard assignment
    bpp: Tensor  # [B] hard
    proxy_bpp: Tensor  # [B]
    mse: Tensor  # [B] in 255 units
    pass_bpp: Tensor  # [passes] mean over the batch, hard
    counts: Tensor  # [rows, K] times that each word was used


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

    def forward(self, x: Tensor, levels: Tensor, seen: Tensor | None = None) -> Losses:
        """x: what is to be painted; `seen`: what the encoder gets, if that is another picture."""
        net = self.network
        low, high = scale_bounds(net.config.quantizer)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast):
            y = net.analyse(x if seen is None else seen, levels)
        proxy, hard = torch.zeros(len(x), device=x.device), torch.zeros(len(x), device=x.device)
        pass_bits = torch.zeros(len(net.config.prior.passes), device=x.device)
        counts = torch.zeros_like(net.codebooks.bits)
        for result in net.quantise(y, levels, self.fidelity):
            step, chosen = result.step, result.chosen
            r = y[step.items, step.channels] - step.expected.mean
            r = r + torch.rand_like(r) - 0.5  # uniform noise for rounding (Balle et al. 2018)
            bits = GaussianBits.apply(r, step.expected.log_scale, low, high)
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
