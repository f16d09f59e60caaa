"""Words drawn from the prior's tables by integers: a seed gives the same words on every machine
that has the same version of NumPy.

At temperature 1 a word has the coder's probability of it, so that what is drawn takes in a file
the bits that the prior expects. Other temperatures raise the probabilities to 1 / temperature:
below 1 likely words are likelier still, and at 0 the likeliest is always taken. Escapes are
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
        """rows: int64 [M, c], the table of each word, -1 where none is coded. Returns the words,
        int64 [M, c], -1 where the row is -1."""
        words = np.full(rows.shape, -1, dtype=np.int64)
        coded = rows >= 0
        order, runs = self._tables.runs(rows[coded])
        grouped = np.zeros(order.shape, dtype=np.int64)
        for row, run in runs:
            cumulative = self._cumulative[row]
            drawn = self._random.integers(cumulative[-1], size=run.stop - run.start)
            grouped[run] = np.searchsorted(cumulative, drawn, side="right")
        found = np.empty_like(grouped)
        found[order] = grouped
        words[coded] = found
        return words


def _weights(counts: np.ndarray, temperature: float) -> np.ndarray:
    """int64 [K - 1]: how often each word, in so many draws as they sum to."""
    words = counts[:-1].astype(np.int64) + 1  # the coder's probability, in 2**-24
    if temperature == 1:
        return words
    if temperature == 0:
        return (np.arange(words.size) == words.argmax()).astype(np.int64)
    p = (words / words.max()) ** (1 / temperature)
    return freqs.from_probabilities(p / p.sum()).astype(np.int64)
