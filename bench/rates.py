"""Does the encoder do as it is told: size over quality, target rates, targets of closeness."""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from vqcodec import targets
from vqcodec.codec import Codec
from vqcodec.errors import OutOfReachError
from vqcodec.image import pixels
from vqcodec.metrics import bits_per_pixel

from .pictures import find
from .show import show

QUALITIES = tuple(range(0, 101, 5))


class Rates(NamedTuple):
    """bpp: float64 [pictures, qualities]. reached: bits per pixel at each target, nan where the
    target is out of reach, [pictures, targets]."""

    bpp: np.ndarray
    reached: np.ndarray


def falls(bpp: np.ndarray) -> list[int]:
    """Pictures whose size falls anywhere as quality rises; bpp as of `Rates`."""
    return np.flatnonzero((np.diff(bpp, axis=1) < 0).any(1)).tolist()


def measure(codec: Codec, paths: list[Path], aims: list[float], effort: int) -> Rates:
    """Encode every picture at every quality, and to every target rate."""
    bpp, reached = [], []
    for path in tqdm(paths, desc="pictures", disable=None):
        picture = pixels.load(path)
        height, width = picture.rgb.shape[:2]
        sizes = [len(codec.encode(picture, quality, effort=effort)) for quality in QUALITIES]
        bpp.append([bits_per_pixel(size, width, height) for size in sizes])
        reached.append([_reach(codec, picture, aim, effort) for aim in aims])
    return Rates(np.array(bpp), np.array(reached).reshape(len(paths), len(aims)))


def _reach(codec: Codec, picture: pixels.Picture, aim: float, effort: int) -> float:
    try:
        return targets.to_bpp(codec, picture, aim, effort).value
    except OutOfReachError:
        return float("nan")


class Met(NamedTuple):
    """How a target of closeness was met: figure of the file, nan if it is out of reach, number of
    encodes, seconds."""

    value: float
    trials: int
    seconds: float


def meet(codec: Codec, path: Path, name: str, value: float, effort: int) -> Met:
    """Encode a picture to a closeness; the figure is measured anew, from the file's pixels."""
    picture, trials, start = pixels.load(path), [], time.perf_counter()
    try:
        data = targets.reach(codec, picture, name, value, effort, told=trials.append).data
    except OutOfReachError:
        return Met(float("nan"), len(trials), time.perf_counter() - start)
    seconds = time.perf_counter() - start
    decoded = pixels.load(codec.decode(data)).rgb
    return Met(targets.CLOSENESS[name].between(picture.rgb, decoded), len(trials), seconds)


def run_looks(
    folder: Path, model: str, name: str, value: float, within: float, effort: int
) -> None:
    """Print a line a picture, and how many are within `within` of the target, on its right side."""
    codec, pictures, found = Codec.load(model or None), find([folder]), []
    lines = [["picture", name, "encodes", "seconds"]]
    for picture in tqdm(pictures, disable=None):
        met = meet(codec, picture.path, name, value, effort)
        found.append(met)
        lines.append([picture.name, f"{met.value:.3f}", str(met.trials), f"{met.seconds:.1f}"])
    show(lines)
    sign = targets.CLOSENESS[name].sign
    near = sum(0 <= sign * (met.value - value) <= within for met in found)
    print(f"\nmet, and by at most {within:g} more than need be: {near} of {len(found)}")
    print(f"encodes a picture, mean: {np.mean([met.trials for met in found]):.1f}")


def run(folder: Path, model: str, aims: list[float], effort: int, threads: int) -> None:
    """Print both tables."""
    torch.set_num_threads(threads)
    pictures = find([folder])
    rates = measure(Codec.load(model or None, "cpu"), [p.path for p in pictures], aims, effort)
    lines = [["quality", "mean bpp", "lowest", "highest"]]
    for quality, column in zip(QUALITIES, rates.bpp.T, strict=True):
        figures = column.mean(), column.min(), column.max()
        lines.append([str(quality), *(f"{value:.3f}" for value in figures)])
    show(lines)
    names = ", ".join(pictures[n].name for n in falls(rates.bpp)) or "none"
    print(f"\nsize grows with quality, the mean of all: {not falls(rates.bpp.mean(0)[None])}")
    print(f"pictures whose size falls somewhere, of {len(pictures)}: {names}\n")
    lines = [["--target-bpp", "mean reached", "largest shortfall", "exceeded", "out of reach"]]
    for aim, column in zip(aims, rates.reached.T, strict=True):
        found = column[~np.isnan(column)]
        if not len(found):
            lines.append([f"{aim:g}", "", "", "", str(len(column))])
            continue
        shortfall = f"{100 * (1 - found.min() / aim):.2f} %"
        exceeded = str(int((found > aim).sum()))
        missing = str(len(column) - len(found))
        lines.append([f"{aim:g}", f"{found.mean():.4f}", shortfall, exceeded, missing])
    show(lines)
