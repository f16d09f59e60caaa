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
from torch.nn import functional as F

from ..config import QuantizerConfig
from .fixed import round_to
from .units import ESCAPE_BITS, NUMBER_MAX, WORD_BITS, scalar_range, sigmas, table_sizes

NOT_ALLOWED = 1e9


class Classes(NamedTuple):
    """int32 [B, C, h, w] each. scalar: class of scale. row: of the tables, -1 for the second of a
    pair."""

    scalar: Tensor
    row: Tensor


class Assignment(NamedTuple):
    """Words, [B, C, h, w] each: `index` int32 as in the module's head, `row` as of `Classes`,
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
    """Words and tables of all classes.

    Maps come and go as [B, C, h, w]. Inside, channels are the last dimension, where the two of a
    possible pair are neighbours: with maps in channels_last that costs nothing. What depends on
    the classes of two neighbours alone is looked up for both at once: `both` [T * T].
    """

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
        self.register_buffer("frozen_words", None, persistent=False)
        self.set_probabilities(gaussian_probabilities(config))
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Tables of what follows from two neighbours' classes: their rows, the last index and the
        index of the word at zero of either, and where `_words` has the values."""
        config, sizes = self.config, self.sizes
        t = torch.arange(config.classes)
        first, second = (x.flatten() for x in torch.meshgrid(t, t, indexing="ij"))
        paired = (first < config.pair_classes) & (second < config.pair_classes)
        merge, width = config.pair_merge, self.scalar_words.shape[1] + 1
        number = first // merge * (config.pair_classes // merge) + second // merge
        row = torch.where(paired, config.classes + number, first)
        pairs, entries = len(sizes) - config.classes, self.pair_words.shape[1] + 1
        start = torch.where(paired, config.classes * width + number * entries, first * width)
        last, zero = sizes[row] - 1, self.pair_words.shape[1] // 2
        of_both = {
            "rows": (row, torch.where(paired, -1, second)),
            "last": (last, torch.where(paired, last, sizes[second] - 1)),
            "zero": (
                torch.where(paired, zero, self.reach[first]),
                torch.where(paired, -1, self.reach[second]),
            ),
            "start": (start, torch.where(paired, start + pairs * entries, second * width)),
        }
        for name, two in of_both.items():
            both = torch.stack(two, 1).int().view(torch.int64).flatten()
            self.register_buffer(f"both_{name}", both, persistent=False)  # two int32 in one

    @torch.no_grad()
    def set_probabilities(self, rows: list[Tensor]) -> None:
        for row, p in enumerate(rows):
            self.bits[row, : len(p)] = -p.log2().float()

    def classify(self, log_scale: Tensor) -> Classes:
        """log2 of the scale in steps, [B, C, h, w] -> table rows."""
        config = self.config
        t = (log_scale.movedim(1, -1) - config.log_sigma_min).mul_(config.per_octave)
        t = t.add_(0.5).floor_().clamp_(0, config.classes - 1).int()
        return Classes(t.movedim(-1, 1), self._of_both("rows", t).movedim(-1, 1))

    def _of_both(self, name: str, t: Tensor) -> Tensor:
        """Of classes t [..., C]: int32 [..., C]."""
        code = t[..., 0::2] * self.config.classes + t[..., 1::2]
        both = getattr(self, f"both_{name}").index_select(0, code.flatten())
        return both.view(torch.int32).view(t.shape)

    def assign(self, r: Tensor, classes: Classes, kappa: Tensor) -> Assignment:
        """Entropy-constrained assignment of residuals r [B, C, h, w] in steps.

        kappa, [B, C, 1, 1]: bits that a squared error of one step is worth. Only the words around
        r and around zero are tried: codebooks stay near the grid that they start as.
        """
        with torch.no_grad():
            index = self._assigned(r.movedim(1, -1).contiguous(), classes, kappa).movedim(-1, 1)
        return Assignment(index, classes.row, self.lookup(index, classes))

    def _assigned(self, r: Tensor, classes: Classes, kappa: Tensor) -> Tensor:
        """int32 [B, h, w, C]: the indices of residuals [B, h, w, C]."""
        t = classes.scalar.movedim(1, -1)
        near = (r + 0.5).floor_().clamp_(-NUMBER_MAX, NUMBER_MAX)
        index = self._of_both("zero", t)  # where r is nearest to 0
        paired = classes.row.movedim(1, -1)[..., 1::2] < 0
        moved = (near != 0).unflatten(-1, (-1, 2))
        channels, item = r.shape[-1], r[0].numel()

        def given(at: Tensor, width: int) -> tuple[Tensor, ...]:
            first = width * at[:, None] + torch.arange(width, device=at.device)
            weight = kappa.flatten()[first // item * channels + first % channels]
            maps = (x.reshape(-1, width).index_select(0, at) for x in (r, near, t))
            return (*maps, weight)

        alone = (moved & ~paired[..., None]).flatten().nonzero()[:, 0]
        index.view(-1, 1)[alone] = self._assign_scalar(*given(alone, 1))
        both = (paired & (moved[..., 0] | moved[..., 1])).flatten().nonzero()[:, 0]
        index.view(-1, 2)[both] = self._assign_pair(*given(both, 2))
        return index

    def lookup(self, index: Tensor, classes: Classes) -> Tensor:
        """Values in steps of the words `index` [B, C, h, w], with escapes as integers."""
        t, index = classes.scalar.movedim(1, -1), index.movedim(1, -1)
        paired = classes.row.movedim(1, -1)[..., 1::2] < 0
        k = torch.stack(
            [index[..., 0::2], torch.where(paired, index[..., 0::2], index[..., 1::2])], -1
        )
        k, last = k.flatten(-2).clamp_(min=0), self._of_both("last", t)
        at = torch.minimum(k, last).add_(self._of_both("start", t))
        value = self._words().index_select(0, at.flatten()).view(at.shape)
        escape = k >= last
        if bool(escape.any()):
            at = escape.flatten().nonzero()[:, 0]
            numbers = self._spelled(index.flatten()[at].long(), t.flatten()[at], at, paired)
            value = value.flatten().index_put((at,), numbers.to(value.dtype)).view(value.shape)
        return value.movedim(-1, 1)

    def freeze(self, frozen: bool = True) -> None:
        """Make the table of all values once: the words will not change."""
        self.frozen_words = None
        if frozen:
            self.frozen_words = self._words().detach()

    def _words(self) -> Tensor:
        """Values of all words, where `both_start` says, and a zero for each escape: the scalar
        ones by class, then the first and then the second numbers of the pairs."""
        if self.frozen_words is not None:
            return self.frozen_words
        scalar = F.pad(round_to(self.scalar_words, WORD_BITS), (0, 1))
        pair = F.pad(round_to(self.pair_words, WORD_BITS), (0, 0, 0, 1))
        return torch.cat([scalar.flatten(), pair[..., 0].flatten(), pair[..., 1].flatten()])

    def _spelled(self, index: Tensor, t: Tensor, at: Tensor, paired: Tensor) -> Tensor:
        """The integers that escapes stand for. at: their places among all [..., C], flattened."""
        reach = self.reach[t]
        e = index - 2 * reach - 1
        alone = (e // 2 + reach + 1) * (1 - 2 * (e % 2))
        pair = unzigzag(index - self.pair_words.shape[1] * (1 - at % 2))
        return torch.where(paired.flatten()[at // 2], pair, alone)

    def bits_of(self, index: Tensor, row: Tensor) -> Tensor:
        """Bits of each index [B, C, h, w] under the tables; 0 for the second of a pair."""
        row = row.movedim(1, -1)
        index, known = index.movedim(1, -1), row.clamp(min=0)
        last = self.sizes.int().index_select(0, known.flatten()).view(row.shape) - 1
        at = torch.minimum(index, last).clamp_(min=0).add_(known.mul_(self.bits.shape[1]))
        bits = self.bits.flatten().index_select(0, at.flatten()).view(row.shape)
        return (bits + ESCAPE_BITS * (index >= last)).masked_fill(row < 0, 0).movedim(-1, 1)

    def _assign_scalar(self, r: Tensor, near: Tensor, t: Tensor, kappa: Tensor) -> Tensor:
        """Indices of single words: int32 [N, 1] of [N, 1] each."""
        reach, words, width = self.reach[t].int(), self._words(), self.scalar_words.shape[1] + 1
        guess = torch.stack([near, near - near.sign(), torch.zeros_like(near)])  # [3, N, 1]
        n = guess.int()
        beyond = n.abs() - reach - 1
        escape = beyond >= 0
        inside = torch.where(escape, 2 * reach + 1, n + reach)
        value = torch.where(escape, guess, words[t * width + inside])
        bits = self.bits.flatten()[t * self.bits.shape[1] + inside] + ESCAPE_BITS * escape
        k = torch.where(escape, 2 * reach + 1 + 2 * beyond + (n < 0), inside)
        return _cheapest(bits + kappa * (r - value) ** 2, k)

    def _assign_pair(self, r: Tensor, near: Tensor, t: Tensor, kappa: Tensor) -> Tensor:
        """Indices of pairs: int32 [N, 2] of [N, 2] each."""
        reach, size = self.config.pair_range, self.pair_words.shape[1]
        merge = self.config.pair_merge
        row = t[:, 0] // merge * (self.config.pair_classes // merge) + t[:, 1] // merge
        words = round_to(self.pair_words, WORD_BITS).flatten(0, 1)
        bits = self.bits[self.config.classes :, :size].flatten()
        n = near.clamp(-reach, reach).int() + reach
        inner, zero = n - (n - reach).sign(), torch.full_like(n, reach)
        a = torch.stack([guess[:, 0] for guess in (n, n, inner, inner, zero)])
        b = torch.stack([guess[:, 1] for guess in (n, inner, n, inner, zero)])
        k = a * (2 * reach + 1) + b  # [5, N]
        at = (row * size + k).flatten()
        error = kappa * (r - words.index_select(0, at).view(*k.shape, 2)) ** 2
        best = _cheapest(error[..., 0] + error[..., 1] + bits.index_select(0, at).view(k.shape), k)
        escape, numbers = (near.abs() > reach).any(-1), zigzag(near.int())
        first = torch.where(escape, size + numbers[:, 0], best)
        return torch.stack([first, torch.where(escape, numbers[:, 1], -1)], -1)


def _cheapest(cost: Tensor, k: Tensor) -> Tensor:
    """Of guesses [n, ...]: the index k of the one that costs least, the first at a tie."""
    return k.gather(0, cost.min(0, keepdim=True).indices)[0]  # argmin takes ten times as long
