"""What a decoder in a shorter type than float32 changes: levels of pixels, and PSNR.

Files are decoded as always and as `--precise` has it, by torch on the CPU. Where the processor has
no bfloat16, both are the same.
"""

from pathlib import Path

import numpy as np

from vqcodec import metrics
from vqcodec.codec import Codec

from .pictures import find, load
from .show import show

LEVELS = 4  # differences below it have a column


def run(folder: Path, model: str, qualities: list[float]) -> None:
    """Print a line for each quality, over all pictures of a folder."""
    fast, precise = (Codec.load(model or None, "cpu", choice) for choice in (False, True))
    heads = [f"of {level} levels" for level in range(1, LEVELS)]
    lines = [["quality", "PSNR mean dB", "worst", "largest difference", *heads]]
    for quality in qualities:
        moved, counts = [], np.zeros(256, np.int64)
        for rgb in map(load, find([folder])):
            data = fast.encode(rgb, quality, effort=1)
            before, after = (np.asarray(codec.decode(data)) for codec in (precise, fast))
            moved.append(metrics.psnr(rgb, after) - metrics.psnr(rgb, before))
            counts += np.bincount(abs(after.astype(int) - before).ravel(), minlength=256)
        shares = [f"{share:.1e}" for share in counts[1:LEVELS] / counts.sum()]
        largest = int(np.flatnonzero(counts).max())
        lines.append(
            [f"{quality:g}", f"{np.mean(moved):+.4f}", f"{min(moved):+.4f}", str(largest), *shares]
        )
    show(lines)
