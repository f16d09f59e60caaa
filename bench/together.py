"""Two encoders at once on two cores, against one alone: whole processes, as a batch runs them."""

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from . import ours
from .processes import Used, measure_together
from .show import show

CORES = 2
COUNTS = 1, 2  # processes at once


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """This process and those that it starts have so many cores, where the system can say so."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run(rgb: np.ndarray, model: str, quality: float, device: str, runs: int) -> None:
    """Print a row for each of COUNTS: seconds until the last process has ended, and processor
    seconds of each, medians of runs in turns; then both of the last row over the first's."""
    found: dict[int, list[list[Used]]] = {count: [] for count in COUNTS}
    with tempfile.TemporaryDirectory() as folder, on_cores(CORES):
        source = Path(folder) / "in.png"
        Image.fromarray(rgb).save(source)
        chosen = "--device", device, *ours.model_arguments(model)
        encode = "encode", source, "-q", quality, "--effort", 1, "-f", *chosen
        for _ in range(runs + 1):
            for count in COUNTS:
                lines = [(*encode, "-o", f"{folder}/{number}.vqc") for number in range(count)]
                found[count].append(measure_together(lines))
    walls, cores = [], []
    lines = [["encoders at once", "wall s", "processor s of each"]]
    for count, tried in found.items():
        warm = tried[1:]
        walls.append(statistics.median(max(used.wall for used in own) for own in warm))
        cores.append(statistics.median(used.cores for own in warm for used in own))
        lines.append([str(count), f"{walls[-1]:.2f}", f"{cores[-1]:.2f}"])
    ratios = (values[-1] / values[0] for values in (walls, cores))
    lines.append([f"{COUNTS[-1]} over {COUNTS[0]}", *(f"{ratio:.2f} x" for ratio in ratios)])
    show(lines)
