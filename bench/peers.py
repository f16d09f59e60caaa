"""The other codecs, as Pillow has them, and a cache of their points.

Their settings are what a careful user would take for small files; all bytes of the file count,
as they do for ours.
"""

import io
import json
import math
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, features

from .pictures import Picture, Point, load, measure


class Peer(NamedTuple):
    """A codec of Pillow. settings: what `save` gets besides the quality. feature: Pillow's name
    of the library. qualities: of the curve; they cover 26 to 33 dB on photographs, and what the
    codec can do below."""

    label: str
    format: str
    settings: dict
    feature: str
    qualities: tuple[int, ...]

    @property
    def description(self) -> str:
        """The settings, and the versions that decide about the bytes."""
        shown = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        library = f"{self.feature} {features.version(self.feature)}"
        return f"{self.label} ({shown}), Pillow {Image.__version__}, {library}"


PEERS = {
    "jpeg": Peer(
        "JPEG",
        "JPEG",
        {"optimize": True, "progressive": True, "subsampling": "4:2:0"},
        "jpg",
        (3, 5, 7, 10, 13, 17, 22, 28, 35, 43, 52, 62, 72, 80, 87, 92),
    ),
    "webp": Peer(
        "WebP", "WEBP", {"method": 6}, "webp", (0, 2, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 88)
    ),
    "avif": Peer(
        "AVIF",
        "AVIF",
        {"speed": 6, "subsampling": "4:4:4", "autotiling": False, "max_threads": 1},
        "avif",
        (0, 5, 9, 13, 17, 21, 25, 29, 33, 37, 42, 47, 52, 58, 64, 70),
    ),
    "jp2": Peer(  # the quality is the ratio of sizes; without `mct` RGB is coded as it is: 3 dB
        "JPEG 2000",
        "JPEG2000",
        {"quality_mode": "rates", "irreversible": True, "mct": 1},
        "jpg_2000",
        (600, 400, 300, 220, 160, 120, 90, 68, 52, 40, 31, 24, 18, 13, 10),
    ),
}


def available(names: Iterable[str]) -> list[str]:
    """Those of the peers that this Pillow has."""
    return [name for name in names if features.check(PEERS[name].feature)]


def encode(name: str, rgb: np.ndarray, quality: int, **settings) -> bytes:
    """The file of `rgb`, uint8 [H, W, 3]; `settings` replace the peer's own."""
    peer = PEERS[name]
    chosen = {"quality_layers": [quality]} if name == "jp2" else {"quality": quality}
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, peer.format, **peer.settings | chosen | settings)
    return file.getvalue()


def decode(data: bytes) -> np.ndarray:
    """The pixels of a file, uint8 [H, W, 3]."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def nearest(name: str, rgb: np.ndarray, size: int) -> tuple[int, bytes]:
    """The quality 0..100, and its file, whose size is nearest to `size` bytes: by bisection."""
    low, high = 0, 100
    tried: dict[int, bytes] = {}
    while low <= high:
        middle = (low + high) // 2
        tried[middle] = encode(name, rgb, middle)
        if len(tried[middle]) < size:
            low = middle + 1
        else:
            high = middle - 1
    return min(tried.items(), key=lambda item: abs(len(item[1]) - size))


def points(
    name: str, pictures: list[Picture], cache: Path, ms_ssim: bool = False, jobs: int = 1
) -> list[Point]:
    """The points of a peer at all its qualities, in order of the pictures.

    cache: a folder; what is there for the same settings and bytes is not measured again.
    """
    path = cache / f"{name}.json"
    known = _read_cache(path, PEERS[name].description)
    todo = [picture for picture in pictures if not _is_known(name, picture, known, ms_ssim)]
    measured = _each(partial(_measure, name, ms_ssim), todo, jobs)
    for picture, rows in zip(todo, measured, strict=True):
        known[picture.digest] = rows
        _write_cache(path, PEERS[name].description, known)
    return [
        Point(picture.name, *(math.nan if value is None else value for value in row))
        for picture in pictures
        for row in known[picture.digest]
        if row[0] in PEERS[name].qualities
    ]


def _each(work, pictures: list[Picture], jobs: int) -> Iterable[list]:
    if jobs == 1:
        yield from map(work, pictures)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work, pictures)


def _measure(name: str, ms_ssim: bool, picture: Picture) -> list[list]:
    """The rows of a picture: the fields of a point behind its name; None for nan."""
    before, rows = load(picture), []
    for quality in PEERS[name].qualities:
        data = encode(name, before, quality)
        point = measure(picture.name, quality, len(data), before, decode(data), ms_ssim)
        rows.append([None if math.isnan(value) else value for value in point[1:]])
    return rows


def _is_known(name: str, picture: Picture, known: dict, ms_ssim: bool) -> bool:
    rows = known.get(picture.digest, [])
    found = {row[0] for row in rows if row[-1] is not None or not ms_ssim}
    return found >= set(PEERS[name].qualities)


def _read_cache(path: Path, description: str) -> dict[str, list]:
    """Rows by the digests of pictures."""
    if not path.exists():
        return {}
    content = json.loads(path.read_text("utf-8"))
    return content["pictures"] if content["description"] == description else {}


def _write_cache(path: Path, description: str, known: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"description": description, "pictures": known})
    path.with_suffix(".new").write_text(text, "utf-8")
    os.replace(path.with_suffix(".new"), path)
