"""Small pictures of files: how close to the reduced whole, and how fast."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from vqcodec.codec import Codec
from vqcodec.geometry import SCALES
from vqcodec.image.strips import shrink
from vqcodec.metrics import psnr

from .pictures import find, load
from .show import show

RUNS = 3


def closeness(codec: Codec, data: bytes, scale: int) -> float:
    """PSNR in dB of what is decoded at a scale against the whole picture, reduced to it."""
    whole = shrink(np.asarray(codec.decode(data)), scale)
    return psnr(np.asarray(codec.decode(data, scale=scale)), whole)


def _seconds(work: Callable[[], object]) -> float:
    """Median processor time: one thread's, whatever else runs on the machine."""
    found = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return float(np.median(found))


def run(folder: Path, model: str, qualities: list[float]) -> None:
    """Print a table: by quality and scale, PSNR and seconds on one core, means over pictures."""
    torch.set_num_threads(1)
    codec = Codec.load(model or None, "cpu")
    pictures = [load(picture) for picture in find([folder])]
    lines = [["quality", "scale", "seconds", "PSNR, dB", "lowest"]]
    for quality in qualities:
        files = [codec.encode(rgb, quality, effort=1) for rgb in pictures]
        for scale in tqdm(SCALES, unit="scale", delay=2, leave=False):
            seconds = [_seconds(lambda f=f, s=scale: codec.decode(f, scale=s)) for f in files]
            close = [closeness(codec, data, scale) for data in files]
            figures = np.mean(seconds), np.mean(close), np.min(close)
            lines.append([f"{quality:g}", f"1/{scale}", *(f"{value:.3f}" for value in figures)])
    show(lines)
