"""rANS: code indices with static integer tables into 32-bit words, and back.

Last in, first out: passes are pushed last first and pulled first to last. Within a pass the
symbols are coded class by class, so that each table is used in one call. FORMAT.md has the
integer definition of the stream; this module must give the same words on every machine.
Duda 2013, arXiv:1311.2540; constriction 0.5.
"""

from collections.abc import Sequence

import numpy as np
from constriction import stream

from ..config import PRECISION  # constriction's default
from ..errors import CorruptError

AnsCoder = stream.stack.AnsCoder
# Takes numpy's interface for Rust: a signal whose handler raises in the midst of that is a panic.
AnsCoder(np.zeros(0, np.uint32))
Categorical = stream.model.Categorical
MAX_CLASSES = 2**16  # sorted as uint8 or uint16: numpy does by radix, 10 times faster
WORD = np.dtype("<u4")


class Tables:
    """One static table of frequencies per class, shared by Writer and Reader.

    freqs: for each class a uint32 [K] of counts. K = 1: nothing is coded, the index is 0.
    K >= 2: the counts sum to 2**24 - K and index i has probability (counts[i] + 1) / 2**24.

    Raises ValueError for anything else.
    """

    def __init__(self, freqs: Sequence[np.ndarray]):
        if not 1 <= len(freqs) <= MAX_CLASSES:
            raise ValueError(f"{len(freqs)} classes, expected 1..{MAX_CLASSES}")
        for number, counts in enumerate(freqs):
            _check_counts(number, counts)
        self._freqs = [counts.copy() for counts in freqs]
        self._models: dict[int, Categorical] = {}
        self.sizes = np.array([len(counts) for counts in freqs], dtype=np.int32)  # [classes], K

    def __len__(self) -> int:
        return len(self._freqs)

    def __reduce__(self):
        return Tables, (self._freqs,)  # the models do not pickle: built again where needed

    def model(self, number: int) -> Categorical:
        """Return constriction's model of class `number`, which must have K >= 2."""
        if number not in self._models:
            # With this sum constriction's scale is exactly 1 and every float64 step is exact.
            # `perfect` must be given: without it constriction 0.5.0 prints to stdout.
            counts = self._freqs[number].astype(np.float64)
            self._models[number] = Categorical(counts, lazy=False, perfect=False)
        return self._models[number]

    def runs(self, classes: np.ndarray) -> tuple[np.ndarray, list[tuple[int, slice]]]:
        """Group a pass by class.

        classes: integer [N], each 0..len(self) - 1.
        Returns `order`, int64 [N], which sorts the pass by class and keeps raster order within
        one, and (class, its slice of the sorted pass), ascending, for classes that are coded.
        Raises ValueError for a class out of range.
        """
        _check_vector("classes", classes)
        if classes.size and (classes.min() < 0 or classes.max() >= len(self)):
            raise ValueError(f"class out of range, expected 0..{len(self) - 1}")
        small = classes.astype(np.uint8 if len(self) <= 2**8 else np.uint16)
        order = np.argsort(small, kind="stable")
        lengths = np.bincount(small, minlength=len(self))
        stops = np.cumsum(lengths)
        coded = np.flatnonzero((lengths > 0) & (self.sizes > 1))
        return order, [(int(c), slice(int(stops[c] - lengths[c]), int(stops[c]))) for c in coded]


class Writer:
    """Collects passes, the last one first, into a payload."""

    def __init__(self, tables: Tables):
        self._tables = tables
        self._coder = AnsCoder()

    def push(self, indices: np.ndarray, classes: np.ndarray) -> None:
        """Code one pass, in front of those pushed before.

        indices: int32 [N], each 0..K - 1 of its class. classes: integer [N].
        Raises ValueError for anything else.
        """
        order, runs = self._tables.runs(classes)
        _check_vector("indices", indices)
        if indices.shape != classes.shape:
            raise ValueError(f"{indices.size} indices and {classes.size} classes")
        if np.any((indices < 0) | (indices >= self._tables.sizes.take(classes))):
            raise ValueError("index out of range of its class")
        grouped = indices.astype(np.int32)[order]  # [N]
        for number, run in reversed(runs):
            self._coder.encode_reverse(grouped[run], self._tables.model(number))

    def finish(self) -> bytes:
        """Return the payload: little-endian uint32 words, the last one not zero."""
        return self._coder.get_compressed().astype(WORD).tobytes()


class Reader:
    """Gives back the passes of a payload, the first one first."""

    def __init__(self, payload: bytes, tables: Tables):
        """Raises CorruptError if `payload` cannot be what `Writer.finish` returned."""
        self._tables = tables
        if len(payload) % WORD.itemsize:
            raise CorruptError(f"payload has {len(payload)} bytes, expected whole words of 4")
        words = np.frombuffer(payload, dtype=WORD).astype(np.uint32)
        if words.size and words[-1] == 0:
            raise CorruptError(f"payload of {words.size} words ends in a zero word")
        self._coder = AnsCoder(words)

    def pull(self, classes: np.ndarray) -> np.ndarray:
        """Decode the next pass.

        classes: integer [N], the same as when the pass was pushed.
        Returns int32 [N], each 0..K - 1 of its class. Damage goes unnoticed until `finish`.
        """
        order, runs = self._tables.runs(classes)
        grouped = np.zeros(classes.shape, dtype=np.int32)
        for number, run in runs:
            grouped[run] = self._decode(number, run.stop - run.start)
        indices = np.empty_like(grouped)
        indices[order] = grouped
        return indices

    def _decode(self, number: int, amount: int) -> np.ndarray:
        model = self._tables.model(number)
        try:
            return self._coder.decode(model, amount)
        except Exception as exc:  # the arguments are ours, so only the words can be at fault
            raise CorruptError(f"payload cannot be decoded: {exc}") from exc

    def finish(self) -> None:
        """Check that the passes were the whole payload.

        rANS is a bijection: the coder ends empty exactly if coding the decoded passes again
        would give this payload. Raises CorruptError if it does not: the words are damaged, or
        the two sides computed different classes.
        """
        if not self._coder.is_empty():
            left = self._coder.num_words()
            raise CorruptError(f"{left} words are left in the payload, expected none")


def _check_vector(name: str, values: np.ndarray) -> None:
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(f"{name} are {values.dtype} {list(values.shape)}, expected integer [N]")


def _check_counts(number: int, counts: np.ndarray) -> None:
    if counts.dtype != np.uint32 or counts.ndim != 1 or counts.size < 1:
        raise ValueError(
            f"class {number}: {counts.dtype} {list(counts.shape)}, expected uint32 [K]"
        )
    total, size = int(counts.sum(dtype=np.uint64)), counts.size
    if size > 1 and total != 2**PRECISION - size:
        raise ValueError(f"class {number}: counts sum to {total}, expected 2**24 - {size}")
