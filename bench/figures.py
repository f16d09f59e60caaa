"""What is measured of each picture: PSNR always, the others where they can be had."""

import hashlib
import math
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from vqcodec import metrics

NAMES = "psnr", "ms_ssim", "ssimulacra2", "lpips"
FIGURES = *NAMES, "kid"  # the last is of all pictures together
LABELS = {"psnr": "PSNR, dB", "ms_ssim": "MS-SSIM", "ssimulacra2": "SSIMULACRA2", "lpips": "LPIPS"}
LABELS["kid"] = "KID"


@dataclass(frozen=True)
class Figures:
    """Which figures are asked for besides PSNR. lpips: a file of weights, empty for none."""

    ms_ssim: bool = False
    ssimulacra2: bool = False
    lpips: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """What is measured by its name, and what it is kept under: another way, another key."""
        found = {"psnr": "psnr"}
        if self.ms_ssim:
            found["ms_ssim"] = f"ms_ssim {_version('pytorch-msssim')}"
        if self.ssimulacra2:
            found["ssimulacra2"] = f"ssimulacra2 {_version('ssimulacra2')}"
        if self.lpips:
            found["lpips"] = f"lpips {_digest(self.lpips)}"
        return found

    def measure(self, before: np.ndarray, after: np.ndarray) -> dict[str, float]:
        """The figures by their names; nan where a picture is too small. uint8 [H, W, 3] both."""
        found = {"psnr": metrics.psnr(before, after)}
        if self.ms_ssim:
            is_large = min(before.shape[:2]) >= metrics.MS_SSIM_MIN_SIDE
            found["ms_ssim"] = metrics.ms_ssim(before, after) if is_large else math.nan
        if self.ssimulacra2:
            found["ssimulacra2"] = _ssimulacra2(before, after)
        if self.lpips:
            found["lpips"] = _lpips(self.lpips).distance(before, after)
        return found


def has_ssimulacra2() -> bool:
    """Whether the package of that name is installed."""
    return find_spec("ssimulacra2") is not None


def _ssimulacra2(before: np.ndarray, after: np.ndarray) -> float:
    from ssimulacra2 import compute_ssimulacra2

    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/before.png", f"{folder}/after.png"]
        for path, rgb in zip(paths, (before, after), strict=True):
            Image.fromarray(rgb).save(path, compress_level=1)
        return float(compute_ssimulacra2(*paths))


@lru_cache(maxsize=1)
def _lpips(path: str):
    from .lpips import Lpips

    return Lpips(Path(path))


@lru_cache(maxsize=1)
def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8]


@lru_cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
