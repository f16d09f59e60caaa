"""Time and memory of one picture over its size: ours by model and engine, next to the peers.

Each codec does each size in a process of its own, which has coded a small picture before: seconds
are of the codec alone, its networks set up, and memory is the process's peak in the work. The
peers' files are of about the size of ours. Processor seconds are those of all cores: they say how
much of the wall clock's more than one core used, and on a busy machine they are the surer ones.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqcodec.rate_control import default_effort

from . import coders, ours, peak
from .machine import describe
from .show import show
from .speed import ENGINES, resized

PEERS = "avif-s6", "webp", "jxl", "hyperprior"
WARM = 0.1  # megapixels of the small picture
SHORT, MOST_RUNS = 1.0, 9  # seconds for the runs of one work, one at least
HYPERPRIOR_MOST = 16  # megapixels: it takes 0.5 GB for each
HEADS = (
    "MP",
    "codec",
    "effort",
    "bpp",
    *(f"{way} {what}" for way in ("encode", "decode") for what in ("s", "cores s", "MB")),
)


class Options(NamedTuple):
    """picture: uint8 [H, W, 3], to make the sizes of. sizes: megapixels. models: names or folders
    of ours, each on all devices and at all efforts."""

    picture: np.ndarray
    sizes: tuple[float, ...] = (0.4, 12, 100)
    models: tuple[str, ...] = ("base-7",)
    devices: tuple[str, ...] = ("cpu", "onnx")
    efforts: tuple[int, ...] = (1,)
    peers: tuple[str, ...] = PEERS
    quality: float = 50
    threads: int = 2


class Used(NamedTuple):
    """What one call took: seconds of the wall clock and of all cores, and bytes at its peak."""

    wall: float
    cores: float
    peak: int


class Job(NamedTuple):
    """One codec at one size. name, quality, own: as `coders.load` has them."""

    name: str
    quality: float
    own: coders.Ours
    size: float
    threads: int


def run(options: Options) -> None:
    """Print the table, row by row."""
    print(f"{describe()['machine']}, {os.cpu_count()} cores; {options.threads} threads")
    lines = [list(HEADS)]
    for row in rows(options):
        lines.append(row)
        print("  ".join(row), flush=True)
    print()
    show(lines)


def rows(options: Options) -> Iterator[list[str]]:
    """The cells of each row, ours first for each size."""
    chosen = _qualities(options)
    for size in options.sizes:
        for model in options.models:
            for device in options.devices:
                for effort in options.efforts:
                    own = coders.Ours(model, device, effort)
                    yield _row(
                        options, Job(ours.CODEC, options.quality, own, size, options.threads)
                    )
        for name, quality in chosen.items():
            if name not in coders.HYPERPRIORS or size <= HYPERPRIOR_MOST:
                job = Job(name, quality, coders.DEFAULT, size, options.threads)
                yield _row(options, job)


def _qualities(options: Options) -> dict[str, int]:
    """Those of the peers that there are here, at which their files of the smallest size are as
    large as ours."""
    names = [name for name in options.peers if name in coders.names()]
    if not names:
        return {}
    rgb = resized(options.picture, min(options.sizes))
    own = coders.load(ours.CODEC, options.quality, coders.Ours(options.models[0]))
    size = len(own.encode(rgb))
    return {name: coders.quality_near(name, rgb, size) for name in names}


def _row(options: Options, job: Job) -> list[str]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        size, *both = pool.submit(measure, job, options.picture).result()
    mine = job.name == ours.CODEC
    engine = ENGINES.get(job.own.device, job.own.device)
    label = f"{Path(job.own.model).name}, {engine}" if mine else job.name
    effort = job.own.effort or default_effort(round(job.size * 1e6))
    bpp = f"{8 * size / (job.size * 1e6):.3f}" if size else ""
    cells = [f"{job.size:g}", label, str(effort) if mine else "", bpp]
    for used in both:
        cells += [f"{used.wall:.2f}", f"{used.cores:.2f}", f"{used.peak / 1e6:.0f}"]
    return cells


def measure(job: Job, picture: np.ndarray) -> tuple[int, Used, Used]:
    """Bytes of the file, 0 if there is none, and what encoding and decoding it took."""
    with coders.threads(job.threads):
        coder = coders.load(job.name, job.quality, job.own)
        coder.decode(coder.encode(resized(picture, WARM)))
        coded, encode = _used(partial(coder.encode, resized(picture, job.size)))
        _, decode = _used(partial(coder.decode, coded))
    return len(coded) if isinstance(coded, bytes) else 0, encode, decode


def _used(work: Callable[[], object]) -> tuple[object, Used]:
    """What `work` gives, and the least that it took: short ones are done several times, the first
    of them to warm up."""
    if peak.is_known():
        peak.RESET.write_text("5")
    found, begun = [], time.perf_counter()
    while not found or (time.perf_counter() - begun < SHORT and len(found) < MOST_RUNS):
        wall, cores = time.perf_counter(), time.process_time()
        result = work()
        found.append((time.perf_counter() - wall, time.process_time() - cores))
    most = peak.resident("VmHWM") if peak.is_known() else 0
    return result, Used(*map(min, zip(*found, strict=True)), most)
