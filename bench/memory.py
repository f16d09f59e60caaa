"""Peak memory and time of whole `vqcodec` processes on pictures of growing size.

The pictures are made up, strip by strip: what this process holds counts as its children's.
"""

import tempfile
from pathlib import Path

import numpy as np

from . import ours
from .processes import Used, measure
from .show import show

CROP = 512  # pixels a side
START = 0.4  # megapixels: as small as a crop allows
ROWS = 256  # of a picture, made at once


def write_picture(path: Path, megapixels: float) -> tuple[int, int]:
    """Write a PPM of waves and noise, 10:7; return its width and height."""
    width, height = (round((megapixels * 1e6 * ratio) ** 0.5) for ratio in (10 / 7, 7 / 10))
    rng = np.random.default_rng(0)
    tilt = rng.normal(size=(6, 2, 1, 1)).astype(np.float32) * 3 / 64
    x = np.arange(width, dtype=np.float32)
    with path.open("wb") as file:
        file.write(b"P6\n%d %d\n255\n" % (width, height))
        for top in range(0, height, ROWS):
            y = np.arange(top, min(top + ROWS, height), dtype=np.float32)[:, None]
            waves = np.sin(tilt[:, 0] * y + tilt[:, 1] * x + np.arange(6)[:, None, None])
            rgb = 128 + 60 * (waves[:3] + 0.5 * waves[3:]).transpose(1, 2, 0)
            rgb += 6 * rng.standard_normal(rgb.shape, np.float32)
            file.write(rgb.clip(0, 255).astype(np.uint8).tobytes())
    return width, height


def run(megapixels: list[float], model: str, quality: float, effort: int) -> None:
    """Print a table: encode, decode to PNG and decode of a crop in the middle, for each size.

    "cores s/MP" leaves out what a picture of START megapixels takes: start-up, for the most part.
    """
    chosen = ours.model_arguments(model)
    encoding = ["-q", str(quality), "--effort", str(effort), *chosen]
    start = _of_size(START, encoding, chosen)
    lines = [["picture", "", "process s", "codec s", "cores s", "cores s/MP", "peak MB"]]
    for size in megapixels:
        for (name, used), idle in zip(
            _of_size(size, encoding, chosen).items(), start.values(), strict=True
        ):
            area = size - START if name != "crop" else 0
            rate = f"{(used.cores - idle.cores) / area:.3f}" if area > 0 else ""
            seconds = [f"{part:.2f}" for part in (used.wall, used.codec, used.cores)]
            lines.append([f"{size:g} MP", name, *seconds, rate, f"{used.peak / 1e6:.0f}"])
    show(lines)


def _of_size(megapixels: float, encoding: list[str], chosen: list[str]) -> dict[str, Used]:
    with tempfile.TemporaryDirectory() as folder:
        source, coded, back = (Path(folder) / name for name in ("a.ppm", "a.vqc", "a.png"))
        width, height = write_picture(source, megapixels)
        place = f"{(width - CROP) // 2},{(height - CROP) // 2},{CROP},{CROP}"
        return {
            "encode": measure("encode", source, "-o", coded, *encoding),
            "decode": measure("decode", coded, "-o", back, *chosen),
            "crop": measure("decode", coded, "-o", back, "-f", "--crop", place, *chosen),
        }
