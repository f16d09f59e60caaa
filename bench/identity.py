"""Exact indices: one file read in many ways, and what the file spends besides the indices."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch

from vqcodec.bitstream import container
from vqcodec.codec import Codec, Indices
from vqcodec.engine import tiling
from vqcodec.entropy import symbols
from vqcodec.entropy.freqs import bits
from vqcodec.errors import VqcodecError
from vqcodec.geometry import MAX_PIXELS, grid_of
from vqcodec.nn.fixed import exact_arithmetic
from vqcodec.rate_control import setting

from .pictures import find, load
from .rd import show

ENGINES = torch.float32, torch.float64
BATCH = 8


class Way(NamedTuple):
    """How a file is read. engine: the type in which the prior computes."""

    device: str
    engine: torch.dtype
    threads: int
    onednn: bool


class Written(NamedTuple):
    """A picture as a file, and the indices that its encoder chose."""

    picture: str
    quality: float
    data: bytes
    indices: Indices


class Costs(NamedTuple):
    """size, others, words: bytes of the file, those that are not coder words, those that are.
    entropy, estimate: bits."""

    size: int
    others: int
    words: int
    entropy: float
    estimate: float


def ways() -> list[Way]:
    """All that this machine can try."""
    switches = [(threads, onednn) for threads in (1, 2) for onednn in (True, False)]
    found = [Way("cpu", engine, *switch) for engine in ENGINES for switch in switches]
    if torch.cuda.is_available():
        found += [Way("cuda", engine, 1, True) for engine in ENGINES]
    return found


def encode_all(codec: Codec, folder: Path, qualities: Iterable[float]) -> list[Written]:
    """Every picture of a folder at every quality."""
    found = []
    for picture in find([folder]):
        for quality in qualities:
            data = codec.encode(picture.path, quality, effort=1)
            indices = codec.encode_indices(picture.path, quality, effort=1)
            found.append(Written(picture.name, quality, data, indices))
    return found


def differing(codec: Codec, way: Way, files: list[Written]) -> list[Written]:
    """The files whose indices, read in this way, are not the encoder's."""
    with _switched(way):
        return [file for file in files if not _is_same(codec, file)]


def _is_same(codec: Codec, file: Written) -> bool:
    """Whether the indices are the encoder's, and give the same file again."""
    try:
        found = codec.read_indices(file.data)
        again = codec.write_indices(found)
    except (VqcodecError, ValueError):
        return False
    return np.array_equal(found.words, file.indices.words) and again == file.data


@torch.inference_mode()
def differing_in_a_batch(codec: Codec, rgb: np.ndarray, quality: float) -> int:
    """Of BATCH parts of a picture, side by side, that are coded at once: how many get other words
    or tables than alone. The codec itself never does this."""
    best = setting(quality, codec.model.config.transform.levels)
    y = tiling.analyse(codec.network, rgb, best.level, grid_of(*rgb.shape[1::-1]))
    parts = torch.cat(y[..., : y.shape[3] // BATCH * BATCH].chunk(BATCH, 3)).to(codec.tiles.engine)

    def walk(y: torch.Tensor) -> list[torch.Tensor]:
        levels = torch.full((len(y),), best.level)
        with exact_arithmetic():
            results = list(codec.network.quantise(y, levels, best.fidelity))
        return [torch.stack([found.chosen.index, found.chosen.row], 1) for found in results]

    together = walk(parts)
    return sum(
        not all(map(torch.equal, [found[k : k + 1] for found in together], walk(part[None])))
        for k, part in enumerate(parts)
    )


def differing_backwards(codec: Codec, rgb: np.ndarray, quality: float) -> int:
    """Of the 64x64 tiles of a picture, decoded last one first: how many get other words than the
    encoder's."""
    with mock.patch.object(container, "choose_tile_log2", return_value=container.MIN_TILE_LOG2):
        data = codec.encode(rgb, quality, effort=1)
        words = codec.encode_indices(rgb, quality, effort=1).words
    file = container.unpack(data)
    tiles = list(zip(container.tile_grid(file.header), file.tiles, strict=True))
    differ = 0
    for place, segments in reversed(tiles):
        x, y, width, height = place
        found = codec.tiles.decode(segments, height, width, file.header.level).words
        differ += not np.array_equal(found, words[y : y + height, x : x + width])
    return differ


@contextmanager
def _switched(way: Way) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(way.threads)
    try:
        with warnings.catch_warnings():
            # `flags` sets the TF32 switch as well, and warns that there is no Intel GPU.
            warnings.simplefilter("ignore", UserWarning)
            with torch.backends.mkldnn.flags(enabled=way.onednn):
                yield
    finally:
        torch.set_num_threads(threads)


def run(folder: Path, model: str, qualities: list[float]) -> int:
    """Print what was tried; return the number of files that differed in some way."""
    first = Codec.load(model or None, "cpu")
    files = encode_all(first, folder, qualities)
    lines = [["device", "engine", "threads", "oneDNN", "files", "differ"]]
    bad: dict[tuple[str, float], None] = {}
    codecs: dict[tuple[str, torch.dtype], Codec] = {}
    for way in ways():
        if way[:2] not in codecs:
            codecs[way[:2]] = Codec(first.model, way.device, way.engine)
        wrong = differing(codecs[way[:2]], way, files)
        bad |= {(file.picture, file.quality): None for file in wrong}
        engine, onednn = str(way.engine).removeprefix("torch."), "on" if way.onednn else "off"
        counts = str(way.threads), onednn, str(len(files)), str(len(wrong))
        lines.append([way.device, engine, *counts])
    show(lines)
    others = 0
    for picture in find([folder]):
        for quality in qualities:
            others += differing_in_a_batch(first, load(picture), quality)
            others += differing_backwards(first, load(picture), quality)
    print(f"{others} tiles differ in a batch of {BATCH} or decoded last one first")
    for picture, quality in bad:
        print(f"differs: {picture} at quality {quality:g}")
    return len(bad) + others


def overhead(folder: Path, model: str, qualities: list[float]) -> None:
    """Print bytes that are not coder words, and coded bits against the tables' cross-entropy.

    The estimate is what the prior counts while it chooses words: it rounds the cost of escapes.
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
        header, coded_tiles = codec._encode(path, quality, 1, MAX_PIXELS)
        tiles = list(coded_tiles)
    data = container.pack(header, [tile.segments for tile in tiles])
    others = container.overhead(data)
    estimate = sum(codec.tiles.bits(tile) for tile in tiles)
    return Costs(len(data), others, len(data) - others, _entropy(codec, coded), estimate)


def _entropy(codec: Codec, passes: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Bits that the tables give to the symbols of passes, those of escaped numbers included."""
    tables = [bits(counts) for counts in codec.model.freqs] + [np.full(256, 8.0)]
    return sum(
        tables[row][found[rows == row]].sum() for found, rows in passes for row in np.unique(rows)
    )
