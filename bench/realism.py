"""What the realism dial does at a few rates, and what it costs.

Every picture is coded to the rate, in at most so many bits (`vqcodec encode --target-bpp`), and
decoded at each realism. Peers are at their largest quality whose bytes do not exceed ours.
"""

import hashlib
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from vqcodec import metrics, targets
from vqcodec.codec import Codec
from vqcodec.engine.base import check_realism
from vqcodec.errors import OutOfReachError
from vqcodec.image import pixels
from vqcodec.zoo.weights import PARTS

from . import kid, ours, peers, pictures
from .cache import measured_in
from .figures import FIGURES, Figures
from .lpips import Lpips
from .pictures import Picture
from .show import show
from .workers import Each, workers

STEPS = 0.0, 0.25, 0.5, 0.75, 1.0
BETWEEN = STEPS[1:-1]
PEERS = "avif", "avif-ssim", "webp"
TIMED = 4  # pictures, at the middle rate
RUNS = 3
# What realism 1 is to be, against realism 0.
LPIPS_LESS, KID_LESS, PSNR_LOSS, SHIFT, TIME = 0.25, 0.3, 1.5, 1.0, 1.3
BUTTERAUGLI_MORE, REPEATS_OFF = 0.05, 0.1
TEACHERS = "LPIPS, the teacher's"  # the network of the training; the judge is ST-LPIPS


@dataclass(frozen=True)
class Options:
    """What `python -m bench realism` was asked for."""

    folders: tuple[Path, ...]
    lpips: Path
    out: Path  # folder of files that are kept
    model: str = ""  # folder or name; empty: the default
    rates: tuple[float, ...] = (0.1, 0.2, 0.4)  # bits per pixel
    effort: int = 1
    figures: Figures = field(default_factory=Figures)  # with PSNR and LPIPS
    jobs: int = 1


class Row(NamedTuple):
    """A way of decoding at a rate. Means over the pictures; kid: of all patches together; shifts:
    the largest over pictures and channels of how far a mean colour moved, in levels of 255."""

    label: str
    bpp: float
    psnr: float
    lpips: float
    kid: float
    shift: float  # from the original
    own_shift: float  # from realism 0; nan for peers
    figures: Mapping[str, float] = MappingProxyType({})  # all that were measured


class Decoded(NamedTuple):
    """A picture decoded in one way. means: of its colours, [3]. features: of its patches."""

    bpp: float
    means: np.ndarray
    features: np.ndarray
    figures: Mapping[str, float]


def label(realism: float, blend: str = "weights") -> str:
    """How a row is called."""
    return f"{realism:g}, {blend}" if realism in BETWEEN else f"{realism:g}"


class Bench(NamedTuple):
    """What all pictures and rates have in common."""

    codec: Codec
    lpips: Lpips
    options: Options
    each: Each

    def measure(
        self, picture: Picture, rgb: np.ndarray, versions: dict[str, tuple[int, np.ndarray]]
    ) -> dict[str, Decoded]:
        """Sizes in bytes and pixels of each way -> what is said of them."""
        work = partial(_figures, self.options, picture)
        measured = self.each(work, [after for _, after in versions.values()])
        found = {}
        for (way, (size, after)), figures in zip(versions.items(), measured, strict=True):
            bpp = metrics.bits_per_pixel(size, *rgb.shape[1::-1])
            features = self.lpips.features(kid.patches(after))
            found[way] = Decoded(bpp, after.mean((0, 1)), features, figures)
        return found


def run(options: Options) -> None:
    """Print a table for each rate, the decode times, and which targets are met."""
    codec = Codec.load(options.model or None)
    check_realism(1.0, codec.model)  # before the work, if there is none
    with workers(options.jobs) as each:
        _run(Bench(codec, Lpips(options.lpips), options, each))


