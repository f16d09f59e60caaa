"""What the indices of a tile cost: the bits of each latent, under the tables that code them."""

from typing import NamedTuple

import numpy as np

from ..config import PRECISION
from ..entropy import symbols
from ..zoo.weights import Model

DIGIT_BITS = 8  # of each digit of the numbers behind escapes


class BitAllocation(NamedTuple):
    """bits: float64 [h, w], what the indices of each latent cost. counts: int64 [K] for each
    row of `model.freqs`, how often each of its codewords occurs; the last is the escape."""

    bits: np.ndarray
    counts: tuple[np.ndarray, ...]


def allocation_of(model: Model, indices: np.ndarray, tables: np.ndarray) -> BitAllocation:
    """indices, tables: int [h, w, C], as `CodedTile` has them."""
    h, w, channels = indices.shape
    index = indices.reshape(-1, channels).astype(np.int64)
    rows = tables.reshape(-1, channels).astype(np.int64)
    freqs = model.freqs
    sizes = np.array([len(counts) for counts in freqs])
    starts = np.cumsum([0, *sizes])
    at = np.flatnonzero(rows >= 0)  # numpy takes faster than it indexes, above all by a mask
    used, last = rows.take(at), sizes.take(rows.take(at)) - 1
    found = index.take(at)
    entries = starts.take(used) + np.minimum(found, last)
    cost = PRECISION - np.log2(np.concatenate(freqs) + 1.0)
    bits = np.zeros(index.shape)
    bits.reshape(-1)[at] = cost.take(entries)
    if (found >= last).any():
        spelled = symbols.escaped(index, rows, sizes, model.config.quantizer.classes)
        numbers = np.where(rows >= 0, index - sizes[rows] + 1, index)[spelled]
        bits[spelled] += DIGIT_BITS * (1 + (numbers >= 2**7) + (numbers >= 2**14))
    counts = np.bincount(entries, minlength=starts[-1])
    return BitAllocation(bits.sum(1).reshape(h, w), tuple(np.split(counts, starts[1:-1])))
