"""Entropy-constrained assignment, fast: most channel pairs quantise to zero, so skip them.

Does what the plain codebooks of quantizer.py do, up to the rounding of costs, in a fraction of the
time. Inside, channels are the last dimension, so that the two channels of a possible pair are
neighbours in memory: with maps in channels_last that costs nothing. Two int32 of a pair are moved
as one int64. What depends on the two classes alone is looked up for both channels at once, by
their joint class. Values of all codewords lie in one table, in which each has a slot.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import QuantizerConfig
from ..entropy.fixed_point import CODEWORD_BITS, ESCAPE_BITS, NUMBER_MAX
from .fixed import round_to
from .quantizer import Assignment, Codebooks, unzigzag, zigzag

COPIES = 32  # of the codewords, in `assign_densely`


class JointClasses(NamedTuple):
    """scalar, row: as of `Classes`. joint_class: int32 [B, h, w, C / 2], the classes of two
    neighbouring channels as one number."""

    scalar: Tensor
    row: Tensor
    joint_class: Tensor


class FastCodebooks(Codebooks):
    """`Codebooks`, with the same parameters and tables, and `joint_*` [T * T] by joint class."""

    def __init__(self, config: QuantizerConfig):
        super().__init__(config)
        self.register_buffer("frozen_codewords", None, persistent=False)
        self.register_buffer("frozen_pairs", None, persistent=False)
        self._make_joint_tables()

    def _make_joint_tables(self) -> None:
        """For the two channels of each joint class: their rows, the last index and the index of
        the codeword at zero; the first slot of their codebook, and the slot of that codeword."""
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
        second_zero = torch.where(paired, middle, self.reach[second])
        tables = {
            "rows": (row, torch.where(paired, -1, second)),
            "last": (last, torch.where(paired, last, sizes[second] - 1)),
            "zero": (zero, torch.where(paired, -1, self.reach[second])),
            "start": starts,
            "zero_slot": (starts[0] + zero, starts[1] + second_zero),
        }
        for name, two in tables.items():
            joint = torch.stack(two, 1).int().view(torch.int64).flatten()
            self.register_buffer(f"joint_{name}", joint, persistent=False)  # two int32 in one

    def freeze(self, frozen: bool = True) -> None:
        """Make the tables of all values once: the codewords will not change."""
        self.frozen_codewords = self.frozen_pairs = None
        if frozen:
            self.frozen_codewords, self.frozen_pairs = (
                self._codewords().detach(),
                self._pair_codewords().detach(),
            )

    def classify(self, log_scale: Tensor) -> JointClasses:
        """log2 of the scale in steps, float [B, C, h, w] -> classes and rows of the tables."""
        config = self.config
        # A multiple of 2**-13 each, below 2**11: exact in float32.
        t = log_scale.movedim(1, -1) * config.per_octave
        t = t.add_(0.5 - config.log_sigma_min * config.per_octave).floor_()
        t = t.clamp_(0, config.classes - 1).int()
        joint = t[..., 0::2] * config.classes + t[..., 1::2]
        return JointClasses(t.movedim(-1, 1), self._of_joint("rows", joint).movedim(-1, 1), joint)

    def assign(self, r: Tensor, classes: JointClasses, kappa: Tensor) -> Assignment:
        """As of `Codebooks`."""
        with torch.no_grad():
            r = r.movedim(1, -1).contiguous()
            near = (r + 0.5).floor_().clamp_(-NUMBER_MAX, NUMBER_MAX).int()
            joint = classes.joint_class
            index, slot = (self._of_joint(name, joint) for name in ("zero", "zero_slot"))
            # Most pairs of channels are nearest to zero in both, and are done.
            moved = (near.flatten().view(torch.int64) != 0).nonzero()[:, 0]
            joint = joint.flatten().index_select(0, moved)
            paired = self._are_pairs(joint)
            for kind, assigned in ((paired, self._assign_pair), (~paired, self._assign_scalar)):
                at = moved[kind]
                maps = (_pairs_at(x, at) for x in (r, near, _last(classes.scalar)))
                index.view(-1, 2)[at] = assigned(*maps, _kappa_at(kappa, at, r))
            moved_slots, escaped = self._slots(_pairs_at(index, moved), joint)
            slot.view(-1, 2)[moved] = moved_slots
            escaped = 2 * moved[escaped // 2] + escaped % 2
        value = self._values(slot, index, classes, escaped)
        return Assignment(index.movedim(-1, 1), classes.row, value)

    def assign_densely(self, r: Tensor, classes: JointClasses, kappa: Tensor) -> Assignment:
        """As `assign`, but every residual is assigned alone and as one of a pair: more work, in
        steps whose shapes do not depend on values, so that a CUDA graph can hold it."""
        with torch.no_grad():
            r = r.movedim(1, -1).contiguous()
            near = (r + 0.5).floor_().clamp_(-NUMBER_MAX, NUMBER_MAX).int()
            t, joint = _last(classes.scalar).contiguous(), classes.joint_class
            weights = _last(kappa).expand(r.shape)
            pairs = (x.reshape(-1, 2) for x in (r, near, t, weights))
            r_two, near_two, t_two, kappa_two = pairs
            alone = self._assign_scalar(r_two, near_two, t_two, kappa_two)
            # Rows of pairs are there for small classes alone.
            t_two = t_two.clamp(max=max(0, self.config.pair_classes - 1))
            both = self._assign_pair(r_two, near_two, t_two, kappa_two)
            paired = self._are_pairs(joint)[..., None]
            two = (*joint.shape, 2)
            index = torch.where(paired, both.view(two), alone.view(two).to(both.dtype))
            first = index[..., :1]
            k = torch.cat([first, torch.where(paired, first, index[..., 1:])], -1).clamp_(min=0)
            last, start = (self._of_joint(name, joint).view(two) for name in ("last", "start"))
            escaped = (k >= last).flatten(-2)
            slot = torch.minimum(k, last).add_(start)
            index = index.flatten(-2)
            at = torch.arange(r.shape[-1], device=r.device)
            numbers = self._numbers(index, t, at, paired.expand(two).flatten(-2))
        value = self._spread_codewords(slot.flatten()).view(r.shape)
        value = torch.where(escaped, numbers.to(value.dtype), value)
        return Assignment(index.movedim(-1, 1), classes.row, value.movedim(-1, 1))

    def _spread_codewords(self, slot: Tensor) -> Tensor:
        """The codewords of slots [N]. Their gradient is a sum into few of them, and a GPU adds to
        one after the other: copies of the table are as many places to add to at a time."""
        codewords = self._codewords()
        copy = torch.arange(len(slot), device=slot.device) % COPIES
        return codewords.repeat(COPIES).index_select(0, slot + copy * len(codewords))

    def lookup(self, index: Tensor, classes: JointClasses) -> Tensor:
        """Values in steps of the codewords `index` [B, C, h, w], with escapes as integers."""
        index = index.movedim(1, -1)
        slot, escaped = self._slots(index.unflatten(-1, (-1, 2)), classes.joint_class)
        return self._values(slot.flatten(-2), index, classes, escaped)

    def bits_of(self, index: Tensor, row: Tensor) -> Tensor:
        """Bits of each index [B, C, h, w] under the tables; 0 for the second of a pair."""
        row = row.movedim(1, -1)
        index, known = index.movedim(1, -1), row.clamp(min=0)
        last = self.sizes.int().index_select(0, known.flatten()).view(row.shape) - 1
        at = torch.minimum(index, last).clamp_(min=0).add_(known.mul_(self.bits.shape[1]))
        bits = self.bits.flatten().index_select(0, at.flatten()).view(row.shape)
        return (
            (bits + ESCAPE_BITS * (index >= last).to(bits.dtype))
            .masked_fill(row < 0, 0)
            .movedim(-1, 1)
        )

    def _of_joint(self, name: str, joint: Tensor) -> Tensor:
        """What a table has for joint classes [..., C / 2]: int32 [..., C]."""
        two = getattr(self, f"joint_{name}").index_select(0, joint.flatten())
        return two.view(torch.int32).view(*joint.shape[:-1], -1)

    def _are_pairs(self, joint: Tensor) -> Tensor:
        return self.is_pair.index_select(0, joint.flatten()).view(joint.shape)

    def _slots(self, index: Tensor, joint: Tensor) -> tuple[Tensor, Tensor]:
        """The slots of indices [..., 2] of joint classes [...]; and which are escapes: int64 [E],
        counted through all."""
        first = index[..., 0]
        k = torch.stack([first, torch.where(self._are_pairs(joint), first, index[..., 1])], -1)
        last, start = (self._of_joint(name, joint).view(k.shape) for name in ("last", "start"))
        k = k.clamp_(min=0)
        escaped = (k >= last).flatten().nonzero()[:, 0]
        return torch.minimum(k, last).add_(start), escaped

    def _values(
        self, slot: Tensor, index: Tensor, classes: JointClasses, escaped: Tensor
    ) -> Tensor:
        """float [B, C, h, w] from maps [B, h, w, C]; slot, escaped: as of `_slots`."""
        value = self._codewords().index_select(0, slot.flatten()).view(slot.shape)
        if len(escaped):
            t = _last(classes.scalar).flatten()[escaped].long()
            paired = self._are_pairs(classes.joint_class.flatten()[escaped // 2])
            numbers = self._numbers(index.flatten()[escaped].long(), t, escaped, paired)
            numbers = numbers.to(value.dtype)
            value = value.flatten().index_put((escaped,), numbers).view(value.shape)
        return value.movedim(-1, 1)

    def _codewords(self) -> Tensor:
        """Values of all codewords, where `joint_start` says, and a zero for each escape: the
        scalar ones by class, then the first and then the second numbers of the pairs."""
        if self.frozen_codewords is not None:
            return self.frozen_codewords
        scalar = F.pad(round_to(self.scalar_words, CODEWORD_BITS), (0, 1))
        pair = F.pad(round_to(self.pair_words, CODEWORD_BITS), (0, 0, 0, 1))
        return torch.cat([scalar.flatten(), pair[..., 0].flatten(), pair[..., 1].flatten()])

    def _pair_codewords(self) -> Tensor:
        """The codewords of all pairs: float [2, P * P * 81]."""
        if self.frozen_pairs is not None:
            return self.frozen_pairs
        return round_to(self.pair_words, CODEWORD_BITS).flatten(0, 1).T.contiguous()

    def _numbers(self, index: Tensor, t: Tensor, at: Tensor, paired: Tensor) -> Tensor:
        """The integers that escapes stand for. at: their positions in [..., C], flattened.
        All [E]."""
        reach = self.reach[t]
        e = index - 2 * reach - 1
        alone = (e // 2 + reach + 1) * (1 - 2 * (e % 2))
        pair = unzigzag(index - self.pair_words.shape[1] * (1 - at % 2))
        return torch.where(paired, pair, alone)

    def _assign_scalar(self, r: Tensor, near: Tensor, t: Tensor, kappa: Tensor) -> Tensor:
        """Indices of single codewords: int32 [N, 2] of [N, 2] each."""
        reach, width = self.reach[t].int(), self.scalar_words.shape[1] + 1
        codewords = self._codewords()
        n = torch.stack([near, near - near.sign(), torch.zeros_like(near)])  # [3, N, 2]
        beyond = n.abs() - reach - 1
        escape = beyond >= 0
        inside = torch.where(escape, 2 * reach + 1, n + reach)
        value = torch.where(escape, n.to(r.dtype), codewords[t * width + inside])
        bits = self.bits.flatten()[t * self.bits.shape[1] + inside] + ESCAPE_BITS * escape.to(
            self.bits.dtype
        )
        k = torch.where(escape, 2 * reach + 1 + 2 * beyond + (n < 0), inside)
        return _cheapest(bits + kappa * (r - value) ** 2, k)

    def _assign_pair(self, r: Tensor, near: Tensor, t: Tensor, kappa: Tensor) -> Tensor:
        """Indices of pairs: int32 [N, 2] of [N, 2] each."""
        reach, size = self.config.pair_range, self.pair_words.shape[1]
        merge = self.config.pair_merge
        side, half = 2 * reach + 1, t // merge
        row = half[:, 0] * (self.config.pair_classes // merge) + half[:, 1]
        n = near.clamp(-reach, reach)
        inward = n.sign()
        k, zero = n[:, 0] * side + n[:, 1], torch.zeros_like(row)
        first, second = inward[:, 0] * side, inward[:, 1]
        k = torch.stack([k, k - second, k - first, k - first - second, zero]) + size // 2  # [5, N]
        at = (row * size + k).flatten()
        cost = self.bits[self.config.classes :, :size].flatten().index_select(0, at).view(k.shape)
        for x, weight, codewords in zip(r.T, kappa.T, self._pair_codewords(), strict=True):
            error = x - codewords.index_select(0, at).view(k.shape)
            cost.addcmul_(error.square_(), weight)
        escape, numbers = (near.abs() > reach).any(-1), zigzag(near)
        first = torch.where(escape, size + numbers[:, 0], _cheapest(cost, k))
        return torch.stack([first, torch.where(escape, numbers[:, 1], -1)], -1)


def _last(x: Tensor) -> Tensor:
    """[B, C, h, w] -> [B, h, w, C]."""
    return x.movedim(1, -1)


def _pairs_at(x: Tensor, at: Tensor) -> Tensor:
    """[N, 2]: pairs of channels of x [B, h, w, C], those numbered `at` among all."""
    x = x.contiguous()
    if x.element_size() == 4:  # two in one: three times as fast
        return x.flatten().view(torch.int64).index_select(0, at).view(x.dtype).view(-1, 2)
    return x.view(-1, 2).index_select(0, at)


def _kappa_at(kappa: Tensor, at: Tensor, r: Tensor) -> Tensor:
    """kappa [B, C, 1, 1] for pairs of channels of r [B, h, w, C]: [N, 2]."""
    half = r.shape[-1] // 2
    first = at % half
    if len(r) > 1:
        first = first + at // (r[0].numel() // 2) * half
    return kappa.reshape(-1, 2).index_select(0, first)


def _cheapest(cost: Tensor, k: Tensor) -> Tensor:
    """Of guesses [n, ...]: the index k of the one that costs least, the first at a tie."""
    return k.gather(0, cost.min(0, keepdim=True).indices)[0]  # argmin takes ten times as long
