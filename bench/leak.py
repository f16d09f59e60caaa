"""Memory over many encodes and decodes in one process."""

import gc
from itertools import cycle

from tqdm import tqdm

from vqcodec.codec import Codec

from .pictures import sample
from .show import show

MARKS = 8  # lines of the table
WARM_UP = 20  # rounds after which caches are full


def resident() -> float:
    """Memory of this process in MB. Linux."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Rss:")) / 1024


def run(model: str, count: int) -> None:
    """Print the memory after rounds of encoding and decoding pictures of changing sizes."""
    codec, rgb = Codec.load(model or None, "cpu"), sample()
    sizes = cycle([(128, 192), (96, 64), (130, 100), (256, 256)])
    qualities, efforts = cycle([10, 50, 90]), cycle([1, 1, 1, 1, 4])
    marks = {WARM_UP + round(count * k / MARKS) for k in range(MARKS + 1)}
    lines, first = [["encodes and decodes", "memory, MB", "since the first, MB"]], 0.0
    for done in tqdm(range(WARM_UP + count + 1), delay=2, leave=False):
        if done in marks:
            gc.collect()
            now = resident()
            first = first or now
            lines.append([str(done - WARM_UP), f"{now:.1f}", f"{now - first:+.1f}"])
        height, width = next(sizes)
        data = codec.encode(rgb[:height, :width], next(qualities), effort=next(efforts))
        codec.decode(data)
    show(lines)
