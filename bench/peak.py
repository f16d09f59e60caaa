"""Peak memory of one encode or decode, in a process of its own: Linux only.

Resident bytes from /proc: `ru_maxrss` of a child would include what its parent held.
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from . import coders, ours

RESET = Path("/proc/self/clear_refs")
COMMAND = """if True:
    import sys
    from bench.peak import resident
    from vqcodec.cli import main
    main(sys.argv[1:], standalone_mode=False)
    print(resident("VmHWM"))
"""


class Memory(NamedTuple):
    """Bytes of a process. before: with the codec loaded and its input read. peak: in the work."""

    before: int
    peak: int


def is_known() -> bool:
    """Tell whether this system has what `measure` reads."""
    return RESET.exists()


def resident(name: str) -> int:
    """Bytes of this process: VmRSS, those that it has now, or VmHWM, the most that it had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"/proc/self/status has no {name}")


def measure(
    name: str, rgb: np.ndarray, quality: float, own: coders.Ours, threads: int
) -> tuple[Memory, Memory]:
    """Of encoding and of decoding `rgb`, uint8 [H, W, 3], each in a new process.

    name, quality, own: as `coders.load` takes them.
    """
    coded = coders.load(name, quality, own).encode(rgb)
    found = []
    for way, what in (("encode", rgb), ("decode", coded)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            task = pool.submit(_measure, name, way, what, quality, own, threads)
            found.append(task.result())
    return tuple(found)


def _measure(
    name: str, way: str, what: object, quality: float, own: coders.Ours, threads: int
) -> Memory:
    limited = nullcontext() if name in coders.PILLOW else coders.threads(threads)
    with limited:
        work = getattr(coders.load(name, quality, own), way)
        before = resident("VmRSS")
        RESET.write_text("5")  # the peak starts anew at what is resident now
        work(what)
        return Memory(before, resident("VmHWM"))


def whole_process(
    rgb: np.ndarray, quality: float, own: coders.Ours, threads: int
) -> tuple[int, int]:
    """Peak bytes of `vqcodec encode` and `vqcodec decode`."""
    with tempfile.TemporaryDirectory() as folder:
        source, coded, back = (str(Path(folder) / n) for n in ("in.png", "coded.vqc", "back.png"))
        Image.fromarray(rgb).save(source)
        works = (
            ["encode", source, "-o", coded, "-q", str(quality), "--effort", "1"],
            ["decode", coded, "-o", back],
        )
        chosen = "--device", own.device, *ours.model_arguments(own.model)
        shared = ["-Q", "--threads", str(threads), *chosen]
        return tuple(_run([*work, *shared]) for work in works)


def _run(arguments: list[str]) -> int:
    root = str(Path(__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    line = [sys.executable, "-c", COMMAND, *arguments]
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=environment)
    return int(done.stdout)
