"""Probabilities -> integer frequencies: the last step before the coder.

FORMAT.md, "Frequencies". A row of K frequencies c sums to exactly 2**24 - K; the coder gives
index i the probability (c[i] + 1) / 2**24.
"""

import numpy as np

from ..config import PRECISION


def from_probabilities(p: np.ndarray) -> np.ndarray:
    """The frequencies nearest to p, float64 [K] summing to 1, by largest remainder.

    Ties go to the lower index. Returns uint32 [K].
    """
    total = 2**PRECISION - len(p)
    exact = p.astype(np.float64) * total
    counts = np.floor(exact).astype(np.int64)
    short = total - int(counts.sum())
    order = np.argsort(counts - exact, kind="stable")
    counts[order[:short]] += 1
    if int(counts.sum()) != total or counts.min() < 0:
        raise ValueError(f"probabilities sum to {p.sum()}, expected 1")
    return counts.astype(np.uint32)


def bits(counts: np.ndarray) -> np.ndarray:
    """float64 [K]: -log2 of the coder's probability of each index."""
    return PRECISION - np.log2(counts.astype(np.float64) + 1)
