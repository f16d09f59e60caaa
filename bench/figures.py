"""What is measured of each picture, by name: how figures are written, and what they take.

A measure that cannot run here is left out, with one line that says why.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqcodec.metrics import looks

from . import measures
from .measures import Pair


class Figure(NamedTuple):
    """form: how a number is written. sign: 1 if more is better, else -1. is_curve: whether it
    grows with the rate, so that rates can be compared at equal figures."""

    label: str
    form: str
    sign: int
    is_curve: bool = True


FIGURES = {
    "psnr": Figure("PSNR, dB", "{:.2f}", 1),
    "ms_ssim": Figure("MS-SSIM", "{:.4f}", 1),
    "ssimulacra2": Figure("SSIMULACRA2", "{:.1f}", 1),
    "butteraugli": Figure("Butteraugli, maximum", "{:.2f}", -1),
    "butteraugli_3": Figure("Butteraugli, 3-norm", "{:.3f}", -1),
    "cvvdp": Figure("ColorVideoVDP, JOD", "{:.3f}", 1),
    "lpips": Figure("LPIPS", "{:.4f}", -1),
    "st_lpips": Figure("ST-LPIPS", "{:.4f}", -1),
    "squares": Figure("squares of colour", "{:.3f}", -1, False),
    "repeats_8": Figure("repeats each 8 pixels", "{:.3f}", -1, False),
    "repeats_16": Figure("repeats each 16 pixels", "{:.3f}", -1, False),
    "kid": Figure("KID", "{:.5f}", -1, False),  # of all pictures together
}
NAMES = tuple(name for name in FIGURES if name != "kid")
LEVELS = tuple(name for name in NAMES if not FIGURES[name].is_curve)
CURVES = tuple(name for name in FIGURES if FIGURES[name].is_curve)


class Measure(NamedTuple):
    """make: the weights of LPIPS -> what gives the figures of a pair. version: what decides about
    the numbers, of the same. hint: how to get what it takes."""

    figures: tuple[str, ...]
    make: Callable[[str], Callable[[Pair], tuple[float, ...]]]
    version: Callable[[str], str]
    hint: str = ""


def _package(name: str) -> Callable[[str], str]:
    def find(_lpips: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return ""

    return find


def _program(_lpips: str) -> str:
    found = shutil.which(looks.BUTTERAUGLI)
    return _digest(found) if found else ""


@lru_cache
def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8]


def _always(_lpips: str) -> str:
    return "1"


MEASURES = {
    "psnr": Measure(("psnr",), lambda _: measures.psnr, _always),
    "ms_ssim": Measure(
        ("ms_ssim",), lambda _: measures.ms_ssim, _package("pytorch-msssim"),
        "pip install pytorch-msssim",
    ),
    "ssimulacra2": Measure(
        ("ssimulacra2",), lambda _: measures.ssimulacra2, _package("ssimulacra2"),
        "pip install ssimulacra2",
    ),
    "butteraugli": Measure(
        ("butteraugli", "butteraugli_3"), lambda _: measures.butteraugli, _program,
        "apt install libjxl-devtools",
    ),
    "cvvdp": Measure(
        ("cvvdp",), lambda _: measures.Cvvdp(), _package("cvvdp"),
        "pip install cvvdp, which takes torchvision",
    ),
    "lpips": Measure(
        ("lpips",), measures.LpipsOf, lambda lpips: _digest(lpips) if lpips else "",
        "give its weights by --lpips",
    ),
    "st_lpips": Measure(
        ("st_lpips",), lambda _: measures.StLpips(), _package("stlpips-pytorch"),
        "pip install --no-deps stlpips-pytorch",
    ),
    "squares": Measure(("squares",), lambda _: measures.squares, _always),
    "repeats": Measure(("repeats_8", "repeats_16"), lambda _: measures.repeats, _always),
}  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """Which measures are asked for. lpips: a file of weights, empty for none."""

    measures: tuple[str, ...] = ("psnr",)
    lpips: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """The figures by name, and what each is kept under: made in another way, another key."""
        return {k: v for name in self.measures for k, v in _keys(name, self.lpips).items()}

    def without(self, known: Iterable[str]) -> "Figures":
        """The measures of which not all keys are known."""
        known = set(known)
        left = (n for n in self.measures if not known.issuperset(_keys(n, self.lpips).values()))
        return Figures(tuple(left), self.lpips)

    def measure(self, before: np.ndarray, after: np.ndarray) -> dict[str, float]:
        """The figures by name; nan where a picture is too small. uint8 [H, W, 3] both."""
        pair, found = Pair(before, after), {}
        for name in self.measures:
            values = _made(name, self.lpips)(pair)
            found |= dict(zip(MEASURES[name].figures, values, strict=True))
        return found


def runnable(names: Iterable[str], lpips: str = "") -> Figures:
    """Those of the measures that can run here; a line is printed for each of the others. Raises
    ValueError for a name that is none, ModelError for a file that has no weights of LPIPS."""
    names = tuple(dict.fromkeys(("psnr", *names)))
    if unknown := set(names) - set(MEASURES):
        raise ValueError(f"measures are {', '.join(names)}: unknown {', '.join(sorted(unknown))}")
    if lpips and "lpips" in names:
        _made("lpips", lpips)
    found = []
    for name in names:
        if reason := _obstacle(name, lpips):
            label = FIGURES[MEASURES[name].figures[0]].label.partition(",")[0]
            print(f"{label} is left out: {reason}")
        else:
            found.append(name)
    return Figures(tuple(found), lpips)


def _obstacle(name: str, lpips: str) -> str:
    """Why a measure cannot run, in one line; empty if it can: it is tried on two pictures."""
    measure = MEASURES[name]
    if not measure.version(lpips):
        return measure.hint
    flat = np.full((176, 176, 3), 100, np.uint8)
    other = flat.copy()
    other[40:60, 50:90] += 20
    try:
        _made(name, lpips)(Pair(flat, other))
    except Exception as exc:  # whatever is wrong with it, the others can do without
        text = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        return f"{type(exc).__name__}: {text}"
    return ""


@lru_cache
def _keys(name: str, lpips: str) -> dict[str, str]:
    known = MEASURES[name].version(lpips)
    return {figure: f"{figure} {known}" for figure in MEASURES[name].figures}


@lru_cache
def _made(name: str, lpips: str) -> Callable[[Pair], tuple[float, ...]]:
    return MEASURES[name].make(lpips)
