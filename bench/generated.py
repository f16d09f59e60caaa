"""Samples against what the prior expects of them, and holes filled in several ways."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from vqcodec.bitstream import container
from vqcodec.codec import Codec
from vqcodec.config import PRECISION
from vqcodec.generative import generate
from vqcodec.metrics import psnr

from .damage import copies
from .pictures import SAMPLE_SIZE, find, load
from .show import show

DRAWN = {"ours, expected": None, "ours, likeliest": 0.0, "ours, drawn": 1.0}
METHODS = ("mean of the border", "nearest pixels", "smooth pixels", *DRAWN)


def sample_bits(codec: Codec, level: int, seed: int) -> tuple[float, float, float, float]:
    """Of a sample: bits of its coder's words, and the sum of the entropies of the tables that they
    come from, in bits; how many indices are drawn, and how many of them should be escapes."""
    data = codec.write_indices(generate.sample(codec, *SAMPLE_SIZE, level=level, seed=seed))
    rows = codec.read_tables(data)
    times = np.bincount(rows[rows >= 0], minlength=len(codec.model.freqs))
    tables = [(counts + 1.0) / 2**PRECISION for counts in codec.model.freqs]
    entropy = sum(n * -(p * np.log2(p)).sum() for n, p in zip(times, tables, strict=True))
    escapes = sum(n * p[-1] for n, p in zip(times, tables, strict=True))
    return 8.0 * (len(data) - container.overhead(data)), entropy, float(times.sum()), escapes


def run_sample(model: str, levels: list[int], count: int) -> None:
    """Print, for each level, the bits of `count` samples and what the prior expects."""
    codec = Codec.load(model or None, "cpu")
    area = np.prod(SAMPLE_SIZE)
    lines = [["level", "bpp", "entropy, bpp", "off by", "worst", "indices", "escapes left out"]]
    for level in tqdm(levels, unit="level", delay=2, leave=False):
        found = np.array([sample_bits(codec, level, seed) for seed in range(count)])
        bits, entropy, indices, escapes = found.mean(0)
        worst = np.abs(found[:, 0] / found[:, 1] - 1).max()
        lines.append(
            [
                *(f"{level}", f"{bits / area:.3f}", f"{entropy / area:.3f}"),
                *(f"{bits / entropy - 1:+.2%}", f"{worst:.2%}", f"{indices:.0f}", f"{escapes:.1f}"),
            ]
        )
    show(lines)
    print(f"{count} samples a level, {SAMPLE_SIZE[0]}x{SAMPLE_SIZE[1]}")


def fill(codec: Codec, rgb: np.ndarray, side: int) -> dict[str, float]:
    """By method, the PSNR in dB over a square hole of `side` pixels in the middle."""
    y, x = ((length - side) // 2 for length in rgb.shape[:2])
    if min(x, y) < 1:
        raise ValueError(f"picture is {rgb.shape[1]}x{rgb.shape[0]}, expected more than {side}")
    at = slice(y, y + side), slice(x, x + side)
    hole = np.zeros(rgb.shape[:2], bool)
    hole[at] = True
    border = np.zeros_like(hole)
    border[y - 1 : y + side + 1, x - 1 : x + side + 1] = True
    hidden = np.where(hole[..., None], 0, rgb).astype(np.uint8)
    mean = hidden.copy()
    mean[at] = np.rint(rgb[border & ~hole].mean(0))
    filled = {
        "mean of the border": mean,
        "nearest pixels": copies(hidden, at, smooth=False),
        "smooth pixels": copies(hidden, at, smooth=True),
    }
    for name, temperature in DRAWN.items():
        filled[name] = generate.inpaint(codec, hidden, hole, temperature=temperature).rgb
    return {name: psnr(*map(np.ascontiguousarray, (image[at], rgb[at])))
            for name, image in filled.items()}  # fmt: skip


def run_inpaint(folder: Path, model: str, side: int) -> None:
    """Print the mean PSNR over a hole in the middle of each picture, by method."""
    codec = Codec.load(model or None, "cpu")
    pictures = find([folder])
    bar = tqdm(pictures, unit="picture", delay=2, leave=False)
    scores = [fill(codec, load(picture), side) for picture in bar]
    base = np.array([score[METHODS[0]] for score in scores])
    lines = [["the hole is filled with", "PSNR, dB", "over the mean", "better in"]]
    for name in METHODS:
        own = np.array([score[name] for score in scores])
        gain = own - base
        lines.append([name, f"{own.mean():.2f}", f"{gain.mean():+.2f}", f"{(gain > 0).sum()}"])
    show(lines)
    print(f"{len(scores)} pictures, a hole of {side}x{side} pixels in the middle")
