"""Bits at equal PSNR where a curve does not say it: pictures of text, which become exact.

Of each codec and picture the smallest file counts that is at least as close as a target. A mean of
PSNR over pictures at one quality, as curves take it, would be infinite.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from vqcodec.codec import Codec
from vqcodec.compare.peers import PEERS, decode
from vqcodec.image import webp_lossless
from vqcodec.metrics import bits_per_pixel, psnr

from .pictures import find, load
from .show import show

AVIF_QUALITIES = range(10, 100, 5)
Trial = tuple[float, float]  # bits per pixel, dB


def smallest(trials: Iterable[Trial], least: float) -> float:
    """Bits per pixel of the smallest of the files that have at least so many decibels; nan: none
    has."""
    return min((bits for bits, close in trials if close >= least), default=math.nan)


def trials_of(rgb: np.ndarray, encode: Callable[[float], bytes], open_: Callable, qualities):
    """A Trial for each quality."""
    height, width = rgb.shape[:2]
    for quality in qualities:
        data = encode(quality)
        yield bits_per_pixel(len(data), width, height), psnr(rgb, np.asarray(open_(data)))


def run(
    folder: Path, model: str, qualities: list[float], targets: list[float], effort: int | None
) -> None:
    """Print a table of bits per pixel for each target in dB, means over the pictures."""
    codec = Codec.load(model or None)
    avif = PEERS["avif"]
    found = {"vqc": [], "AVIF 4:4:4": [], "WebP, lossless": []}
    for picture in tqdm(find([folder]), unit="picture", delay=2, leave=False):
        rgb = load(picture)

        def ours(quality: float, rgb: np.ndarray = rgb) -> bytes:
            return codec.encode(rgb, quality, effort=effort)

        found["vqc"].append(list(trials_of(rgb, ours, codec.decode, qualities)))

        def peers(quality: float, rgb: np.ndarray = rgb) -> bytes:
            return avif.save(rgb, quality=round(quality))

        found["AVIF 4:4:4"].append(list(trials_of(rgb, peers, decode, AVIF_QUALITIES)))
        stream = webp_lossless.encode(rgb, webp_lossless.SMALL)
        found["WebP, lossless"].append([(8 * len(stream) / (rgb.size / 3), math.inf)])
    show(_rows(found, targets))


def _rows(found: dict[str, list[list[Trial]]], targets: list[float]) -> list[list[str]]:
    """A line for each target: means, and ours over AVIF's, of sums and in the mean of ratios."""
    lines = [["dB", *(f"{name}, bpp" for name in found), "ours / AVIF", "geometric mean"]]
    for target in targets:
        rates = {n: np.array([smallest(t, target) for t in own]) for n, own in found.items()}
        ratios = rates["vqc"] / rates["AVIF 4:4:4"]
        lines.append(
            [
                f"{target:g}",
                *(f"{own.mean():.3f}" for own in rates.values()),
                f"{rates['vqc'].sum() / rates['AVIF 4:4:4'].sum():.3f}",
                f"{np.exp(np.log(ratios).mean()):.3f}",
            ]
        )
    return lines


def crops(picture: Path, codec: Codec, box: tuple[int, int, int, int], out: Path) -> None:
    """Write a picture's crop: original, ours at quality 75, AVIF of the same size; twice as large.

    box: x, y, width and height."""
    from vqcodec.image.pixels import load as read

    rgb = read(picture).rgb
    data = codec.encode(rgb, 75)
    sizes = {q: PEERS["avif"].save(rgb, quality=q) for q in AVIF_QUALITIES}
    nearest = min(sizes.values(), key=lambda own: abs(len(own) - len(data)))
    x, y, width, height = box
    shown = [rgb, np.asarray(codec.decode(data)), decode(nearest)]
    parts = [part[y : y + height, x : x + width] for part in shown]
    sheet = Image.fromarray(np.concatenate(parts, 0))
    sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.NEAREST).save(out)