def _run(bench: Bench) -> None:
    options = bench.options
    found = {picture: pictures.load(picture) for picture in pictures.find(options.folders)}
    originals = [_original(rgb, bench.lpips) for rgb in found.values()]
    checks, timed = [], []
    for number, rate in enumerate(options.rates):
        ways: dict[str, list[Decoded]] = {}
        outside: Counter[str] = Counter()  # pictures whose smallest file is above the rate
        bar = tqdm(found.items(), desc=f"{rate:g} bpp", leave=False, disable=None)
        for picture, rgb in bar:
            data = _file(bench, picture, rgb, rate)
            outside[ours.LABEL] += metrics.bits_per_pixel(len(data), *rgb.shape[1::-1]) > rate
            if number == len(options.rates) // 2:
                timed.append(data)
            versions = _ours(bench.codec, data)
            for name in peers.available(PEERS):
                coded = _peer(name, picture, rgb, len(data), options.out)
                outside[peers.PEERS[name].label] += len(coded) > len(data)
                versions[peers.PEERS[name].label] = len(coded), peers.decode(coded)
            for way, item in bench.measure(picture, rgb, versions).items():
                ways.setdefault(way, []).append(item)
        rows = _rows(ways, originals)
        _print(rate, len(found), rows, outside)
        checks += [(f"{rate:g} bpp: {text}", is_met) for text, is_met in _checks(rows)]
    for name in peers.available(PEERS):
        print(f"{peers.PEERS[name].label}: {peers.description(name)}")
    checks.append(_time(bench.codec, timed[:TIMED]))
    for text, is_met in checks:
        print(f"{'met   ' if is_met else 'missed'}  {text}")


_before = lru_cache(1)(pictures.load)  # measures know an original by the array that it is


def _figures(options: Options, picture: Picture, after: np.ndarray) -> dict[str, float]:
    known = measured_in(options.out / "cache")
    return known.measure(picture, _before(picture), after, options.figures)


def _original(rgb: np.ndarray, lpips: Lpips) -> Decoded:
    return Decoded(0.0, rgb.mean((0, 1)), lpips.features(kid.patches(rgb)), {})


def _ours(codec: Codec, data: bytes) -> dict[str, tuple[int, np.ndarray]]:
    """The pixels of a file in each way."""
    decoded = {step: pixels.load(codec.decode(data, realism=step)).rgb for step in STEPS}
    found = {label(step): rgb for step, rgb in decoded.items()}
    for step in BETWEEN:
        mixed = (1 - step) * decoded[0.0] + step * decoded[1.0]
        found[label(step, "pixels")] = (mixed + 0.5).astype(np.uint8)
    return {way: (len(data), rgb) for way, rgb in found.items()}


def _rows(ways: dict[str, list[Decoded]], originals: list[Decoded]) -> dict[str, Row]:
    """By their labels."""
    rows = {}
    first, known = ways[label(0)], np.concatenate([item.features for item in originals])
    for way, own in ways.items():
        bpp = float(np.mean([item.bpp for item in own]))
        names = own[0].figures
        means = {name: float(np.mean([item.figures[name] for item in own])) for name in names}
        features = np.concatenate([item.features for item in own])
        is_ours = any(way in (label(step), label(step, "pixels")) for step in STEPS)
        own_shift = _shift(own, first) if is_ours else math.nan
        distance = metrics.kid(known, features)
        shifts = _shift(own, originals), own_shift
        rows[way] = Row(way, bpp, means["psnr"], means["lpips"], distance, *shifts, means)
    return rows


def _shift(own: list[Decoded], others: list[Decoded]) -> float:
    pairs = zip(own, others, strict=True)
    return float(max(np.abs(item.means - other.means).max() for item, other in pairs))


def _print(rate: float, count: int, rows: dict[str, Row], outside: Counter[str]) -> None:
    print(f"\n{count} pictures at {rate:g} bpp; realism by its blend, peers in at most our bytes")
    over = [f"{name} on {number}" for name, number in outside.items() if number]
    if over:
        print(f"not even their smallest file fits: {', '.join(over)}")
    names = next(iter(rows.values())).figures
    labels = (TEACHERS if name == "lpips" else FIGURES[name].label for name in names)
    lines = [["realism", "bpp", *labels, "KID", "colour", "colour from 0"]]
    for row in rows.values():
        figures = (FIGURES[name].form.format(value) for name, value in row.figures.items())
        own = "-" if math.isnan(row.own_shift) else f"{row.own_shift:.2f}"
        shifts = f"{row.shift:.2f}", own
        lines.append([row.label, f"{row.bpp:.4f}", *figures, f"{row.kid:.4f}", *shifts])
    show(lines)


