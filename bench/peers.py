"""The other codecs, as Pillow and its plugins have them, and their points.

Their settings are what a careful user would take for small files; all bytes of the file count,
as they do for ours.
"""

from collections.abc import Iterable
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
from .measuring import Coded
from .measuring import points as points_of
from .pictures import Picture, Point, load
from .workers import Each


def _tuned(label: str, tune: str, **settings) -> Peer:
    """AVIF that is told what to be good at; as Pillow writes it, it is tuned for looks ("iq")."""
    return Peer(label, "AVIF", AVIF | {"advanced": {"tune": tune}} | settings, "avif")


# AVIF, WebP and JPEG are those of `vqcodec compare`. The qualities of the curves cover 0.1 to 1 bit
# per pixel and 26 to 33 dB on photographs, in about even steps of the rate's logarithm.
PEERS = COMMON | {
    "avif-ssim": _tuned("AVIF tuned for SSIM", "ssim"),
    "avif-psnr": _tuned("AVIF tuned for PSNR", "psnr"),
    "avif-psnr-s4": _tuned("AVIF tuned for PSNR, speed 4", "psnr", speed=4),
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
AVIF_QUALITIES = 2, 12, 22, 32, 43, 55, 68
TUNED_QUALITIES = 4, 14, 24, 34, 45, 56, 68
QUALITIES: dict[str, tuple[int, ...]] = {
    "jpeg": (4, 8, 14, 25, 45, 70, 88),
    "webp": (0, 3, 9, 20, 42, 70, 86),
    "avif": AVIF_QUALITIES,
    "avif-ssim": TUNED_QUALITIES,
    "avif-psnr": TUNED_QUALITIES,
    "avif-psnr-s4": TUNED_QUALITIES,
    "avif420": AVIF_QUALITIES,
    "jp2": (400, 200, 110, 62, 36, 21, 12),
    "jxl": (0, 8, 20, 38, 58, 74, 87),
    "heic": (4, 10, 16, 22, 29, 37, 46),
}
PLUGINS = {"pillow-jxl-plugin": "pillow_jxl", "pillow-heif": "pillow_heif"}  # package: module


def description(name: str) -> str:
    """The settings, and the versions that decide about the bytes."""
    peer = PEERS[name]
    shown = ", ".join(f"{key}={value}" for key, value in peer.settings.items())
    if peer.format == "AVIF" and "advanced" not in peer.settings:
        shown += ", tune=iq, which is Pillow's default"
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
    name: str, pictures: list[Picture], cache: Path, figures: Figures, each: Each = map
) -> list[Point]:
    """The points of a peer at all its qualities, in order of the pictures.

    cache: a folder; what is there for the same settings and bytes is not measured again. each:
    what calls for several pictures, see `workers`.
    """
    known = Cache(cache / f"{name}.json", description(name))
    qualities = QUALITIES[name]

    def find(picture: Picture) -> list[Point | None]:
        return [known.find(picture, quality, figures) for quality in qualities]

    todo = list({picture.digest: picture for picture in pictures if None in find(picture)}.values())
    measured = each(partial(_measure, name, qualities, figures, cache), todo)
    bar = tqdm(measured, desc=name, total=len(todo), unit="picture", leave=False, disable=None)
    for picture, own in zip(todo, bar, strict=True):
        known.add(picture, own, figures)
    return [point for picture in pictures for point in find(picture)]


def _measure(
    name: str, qualities: tuple[int, ...], figures: Figures, cache: Path, picture: Picture
) -> list[Point]:
    """The points of a picture."""
    _is_available(PEERS[name])  # a process of its own has to register the plugin as well
    before = load(picture)
    files = ((quality, encode(name, before, quality)) for quality in qualities)
    coded = (Coded(quality, len(data), decode(data)) for quality, data in files)
    return points_of(picture, coded, figures, cache)
