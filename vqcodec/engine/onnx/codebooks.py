"""Conditional codebooks in numpy: what `nn.fast_assign` does, for one picture.

Everything is [M, c], M positions of a pass with its c channels, c even. Indices and rows are those
of `nn.quantizer`; codewords are in 2**-6 steps.
"""

from collections.abc import Sequence

import numpy as np

from ...config import QuantizerConfig
from ...entropy.fixed_point import CODEWORD_BITS, ESCAPE_BITS, NUMBER_MAX, scalar_range, table_sizes
from ...entropy.freqs import bits

STEP = 2**CODEWORD_BITS  # units of a codeword in a step


class Codebooks:
    """Codewords and tables of all classes."""

    def __init__(
        self,
        config: QuantizerConfig,
        scalar_words: np.ndarray,
        pair_words: np.ndarray,
        freqs: Sequence[np.ndarray],
    ):
        """scalar_words: int32 [T, 2 M + 1], padded. pair_words: integer [pair rows, 81, 2]."""
        self.config = config
        self.reach = np.int32(scalar_range(config))  # [T]
        sizes = np.int32(table_sizes(config))
        self.last = sizes - 1  # [rows], the index of the escape
        self.start = (
            np.cumsum(sizes, dtype=np.int32) - sizes
        )  # [rows], where those of a row are in what follows
        self.codewords = np.zeros((sizes.sum(), 2), np.int32)  # of channel and, in pairs, the next
        for row, count in enumerate(self.last):
            row_codewords = self.codewords[self.start[row] :][:count]
            if row < config.classes:
                row_codewords[:, 0] = scalar_words[row, :count]
            else:
                row_codewords[:] = pair_words[row - config.classes]
        reach = config.pair_range
        pairs = np.full(len(pair_words), 2 * reach * (reach + 1), np.int32)
        self.zero = np.concatenate([self.reach, pairs])  # [rows], the index of the codeword at zero
        self.bits = np.concatenate([bits(counts) for counts in freqs]).astype(np.float32)
        # numpy takes from a flat table several times faster than it indexes.
        self._values = tuple(np.ascontiguousarray(column) for column in self.codewords.T)
        self._rows_of = _rows_of(config)

    def rows(self, classes: np.ndarray) -> np.ndarray:
        """Classes of scale -> rows of the tables, -1 for the second of a pair; int32 both."""
        both = classes[:, 0::2] * self.config.classes + classes[:, 1::2]
        rows = np.empty_like(classes)
        for part, table in enumerate(self._rows_of):
            rows[:, part::2] = table.take(both)
        return rows

    def lookup(self, index: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The codewords of indices, int32."""
        last = self.last.take(rows)  # of row -1 as well, which is the last: they are not used
        at = self.start.take(rows) + np.clip(index, 0, last - 1)
        values = self._values[0].take(at)
        seconds = self._values[1].take(at[:, 0::2])
        np.copyto(values[:, 1::2], seconds, where=rows[:, 1::2] < 0)
        escape = (rows >= 0) & (index >= last)
        if escape.any():
            single = escape & (rows < self.config.classes)
            e, reach = (index - last)[single], self.reach[rows[single]]
            values[single] = STEP * (reach + 1 + e // 2) * np.where(e % 2, -1, 1)
            pair = (escape & ~single)[:, 0::2]
            first = (index - last)[:, 0::2][pair]
            values[:, 0::2][pair] = STEP * _unzigzag(first)
            values[:, 1::2][pair] = STEP * _unzigzag(index[:, 1::2][pair])
        return values

    def bits_of(self, index: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Bits of indices under the tables, float32; 0 for the second of a pair."""
        last = self.last.take(rows)
        bits = self.bits.take(self.start.take(rows) + np.clip(index, 0, last))
        return np.where(rows < 0, 0, bits + np.float32(ESCAPE_BITS) * (index >= last))

    def assign(self, r: np.ndarray, rows: np.ndarray, kappa: np.ndarray) -> np.ndarray:
        """Entropy-constrained assignment of residuals r, float32 in steps: their indices.

        kappa: float32 [c], bits that a squared error of one step is worth.
        """
        near = np.clip(np.floor(r + 0.5), -NUMBER_MAX, NUMBER_MAX)
        kappa = np.broadcast_to(kappa, r.shape)
        index = np.where(rows < 0, -1, self.zero[rows])  # theirs where r is nearest to 0
        tried = (near != 0) & (rows >= 0) & (rows < self.config.classes)
        index[tried] = self._single(r[tried], near[tried], rows[tried], kappa[tried])
        shape = len(rows), rows.shape[1] // 2, 2
        r, near, kappa = (x.reshape(shape) for x in (r, near, kappa))
        tried = (rows[:, 1::2] < 0) & (near != 0).any(2)
        both = self._pair(r[tried], near[tried], kappa[tried], rows[:, 0::2][tried])
        index.reshape(shape)[tried] = both
        return index

    def _single(
        self, r: np.ndarray, near: np.ndarray, rows: np.ndarray, kappa: np.ndarray
    ) -> np.ndarray:
        """Indices of single codewords, for [N] residuals."""
        reach, best = self.reach[rows], None
        for guess in (near, near - np.sign(near), np.zeros_like(near)):
            n = guess.astype(np.int64)
            beyond = abs(n) - reach - 1
            escape = beyond >= 0
            k = np.where(escape, 2 * (reach + beyond) + 1 + (n < 0), n + reach)
            at = self.start[rows] + np.minimum(k, self.last[rows])
            value = np.where(escape, guess, np.float32(self.codewords[at, 0] / STEP))
            cost = self.bits[at] + np.float32(ESCAPE_BITS) * escape + kappa * (r - value) ** 2
            best = _cheaper(best, cost, k)
        return best[1]

    def _pair(
        self, r: np.ndarray, near: np.ndarray, kappa: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """Indices of pairs, int64 [N, 2], for [N, 2] residuals."""
        reach = self.config.pair_range
        n = np.clip(near, -reach, reach).astype(np.int64) + reach
        inner, best = n - np.sign(n - reach), None
        guesses = [(a[:, 0], b[:, 1]) for a in (n, inner) for b in (n, inner)]
        for a, b in [*guesses, (np.full_like(rows, reach),) * 2]:
            k = a * (2 * reach + 1) + b
            at = self.start[rows] + k
            error = kappa * (r - np.float32(self.codewords[at] / STEP)) ** 2
            best = _cheaper(best, error[:, 0] + error[:, 1] + self.bits[at], k)
        escape = (abs(near) > reach).any(1)
        numbers = _zigzag(near.astype(np.int64))
        first = np.where(escape, self.last[rows] + numbers[:, 0], best[1])
        return np.stack([first, np.where(escape, numbers[:, 1], -1)], 1)


def _rows_of(config: QuantizerConfig) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the first and of the second of two channels, by the first's class times the
    number of classes plus the second's: int32 [classes ** 2] each."""
    first, second = (side.ravel() for side in np.indices((config.classes,) * 2))
    paired = (first < config.pair_classes) & (second < config.pair_classes)
    side = config.pair_classes // config.pair_merge
    pair = config.classes + first // config.pair_merge * side + second // config.pair_merge
    return np.int32(np.where(paired, pair, first)), np.int32(np.where(paired, -1, second))


def _cheaper(best: tuple | None, cost: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(cost, index) of the better of two choices at each position; the earlier one at a tie."""
    if best is None:
        return cost, k
    return np.minimum(cost, best[0]), np.where(cost < best[0], k, best[1])


def _zigzag(n: np.ndarray) -> np.ndarray:
    return np.where(n >= 0, 2 * n, -2 * n - 1)


def _unzigzag(e: np.ndarray) -> np.ndarray:
    return np.where(e % 2 == 0, e // 2, -(e + 1) // 2)
