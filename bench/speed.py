"""Speed and memory of encoding and decoding, ours in parts by one engine, next to the peers.

All codecs get the same pictures, in one process, with the same number of threads; the peers are
set to files of about our size. The parts are found by wrapping calls of the loaded codec; the
product has no clocks.
"""

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
from PIL import Image

from vqcodec import pillow_plugin  # noqa: F401  the plugin registers itself
from vqcodec.codec import Codec
from vqcodec.entropy import symbols

from . import coders, hyperprior, ours, peak, work
from .machine import describe
from .show import show

PARTS = "total", "transforms", "prior", "coder", "rest"
WAYS = "encode", "decode"
PATIENCE = 10.0  # seconds for the runs of one work; at least LEAST_RUNS are made
LEAST_RUNS = 3
LARGE = 8.0  # megapixels, above which a size is run once
ENGINES = {"cpu": "torch", "onnx": "ONNX Runtime"}  # by --device; others are torch's as well
Seconds = dict[str, float]  # by the names of PARTS


class Options(NamedTuple):
    """pictures: uint8 [H, W, 3] each. sizes: megapixels to make of the first. processes: runs of
    the command line, 0: none."""

    pictures: list[np.ndarray]
    model: str = ""
    device: str = "cpu"  # ours: torch's CPU, or "onnx"
    quality: float = 50
    threads: tuple[int, ...] = (1, 2)
    runs: int = 5
    processes: int = 3
    sizes: tuple[float, ...] = (0.1, 1, 4)
    memory: bool = True

    @property
    def megapixels(self) -> float:
        return sum(rgb.shape[0] * rgb.shape[1] for rgb in self.pictures) / 1e6


@contextmanager
def stopwatch(codec: Codec) -> Iterator[Counter]:
    """Time what the codec does inside the block; yields seconds by label, reset by `clear`."""
    seconds = Counter()
    places = [
        (codec.engine, "analyse", "transforms"),
        (codec.engine, "synthesise", "transforms"),
        (codec.engine.tiles, "encode", "tiles"),
        (codec.engine.tiles, "decode", "tiles"),
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
    """Median seconds of `work`, after one call to warm up; fewer runs if they take long."""
    found: list[float] = []
    while len(found) <= runs and (len(found) <= LEAST_RUNS or sum(found) < PATIENCE):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])


def run(options: Options) -> None:
    """Print all tables."""
    codec = _load(options)
    sizes = [len(codec.encode(rgb, options.quality, effort=1)) for rgb in options.pictures]
    print(
        f"{len(options.pictures)} pictures, {options.megapixels:.2f} MP, {sum(sizes)} bytes at"
        f" quality {options.quality:g}; medians of {options.runs} runs at most"
    )
    print(f"{describe()['machine']}, {os.cpu_count()} cores; {_busyness()}")
    print(f"ours computes with {ENGINES.get(options.device, options.device)}")
    print(f"hyperprior is {hyperprior.load().what}, with random weights; -cl: channels last")
    chosen = {
        name: [
            coders.quality_near(name, *pair) for pair in zip(options.pictures, sizes, strict=True)
        ]
        for name in coders.names()[1:]
    }
    rates = {}
    for count in options.threads:
        print(f"\n{count} thread{'s' if count > 1 else ''}: milliseconds, and the parts of ours")
        with coders.threads(count):
            rows = _rows(_load(options), options, chosen)
        rates[count] = rows[ours.CODEC]
        show(_table(rows, options.megapixels))
    print("\nscaling with threads")
    show(_thread_scaling(rates, options.megapixels))
    with coders.threads(max(options.threads)):
        print(f"\nscaling with size, {max(options.threads)} threads")
        show(_size_scaling(_load(options), options))
        if options.device != "onnx":
            print("\nmultiplications")
            work.networks(codec, options.pictures[0], options.quality, options.runs)
    if options.memory and peak.is_known():
        print("\nmemory of the first picture's process, MB")
        show(_memory(options, chosen))
    if options.processes:
        print(f"\nwhole processes, seconds, median of {options.processes}")
        show(_processes(options))
    data = codec.encode(options.pictures[0], options.quality, effort=1)
    print(f"\nImage.open of a .vqc file: {opening(data, options.runs) * 1e3:.2f} ms")


def _load(options: Options) -> Codec:
    """A codec of its own: ONNX Runtime takes its threads when it makes a session."""
    return Codec.load(options.model or None, options.device)


def _busyness() -> str:
    """How busy the machine was before: on a busy one the figures mean little."""
    if not hasattr(os, "getloadavg"):
        return "load unknown"
    load = os.getloadavg()[0]
    busy = "; OTHER WORK RUNS: take figures on an idle machine" if load > 0.5 else ""
    return f"load {load:.1f}{busy}"


def _rows(
    codec: Codec, options: Options, chosen: dict[str, list[int]]
) -> dict[str, tuple[Seconds, Seconds]]:
    """Seconds for all pictures of each codec: encode and decode. chosen: the peers' qualities."""
    pictures, runs = options.pictures, options.runs
    coded = [codec.encode(rgb, options.quality, effort=1) for rgb in pictures]
    rows = {
        ours.CODEC: (
            split(
                codec,
                lambda: [codec.encode(rgb, options.quality, effort=1) for rgb in pictures],
                runs,
            ),
            split(codec, lambda: [codec.decode(data) for data in coded], runs),
        )
    }
    for name, qualities in chosen.items():
        rows[name] = _peer([coders.load(name, quality) for quality in qualities], pictures, runs)
    return rows