def _checks(rows: dict[str, Row]) -> list[tuple[str, bool]]:
    """What is to be, with what was found, and whether it is so."""
    first, last = rows[label(0)], rows[label(1)]
    less, fewer = 1 - last.lpips / first.lpips, 1 - last.kid / first.kid
    loss = first.psnr - last.psnr
    found = [
        (f"{TEACHERS}, at least {LPIPS_LESS:.0%} below realism 0: {less:.1%}", less >= LPIPS_LESS),
        (f"KID at least {KID_LESS:.0%} below realism 0: {fewer:.1%}", fewer >= KID_LESS),
        (f"PSNR at most {PSNR_LOSS:g} dB below realism 0: {loss:.2f}", loss <= PSNR_LOSS),
        (f"colours within {SHIFT:g} of the original: {last.shift:.2f}", last.shift <= SHIFT),
        (f"colours within {SHIFT:g} of realism 0: {last.own_shift:.2f}", last.own_shift <= SHIFT),
    ]
    for name in peers.available(PEERS):
        peer = rows[peers.PEERS[name].label]
        for name, text in (("st_lpips", "ST-LPIPS, the judge's,"), ("lpips", f"{TEACHERS},")):
            if name in last.figures:
                own, its = last.figures[name], peer.figures[name]
                found.append((f"{text} below {peer.label}: {own:.4f}, {its:.4f}", own < its))
    found += _judged(first.figures, last.figures)
    dial = [rows[label(step)] for step in STEPS]
    for figure in ("lpips", "psnr"):
        falls = bool((np.diff([getattr(row, figure) for row in dial]) < 0).all())
        found.append((f"{figure.upper()} falls along the dial", falls))
    return found


def _judged(first: Mapping[str, float], last: Mapping[str, float]) -> Iterator[tuple[str, bool]]:
    """What realism 1 is to be by measures that it was not trained with, as far as measured."""
    if "butteraugli_3" in last:
        more = last["butteraugli_3"] / first["butteraugli_3"] - 1
        text = f"Butteraugli at most {BUTTERAUGLI_MORE:.0%} above realism 0: {more:+.1%}"
        yield text, more <= BUTTERAUGLI_MORE
    for name in ("repeats_8", "repeats_16"):
        if name in last:
            text = f"{FIGURES[name].label} within {REPEATS_OFF:.0%} of the original"
            yield f"{text}: {last[name]:.3f}", abs(last[name] - 1) <= REPEATS_OFF


def _time(codec: Codec, files: list[bytes]) -> tuple[str, bool]:
    """Decode the files at realism 0 and 1, in turns; the check of the sums of the best times."""
    best = np.full((2, len(files)), math.inf)
    for _ in range(RUNS):
        for number, data in enumerate(files):
            for realism in (0, 1):
                start = time.perf_counter()
                codec.decode(data, realism=realism)
                spent = time.perf_counter() - start
                best[realism, number] = min(best[realism, number], spent)
    fidelity, full = best.mean(1)
    ratio = full / fidelity
    print(
        f"\ndecoding: {fidelity:.3f} s a picture at realism 0, {full:.3f} s at 1, ratio {ratio:.2f}"
        f" ({len(files)} pictures, best of {RUNS})\n"
    )
    return f"decoding takes at most {TIME:g} times as long: {ratio:.2f}", ratio <= TIME


def _file(bench: Bench, picture: Picture, rgb: np.ndarray, rate: float) -> bytes:
    """The picture in at most so many bits per pixel, or at quality 0 if that takes more."""
    codec, options = bench.codec, bench.options
    folder = ours.model_folder(options.model)
    parts = b"".join((folder / f"{part}.safetensors").read_bytes() for part in PARTS)
    model = hashlib.sha256(parts).hexdigest()[:12]
    name = f"{picture.digest}-{model}-e{options.effort}-{rate:g}.vqc"

    def encode() -> bytes:
        source = pixels.load(rgb)
        try:
            return targets.to_bpp(codec, source, rate, options.effort).data
        except OutOfReachError:
            return codec.encode(source, 0, effort=options.effort)

    return _kept(options.out / name, encode)


def _peer(name: str, picture: Picture, rgb: np.ndarray, size: int, out: Path) -> bytes:
    """The peer's file of the largest quality that fits into `size` bytes, else its smallest."""

    def encode() -> bytes:
        low, high, best = 0, 100, b""
        while low <= high:
            middle = (low + high) // 2
            data = peers.encode(name, rgb, middle)
            if len(data) <= size:
                low, best = middle + 1, data
            else:
                high = middle - 1
        return best or peers.encode(name, rgb, 0)

    return _kept(out / f"{picture.digest}-{size}.{name}", encode)


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """The bytes of the file, which is made if it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_bytes(make())
        os.replace(new, path)
    return path.read_bytes()
