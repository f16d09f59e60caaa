"""The training objective in steps whose shapes do not depend on data, so that a CUDA graph can
hold them.

The crops of a batch are sorted by level, and each pass codes the last ones, as many as there can
be at the levels that it codes; `starts` says where they begin. One that is below these after all is
computed and masked out. Every residual is assigned alone and as one of a pair. The result is that
of `Objective` for the same crops, levels and noise: tests compare losses, counts and gradients.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import ModelConfig, PassConfig
from ..nn.model import Network
from ..nn.prior import LevelTables, Prior, lattice_mask
from ..nn.quantizer import Assignment
from ..nn.rate_proxy import GaussianBits, scale_bounds
from .data import place_of
from .objective import Coded, Objective

COUNTED = 8  # crops of a batch, about, whose indices are counted: a GPU counts one by one


def starts_of(config: ModelConfig, count: int, low_share: float) -> list[int]:
    """For each pass the first crop that it may code, of `count` sorted by level as `spread_levels`
    spreads them."""
    levels = config.transform.levels
    # One crop has its place in each interval of 1 / count.
    return [
        math.floor(place_of(item.min_level, levels, low_share) * count + 1e-9)
        for item in config.prior.passes
    ]


class StaticObjective(Objective):
    """`Objective` of batches of one size, whose levels rise from crop to crop."""

    def __init__(
        self,
        network: Network,
        lambda_scale: float,
        autocast: bool,
        distortion: str,
        starts: list[int],
    ):
        """starts: for each pass, as of `starts_of`; the others as of `Objective`."""
        super().__init__(network, lambda_scale, autocast, distortion)
        self.starts, self.latents = starts, network.config.transform.latents
        self.masks: list[Tensor] = []  # kept for graphs that read them: the cache may forget them

    def code(self, y: Tensor, levels: Tensor) -> Coded:
        """As of `Objective`, but for the counts, which `_count` has."""
        net, count = self.network, len(y)
        self.masks = _masks(net.prior, y)
        low, high = scale_bounds(net.config.quantizer)
        latents = torch.zeros_like(y)
        h, tables, begun = net.prior.begin(latents), net.tables(levels), 0
        kappa = net.kappa(levels, self.lambda_scale)
        proxy, hard = torch.zeros(count, device=y.device), torch.zeros(count, device=y.device)
        pass_bits, counts = [], torch.zeros_like(net.codebooks.bits)
        passes = zip(net.config.prior.passes, self.starts, strict=True)
        for index, (item, start) in enumerate(passes):
            h, tables = h[start - begun :], LevelTables(*(x[start - begun :] for x in tables))
            begun, channels = start, slice(item.start, item.stop)
            known, target = latents[start:], y[start:, channels]
            h, expected = net.prior.step(index, h, known, levels[start:], tables)
            classes = net.codebooks.classify(expected.log_scale.detach())
            r = target - expected.mean
            chosen = net.codebooks.assign_densely(r.detach(), classes, kappa[start:, channels])
            mask = _mask(item, levels[start:], y)
            new = expected.mean.detach() + chosen.value + (target - target.detach())
            new = torch.where(mask, new, known[:, channels])
            new = torch.cat([known[:, : item.start], new, known[:, item.stop :]], 1)
            latents = torch.cat([latents[:start], new]) if start else new
            r = r + torch.rand_like(r) - 0.5
            bits = GaussianBits.apply(r, expected.log_scale, low, high)
            proxy = proxy + F.pad((bits * mask).sum((1, 2, 3)), (start, 0))
            spent = (net.codebooks.bits_of(chosen.index, chosen.row) * mask).sum((1, 2, 3))
            hard = hard + F.pad(spent, (start, 0))
            pass_bits.append(spent.sum() / count)
            self._count(chosen, mask, counts, max(1, count // COUNTED))
        return Coded(latents, proxy, hard, torch.stack(pass_bits), counts)

    def _count(self, chosen: Assignment, mask: Tensor, counts: Tensor, share: int) -> None:
        """Add one in `share` of a pass's crops to `counts` [rows, K], evenly spread and at least
        one; each counts as what it stands for, over `share`."""
        total = len(chosen.index)
        number = math.ceil(total / share)
        place = torch.arange(number, device=mask.device)
        if number < total:
            place = place + torch.rand(number, device=mask.device)
        crops = (place * (total / number)).long().clamp(max=total - 1)
        row, index = chosen.row.index_select(0, crops), chosen.index.index_select(0, crops)
        used = mask.expand(chosen.row.shape).index_select(0, crops) & (row >= 0)
        row = row.clamp(min=0).long()
        last = self.network.codebooks.sizes.index_select(0, row.flatten()).view(row.shape) - 1
        flat = row * counts.shape[1] + torch.minimum(index, last).clamp(min=0)
        weight = used.to(counts.dtype) * (total / (number * share))
        counts.view(-1).index_add_(0, flat.flatten(), weight.flatten())


def _masks(prior: Prior, like: Tensor) -> list[Tensor]:
    """All masks of lattices that a walk of the passes takes from `lattice_mask`."""
    passes = range(len(prior.passes))
    lattices = {prior.config.passes[i].lattice for i in passes} | {prior.known(i) for i in passes}
    return [lattice_mask(lattice, *like.shape[2:], like.device) for lattice in sorted(lattices)]


def _mask(item: PassConfig, levels: Tensor, like: Tensor) -> Tensor:
    """bool, of the shape of maps of the pass or one that is broadcast to it: what it codes."""
    mask = lattice_mask(item.lattice, *like.shape[2:], like.device)
    return mask & (levels >= item.min_level)[:, None, None, None]
