"""Conditional codebooks: residuals <-> indices, by entropy-constrained assignment.

The prior gives each residual (latent minus mean, in steps) a class of scale. Each class has a
codebook and a table of bits. Two neighbouring channels whose classes are both small share one
two-dimensional codeword (a pair); others are coded alone. The index of a codeword is argmin
over k of bits(k) + kappa * |r - e_k|^2: Chou, Lookabaugh and Gray 1989, "Entropy-constrained vector
quantization". Codebooks start as the integer grid with the Gaussian's probabilities, where they
equal a scalar quantiser, and are trained from there.

This is the plain version: networks use that of fast_assign.py, which gives the same.

Table layout: rows 0..T-1 are the scalar classes, rows T.. the pair classes. Index K-1 of a row
is the escape, for residuals outside the codebook, which are rounded to integers n. An index of
K-1 + e stands for the escape with e = 2 (|n| - M - 1) + (n < 0) in a scalar class; in a pair
class the first channel's index is K-1 + zigzag(n1) and the second's zigzag(n2), where the
second of a pair without escape is -1; zigzag(n) is 2n for n >= 0 and -2n - 1 for others.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config import QuantizerConfig
from ..entropy.fixed_point import (
    CODEWORD_BITS,
    ESCAPE_BITS,
    NUMBER_MAX,
    scalar_range,
    sigmas,
    table_sizes,
)
from .fixed import round_to

NOT_ALLOWED = 1e9  # bits of what a table does not have


class Classes(NamedTuple):
    """int32 [B, C, h, w] each. scalar: class of scale. row: of the tables, -1 for the second of a
    pair."""

    scalar: Tensor
    row: Tensor


class Assignment(NamedTuple):
    """Codewords, [B, C, h, w] each: `index` int32 as in the module's head, `row` as of `Classes`,
    `value` in steps."""

    index: Tensor
    row: Tensor
    value: Tensor


def gaussian_probabilities(config: QuantizerConfig) -> list[Tensor]:
    """float64 [K] a row: the unit-step quantised Gaussian of the class, tails to the escape."""

    def bins(sigma: float, reach: int) -> Tensor:
        edges = torch.arange(-reach, reach + 2, dtype=torch.float64) - 0.5
        return torch.special.ndtr(edges / sigma).diff()

    def with_escape(p: Tensor) -> Tensor:
        p = torch.cat([p.clamp(min=1e-9), (1 - p.sum()).clamp(min=1e-7).view(1)])
        return p / p.sum()

    scales, ranges = sigmas(config), scalar_range(config)
    rows = [with_escape(bins(s, m)) for s, m in zip(scales, ranges, strict=True)]
    merge = config.pair_merge
    half = [
        math.prod(scales[t : t + merge]) ** (1 / merge)
        for t in range(0, config.pair_classes, merge)
    ]
    sides = [bins(sigma, config.pair_range) for sigma in half]
    return rows + [with_escape(torch.outer(a, b).flatten()) for a in sides for b in sides]


def zigzag(n: Tensor) -> Tensor:
    return torch.where(n >= 0, 2 * n, -2 * n - 1)


def unzigzag(e: Tensor) -> Tensor:
    return torch.where(e % 2 == 0, e // 2, -(e + 1) // 2)


class Codebooks(nn.Module):
    """Codewords and tables of all classes. Maps are [B, C, h, w], C even."""

    def __init__(self, config: QuantizerConfig):
        super().__init__()
        self.config = config
        ranges = scalar_range(config)
        self.register_buffer("reach", torch.tensor(ranges), persistent=False)
        widest = max(ranges)
        grid = torch.arange(2 * widest + 1).repeat(config.classes, 1) - self.reach[:, None]
        self.scalar_words = nn.Parameter(grid.float())  # [T, 2 M + 1], padded
        side = torch.arange(-config.pair_range, config.pair_range + 1).float()
        pairs = torch.cartesian_prod(side, side)
        rows = (config.pair_classes // config.pair_merge) ** 2
        self.pair_words = nn.Parameter(pairs.repeat(rows, 1, 1))  # [P * P, 81, 2]
        sizes = table_sizes(config)
        self.register_buffer("sizes", torch.tensor(sizes), persistent=False)
        bits = torch.full((len(sizes), max(sizes)), NOT_ALLOWED, dtype=torch.float32)
        self.register_buffer("bits", bits, persistent=False)  # [rows, K], padded
        self.set_probabilities(gaussian_probabilities(config))

    @torch.no_grad()
    def set_probabilities(self, rows: list[Tensor]) -> None:
        """rows: float [K] of each table, summing to 1."""
        for row, p in enumerate(rows):
            self.bits[row, : len(p)] = -p.log2().float()

    def classify(self, log_scale: Tensor) -> Classes:
        """log2 of the scale in steps, float [B, C, h, w] -> classes and rows of the tables."""
        config = self.config
        # A multiple of 2**-13 each, below 2**11: exact in float32.
        t = log_scale * config.per_octave + (0.5 - config.log_sigma_min * config.per_octave)
        t = t.floor().clamp(0, config.classes - 1).int()
        first, second = t[:, 0::2], t[:, 1::2]
        paired = (first < config.pair_classes) & (second < config.pair_classes)
        merge, side = config.pair_merge, config.pair_classes // config.pair_merge
        pair = config.classes + first // merge * side + second // merge
        row = interleaved(torch.where(paired, pair, first), torch.where(paired, -1, second))
        return Classes(t, row)

    def assign(self, r: Tensor, classes: Classes, kappa: Tensor) -> Assignment:
        """Entropy-constrained assignment of residuals r, float [B, C, h, w] in steps.

        kappa, [B, C, 1, 1]: bits that a squared error of one step is worth. Only the codewords
        around r and the one at zero are tried: codebooks stay near the grid that they start as.
        An escape from a pair is taken where r is outside of its grid, and only there.
        """
        with torch.no_grad():
            paired = are_paired(classes.row)
            near = (r + 0.5).floor().clamp(-NUMBER_MAX, NUMBER_MAX).int()
            outside = (near.abs() > self.config.pair_range).int()
            escape = paired & (of_pairs(torch.maximum, outside) > 0)
            inward = torch.where(escape, near, near - near.sign())
            zero = torch.where(escape, near, 0)
            best, least = None, None
            tried = (near, near), (near, inward), (inward, near), (inward, inward), (zero, zero)
            for first, second in tried:
                index = self._index_of(interleaved(first[:, 0::2], second[:, 1::2]), classes)
                error = kappa * (r - self.lookup(index, classes)) ** 2
                cost = self.bits_of(index, classes.row) + error
                cost = torch.where(paired, of_pairs(torch.add, cost), cost)
                if best is None:
                    best, least = index, cost
                best, least = torch.where(cost < least, index, best), torch.minimum(cost, least)
        return Assignment(best, classes.row, self.lookup(best, classes))

    def lookup(self, index: Tensor, classes: Classes) -> Tensor:
        """Values in steps of the codewords `index` [B, C, h, w], with escapes as integers."""
        t, row, index = classes.scalar.long(), classes.row.long(), index.long()
        pair = self._lookup_pairs(index[:, 0::2], index[:, 1::2], row[:, 0::2])
        return torch.where(are_paired(row), pair, self._lookup_scalars(index, t))

    def _lookup_scalars(self, index: Tensor, t: Tensor) -> Tensor:
        """int64 [B, C, h, w] each -> values, of any meaning where channels are pairs."""
        reach, codewords = self.reach[t], round_to(self.scalar_words, CODEWORD_BITS)
        e = index - 2 * reach - 1  # an escape's from 0 on
        number = (e // 2 + reach + 1) * (1 - 2 * (e % 2))
        value = codewords[t, torch.minimum(index, 2 * reach).clamp(min=0)]
        return torch.where(e >= 0, number.to(value.dtype), value)

    def _lookup_pairs(self, first: Tensor, second: Tensor, row: Tensor) -> Tensor:
        """int64 [B, C / 2, h, w] each -> values [B, C, h, w], of any meaning but for pairs."""
        codewords, size = round_to(self.pair_words, CODEWORD_BITS), self.pair_words.shape[1]
        row = (row - self.config.classes).clamp(min=0)
        value = codewords[row, first.clamp(0, size - 1)]  # [B, C / 2, h, w, 2]
        numbers = torch.stack([unzigzag(first - size), unzigzag(second)], -1)
        value = torch.where((first >= size)[..., None], numbers.to(value.dtype), value)
        return interleaved(*value.unbind(-1))

    def bits_of(self, index: Tensor, row: Tensor) -> Tensor:
        """Bits of each index [B, C, h, w] under the tables; 0 for the second of a pair."""
        known = row.long().clamp(min=0)
        last = self.sizes[known] - 1
        bits = self.bits[known, torch.minimum(index, last).clamp(min=0)]
        return torch.where(row < 0, 0, bits + ESCAPE_BITS * (index >= last).to(bits.dtype))

    def _index_of(self, n: Tensor, classes: Classes) -> Tensor:
        """The index of the codeword that starts at the integers n [B, C, h, w], or the escape."""
        reach, pair_range = self.reach[classes.scalar.long()].int(), self.config.pair_range
        beyond = n.abs() - reach - 1
        alone = torch.where(beyond >= 0, 2 * (reach + beyond) + 1 + (n < 0), n + reach)
        first, second, side = n[:, 0::2], n[:, 1::2], 2 * pair_range + 1
        escape = torch.maximum(first.abs(), second.abs()) > pair_range
        inside = (first + pair_range) * side + second + pair_range
        k = torch.where(escape, side * side + zigzag(first), inside)
        pair = interleaved(k, torch.where(escape, zigzag(second), -1))
        return torch.where(are_paired(classes.row), pair, alone)


def interleaved(first: Tensor, second: Tensor) -> Tensor:
    """[B, C / 2, h, w] twice, of the first and of the second channels of pairs -> [B, C, h, w]."""
    return torch.stack([first, second], 2).flatten(1, 2)


def of_pairs(join: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
    """What `join` makes of two neighbouring channels of x [B, C, h, w], in both of them."""
    return join(x[:, 0::2], x[:, 1::2]).repeat_interleave(2, 1)


def are_paired(row: Tensor) -> Tensor:
    """bool [B, C, h, w]: both channels of each pair."""
    return (row[:, 1::2] < 0).repeat_interleave(2, 1)
