"""Hostile input: mutated files, read in every way that there is.

Mutations of raw bytes are stopped by checksums. Two of three are therefore made of a file's
parts, which are packed again with right checksums, so that what lies behind them is reached as
well. Mutations are drawn at random: nothing watches which lines they reach.
"""

import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

from vqcodec.bitstream import chunks, container
from vqcodec.bitstream.container import Chunk, Header, Segments
from vqcodec.bitstream.exact_part import START_BYTES
from vqcodec.bitstream.salvage import salvage
from vqcodec.codec import Codec
from vqcodec.errors import VqcodecError

from .show import show

MAX_PIXELS = 2**18  # of the pictures; larger ones are refused
MAX_TILES = 64  # of an input: more are refused, and take only time to make
SLOW = 2.0  # seconds of the processor, which do not depend on what else the machine does
MAX_GROWTH = 300  # MB of memory at the peak above that of clean decodes


class Finding(NamedTuple):
    """An input that should not do what it did. kind: crash, slow or memory."""

    kind: str
    text: str
    data: bytes


def mutate(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A changed copy of one of the seeds, which are valid files."""
    data = rng.choice(seeds)
    change = rng.choice((_raw, _raw, _words, _words, _header, _chunks, _exact))
    with suppress(ValueError):  # parts that do not go together, such as a grid of one tile
        return change(rng, data)
    return _raw(rng, data)


def scribble(rng: random.Random, data: bytes) -> bytes:
    """Flip, overwrite, remove, repeat or insert bytes at a few places."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at, size = rng.randrange(len(out) + 1), rng.choice((1, 1, 2, 4, 40))
        new = rng.choice((rng.randbytes(size), bytes(size), b"\xff" * size, bytes(out[:size])))
        kind = rng.randrange(4)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + size] = new[: len(out) - at]
        elif kind == 2:
            del out[at : rng.choice((at + size, len(out)))]
        else:
            out[at:at] = new
    return bytes(out)


def _raw(rng: random.Random, data: bytes) -> bytes:
    return scribble(rng, data)


