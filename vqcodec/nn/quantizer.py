"""Conditional codebooks: residuals <-> indices, by entropy-constrained assignment.

The prior gives each residual (latent minus mean, in steps) a class of scale. A class has its
own codebook and its own table of bits. Two neighbouring channels whose classes are both small
share one two-dimensional word (a pair); others are coded alone. The index of a word is
argmin over k of bits(k) + kappa * |r - e_k|^2: Chou, Lookabaugh and Gray 1989,
"Entropy-constrained vector quantization". Codebooks start as the integer grid with the
Gaussian's probabilities, where they equal a scalar quantiser, and are trained from there.

Table layout: rows 0..T-1 are the scalar classes, rows T.. the pair classes. Index K-1 of a row
is the escape, for residuals outside the codebook, which are rounded to integers n. An index of
K-1 + e stands for the escape with e = 2 (|n| - M - 1) + (n < 0) in a scalar class; in a pair
class the first channel's index is K-1 + zigzag(n1) and the second's zigzag(n2), where the
second of a pair without escape is -1; zigzag(n) is 2n for n >= 0 and -2n - 1 for others.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config import QuantizerConfig
from .fixed import round_to

WORD_BITS = 6  # words are integers / 2**6 steps
ESCAPE_BITS = 16.0  # assumed price of an escape's spelled-out number
NOT_ALLOWED = 1e9
NUMBER_MAX = 2**17 - 1  # |n| of an escape: latents stay exact in float32


class Classes(NamedTuple):
    """Rows of the tables: `scalar` [B, C, h, w]; `pair` and the mask `paired` [B, C/2, h, w]."""

    scalar: Tensor
    pair: Tensor
    paired: Tensor


class Assignment(NamedTuple):
    """Words, [B, C, h, w] each: `index` int64 as in the module's head, `row` int64 of the tables
    (-1 for the second of a pair), `value` in steps."""

    index: Tensor
    row: Tensor
    value: Tensor


def sigmas(config: QuantizerConfig) -> list[float]:
    """Standard deviation, in steps, that each class of scale stands for."""
    return [2 ** (config.log_sigma_min + t / config.per_octave) for t in range(config.classes)]


def scalar_range(config: QuantizerConfig) -> list[int]:
    """M of each scalar class: its words start as the integers -M..M."""
    return [max(4, math.ceil(5 * sigma)) for sigma in sigmas(config)]


def table_sizes(config: QuantizerConfig) -> list[int]:
    """K of each row of the tables, escape included."""
    side = config.pair_classes // config.pair_merge
    pair = (2 * config.pair_range + 1) ** 2 + 1
    return [2 * m + 2 for m in scalar_range(config)] + [pair] * side**2


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
    """Words and tables of all classes."""

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
        bits = torch.full((len(sizes), max(sizes)), NOT_ALLOWED)
        self.register_buffer("bits", bits, persistent=False)  # [rows, K], padded
        self.set_probabilities(gaussian_probabilities(config))

    @torch.no_grad()
    def set_probabilities(self, rows: list[Tensor]) -> None:
        for row, p in enumerate(rows):
            self.bits[row, : len(p)] = -p.log2().float()

    def classify(self, log_scale: Tensor) -> Classes:
        """log2 of the scale in steps, [B, C, h, w] -> table rows."""
        config = self.config
        t = (log_scale - config.log_sigma_min) * config.per_octave
        t = torch.floor(t + 0.5).clamp(0, config.classes - 1).long()
        first, second = t[:, 0::2], t[:, 1::2]
        paired = (first < config.pair_classes) & (second < config.pair_classes)
        side = config.pair_classes // config.pair_merge
        pair = (first // config.pair_merge) * side + second // config.pair_merge
        return Classes(t, config.classes + torch.where(paired, pair, 0), paired)

    def assign(self, r: Tensor, classes: Classes, kappa: Tensor) -> Assignment:
        """Entropy-constrained assignment of residuals r [B, C, h, w] in steps.

        kappa, broadcast to r: bits that a squared error of one step is worth. Only the words
        around r and around zero are tried: codebooks stay near the grid that they start as.
        """
        near = torch.floor(r.detach() + 0.5).clamp(-NUMBER_MAX, NUMBER_MAX)
        kappa = kappa.expand_as(r)
        with torch.no_grad():
            index = self._assign_scalar(r, near, classes, kappa)
            if self.config.pair_classes:
                paired = classes.paired.repeat_interleave(2, 1)
                index = torch.where(paired, self._assign_pair(r, near, classes, kappa), index)
        return Assignment(index, self.rows(classes), self.lookup(index, classes))

    def rows(self, classes: Classes) -> Tensor:
        """int64 [B, C, h, w]: row of each channel's table, -1 for the second of a pair."""
        pair = torch.where(classes.paired, classes.pair, classes.scalar[:, 0::2])
        second = classes.scalar[:, 1::2].masked_fill(classes.paired, -1)
        return torch.stack([pair, second], 2).flatten(1, 2)

    def lookup(self, index: Tensor, classes: Classes) -> Tensor:
        """Values in steps of the words `index` [B, C, h, w], with escapes as integers."""
        value = self._scalar_value(index, classes.scalar)
        if not self.config.pair_classes:
            return value
        size = self.pair_words.shape[1]
        first, second = index[:, 0::2], index[:, 1::2]
        words = round_to(self.pair_words, WORD_BITS).flatten(0, 1)
        at = (classes.pair - self.config.classes) * size + first.clamp(0, size - 1)
        word = words[at]  # [B, C/2, h, w, 2]
        escape = classes.paired & (first >= size)
        if bool(escape.any()):
            numbers = torch.stack([unzigzag(first - size), unzigzag(second)], -1)
            word = torch.where(escape[..., None], numbers.to(word.dtype), word)
        value = torch.stack([value[:, 0::2], value[:, 1::2]], -1)
        value = torch.where(classes.paired[..., None], word, value)
        return value.permute(0, 1, 4, 2, 3).flatten(1, 2)

    def bits_of(self, index: Tensor, row: Tensor) -> Tensor:
        """Bits of each index [B, C, h, w] under the tables; 0 for the second of a pair."""
        last = self.sizes[row.clamp(min=0)] - 1
        bits = self.bits[row.clamp(min=0), torch.minimum(index, last).clamp(min=0)]
        return (bits + ESCAPE_BITS * (index >= last)).masked_fill(row < 0, 0)

    def _scalar_value(self, index: Tensor, t: Tensor) -> Tensor:
        words, reach = round_to(self.scalar_words, WORD_BITS), self.reach[t]
        size = 2 * reach + 1
        value = words.flatten()[t * words.shape[1] + torch.minimum(index, size - 1).clamp(min=0)]
        escape = index >= size
        if not bool(escape.any()):
            return value
        e = index - size
        number = (e // 2 + reach + 1) * (1 - 2 * (e % 2))
        return torch.where(escape, number.to(words.dtype), value)

    def _assign_scalar(self, r: Tensor, near: Tensor, classes: Classes, kappa: Tensor) -> Tensor:
        """Indices of single words, where channels are not paired."""
        index = self.reach[classes.scalar]  # of the words at zero: theirs where r is nearest to 0
        tried = (near != 0) & ~classes.paired.repeat_interleave(2, 1)
        r, near, t, kappa = r[tried], near[tried], classes.scalar[tried], kappa[tried]
        reach, bits, best = self.reach[t], self.bits.flatten(), None
        for guess in (near, near - near.sign(), torch.zeros_like(near)):
            n = guess.long()
            beyond = n.abs() - reach - 1
            k = torch.where(beyond < 0, n + reach, 2 * reach + 1 + 2 * beyond + (n < 0))
            row = t * self.bits.shape[1] + torch.minimum(k, 2 * reach + 1)
            cost = bits[row] + ESCAPE_BITS * (beyond >= 0)
            best = _cheaper(best, cost + kappa * (r - self._scalar_value(k, t)) ** 2, k)
        index[tried] = best[1]
        return index

    def _assign_pair(self, r: Tensor, near: Tensor, classes: Classes, kappa: Tensor) -> Tensor:
        """Indices of pairs, where channels are paired."""
        reach, size = self.config.pair_range, self.pair_words.shape[1]
        zero = reach * (2 * reach + 1) + reach
        first = torch.full_like(classes.pair, zero)
        second = torch.full_like(first, -1)
        r, near, kappa = (torch.stack([x[:, 0::2], x[:, 1::2]], -1) for x in (r, near, kappa))
        tried = classes.paired & (near != 0).any(-1)
        r, near, kappa = r[tried], near[tried], kappa[tried]  # [N, 2]
        row = classes.pair[tried] - self.config.classes
        words, bits = round_to(self.pair_words, WORD_BITS), self.bits[self.config.classes :, :size]
        n = near.clamp(-reach, reach).long() + reach
        inner, best = n - (n - reach).sign(), None
        guesses = [(a[:, 0], b[:, 1]) for a in (n, inner) for b in (n, inner)]
        for a, b in [*guesses, (torch.full_like(row, reach),) * 2]:
            k = a * (2 * reach + 1) + b
            error = kappa * (r - words[row, k]) ** 2
            best = _cheaper(best, error[:, 0] + error[:, 1] + bits[row, k], k)
        escape, numbers = (near.abs() > reach).any(-1), zigzag(near.long())
        first[tried] = torch.where(escape, size + numbers[:, 0], best[1])
        second[tried] = torch.where(escape, numbers[:, 1], -1)
        return torch.stack([first, second], 2).flatten(1, 2)


def _cheaper(best: tuple[Tensor, Tensor] | None, cost: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """(cost, index) of the better of two choices at each place; the earlier one at a tie."""
    if best is None:
        return cost, k
    return torch.minimum(cost, best[0]), torch.where(cost < best[0], k, best[1])
