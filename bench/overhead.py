"""What a file spends besides its indices: bytes around the coder's words, and bits above what the
prior's tables say."""

from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

from vqcodec.bitstream import container
from vqcodec.codec import Codec
from vqcodec.engine.search import Search
from vqcodec.entropy import symbols
from vqcodec.entropy.freqs import bits
from vqcodec.geometry import MAX_PIXELS

from .pictures import find
from .show import show


class Costs(NamedTuple):
    """size, others, words: bytes of the file, those that are not coder words, those that are.
    entropy, estimate: bits."""

    size: int
    others: int
    words: int
    entropy: float
    estimate: float


def run(folder: Path, model: str, qualities: list[float]) -> None:
    """Print bytes that are not coder words, and coded bits against the tables' cross-entropy.

    The estimate is what the prior counts while it chooses indices: it rounds the cost of escapes.
    """
    codec = Codec.load(model or None, "cpu")
    head = ["quality", "files", "bytes", "most not words", "words over entropy", "over estimate"]
    lines, pictures = [head], find([folder])
    for quality in qualities:
        costs = [_costs(codec, picture.path, quality) for picture in pictures]
        total = Costs(*np.sum(costs, axis=0))
        most = max(cost.others for cost in costs)
        excess = [8 * total.words / bits - 1 for bits in (total.entropy, total.estimate)]
        counts = f"{quality:g}", str(len(costs)), f"{total.size:.0f}", str(most)
        lines.append([*counts, *(f"{100 * part:+.3f} %" for part in excess)])
    show(lines)


def _costs(codec: Codec, path: Path, quality: float) -> Costs:
    coded, write = [], symbols.write

    def listen(passes, tables):
        coded.extend(passes)
        return write(passes, tables)

    with mock.patch.object(symbols, "write", listen):
        # Public calls hide the bits.
        header, coded_tiles, _ = codec._encode(path, quality, Search(1, "mse"), MAX_PIXELS)
        tiles = list(coded_tiles)
    data = container.pack(header, [tile.segments for tile in tiles])
    others = container.overhead(data)
    estimate = sum(codec.engine.tiles.bits(tile) for tile in tiles)
    return Costs(len(data), others, len(data) - others, _entropy(codec, coded), estimate)


def _entropy(codec: Codec, passes: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Bits that the tables give to the symbols of passes, those of escaped numbers included."""
    tables = [bits(counts) for counts in codec.model.freqs] + [np.full(256, 8.0)]
    return sum(
        tables[row][found[rows == row]].sum() for found, rows in passes for row in np.unique(rows)
    )
