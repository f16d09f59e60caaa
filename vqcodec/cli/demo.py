"""`vqcodec demo`: one picture at three qualities, beside JPEG files of the same size."""

import io
import math
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from PIL import Image

from .. import pixels
from ..errors import VqcodecError
from ..metrics import bits_per_pixel, psnr
from . import options
from .paths import Job, check_target, read
from .report import Report, run, say, spaced
from .sheet import Version, draw_sheet

QUALITIES = {"low": 10, "middle": 40, "high": 75}
MAX_SIDE = 2048  # pixels; a larger picture is scaled down first


class Row(NamedTuple):
    """A quality: our picture and the JPEG of at most as many bytes."""

    name: str
    ours: Version
    jpeg: Version


def smallest_not_above(rgb: np.ndarray, size: int) -> bytes:
    """The best JPEG of at most `size` bytes, or the smallest there is.

    Qualities are searched by bisection: their sizes rise.
    """
    low, best = 1, _jpeg(rgb, 1)
    high = 95  # above, files grow without a visible gain
    while low < high:
        middle = (low + high + 1) // 2
        data = _jpeg(rgb, middle)
        if len(data) <= size:
            low, best = middle, data
        else:
            high = middle - 1
    return best


def _jpeg(rgb: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
