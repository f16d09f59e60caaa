"""Measures made after what people see: SSIMULACRA2, Butteraugli, ColorVideoVDP.

Pictures are uint8 [H, W, 3] in sRGB. What each takes (the extra `eyes`, a program, a package) is
looked for when it is asked for: MissingExtraError says how to get it.
"""

import io
import subprocess
import tempfile
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..errors import MissingExtraError, VqcodecError
from . import check_pair

BUTTERAUGLI = "butteraugli_main"  # of libjxl; Debian has it in libjxl-devtools
DISPLAY = "standard_4k"  # of ColorVideoVDP: 30 inches at 0.75 m, 200 cd/m2
MIN_SIDE = 8  # pixels: both programs see nothing in smaller pictures
# The package takes half a kilobyte a pixel: larger pictures are measured in parts.
PART_SIDE = 1448  # pixels: 2 megapixels


class Butteraugli(NamedTuple):
    """Norms of the map of differences, 0 for equal pictures: its maximum, and its 3-norm."""

    maximum: float
    norm: float


def ssimulacra2(a: np.ndarray, b: np.ndarray) -> float:
    """SSIMULACRA2 (Sneyers 2023) of an original and what became of it, by the package of that name:
    30 is low quality, 50 medium, 70 high, 90 visually lossless, 100 equal; negative is bad.

    Pictures above 2 megapixels are cut into equal parts of at most 1448x1448, and the mean of
    these by area is taken. Raises ValueError for pictures of two sizes, MissingExtraError.
    """
    try:
        from ssimulacra2 import compute_ssimulacra2
    except ImportError as exc:
        text = "SSIMULACRA2 takes the package ssimulacra2: pip install 'vqcodec[eyes]'"
        raise MissingExtraError(text) from exc
    check_pair(a, b)
    total = 0.0
    for rows in _parts(a.shape[0]):
        for columns in _parts(a.shape[1]):
            part = a[rows, columns]
            score = compute_ssimulacra2(*(io.BytesIO(_ppm(x[rows, columns])) for x in (a, b)))
            total += float(score) * part.shape[0] * part.shape[1]
    return total / (a.shape[0] * a.shape[1])


def butteraugli(a: np.ndarray, b: np.ndarray) -> Butteraugli:
    """Butteraugli (Alakuijala et al. 2017) of an original and what became of it, by libjxl's
    `butteraugli_main` for a screen of 80 cd/m2.

    Raises ValueError for pictures of two sizes, MissingExtraError if the program is not there,
    VqcodecError if it fails.
    """
    check_pair(a, b)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("before.ppm", "after.ppm")]
        for path, rgb in zip(paths, (a, b), strict=True):
            path.write_bytes(_ppm(rgb))
        line = [BUTTERAUGLI, *map(str, paths)]
        try:
            text = subprocess.run(line, capture_output=True, text=True, check=True).stdout
        except FileNotFoundError as exc:
            message = "Butteraugli takes libjxl's butteraugli_main: apt install libjxl-devtools"
            raise MissingExtraError(message) from exc
        except subprocess.CalledProcessError as exc:
            said = " ".join(exc.stderr.split()) or f"exit code {exc.returncode}"
            raise VqcodecError(f"{BUTTERAUGLI}: {said}") from exc
    maximum, norm = text.split("\n")[:2]
    return Butteraugli(float(maximum), float(norm.split(":")[1]))


class Cvvdp:
    """ColorVideoVDP, Mantiuk et al. 2024, arXiv:2401.11485: JOD, 10 for equal pictures.

    Raises MissingExtraError where the package `cvvdp` cannot be imported.
    """

    def __init__(self):
        try:
            import torch

            from . import stand_ins

            with stand_ins.provided():
                import pycvvdp
        except ImportError as exc:
            text = "ColorVideoVDP takes the package cvvdp: pip install --no-deps cvvdp"
            raise MissingExtraError(text) from exc
        self._measure = pycvvdp.cvvdp(display_name=DISPLAY, device=torch.device("cpu"), quiet=True)

    def __call__(self, a: np.ndarray, b: np.ndarray) -> float:
        """The figure of an original and what became of it."""
        import torch

        check_pair(a, b)
        with torch.inference_mode():
            return float(self._measure.predict(b, a, dim_order="HWC")[0])


@lru_cache(maxsize=1)
def shared_cvvdp() -> Cvvdp:
    """The process's ColorVideoVDP, set up once. Raises MissingExtraError."""
    return Cvvdp()


def _parts(side: int) -> list[slice]:
    """A side in equal parts of at most PART_SIDE."""
    count = -(-side // PART_SIDE)
    ends = [side * number // count for number in range(count + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


def _ppm(rgb: np.ndarray) -> bytes:
    """A PPM file; a side below 8 is continued by its last pixels."""
    missing = [(0, max(0, MIN_SIDE - side)) for side in rgb.shape[:2]]
    out = io.BytesIO()
    Image.fromarray(np.pad(rgb, [*missing, (0, 0)], mode="edge")).save(out, "ppm")
    return out.getvalue()
