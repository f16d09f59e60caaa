"""What codecs made of a picture -> its points."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .cache import measured_in
from .figures import Figures
from .pictures import Picture, Point, load


class Coded(NamedTuple):
    """A picture through a file of `size` bytes: uint8 [H, W, 3]."""

    quality: float
    size: int
    rgb: np.ndarray


def points(picture: Picture, coded: Iterable[Coded], figures: Figures, caches: Path) -> list[Point]:
    """A point of each. caches: a folder that keeps figures by pixels."""
    before, known = load(picture), measured_in(caches)
    height, width = before.shape[:2]
    return [
        Point(
            picture.name,
            quality,
            size,
            height * width,
            **known.measure(picture, before, rgb, figures),
        )
        for quality, size, rgb in coded
    ]
