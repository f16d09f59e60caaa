"""How close coded pictures are to their original: the measures that a comparison shows.

PSNR, SSIMULACRA2, Butteraugli's 3-norm, and ColorVideoVDP or, where that is not installed,
MS-SSIM. What is not installed is left out and named.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..metrics import MS_SSIM_MIN_SIDE, looks, ms_ssim, psnr

Between = Callable[[np.ndarray, np.ndarray], float]  # of two uint8 [H, W, 3]
SMALL = 32  # pixels: of smaller pictures ColorVideoVDP says nothing


class Measure(NamedTuple):
    """label: for the head of a column. form: of a number in a caption. hint: how to get it."""

    label: str
    form: str
    between: Between
    hint: str = ""

    def said(self, value: float) -> str:
        """For a caption: '31.20 dB'."""
        return self.form.format(value)


def _ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    return ms_ssim(a, b) if min(a.shape[:2]) >= MS_SSIM_MIN_SIDE else math.nan


def _cvvdp(a: np.ndarray, b: np.ndarray) -> float:
    return looks.shared_cvvdp()(a, b) if min(a.shape[:2]) >= SMALL else math.nan


PSNR = Measure("PSNR", "{:.2f} dB", psnr)
SSIMULACRA2 = Measure(
    "SSIMULACRA2", "SSIMULACRA2 {:.1f}", looks.ssimulacra2, "pip install 'vqcodec[eyes]'"
)
BUTTERAUGLI = Measure(
    "Butteraugli",
    "Butteraugli {:.2f}",
    lambda a, b: looks.butteraugli(a, b).norm,
    "apt install libjxl-devtools",
)
CVVDP = Measure("CVVDP", "CVVDP {:.2f} JOD", _cvvdp, "pip install --no-deps cvvdp")
MS_SSIM = Measure("MS-SSIM", "MS-SSIM {:.4f}", _ms_ssim, "pip install 'vqcodec[bench]'")
CHOICES = (PSNR,), (SSIMULACRA2,), (BUTTERAUGLI,), (CVVDP, MS_SSIM)  # the first that there is


def installed() -> tuple[list[Measure], str]:
    """The measures that can run here, and one line that names the others, empty if there are
    none."""
    probe = np.full((SMALL, SMALL, 3), 128, np.uint8)
    probes = {MS_SSIM: np.full((MS_SSIM_MIN_SIDE,) * 2 + (3,), 128, np.uint8)}
    found, missing = [], []
    for choice in CHOICES:
        usable = next((m for m in choice if _runs(m, probes.get(m, probe))), None)
        if usable is not None:
            found.append(usable)
        else:
            missing += [f"{measure.label} ({measure.hint})" for measure in choice]
    return found, f"left out, as not installed: {', '.join(missing)}" if missing else ""


def _runs(measure: Measure, probe: np.ndarray) -> bool:
    try:
        measure.between(probe, probe)
    except ImportError:  # MissingExtraError is one
        return False
    return True
