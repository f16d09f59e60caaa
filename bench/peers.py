"""The other codecs, as Pillow and its plugins have them, and their points.

Their settings are what a careful user would take for small files; all bytes of the file count,
as they do for ours.
"""

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, features
from tqdm import tqdm

from vqcodec.compare.peers import AVIF, Peer, decode
from vqcodec.compare.peers import PEERS as COMMON

from .cache import Cache
from .figures import Figures
from .pictures import Picture, Point, load, measure

# AVIF, WebP and JPEG are those of `vqcodec compare`. The qualities of the curves cover 26 to 33 dB
# on photographs, and what the codec can do below.
PEERS = COMMON | {
    "avif420": Peer("AVIF 4:2:0", "AVIF", AVIF | {"subsampling": "4:2:0"}, "avif"),
    # The quality is the ratio of sizes; without `mct` RGB is coded as it is: 3 dB.
    "jp2": Peer(
        "JPEG 2000",
        "JPEG2000",
        {"quality_mode": "rates", "irreversible": True, "mct": 1},
        "jpg_2000",
    ),
    "jxl": Peer("JPEG XL", "JXL", {"effort": 7}, "pillow-jxl-plugin"),
    "heic": Peer("HEIC", "HEIF", {}, "pillow-heif"),  # 4:2:0, as of x265 through libheif
}
AVIF_QUALITIES = 0, 5, 9, 13, 17, 21, 25, 29, 33, 37, 42, 47, 52, 58, 64, 70
QUALITIES: dict[str, tuple[int, ...]] = {
    "jpeg": (3, 5, 7, 10, 13, 17, 22, 28, 35, 43, 52, 62, 72, 80, 87, 92),
    "webp": (0, 2, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 88),
    "avif": AVIF_QUALITIES,
    "avif420": AVIF_QUALITIES,
    "jp2": (600, 400, 300, 220, 160, 120, 90, 68, 52, 40, 31, 24, 18, 13, 10),
    "jxl": (0, 5, 10, 20, 30, 40, 50, 60, 68, 75, 82, 88),
    "heic": (0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 56, 62, 70),
}
PLUGINS = {"pillow-jxl-plugin": "pillow_jxl", "pillow-heif": "pillow_heif"}  # package: module


def description(name: str) -> str:
    """The settings, and the versions that decide about the bytes."""
    peer = PEERS[name]
    shown = ", ".join(f"{key}={value}" for key, value in peer.settings.items())
    is_plugin = peer.library in PLUGINS
    found = version(peer.library) if is_plugin else features.version(peer.library)
    return f"{peer.label} ({shown}), Pillow {Image.__version__}, {peer.library} {found}"


def available(names: Iterable[str]) -> list[str]:
    """Those of the peers that this Pillow has, by itself or by a plugin that is installed."""
    return [name for name in names if _is_available(PEERS[name])]


def _is_available(peer: Peer) -> bool:
    return _register(peer.library) if peer.library in PLUGINS else peer.is_available


@lru_cache
def _register(package: str) -> bool:
    """Make a plugin known to Pillow; False if it is not installed."""
    try:
        plugin = import_module(PLUGINS[package])
    except ImportError:
        return False
    if hasattr(plugin, "register_heif_opener"):  # the other one does it when it is imported
        plugin.register_heif_opener()
    return True


def encode(name: str, rgb: np.ndarray, quality: int, **settings) -> bytes:
    """The file of `rgb`, uint8 [H, W, 3]; `settings` replace the peer's own."""
    chosen = {"quality_layers": [quality]} if name == "jp2" else {"quality": quality}
    return PEERS[name].save(rgb, **chosen | settings)


def points(
    name: str, pictures: list[Picture], cache: Path, figures: Figures, jobs: int = 1
) -> list[Point]:
    """The points of a peer at all its qualities, in order of the pictures.

    cache: a folder; what is there for the same settings and bytes is not measured again.
    """
    known = Cache(cache / f"{name}.json", description(name))
    qualities = QUALITIES[name]

    def find(picture: Picture) -> list[Point | None]:
        return [known.find(picture, quality, figures) for quality in qualities]

    todo = list({picture.digest: picture for picture in pictures if None in find(picture)}.values())
    measured = _each(partial(_measure, name, qualities, figures), todo, jobs)
    bar = tqdm(measured, desc=name, total=len(todo), unit="picture", leave=False, disable=None)
    for picture, own in zip(todo, bar, strict=True):
        known.add(picture, own, figures)
    return [point for picture in pictures for point in find(picture)]


def _each(work, pictures: list[Picture], jobs: int) -> Iterable[list[Point]]:
    if jobs == 1:
        yield from map(work, pictures)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work, pictures)


def _measure(
    name: str, qualities: tuple[int, ...], figures: Figures, picture: Picture
) -> list[Point]:
    """The points of a picture."""
    _is_available(PEERS[name])  # a process of its own has to register the plugin as well
    before, found = load(picture), []
    for quality in qualities:
        data = encode(name, before, quality)
        found.append(measure(picture.name, quality, len(data), before, decode(data), figures))
    return found
