"""Folders -> pictures to measure, and a compressed picture -> its point.

A point is one picture at one quality of one codec: bytes of the whole file, and figures of what
comes out of it as 8-bit RGB.
"""

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqcodec import metrics
from vqcodec.image import pixels

EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".avif", ".jp2", ".bmp", ".tif", ".tiff"}
SAMPLE_SIZE = 768, 512  # pixels, as of the Kodak pictures


class Picture(NamedTuple):
    """A picture file. name: folder and file, for people. digest: of its bytes, for caches."""

    path: Path
    name: str
    digest: str


class Point(NamedTuple):
    """size: bytes. pixels: width times height. The others are figures, see `figures.FIGURES`; nan
    where not measured."""

    picture: str
    quality: float
    size: int
    pixels: int
    psnr: float = math.nan
    ms_ssim: float = math.nan
    ssimulacra2: float = math.nan
    butteraugli: float = math.nan
    butteraugli_3: float = math.nan
    cvvdp: float = math.nan
    lpips: float = math.nan
    st_lpips: float = math.nan
    squares: float = math.nan
    repeats_8: float = math.nan
    repeats_16: float = math.nan

    @property
    def bpp(self) -> float:
        return metrics.bits_per_pixel(self.size, self.pixels, 1)


def find(folders: Iterable[Path]) -> list[Picture]:
    """The pictures of the folders in order of their names; subfolders are not entered."""
    found = []
    for folder in folders:
        files = [path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS]
        for path in sorted(files):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            found.append(Picture(path, f"{folder.resolve().name}/{path.name}", digest))
    if not found:
        raise ValueError(f"no pictures in {', '.join(map(str, folders))}")
    return found


def load(picture: Picture) -> np.ndarray:
    """The pixels of a picture, uint8 [H, W, 3]."""
    return pixels.load(picture.path).rgb


def content(pictures: Iterable[Picture]) -> str:
    """A digest of all pixels, whatever the names, the order and the file format."""
    digests = sorted(hashlib.sha256(load(picture).tobytes()).hexdigest() for picture in pictures)
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


def sample(seed: int = 0) -> np.ndarray:
    """A made-up picture with the spectrum of a photograph, 1/f, uint8 [512, 768, 3]."""
    width, height = SAMPLE_SIZE
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.rfftfreq(width), np.fft.fftfreq(height)))
    frequency[0, 0] = 1
    noise = rng.normal(size=(4, *frequency.shape)) + 1j * rng.normal(size=(4, *frequency.shape))
    waves = np.fft.irfft2(noise / frequency**1.2, (height, width))  # [4, H, W]
    waves /= waves.std(axis=(1, 2), keepdims=True)
    rgb = 128 + 50 * waves[:1] + 12 * waves[1:]  # grey, and a little colour
    return np.moveaxis(rgb, 0, -1).clip(0, 255).astype(np.uint8)
