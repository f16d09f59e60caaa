"""The training objective: bits per pixel + lambda * distortion, and the figures for the log."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..image.eye_distance import EYES_MSE, EYES_UNLIKE
from ..nn.eye_distance import eye_distance
from ..nn.model import Network, PassResult
from ..nn.rate_proxy import GaussianBits, scale_bounds
from .precision import half_precision


class Losses(NamedTuple):
    objective: Tensor  # what is differentiated: levels weighed equally, rate by the noise proxy
    cost: Tensor  # [B] bpp + lambda * distortion with the tables' bits of the hard assignment
    bpp: Tensor  # [B] hard
    proxy_bpp: Tensor  # [B]
    mse: Tensor  # [B] in 255 units
    unlike: Tensor  # [B] `eye_distance`
    pass_bpp: Tensor  # [passes] mean over the batch, hard
    counts: Tensor  # [rows, K] times that each codeword was used


class Coded(NamedTuple):
    """What the assignment gives. Bits are of whole crops."""

    latents: Tensor  # [B, C, h, w] in steps
    proxy_bits: Tensor  # [B], with a gradient
    bits: Tensor  # [B] hard
    pass_bits: Tensor  # [passes] mean over the batch, hard
    counts: Tensor  # [rows, K]


def count_indices(result: PassResult, sizes: Tensor, counts: Tensor) -> None:
    """Add a pass's hard assignments to `counts` [rows, K]."""
    row, index = result.chosen.row, result.chosen.index
    used = (row >= 0) & result.step.mask
    row = row[used]
    flat = row * counts.shape[1] + torch.minimum(index[used], sizes[row] - 1)
    counts += torch.bincount(flat, minlength=counts.numel()).view_as(counts)


class Objective(nn.Module):
    """Runs the network on a batch and returns `Losses`."""

    def __init__(
        self, network: Network, lambda_scale: float, autocast: bool, distortion: str = "mse"
    ):
        """lambda_scale, distortion: as of `TrainConfig`. autocast: transforms compute in
        `half_precision`."""
        super().__init__()
        self.network, self.lambda_scale, self.autocast = network, lambda_scale, autocast
        self.distortion = distortion
        self.latents: int | None = None  # how many to compute; None: those that the levels code

    def forward(self, x: Tensor, levels: Tensor, degraded: Tensor | None = None) -> Losses:
        """x: what is to be decoded, [B, 3, H, W] in 0..1. degraded: what the encoder gets, if that
        is another picture."""
        net = self.network
        with half_precision(x.device, self.autocast):
            y = net.analyse(x if degraded is None else degraded, levels, self.latents)
        coded = self.code(y, levels)
        with half_precision(x.device, self.autocast):
            out = net.synthesise(coded.latents, levels, count=self.latents)
        mse = ((out - x) ** 2).mean((1, 2, 3)) * 255**2
        if self.distortion == "eyes":
            unlike = eye_distance(out, x)
            distortion = EYES_MSE * mse + EYES_UNLIKE * unlike
        else:  # known all the same, but no gradient goes through it
            unlike, distortion = eye_distance(out.detach(), x), mse
        area = x.shape[-1] * x.shape[-2]
        lambdas = net.lambdas[levels]
        # One over the typical cost of a level, so that each level counts alike.
        weight = lambdas**-0.5 / (net.lambdas**-0.5).mean()
        bpp = coded.bits.detach() / area
        return Losses(
            objective=(weight * (coded.proxy_bits / area + lambdas * distortion)).mean(),
            cost=bpp + lambdas * distortion.detach(),
            bpp=bpp,
            proxy_bpp=coded.proxy_bits.detach() / area,
            mse=mse.detach(),
            unlike=unlike.detach(),
            pass_bpp=coded.pass_bits / area,
            counts=coded.counts,
        )

    def code(self, y: Tensor, levels: Tensor) -> Coded:
        """Assign latents [B, C, h, w] to codewords and count their bits."""
        net = self.network
        low, high = scale_bounds(net.config.quantizer)
        proxy, hard = torch.zeros(len(y), device=y.device), torch.zeros(len(y), device=y.device)
        pass_bits = torch.zeros(len(net.config.prior.passes), device=y.device)
        counts = torch.zeros_like(net.codebooks.bits)
        for result in net.quantise(y, levels, self.lambda_scale):
            step, chosen = result.step, result.chosen
            r = y[step.items, step.channels] - step.expected.mean
            r = r + torch.rand_like(r) - 0.5  # uniform noise for rounding (Balle et al. 2018)
            bits = GaussianBits.apply(r, step.expected.log_scale, low, high)
            proxy = proxy.index_add(0, step.items, (bits * step.mask).sum((1, 2, 3)))
            spent = net.codebooks.bits_of(chosen.index, chosen.row)
            spent = (spent * step.mask).sum((1, 2, 3))
            hard = hard.index_add(0, step.items, spent)
            pass_bits[step.index] = spent.sum() / len(y)
            count_indices(result, net.codebooks.sizes, counts)
        return Coded(result.latents, proxy, hard, pass_bits, counts)
