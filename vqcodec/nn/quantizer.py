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
from ..entropy.fixed_point import (
    CODEWORD_BITS,
    ESCAPE_BITS,
    NUMBER_MAX,
    scalar_range,
    sigmas,
    table_sizes,
)
from .fixed import round_to

NOT_ALLOWED = 1e9


class Classes(NamedTuple):
    """int32 [B, C, h, w] each. scalar: class of scale. row: of the tables, -1 for the second of a
    pair. couple: int32 [B, h, w, C / 2], the classes of two neighbours as one number."""

    scalar: Tensor
    row: Tensor
    couple: Tensor


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
    possible pair, a couple, are neighbours: with maps in channels_last that costs nothing. What
    depends on the classes of a couple alone is looked up for both at once: `both` [T * T].
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
        bits = torch.full((len(sizes), max(sizes)), NOT_ALLOWED, dtype=torch.float32)
        self.register_buffer("bits", bits, persistent=False)  # [rows, K], padded
        self.register_buffer("frozen_words", None, persistent=False)
        self.register_buffer("frozen_pairs", None, persistent=False)
        self.set_probabilities(gaussian_probabilities(config))
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Tables of what follows from two neighbours' classes: their rows, the last index and the
        index of the word at zero of either, and where `_words` has the values, and that of the
        word at zero."""
        config, sizes = self.config, self.sizes
        t = torch.arange(config.classes)
        first, second = (x.flatten() for x in torch.meshgrid(t, t, indexing="ij"))
        paired = (first < config.pair_classes) & (second < config.pair_classes)
        merge, width = config.pair_merge, self.scalar_words.shape[1] + 1
        number = first // merge * (config.pair_classes // merge) + second // merge
        row = torch.where(paired, config.classes + number, first)
        pairs, entries = len(sizes) - config.classes, self.pair_words.shape[1] + 1
        start = torch.where(paired, config.classes * width + number * entries, first * width)
        last, middle = sizes[row] - 1, self.pair_words.shape[1] // 2
        self.register_buffer("is_pair", paired, persistent=False)
        zero = torch.where(paired, middle, self.reach[first])
        starts = start, torch.where(paired, start + pairs * entries, second * width)
        own = torch.where(paired, middle, self.reach[second])
        of_both = {
            "rows": (row, torch.where(paired, -1, second)),
            "last": (last, torch.where(paired, last, sizes[second] - 1)),
            "zero": (zero, torch.where(paired, -1, self.reach[second])),
            "start": starts,
            "still": (starts[0] + zero, starts[1] + own),
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
        # A multiple of 2**-13 each, below 2**11: exact in float32.
        t = log_scale.movedim(1, -1) * config.per_octave
        t = t.add_(0.5 - config.log_sigma_min * config.per_octave).floor_()
        t = t.clamp_(0, config.classes - 1).int()
        couple = t[..., 0::2] * config.classes + t[..., 1::2]
        return Classes(t.movedim(-1, 1), self._of_both("rows", couple).movedim(-1, 1), couple)

    def _of_both(self, name: str, couple: Tensor) -> Tensor:
        """Of couples [..., C / 2]: int32 [..., C]."""
        both = getattr(self, f"both_{name}").index_select(0, couple.flatten())
        return both.view(torch.int32).view(*couple.shape[:-1], -1)

    def assign(self, r: Tensor, classes: Classes, kappa: Tensor) -> Assignment:
        """Entropy-constrained assignment of residuals r [B, C, h, w] in steps.

        kappa, [B, C, 1, 1]: bits that a squared error of one step is worth. Only the words around
        r and around zero are tried: codebooks stay near the grid that they start as.
        """
        with torch.no_grad():
            r = r.movedim(1, -1).contiguous()
            near = (r + 0.5).floor_().clamp_(-NUMBER_MAX, NUMBER_MAX).int()
            index, place = (self._of_both(name, classes.couple) for name in ("zero", "still"))
            # Both of most couples are nearest to 0, and stay there.
            moved = (near.flatten().view(torch.int64) != 0).nonzero()[:, 0]
            couple = classes.couple.flatten().index_select(0, moved)
            paired = self._are_pairs(couple)
            for kind, assigned in ((paired, self._assign_pair), (~paired, self._assign_scalar)):
                at = moved[kind]
                maps = (_rows_of_two(x, at) for x in (r, near, _last(classes.scalar)))
                index.view(-1, 2)[at] = assigned(*maps, _weights(kappa, at, r))
            there, escaped = self._places(_rows_of_two(index, moved), couple)
            place.view(-1, 2)[moved] = there
            escaped = 2 * moved[escaped // 2] + escaped % 2
        value = self._values(place, index, classes, escaped)
        return Assignment(index.movedim(-1, 1), classes.row, value)

    def lookup(self, index: Tensor, classes: Classes) -> Tensor:
        """Values in steps of the words `index` [B, C, h, w], with escapes as integers."""
        index = index.movedim(1, -1)
        place, escaped = self._places(index.unflatten(-1, (-1, 2)), classes.couple)
        return self._values(place.flatten(-2), index, classes, escaped)

    def _places(self, index: Tensor, couple: Tensor) -> tuple[Tensor, Tensor]:
        """Of words [..., 2] of couples [...]: where `_words` has their values, as many; and which
        are escapes, int64 [E], counted through all."""
        first = index[..., 0]
        k = torch.stack([first, torch.where(self._are_pairs(couple), first, index[..., 1])], -1)
        last, start = (self._of_both(name, couple).view(k.shape) for name in ("last", "start"))
        k = k.clamp_(min=0)
        escaped = (k >= last).flatten().nonzero()[:, 0]
        return torch.minimum(k, last).add_(start), escaped

    def _are_pairs(self, couple: Tensor) -> Tensor:
        return self.is_pair.index_select(0, couple.flatten()).view(couple.shape)

    def _values(self, place: Tensor, index: Tensor, classes: Classes, escaped: Tensor) -> Tensor:
        """float [B, C, h, w] from maps [B, h, w, C]; place, escaped: as of `_places`."""
        value = self._words().index_select(0, place.flatten()).view(place.shape)
        if len(escaped):
            t = _last(classes.scalar).flatten()[escaped].long()
            paired = self._are_pairs(classes.couple.flatten()[escaped // 2])
            numbers = self._spelled(index.flatten()[escaped].long(), t, escaped, paired)
            numbers = numbers.to(value.dtype)
            value = value.flatten().index_put((escaped,), numbers).view(value.shape)
        return value.movedim(-1, 1)

    def freeze(self, frozen: bool = True) -> None:
        """Make the table of all values once: the words will not change."""
        self.frozen_words = self.frozen_pairs = None
        if frozen:
            self.frozen_words, self.frozen_pairs = (
                self._words().detach(),
                self._pair_sides().detach(),
            )

    def _words(self) -> Tensor:
        """Values of all words, where `both_start` says, and a zero for each escape: the scalar
        ones by class, then the first and then the second numbers of the pairs."""
        if self.frozen_words is not None:
            return self.frozen_words
        scalar = F.pad(round_to(self.scalar_words, CODEWORD_BITS), (0, 1))
        pair = F.pad(round_to(self.pair_words, CODEWORD_BITS), (0, 0, 0, 1))
        return torch.cat([scalar.flatten(), pair[..., 0].flatten(), pair[..., 1].flatten()])

    def _spelled(self, index: Tensor, t: Tensor, at: Tensor, paired: Tensor) -> Tensor:
        """The integers that escapes stand for. at: their places among all [..., C], flattened.
        All [E]."""
        reach = self.reach[t]
        e = index - 2 * reach - 1
        alone = (e // 2 + reach + 1) * (1 - 2 * (e % 2))
        pair = unzigzag(index - self.pair_words.shape[1] * (1 - at % 2))
        return torch.where(paired, pair, alone)

    def bits_of(self, index: Tensor, row: Tensor) -> Tensor:
        """Bits of each index [B, C, h, w] under the tables; 0 for the second of a pair."""
        row = row.movedim(1, -1)
        index, known = index.movedim(1, -1), row.clamp(min=0)
        last = self.sizes.int().index_select(0, known.flatten()).view(row.shape) - 1
        at = torch.minimum(index, last).clamp_(min=0).add_(known.mul_(self.bits.shape[1]))
        bits = self.bits.flatten().index_select(0, at.flatten()).view(row.shape)
        return (bits + ESCAPE_BITS * (index >= last)).masked_fill(row < 0, 0).movedim(-1, 1)

    def _assign_scalar(self, r: Tensor, near: Tensor, t: Tensor, kappa: Tensor) -> Tensor:
        """Indices of single words: int32 [N, 2] of [N, 2] each."""
        reach, words, width = self.reach[t].int(), self._words(), self.scalar_words.shape[1] + 1
        n = torch.stack([near, near - near.sign(), torch.zeros_like(near)])  # [3, N, 2]
        beyond = n.abs() - reach - 1
        escape = beyond >= 0
        inside = torch.where(escape, 2 * reach + 1, n + reach)
        value = torch.where(escape, n.to(r.dtype), words[t * width + inside])
        bits = self.bits.flatten()[t * self.bits.shape[1] + inside] + ESCAPE_BITS * escape
        k = torch.where(escape, 2 * reach + 1 + 2 * beyond + (n < 0), inside)
        return _cheapest(bits + kappa * (r - value) ** 2, k)

    def _assign_pair(self, r: Tensor, near: Tensor, t: Tensor, kappa: Tensor) -> Tensor:
        """Indices of pairs: int32 [N, 2] of [N, 2] each."""
        reach, size, merge = (
            self.config.pair_range,
            self.pair_words.shape[1],
            self.config.pair_merge,
        )
        side, half = 2 * reach + 1, t // merge
        row = half[:, 0] * (self.config.pair_classes // merge) + half[:, 1]
        n = near.clamp(-reach, reach)
        inward = n.sign()
        k, zero = n[:, 0] * side + n[:, 1], torch.zeros_like(row)
        first, second = inward[:, 0] * side, inward[:, 1]
        k = torch.stack([k, k - second, k - first, k - first - second, zero]) + size // 2  # [5, N]
        at = (row * size + k).flatten()
        cost = self.bits[self.config.classes :, :size].flatten().index_select(0, at).view(k.shape)
        for x, weight, words in zip(r.T, kappa.T, self._pair_sides(), strict=True):
            error = x - words.index_select(0, at).view(k.shape)
            cost.addcmul_(error.square_(), weight)
        escape, numbers = (near.abs() > reach).any(-1), zigzag(near)
        first = torch.where(escape, size + numbers[:, 0], _cheapest(cost, k))
        return torch.stack([first, torch.where(escape, numbers[:, 1], -1)], -1)

    def _pair_sides(self) -> Tensor:
        """The words of all pairs: float [2, P * P * 81]."""
        if self.frozen_pairs is not None:
            return self.frozen_pairs
        return round_to(self.pair_words, CODEWORD_BITS).flatten(0, 1).T.contiguous()


def _last(x: Tensor) -> Tensor:
    """[B, C, h, w] -> [B, h, w, C]."""
    return x.movedim(1, -1)


def _rows_of_two(x: Tensor, at: Tensor) -> Tensor:
    """[N, 2]: the couples of x [B, h, w, C] at some of its places, counted through all."""
    x = x.contiguous()
    if x.element_size() == 4:  # two in one: three times as fast
        return x.flatten().view(torch.int64).index_select(0, at).view(x.dtype).view(-1, 2)
    return x.view(-1, 2).index_select(0, at)


def _weights(kappa: Tensor, at: Tensor, r: Tensor) -> Tensor:
    """kappa [B, C, 1, 1] of couples of r [B, h, w, C]: [N, 2]."""
    half = r.shape[-1] // 2
    first = at % half
    if len(r) > 1:
        first = first + at // (r[0].numel() // 2) * half
    return kappa.reshape(-1, 2).index_select(0, first)


def _cheapest(cost: Tensor, k: Tensor) -> Tensor:
    """Of guesses [n, ...]: the index k of the one that costs least, the first at a tie."""
    return k.gather(0, cost.min(0, keepdim=True).indices)[0]  # argmin takes ten times as long
