"""Bits at equal PSNR where a curve does not say it: pictures of text, which become exact.

Of each codec and picture the smallest file counts that is at least as close as a target. A mean of
PSNR over pictures at one quality, as curves take it, would be infinite.
"""

import math
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from vqcodec.codec import Codec
from vqcodec.compare.peers import PEERS, decode
from vqcodec.image import webp_lossless
from vqcodec.metrics import bits_per_pixel, psnr

from .pictures import Picture, find, load
from .show import show
from .workers import cores, workers

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


def measure(
    model: str, qualities: list[float], effort: int | None, picture: Picture
) -> dict[str, list[Trial]]:
    """The trials of each codec on a picture."""
    codec, avif, rgb = _codec(model), PEERS["avif"], load(picture)

    def ours(quality: float) -> bytes:
        return codec.encode(rgb, quality, effort=effort)

    def peers(quality: float) -> bytes:
        return avif.save(rgb, quality=quality)

    stream = webp_lossless.encode(rgb, webp_lossless.SMALL)
    return {
        "vqc": list(trials_of(rgb, ours, codec.decode, qualities)),
        "AVIF 4:4:4": list(trials_of(rgb, peers, decode, AVIF_QUALITIES)),
        "WebP, lossless": [(bits_per_pixel(len(stream), *rgb.shape[1::-1]), math.inf)],
    }


@lru_cache(1)
def _codec(model: str) -> Codec:
    return Codec.load(model or None)


def run(
    folder: Path, model: str, qualities: list[float], targets: list[float], effort: int | None
) -> None:
    """Print a table of bits per pixel for each target in dB, means over the pictures."""
    pictures = find([folder])
    with workers(min(cores(), len(pictures))) as each:
        done = each(partial(measure, model, qualities, effort), pictures)
        found = list(tqdm(done, total=len(pictures), unit="picture", delay=2, leave=False))
    show(_rows(found, targets))


def _rows(found: list[dict[str, list[Trial]]], targets: list[float]) -> list[list[str]]:
    """A line for each target: means, and ours over AVIF's, of sums and in the mean of ratios."""
    lines = [["dB", *(f"{name}, bpp" for name in found[0]), "ours / AVIF", "geometric mean"]]
    for target in targets:
        rates = {n: np.array([smallest(own[n], target) for own in found]) for n in found[0]}
        mine, other = rates["vqc"], rates["AVIF 4:4:4"]
        ratios = mine.sum() / other.sum(), np.exp(np.log(mine / other).mean())
        means = (own.mean() for own in rates.values())
        lines.append([f"{target:g}", *(f"{value:.3f}" for value in (*means, *ratios))])
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
