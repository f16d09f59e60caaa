"""The prior: decoded latents -> mean and scale of the latents that the next pass codes.

It takes only integers (decoded latents in fixed point) and computes in integers (fixed.py).
Passes are parallel over positions; each reads the latents of the pass before it into a
running state that all passes share. FORMAT.md, "Prior", states it to the bit.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..config import ALL_POSITIONS, ModelConfig, PassConfig
from ..entropy.fixed_point import (
    ACT_BITS,
    BIAS_MAX,
    EXACT_SUM,
    LATENT_BITS,
    MEAN_BITS,
    MEAN_MAX,
    STATE_MAX,
    SUM_BITS,
    TABLE_BITS,
    UNITS_MAX,
)
from .blocks import LevelEmbedding, as_map
from .fixed import FixedBlock, FixedConv, activation, bias_grid, round_to


class Expectation(NamedTuple):
    """What a pass expects of its channels: [B, stop - start, h, w] each."""

    mean: Tensor  # in steps, on the grid of 2**-6
    log_scale: Tensor  # log2 of the standard deviation in steps, before it is rounded to a class


class LevelTables(NamedTuple):
    """Tables of one batch's levels, [B, C] each; `to_*` on the grid of 2**-16."""

    to_steps: Tensor  # steps in a standard deviation
    to_units: Tensor  # standard deviations in a step
    log_steps: Tensor  # log2 of to_steps, on the grid of 2**-13


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # a mask that is kept may be used with gradients later
def lattice_mask(lattice: int, height: int, width: int, device: torch.device) -> Tensor:
    """bool [height, width]: where a pass with this lattice codes. Not to be changed."""
    bits = torch.tensor([lattice >> i & 1 for i in range(16)], device=device).bool().view(4, 4)
    return bits.repeat((height + 3) // 4, (width + 3) // 4)[:height, :width]


def to_context(latents: Tensor, tables: LevelTables, channels: slice) -> Tensor:
    """Decoded latents in steps -> the prior's input, integers in 2**-5 standard deviations."""
    # float64: the product needs up to 39 bits.
    units = latents.double() * as_map(tables.to_units[:, channels] * 2.0**ACT_BITS).double()
    return activation(units, -UNITS_MAX, UNITS_MAX).to(latents.dtype)


class PriorPass(nn.Module):
    """One pass: (state, decoded channels of the pass before) -> (state, Expectation)."""

    def __init__(self, config: ModelConfig, index: int):
        super().__init__()
        prior, levels, knots = config.prior, config.transform.levels, config.transform.knots
        self.config = prior.passes[index]
        count = self.config.stop - self.config.start
        self.level = LevelEmbedding(2 * count, levels, knots)
        self.source: PassConfig | None = prior.passes[index - 1] if index else None
        if self.source is None:
            return
        inputs = self.source.stop - self.source.start + 1
        dilation = self.config.dilation
        self.read = FixedConv(inputs, prior.width, 3, UNITS_MAX, dilation=dilation)
        self.blocks = nn.ModuleList(
            FixedBlock(prior.width, prior.expand, levels, knots, dilation)
            for _ in range(self.config.blocks)
        )
        self.head = FixedConv(prior.width, 2 * count, 1, STATE_MAX)
        nn.init.zeros_(self.head.weight)

    def advance(self, h: Tensor, context: Tensor, levels: Tensor) -> Tensor:
        """h: running state [B, W, h, w]; context: `to_context` of the source's channels with
        zeros where nothing is decoded, and a last channel that marks where something is."""
        h = self.read.rounded(context, plus=h)
        for block in self.blocks:
            h = block(h, levels)
        return h

    def expect(self, h: Tensor, levels: Tensor, tables: LevelTables) -> Expectation:
        channels = slice(self.config.start, self.config.stop)
        if self.source:
            sums = self.head(h, self.level, levels)
        else:
            sums = as_map(bias_grid(self.level(levels)) * 2.0**ACT_BITS)
        mean, log_scale = sums.expand(-1, -1, *h.shape[-2:]).chunk(2, 1)
        mean = activation(mean * 2.0 ** (MEAN_BITS - ACT_BITS), -MEAN_MAX, MEAN_MAX)
        # float64: the product needs up to 38 bits.
        to_steps = as_map(tables.to_steps[:, channels]).double() * 2.0 ** (LATENT_BITS - MEAN_BITS)
        mean = activation(mean.double() * to_steps, -math.inf, math.inf)
        mean = mean.to(h.dtype) * 2.0**-LATENT_BITS
        log_scale = log_scale * 2.0**-ACT_BITS + as_map(tables.log_steps[:, channels])
        return Expectation(mean, log_scale)


class Prior(nn.Module):
    """All passes. `begin`, then for each pass `step` with what has been decoded so far."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config.prior
        self.passes = nn.ModuleList(PriorPass(config, i) for i in range(len(config.prior.passes)))

    def begin(self, like: Tensor) -> Tensor:
        """The state before the first pass, zeros [B, W, h, w] like `like` [B, C, h, w]."""
        return like.new_zeros(like.shape[0], self.config.width, *like.shape[-2:])

    def step(
        self,
        index: int,
        h: Tensor,
        latents: Tensor,
        levels: Tensor,
        tables: LevelTables,
        checkpointing: bool = False,
    ) -> tuple[Tensor, Expectation]:
        """latents: [B, C, h, w] decoded so far, in steps. checkpointing: a gradient computes the
        pass again, instead of keeping what it needs. Returns (state, Expectation)."""
        item = self.passes[index]
        if item.source is not None:
            arguments = h, self.context(index, latents, tables), levels
            if checkpointing:
                h = checkpoint(
                    item.advance, *arguments, use_reentrant=False, preserve_rng_state=False
                )
            else:
                h = item.advance(*arguments)
        return h, item.expect(h, levels, tables)

    def context(self, index: int, latents: Tensor, tables: LevelTables) -> Tensor:
        source = self.passes[index].source
        channels, known = slice(source.start, source.stop), self.known(index)
        x = to_context(latents[:, channels], tables, channels)
        mask = lattice_mask(known, *x.shape[-2:], x.device).to(x.dtype)
        if known != ALL_POSITIONS:
            x = x * mask
        known_at = (mask * 2.0**ACT_BITS).expand(x.shape[0], -1, -1)[..., None]
        return torch.cat([x.movedim(1, -1), known_at], -1).movedim(-1, 1)  # channels_last

    def known(self, index: int) -> int:
        """The lattice of what a pass's source channels have decoded before it; 0 of the first."""
        source, lattice = self.passes[index].source, 0
        for earlier in self.config.passes[:index]:
            if earlier.start == source.start:
                lattice |= earlier.lattice
        return lattice

    def freeze(self, frozen: bool = True) -> None:
        """Take the weights for what they are: those of an exported model are rounded already."""
        for item in self.passes[1:]:
            item.read.freeze(frozen)
            item.head.freeze(frozen, item.level)
            for block in item.blocks:
                block.freeze(frozen)

    def worst_sum(self) -> int:
        """The largest |sum| of any layer for any input, in its units; below 2**24 the
        arithmetic is exact in float32 (two level biases included)."""
        convs = [m for m in self.modules() if isinstance(m, FixedConv)]
        return max(conv.bound() for conv in convs) + 2 * BIAS_MAX


def is_exact(prior: Prior) -> bool:
    """True if every layer computes exactly in float32, for all inputs."""
    return prior.worst_sum() < EXACT_SUM


def level_tables(to_steps: Tensor, to_units: Tensor, levels: Tensor) -> LevelTables:
    """Fixed-point tables [B, C] of `levels` [B] from the gains' float tables [L, C]."""
    steps = round_to(to_steps[levels], TABLE_BITS).clamp(min=2.0**-TABLE_BITS)
    units = round_to(to_units[levels], TABLE_BITS).clamp(min=2.0**-TABLE_BITS)
    return LevelTables(steps, units, round_to(steps.log2(), SUM_BITS))


assert ACT_BITS + 8 == SUM_BITS
