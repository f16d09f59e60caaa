"""Pictures degraded as a model's task says, restored by it: PSNR next to doing nothing."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from vqcodec import metrics
from vqcodec.codec import Codec
from vqcodec.config import TaskConfig
from vqcodec.generative.restoration import degrade, enlarge, restore, task_of
from vqcodec.image.pixels import Picture

from .pictures import find, load
from .show import show


class Score(NamedTuple):
    """trivial: PSNR of the noisy picture, or of the reduced one enlarged again, bicubic.
    restored: PSNR of the model's. bpp: of its file. dB each, against the clean picture."""

    trivial: float
    restored: float
    bpp: float


def trivial(degraded: np.ndarray, task: TaskConfig) -> np.ndarray:
    """What there is without a model, uint8 [H, W, 3] of the clean picture's size."""
    return enlarge(Picture(degraded), task.factor).rgb


def measure(codec: Codec, rgb: np.ndarray, rng: np.random.Generator) -> Score:
    """One clean picture uint8 [H, W, 3], cut to multiples of the factor. Raises ModelError."""
    task = task_of(codec)
    height, width = (n - n % task.factor for n in rgb.shape[:2])
    clean = rgb[:height, :width]
    degraded = degrade(clean, task, rng)
    data = restore(codec, degraded)
    decoded = np.asarray(codec.decode(data))
    return Score(
        metrics.psnr(clean, trivial(degraded, task)),
        metrics.psnr(clean, decoded),
        metrics.bits_per_pixel(len(data), width, height),
    )


def run(folders: Iterable[Path], model: str, seed: int) -> None:
    """Print a line a picture, and the means."""
    codec, rng = Codec.load(model, "cpu"), np.random.default_rng(seed)
    task = task_of(codec)
    name = f"noise of sigma {task.sigma:g}" if task.sigma else f"bicubic x{task.factor}"
    lines, scores = [["picture", f"{name}, dB", "restored, dB", "gain, dB", "bpp"]], []
    for picture in tqdm(find(folders), unit="picture", delay=2, leave=False):
        scores.append(measure(codec, load(picture), rng))
        lines.append([picture.name, *_cells(scores[-1])])
    lines.append(["mean", *_cells(Score(*np.mean(scores, 0)))])
    show(lines)


def _cells(score: Score) -> list[str]:
    gain = score.restored - score.trivial
    return [f"{score.trivial:.2f}", f"{score.restored:.2f}", f"{gain:+.2f}", f"{score.bpp:.3f}"]
