"""Seconds to encode and decode one picture, with a split of ours, next to the peers.

The split is taken by wrapping calls of the loaded codec; the product has no clocks.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import AvifImagePlugin, Image

from vqcodec import symbols
from vqcodec.cli.peers import nearest
from vqcodec.codec import Codec

from . import ours, peers
from .rd import show

PARTS = "total", "transforms", "prior", "coder", "rest"
PEERS = "webp", "avif", "jpeg"
Seconds = dict[str, float]  # by the names of PARTS


@contextmanager
def stopwatch(codec: Codec) -> Iterator[Counter]:
    """Time what the codec does inside the block; yields seconds by label, reset by `clear`."""
    seconds = Counter()
    places = [
        (codec.network, "analyse", "transforms"),
        (codec.network, "synthesise", "transforms"),
        (codec.tiles, "encode", "tiles"),
        (codec.tiles, "decode", "tiles"),
        (symbols, "to_passes", "coder"),
        (symbols, "write", "coder"),
        (symbols, "read", "coder"),
    ]
    with ExitStack() as stack:
        for owner, name, label in places:
            timed = _timed(getattr(owner, name), label, seconds)
            stack.enter_context(mock.patch.object(owner, name, timed))
        yield seconds


def _timed(call: Callable, label: str, seconds: Counter) -> Callable:
    def timed(*arguments, **named):
        start = time.perf_counter()
        result = call(*arguments, **named)
        seconds[label] += time.perf_counter() - start
        return result

    return timed


def split(codec: Codec, work: Callable[[], object], runs: int) -> Seconds:
    """Median seconds of each part of `work`, which encodes or decodes one picture."""
    work()  # warm
    found = []
    with stopwatch(codec) as seconds:
        for _ in range(runs):
            seconds.clear()
            start = time.perf_counter()
            work()
            total = time.perf_counter() - start
            transforms, tiles, coder = (seconds[n] for n in ("transforms", "tiles", "coder"))
            found.append((total, transforms, tiles - coder, coder, total - transforms - tiles))
    return dict(zip(PARTS, map(statistics.median, zip(*found, strict=True)), strict=True))


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Median seconds of `work`, after one call to warm up."""
    found = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])


def run(
    rgb: np.ndarray, model: str, quality: float, threads: list[int], runs: int, processes: int
) -> None:
    """Print all tables. rgb: uint8 [H, W, 3]. processes: runs of the command line, 0: none."""
    codec = Codec.load(model or None, "cpu")
    size = len(codec.encode(rgb, quality, effort=1))
    height, width = rgb.shape[:2]
    print(f"{width}x{height}, {size} bytes at quality {quality:g}, median of {runs} runs")
    print(f"the prior has {len(codec.model.config.prior.passes)} passes; {_load()}")
    for count in threads:
        print(f"\n{count} thread{'s' if count > 1 else ''}, milliseconds, and the ratio to AVIF")
        show(_with_threads(codec, rgb, quality, count, runs))
    if processes:
        print(f"\nwhole processes, seconds, median of {processes}")
        show(_processes(rgb, model, quality, processes))


def _load() -> str:
    """How busy the machine was before: on a busy one the figures mean little."""
    if not hasattr(os, "getloadavg"):
        return "load unknown"
    return f"load {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores"


def _with_threads(
    codec: Codec, rgb: np.ndarray, quality: float, count: int, runs: int
) -> list[list[str]]:
    """The table for one number of threads."""
    before, torch_threads = AvifImagePlugin.DEFAULT_MAX_THREADS, torch.get_num_threads()
    try:
        torch.set_num_threads(count)
        AvifImagePlugin.DEFAULT_MAX_THREADS = count  # Pillow's only way to say it for decoding
        data = codec.encode(rgb, quality, effort=1)
        rows = {
            ours.CODEC: (
                split(codec, lambda: codec.encode(rgb, quality, effort=1), runs),
                split(codec, lambda: codec.decode(data), runs),
            )
        }
        for name in peers.available(PEERS):
            rows[name] = _peer(name, rgb, len(data), count, runs)
    finally:
        torch.set_num_threads(torch_threads)
        AvifImagePlugin.DEFAULT_MAX_THREADS = before
    return _table(rows)


def _peer(
    name: str, rgb: np.ndarray, size: int, threads: int, runs: int
) -> tuple[Seconds, Seconds]:
    """A peer at the quality whose file is nearest to `size` bytes."""
    quality, data = nearest(lambda quality: peers.encode(name, rgb, quality), size)
    settings = {"max_threads": threads} if name == "avif" else {}
    encode = median_seconds(lambda: peers.encode(name, rgb, quality, **settings), runs)
    return {"total": encode}, {"total": median_seconds(lambda: peers.decode(data), runs)}


def _table(rows: dict[str, tuple[Seconds, Seconds]]) -> list[list[str]]:
    lines = [["codec", "", *PARTS, "to AVIF"]]
    for way, label in enumerate(("encode", "decode")):
        base = rows.get("avif", ({}, {}))[way].get("total")
        for name, both in rows.items():
            cells = [f"{both[way][part] * 1e3:.1f}" if part in both[way] else "" for part in PARTS]
            ratio = f"{both[way]['total'] / base:.2f}" if base else "-"
            lines.append([name, label, *cells, ratio])
    return lines


def _processes(rgb: np.ndarray, model: str, quality: float, runs: int) -> list[list[str]]:
    """Seconds of whole processes: start, model, work, exit."""
    chosen = ours.model_arguments(model)
    version = [sys.executable, "-m", "vqcodec", "--version"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray(rgb).save(folder / "in.png")
        source, coded, back = (str(folder / n) for n in ("in.png", "coded.vqc", "back.png"))
        works = {
            "--version": lambda: subprocess.run(version, check=True, capture_output=True),
            "encode": lambda: ours.run("encode", source, "-o", coded, "-q", quality, "-f", *chosen),
            "decode": lambda: ours.run("decode", coded, "-o", back, "-f", *chosen),
        }
        return [
            [f"vqcodec {command}", f"{median_seconds(work, runs):.2f}"]
            for command, work in works.items()
        ]
