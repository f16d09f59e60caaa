"""Every single-bit flip and every truncation of a file: an error, or a picture of its size."""

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from vqcodec import container, read_header
from vqcodec.codec import Codec
from vqcodec.errors import VqcodecError

from .fuzz import peak_memory
from .rd import show


def damaged(data: bytes, every: int = 1) -> Iterator[bytes]:
    """Every so-manieth single-bit flip of a file, then every so-manieth truncation."""
    for bit in range(0, 8 * len(data), every):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)
    for size in range(0, len(data), every):
        yield data[:size]


def outcome(codec: Codec, data: bytes, paint: bool) -> str:
    """What reading a damaged file gave: `wrong` for a decode that did not fail or for a picture of
    another size, else the name of the exception, or `painted`. Others than ours pass through."""
    try:
        codec.decode(data) if paint else container.unpack(data)
        return "wrong"
    except VqcodecError as exc:
        name = type(exc).__name__
    if not paint:
        return name
    try:
        image, header = codec.decode_damaged(data).image, read_header(data)
    except VqcodecError as exc:
        return type(exc).__name__
    return "painted" if image.size == (header.width, header.height) else "wrong"


def run(files: list[Path], paint: int, model: str) -> int:
    """Print how often what happened; return the number of wrong decodes.

    paint: only every so-manieth is decoded and painted, the others are unpacked.
    """
    lines, wrong = [["file", "bytes", "damaged", "outcomes", "peak grew, MB"]], 0
    for path in files:
        data = path.read_bytes()
        codec = Codec.load(model, "cpu") if model else Codec.shared(read_header(data).model_id)
        codec.decode(data)
        before, counts = peak_memory(), {}
        for number, changed in enumerate(tqdm(damaged(data), path.name, 9 * len(data), False)):
            name = outcome(codec, changed, number % paint == 0)
            counts[name] = counts.get(name, 0) + 1
        wrong += counts.get("wrong", 0)
        text = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        grown = peak_memory() - before
        total = str(sum(counts.values()))
        lines.append([path.name, str(len(data)), total, text, f"{grown:.0f}"])
    show(lines)
    return wrong
