"""Sampling of indices from the prior's tables, in integers.

A seed gives the same indices on every machine that has the same version of NumPy.

At temperature 1 an index has the coder's probability of it, so that what is drawn takes in a file
the bits that the prior expects. Other temperatures raise the probabilities to 1 / temperature:
below 1 likely indices are likelier still, and at 0 the likeliest is always taken. Escapes are
never drawn, since what they spell out has no probability worth the name.
"""

import math
from collections.abc import Sequence

import numpy as np

from . import freqs
from .rans import Tables


class IndexSampler:
    """A stream of random indices, each from the table of its class."""

    def __init__(self, tables: Sequence[np.ndarray], temperature: float, seed: int):
        """tables: the model's freqs. Raises ValueError for a temperature below 0 or not finite,
        or a negative seed."""
        if not 0 <= temperature < math.inf:
            raise ValueError(f"temperature is {temperature}, expected a finite number from 0 on")
        self._tables = Tables(tables)
        self._cumulative = [np.cumsum(_weights(counts, temperature)) for counts in tables]
        self._random = np.random.default_rng(seed)

    def draw(self, rows: np.ndarray) -> np.ndarray:
        """rows: int64 [M, c], the table of each index, -1 where none is coded. Returns the indices,
        int64 [M, c], -1 where the row is -1."""
        indices = np.full(rows.shape, -1, dtype=np.int64)
        coded = rows >= 0
        order, runs = self._tables.runs(rows[coded])
        grouped = np.zeros(order.shape, dtype=np.int64)
        for row, run in runs:
            cumulative = self._cumulative[row]
            drawn = self._random.integers(cumulative[-1], size=run.stop - run.start)
            grouped[run] = np.searchsorted(cumulative, drawn, side="right")
        found = np.empty_like(grouped)
        found[order] = grouped
        indices[coded] = found
        return indices


def _weights(counts: np.ndarray, temperature: float) -> np.ndarray:
    """int64 [K - 1]: how often each index, in so many draws as they sum to."""
    weights = counts[:-1].astype(np.int64) + 1  # the coder's probability, in 2**-24
    if temperature == 1:
        return weights
    if temperature == 0:
        return (np.arange(weights.size) == weights.argmax()).astype(np.int64)
    p = (weights / weights.max()) ** (1 / temperature)
    return freqs.from_probabilities(p / p.sum()).astype(np.int64)
