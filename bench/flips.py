"""Every single-bit flip and every truncation of a file: an error, or a picture of its size."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from vqcodec import read_header
from vqcodec.bitstream.salvage import Salvaged, salvage
from vqcodec.codec import Codec
from vqcodec.errors import VqcodecError

from .fuzz import peak_memory
from .show import show


def damaged(data: bytes, every: int = 1) -> Iterator[bytes]:
    """Every so-manieth single-bit flip of a file, then every so-manieth truncation."""
    for bit in range(0, 8 * len(data), every):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)
    for size in range(0, len(data), every):
        yield data[:size]


def outcome(codec: Codec, data: bytes, sized: dict[Salvaged, bool]) -> str:
    """What reading a damaged file gave: `wrong` for a decode that did not fail or for a picture of
    another size, else `decoded`, or the name of the error that decoding it gave. Errors that are
    not ours pass through.

    sized: whether pictures of what was salvaged had the right size. `decode_damaged` sees
    nothing else of a file, so that each is decoded once.
    """
    with suppress(VqcodecError):
        codec.decode(data)
        return "wrong"
    try:
        found = salvage(data)
        if found not in sized:
            size = codec.decode_damaged(data).image.size
            sized[found] = size == (found.header.width, found.header.height)
    except VqcodecError as exc:
        return type(exc).__name__
    return "decoded" if sized[found] else "wrong"


def run(files: list[Path], model: str) -> int:
    """Print how often what happened; return the number of wrong decodes."""
    lines, wrong = [["file", "bytes", "damaged", "outcomes", "pictures", "peak grew, MB"]], 0
    for path in files:
        data = path.read_bytes()
        codec = Codec.load(model, "cpu") if model else Codec.shared(read_header(data).model_id)
        codec.decode(data)
        before, sized = peak_memory(), {}
        files_of = tqdm(damaged(data), path.name, 9 * len(data), False, delay=2)
        counts = Counter(outcome(codec, changed, sized) for changed in files_of)
        wrong += counts["wrong"]
        text = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        grown = peak_memory() - before
        sizes = str(len(data)), str(counts.total())
        lines.append([path.name, *sizes, text, str(len(sized)), f"{grown:.0f}"])
    show(lines)
    return wrong
