"""Crops to look at: the original, ours and some peers at the size of ours.

They are kept as PNG files beside the results, so that a report can be drawn again.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from vqcodec import metrics
from vqcodec.compare.comparison import of_size
from vqcodec.compare.contact_sheet import busiest_box
from vqcodec.image import pixels

from . import ours, peers
from .pictures import Picture, Point, load

RATE = 0.15  # bits per pixel of our files that are shown
PICTURES = 4  # at most
SIDE = 256  # pixels
SHOWN = "avif", "webp", "jpeg"
FOLDER = "crops"


class Crop(NamedTuple):
    """A version of a picture. rgb: uint8 [h, w, 3], what is shown of it. size: bytes of the whole
    file; 0 for the original. psnr: dB, of the whole picture."""

    label: str
    rgb: np.ndarray
    size: int
    psnr: float


class Group(NamedTuple):
    """The versions of a picture. note: why it is shown; empty for one of a few."""

    picture: str
    crops: list[Crop]
    note: str = ""


def cut(
    out: Path,
    pictures: list[Picture],
    points: list[Point],
    encoders: list[ours.Encoder],
    notes: Mapping[str, str],
) -> list[Group]:
    """Crops of a few pictures, where each has the most detail. points: ours, of the first of the
    encoders, which decode the same files. notes: pictures to show as well, by name, and why."""
    quality = _quality(points)
    different = ours.different(pictures)
    spread = np.linspace(0, len(different) - 1, min(PICTURES, len(different))).astype(int)
    chosen = [p for n, p in enumerate(different) if n in spread or p.name in notes]
    files = ours.files(encoders[0], quality, chosen, out)
    groups = []
    decoded = zip(*(ours.decode(encoder, files) for encoder in encoders), strict=True)
    bar = tqdm(chosen, desc="crops", unit="picture", leave=False, disable=None)
    for picture, file, versions in zip(bar, files, decoded, strict=True):
        before, size = load(picture), file.stat().st_size
        own = [
            (f"{encoder.label} -q {quality:g}", rgb, size, metrics.psnr(before, rgb))
            for encoder, rgb in zip(encoders, versions, strict=True)
        ]
        for name in peers.available(SHOWN):
            version = of_size(peers.PEERS[name], before, size)
            psnr = metrics.psnr(before, version.rgb)
            own.append((version.name, version.rgb, version.size, psnr))
        box = busiest_box(before, SIDE)
        own = [Crop(label, box.of(after), *figures) for label, after, *figures in own]
        own.insert(0, Crop("original", box.of(before), 0, math.inf))
        groups.append(Group(picture.name, own, notes.get(picture.name, "")))
    return groups


def _quality(points: list[Point]) -> float:
    """The quality whose mean rate is nearest to RATE."""
    rates: dict[float, list[float]] = {}
    for point in points:
        rates.setdefault(point.quality, []).append(point.bpp)
    return min(rates, key=lambda quality: abs(np.mean(rates[quality]) - RATE))


def write(out: Path, groups: list[Group]) -> list[dict]:
    """Write the crops as files; returns what `read` needs, for JSON."""
    found = []
    for number, group in enumerate(groups):
        (out / FOLDER).mkdir(exist_ok=True)
        own = []
        for place, crop in enumerate(group.crops):
            file = f"{FOLDER}/{number}-{place}.png"
            Image.fromarray(np.ascontiguousarray(crop.rgb)).save(out / file)
            psnr = crop.psnr if crop.size else None
            own.append({"label": crop.label, "file": file, "bytes": crop.size, "psnr": psnr})
        found.append({"picture": group.picture, "note": group.note, "versions": own})
    return found


def read(folder: Path, found: list[dict]) -> list[Group]:
    """The groups that `write` wrote into `folder`; without those whose files are gone.

    Raises ValueError for other content.
    """
    groups = []
    try:
        for entry in found:
            versions = entry["versions"]
            if not all((folder / version["file"]).is_file() for version in versions):
                continue
            own = [
                Crop(v["label"], pixels.load(folder / v["file"]).rgb, v["bytes"], v["psnr"])
                for v in versions
            ]
            groups.append(Group(entry["picture"], own, entry.get("note", "")))
    except (KeyError, TypeError) as exc:
        raise ValueError(f"the results have a crop that is none: {exc!r}") from exc
    return groups
