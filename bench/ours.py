"""Our codec as a user runs it: `vqcodec encode` writes files, another process decodes them.

One process does all pictures of a quality, so that torch is started twice a quality.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np

from vqcodec import container, pixels

from .pictures import Picture, Point, load, measure

CODEC = "vqc"
LABEL = "vqcodec"
QUALITIES = tuple(range(0, 101, 10))


def points(
    pictures: list[Picture],
    qualities: Iterable[float],
    model: list[str],
    work: Path,
    ms_ssim: bool = False,
    jobs: int = 1,
) -> list[Point]:
    """The points of all pictures, in order of the qualities.

    model: the arguments that choose a model, as `model_arguments` gives them.
    work: a folder where the .vqc files are left: see `files`.
    """
    shutil.rmtree(work, ignore_errors=True)
    sources = _stage(pictures, work / "pictures")

    def measure_all(quality: float) -> list[Point]:
        # Without alpha and metadata: the peers are given bare pixels as well.
        bare = ("--alpha", "drop", "--strip", "all")
        out = f"{work / str(quality)}/"
        run("encode", *sources, "-o", out, "-q", quality, "-f", *bare, *model)
        written = files(work, quality, len(pictures))
        decoded = decode(written, model)
        return [
            measure(picture.name, quality, file.stat().st_size, load(picture), rgb, ms_ssim)
            for picture, file, rgb in zip(pictures, written, decoded, strict=True)
        ]

    with ThreadPoolExecutor(jobs) as pool:
        return [point for part in pool.map(measure_all, qualities) for point in part]


def model_arguments(model: str) -> list[str]:
    """The command line's arguments for a model: its folder or name, empty for the default."""
    return ["--model", model] if model else []


def run(command: str, *arguments: object) -> str:
    """Run `vqcodec COMMAND ARGUMENTS` in a process of its own; return what it prints."""
    line = [sys.executable, "-m", "vqcodec", command, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise click.ClickException(f"`vqcodec {command}` gave {done.returncode}: {last}")
    return done.stdout


def files(work: Path, quality: float, count: int) -> list[Path]:
    """The .vqc files of a quality, in order of the pictures."""
    return [work / str(quality) / f"{number:05}.vqc" for number in range(count)]


def decode(written: list[Path], model: list[str]) -> list[np.ndarray]:
    """The pixels of .vqc files, uint8 [H, W, 3] each, by one process of `vqcodec decode`."""
    with tempfile.TemporaryDirectory() as folder:
        run("decode", *written, "-o", f"{folder}/", "-f", *model)
        return [pixels.load(Path(folder) / f"{file.stem}.png").rgb for file in written]


def model_id(file: Path) -> str:
    """The id of the model that a .vqc file was made with, in hex."""
    return container.read_header(file.read_bytes()).model_id.hex()


def _stage(pictures: list[Picture], folder: Path) -> list[Path]:
    """Copies of the pictures under numbers: two folders may hold files of one name."""
    folder.mkdir(parents=True)
    copies = []
    for number, picture in enumerate(pictures):
        copies.append(folder / f"{number:05}{picture.path.suffix.lower()}")
        shutil.copyfile(picture.path, copies[-1])
    return copies
