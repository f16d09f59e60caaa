"""Arrays of indices <-> symbols for the coder, escapes among them. FORMAT.md, "Symbols".

A pass is [M, c]: M positions in raster order, c channels. Its symbols are the indices capped
to the escape K-1, where `rows` is not negative; the numbers of escapes follow as varints of
7 bits, low first, one extra pass for each round of digits, in a row of 256 even frequencies.
"""

import numpy as np

from ..config import PRECISION
from ..errors import CorruptError
from .rans import Reader, Tables, Writer

MAX_ROUNDS = 3
NUMBER_LIMIT = 2**18  # beyond it latents would not be exact


def make_tables(freqs: tuple[np.ndarray, ...]) -> Tables:
    """The model's tables and, as the last row, the one of the digits."""
    digits = np.full(256, (2**PRECISION - 256) // 256, dtype=np.uint32)
    return Tables([*freqs, digits])


def escaped(index: np.ndarray, rows: np.ndarray, sizes: np.ndarray, pair_row: int) -> np.ndarray:
    """bool [M, c]: where a number is spelled out; both channels of an escaped pair."""
    escape = (rows >= 0) & (index >= sizes[rows] - 1)
    pair = escape & (rows >= pair_row)
    return escape | np.concatenate([np.zeros_like(pair[:, :1]), pair[:, :-1]], 1)


def to_passes(
    index: np.ndarray, rows: np.ndarray, sizes: np.ndarray, pair_row: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """One pass of the prior -> (symbols int32 [N], rows [N]) in the order of decoding.

    index, rows: integer [M, c] as `nn.quantizer` defines them. sizes: K of each row, the digits
    included. pair_row: first row of the pair classes.
    """
    coded = rows >= 0
    at = np.flatnonzero(coded)  # numpy takes faster than it indexes, above all by a mask
    used, found = rows.take(at), index.take(at)
    last = sizes.take(used) - 1
    passes = [(np.minimum(found, last).astype(np.int32), used)]
    if not (found >= last).any():
        return passes
    spelled = escaped(index, rows, sizes, pair_row)
    left = np.where(coded, index - sizes[rows] + 1, index)[spelled]
    while left.size:
        more = left >> 7
        digits = (left & 127) | (more > 0) << 7
        passes.append((digits.astype(np.int32), np.full(left.size, len(sizes) - 1)))
        left = more[more > 0]
    return passes


def write(passes: list[tuple[np.ndarray, np.ndarray]], tables: Tables) -> bytes:
    """Code passes, given in the order of decoding, into one payload."""
    writer = Writer(tables)
    for symbols, rows in reversed(passes):
        writer.push(symbols, rows)
    return writer.finish()


def read(reader: Reader, rows: np.ndarray, sizes: np.ndarray, pair_row: int) -> np.ndarray:
    """Decode one pass of the prior: rows integer [M, c] -> index int32 [M, c].

    Raises CorruptError for numbers that no encoder writes.
    """
    coded = rows >= 0
    at = np.flatnonzero(coded)
    used = rows.take(at)
    found = reader.pull(used)
    index = np.full(rows.shape, -1, dtype=np.int32)
    index.ravel()[at] = found
    if (found >= sizes.take(used) - 1).any():
        spelled = escaped(index, rows, sizes, pair_row)
        numbers = _read_numbers(reader, int(spelled.sum()), len(sizes) - 1)
        index[spelled] = np.where(coded[spelled], index[spelled] + numbers, numbers)
    return index


def check(index: np.ndarray, rows: np.ndarray, sizes: np.ndarray, pair_row: int) -> None:
    """Raise ValueError unless the indices [M, c] are ones that an encoder could choose."""
    coded = rows >= 0
    spelled = escaped(index, rows, sizes, pair_row)
    numbers = np.where(coded, index - sizes[rows] + 1, index)[spelled]
    if (index[coded] < 0).any() or (index[~coded & ~spelled] != -1).any():
        raise ValueError("an index is negative, or not -1 where the channel before has a pair")
    if numbers.size and (numbers.min() < 0 or numbers.max() >= NUMBER_LIMIT):
        raise ValueError(f"an index is out of range, expected numbers below {NUMBER_LIMIT}")


def _read_numbers(reader: Reader, count: int, row: int) -> np.ndarray:
    numbers, open_ = np.zeros(count, dtype=np.int64), np.arange(count)
    for round_ in range(MAX_ROUNDS):
        digits = reader.pull(np.full(open_.size, row)).astype(np.int64)
        numbers[open_] |= (digits & 127) << (7 * round_)
        if round_ and not digits.all():
            raise CorruptError("an escape spells a number longer than needed")
        open_ = open_[digits >= 128]
        if not open_.size:
            break
    if open_.size or numbers.max() >= NUMBER_LIMIT:
        raise CorruptError(f"an escape spells {numbers.max()}, expected less than {NUMBER_LIMIT}")
    return numbers
