"""How a file spends its bits: the bits of each latent, and how often each codeword is used."""

from typing import NamedTuple

import numpy as np

from ..codec import Codec
from ..config import PRECISION
from ..entropy import symbols

DIGIT_BITS = 8  # of each digit of the numbers behind escapes


class BitAllocation(NamedTuple):
    """bits: float64 [h, w], what the indices of each latent cost. counts: int64 [K] for each
    row of `model.freqs`, how often each of its codewords occurs; the last
    is the escape."""

    bits: np.ndarray
    counts: tuple[np.ndarray, ...]


def measure(codec: Codec, data: bytes) -> BitAllocation:
    """Decode the indices of a .vqc file and count. Raises as `Codec.decode`."""
    indices, tables = codec.read_indices(data).indices, codec.read_tables(data)
    h, w, channels = indices.shape
    index = indices.reshape(-1, channels).astype(np.int64)
    rows = tables.reshape(-1, channels).astype(np.int64)
    freqs = codec.model.freqs
    sizes = np.array([len(counts) for counts in freqs])
    starts = np.cumsum([0, *sizes])
    coded = rows >= 0
    entries = (starts[rows] + np.minimum(index, sizes[rows] - 1))[coded]
    cost = PRECISION - np.log2(np.concatenate(freqs) + 1.0)
    bits = np.zeros(index.shape)
    bits[coded] = cost[entries]
    spelled = symbols.escaped(index, rows, sizes, codec.model.config.quantizer.classes)
    numbers = np.where(coded, index - sizes[rows] + 1, index)[spelled]
    bits[spelled] += DIGIT_BITS * (1 + (numbers >= 2**7) + (numbers >= 2**14))
    counts = np.bincount(entries, minlength=starts[-1])
    return BitAllocation(bits.sum(1).reshape(h, w), tuple(np.split(counts, starts[1:-1])))