def _words(rng: random.Random, data: bytes) -> bytes:
    header, tiles, beside, exact = container.unpack(data)
    changed = [list(tile) for tile in tiles]
    if not changed:
        return _exact(rng, data)
    part = rng.choice(changed)
    number = rng.randrange(2)
    words = scribble(rng, part[number])
    part[number] = words[: len(words) // 4 * 4]
    return container.pack(header, [Segments(*part) for part in changed], beside, exact)


def _exact(rng: random.Random, data: bytes) -> bytes:
    """Other bytes of a stream behind its size, or other runs of blocks."""
    header, tiles, beside, exact = container.unpack(data)
    there = [number for number, part in enumerate(exact) if part is not None]
    if not there:
        raise ValueError("nothing is exact")
    changed, number = list(exact), rng.choice(there)
    stream, block_log2, runs = changed[number]
    if runs and rng.randrange(2):
        runs = tuple(rng.sample(runs, len(runs)))
    else:
        stream = stream[:START_BYTES] + scribble(rng, stream[START_BYTES:])
    changed[number] = container.Exact(stream, block_log2, runs)
    return container.pack(header, tiles, beside, changed)


def _header(rng: random.Random, data: bytes) -> bytes:
    header, tiles, beside, exact = container.unpack(data)
    sides = [rng.choice((1, 15, 16, 17, 600, 4096, rng.randrange(1, 700))) for _ in range(2)]
    level = rng.choice((header.level, rng.randrange(64)))
    tile_log2 = rng.choice((None, header.tile_log2, rng.randrange(2, 9)))
    if exact:  # streams are of no other size
        return container.pack(replace(header, level=level), tiles, beside, exact)
    changed = Header(header.model_id, level, *sides, tile_log2)
    if container.tile_count(changed) > MAX_TILES:
        raise ValueError("too many tiles")
    again = [rng.choice(tiles) for _ in range(container.tile_count(changed))]
    return container.pack(changed, again, beside)


def _chunks(rng: random.Random, data: bytes) -> bytes:
    header, tiles, beside, exact = container.unpack(data)
    changed = [Chunk(kind, scribble(rng, found)) for kind, found in beside] or [
        Chunk(rng.choice((b"ALPH", b"iccp", b"exif", b"xmpp", b"abCD")), rng.randbytes(30))
    ]
    changed += rng.choice(([], changed[:1]))
    return container.pack(header, tiles, changed, exact)


def attempt(codec: Codec, data: bytes, decode: bool) -> list[tuple[str, str]]:
    """Read bytes in every way; only errors of our tree are caught. Returns the way and the
    outcome of each: the name of an error, or `read`."""
    ways = [_header_alone, _unpack, _salvage] + [_decode, _decode_damaged] * decode
    return [(way.__name__.strip("_"), _outcome(way, codec, data)) for way in ways]


def _outcome(way: Callable[[Codec, bytes], object], codec: Codec, data: bytes) -> str:
    try:
        way(codec, data)
    except VqcodecError as exc:
        return type(exc).__name__
    return "read"


def _header_alone(codec: Codec, data: bytes) -> None:
    container.read_header(data, MAX_PIXELS)


def _unpack(codec: Codec, data: bytes) -> None:
    file = container.unpack(data, MAX_PIXELS)
    assert container.pack(*file) == data, "another file of the same contents"
    with suppress(VqcodecError):
        chunks.read_metadata(file.chunks).upright()
    chunks.read_alpha(file.chunks, file.header)


def _salvage(codec: Codec, data: bytes) -> None:
    found = salvage(data, MAX_PIXELS)
    chunks.read_damaged(found.chunks, found.header)


def _decode(codec: Codec, data: bytes) -> None:
    _check_size(codec.decode(data, max_pixels=MAX_PIXELS), data)


def _decode_damaged(codec: Codec, data: bytes) -> None:
    _check_size(codec.decode_damaged(data, max_pixels=MAX_PIXELS).image, data)


def _check_size(image: Image.Image, data: bytes) -> None:
    header = container.read_header(data)
    assert image.size == (header.width, header.height), "a picture of another size"


def check(
    codec: Codec, data: bytes, decode: bool, counts: Counter, limit: float = float("inf")
) -> Finding | None:
    """Try one input, and count its outcomes. limit: of the process's peak memory, in MB."""
    start = time.process_time()
    try:
        counts.update(attempt(codec, data, decode))
    except Exception:
        return Finding("crash", traceback.format_exc(), data)
    seconds, peak = time.process_time() - start, peak_memory()
    if seconds > SLOW:
        return Finding("slow", f"{seconds:.1f} s", data)
    return Finding("memory", f"{peak:.0f} MB", data) if peak > limit else None


def peak_memory() -> float:
    """The most memory that the process has had, in MB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def run(
    folder: Path, model: str, count: int, decoded: float, seed: int, out: Path, minutes: float
) -> int:
    """Fuzz with the .vqc files of a folder as seeds; print what was tried, and return the number
    of findings, whose inputs are in `out`.

    count: of inputs; fewer if `minutes` are over. decoded: the share of them that goes through
    the networks, too.
    """
    codec, rng = Codec.load(model or None, "cpu"), random.Random(seed)
    seeds = [path.read_bytes() for path in sorted(folder.glob("*.vqc"))]
    seeds = [data for data in seeds if _fits(codec, data)]
    if not seeds:
        raise ValueError(f"no .vqc files of this model and of at most {MAX_PIXELS} pixels")
    for data in seeds:
        attempt(codec, data, True)
    start, before, findings, counts = time.time(), peak_memory(), [], Counter()
    limit = before + MAX_GROWTH
    for _ in tqdm(range(count), unit="input", delay=2, leave=False):
        found = check(codec, mutate(rng, seeds), rng.random() < decoded, counts, limit)
        if found:
            findings.append(found)
            _keep(found, out)
            limit = max(limit, peak_memory() + 1)  # a peak is told once
        if time.time() > start + 60 * minutes:
            break
    _tell(counts, findings, time.time() - start, peak_memory() - before)
    return len(findings)


def _fits(codec: Codec, data: bytes) -> bool:
    with suppress(VqcodecError):
        return container.read_header(data, MAX_PIXELS).model_id == codec.model.id
    return False


def _keep(found: Finding, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    name = f"{found.kind}-{hash(found.data) & 0xFFFFFFFF:08x}"
    (out / f"{name}.vqc").write_bytes(found.data)
    (out / f"{name}.txt").write_text(found.text)


def _tell(counts: Counter, findings: list[Finding], seconds: float, grown: float) -> None:
    ways = list(dict.fromkeys(way for way, _ in counts))
    outcomes = sorted({outcome for _, outcome in counts}, key=lambda name: (name != "read", name))
    lines = [[way, *(str(counts[way, outcome]) for outcome in outcomes)] for way in ways]
    show([["way", *outcomes], *lines])
    kinds = [found.kind for found in findings]
    print(
        f"{sum(counts[ways[0], outcome] for outcome in outcomes)} inputs in"
        f" {seconds:.0f} s: {kinds.count('crash')} crashed, {kinds.count('slow')} took over"
        f" {SLOW:g} s, {kinds.count('memory')} over {MAX_GROWTH} MB; the peak grew {grown:.0f} MB"
    )