def _peer(
    each: list[coders.Coder], pictures: list[np.ndarray], runs: int
) -> tuple[Seconds, Seconds]:
    """A peer with its settings for each picture."""
    pairs = list(zip(each, pictures, strict=True))
    coded = [(coder, coder.encode(rgb)) for coder, rgb in pairs]
    encode = median_seconds(lambda: [coder.encode(rgb) for coder, rgb in pairs], runs)
    decode = median_seconds(lambda: [coder.decode(data) for coder, data in coded], runs)
    return {"total": encode}, {"total": decode}


def _table(rows: dict[str, tuple[Seconds, Seconds]], megapixels: float) -> list[list[str]]:
    lines = [["codec", "", "MP/s", "ours is as fast", *PARTS]]
    for way, label in enumerate(WAYS):
        base = rows[ours.CODEC][way]["total"]
        for name, both in rows.items():
            found = both[way]
            cells = [f"{found[part] * 1e3:.1f}" if part in found else "" for part in PARTS]
            ratio = f"{found['total'] / base:.3g} x" if name != ours.CODEC else ""
            lines.append([name, label, f"{megapixels / found['total']:.2f}", ratio, *cells])
    return lines


def _thread_scaling(
    rates: dict[int, tuple[Seconds, Seconds]], megapixels: float
) -> list[list[str]]:
    lines = [["threads", *(f"{way} MP/s" for way in WAYS), *(f"{way} gain" for way in WAYS)]]
    first = next(iter(rates.values()))
    for count, both in rates.items():
        seconds = [found["total"] for found in both]
        gains = [base["total"] / own for base, own in zip(first, seconds, strict=True)]
        speeds = [f"{megapixels / own:.2f}" for own in seconds]
        lines.append([str(count), *speeds, *(f"{gain:.2f} x" for gain in gains)])
    return lines


def resized(rgb: np.ndarray, megapixels: float) -> np.ndarray:
    """`rgb` cut, or repeated in mirrors, to about so many megapixels in its shape."""
    scale = (megapixels * 1e6 / (rgb.shape[0] * rgb.shape[1])) ** 0.5
    height, width = (max(1, round(side * scale)) for side in rgb.shape[:2])
    more = [(0, max(0, new - old)) for new, old in zip((height, width), rgb.shape, strict=False)]
    return np.ascontiguousarray(np.pad(rgb, [*more, (0, 0)], "symmetric")[:height, :width])


def _size_scaling(codec: Codec, options: Options) -> list[list[str]]:
    lines = [["picture", *(f"{way} s" for way in WAYS), *(f"{way} MP/s" for way in WAYS)]]
    for size in options.sizes:
        rgb = resized(options.pictures[0], size)
        area = rgb.shape[0] * rgb.shape[1] / 1e6
        data = codec.encode(rgb, options.quality, effort=1)
        seconds = []
        for call in (
            partial(codec.encode, rgb, options.quality, effort=1),
            partial(codec.decode, data),
        ):
            if size > LARGE:
                start = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - start)
            else:
                seconds.append(median_seconds(call, options.runs))
        speeds = [f"{area / own:.2f}" for own in seconds]
        shape = f"{rgb.shape[1]}x{rgb.shape[0]}"
        lines.append([shape, *(f"{own:.3f}" for own in seconds), *speeds])
    return lines


def _memory(options: Options, chosen: dict[str, list[int]]) -> list[list[str]]:
    """Resident memory before the work and at its peak, of each codec on the first picture."""
    rgb, count = options.pictures[0], max(options.threads)
    own = coders.Ours(options.model, options.device)
    lines = [["codec", "", "codec loaded", "peak", "of the work"]]
    first = {name: qualities[0] for name, qualities in chosen.items()}
    for name, quality in ({ours.CODEC: options.quality} | first).items():
        found = peak.measure(name, rgb, quality, own, count)
        for way, used in zip(WAYS, found, strict=True):
            sizes = used.before, used.peak, used.peak - used.before
            lines.append([name, way, *(f"{part / 1e6:.0f}" for part in sizes)])
    whole = peak.whole_process(rgb, options.quality, own, count)
    for way, used in zip(WAYS, whole, strict=True):
        lines.append([f"`vqcodec {way}`", way, "", f"{used / 1e6:.0f}", ""])
    return lines


def opening(data: bytes, runs: int) -> float:
    """Median seconds in which Pillow opens a .vqc file, header and metadata."""
    return median_seconds(lambda: Image.open(io.BytesIO(data)), runs)


def _processes(options: Options) -> list[list[str]]:
    """Seconds of whole processes on the first picture: start, model, work, exit."""
    device = "--device", options.device
    shared = "-f", "--threads", max(options.threads), *device, *ours.model_arguments(options.model)
    plugin = [sys.executable, "-c", "import vqcodec.pillow_plugin"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray(options.pictures[0]).save(folder / "in.png")
        source, coded, back = (str(folder / n) for n in ("in.png", "coded.vqc", "back.png"))
        encode = "encode", source, "-o", coded, "-q", options.quality, "--effort", 1, *shared
        works = {
            "import vqcodec.pillow_plugin": lambda: subprocess.run(plugin, check=True),
            "vqcodec --version": lambda: ours.run("--version"),
            "vqcodec encode": lambda: ours.run(*encode),
            "vqcodec info": lambda: ours.run("info", coded),
            "vqcodec decode": lambda: ours.run("decode", coded, "-o", back, *shared),
        }
        return [
            [command, f"{median_seconds(call, options.processes):.2f}"]
            for command, call in works.items()
        ]
