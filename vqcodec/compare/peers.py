"""Other codecs through Pillow, such as JPEG: pixels -> the file nearest to a given size."""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, features


class Peer(NamedTuple):
    """A codec. settings: what a careful user would take for small files, besides the quality.
    library: what Pillow must have been built with, by the name that `features.check` takes."""

    label: str
    format: str
    settings: dict
    library: str

    @property
    def is_available(self) -> bool:
        return bool(features.check(self.library))

    def save(self, rgb: np.ndarray, **settings) -> bytes:
        """The file of `rgb`, uint8 [H, W, 3]; `settings` come on top of the peer's own."""
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, self.format, **self.settings | settings)
        return file.getvalue()


AVIF = {"speed": 6, "subsampling": "4:4:4", "autotiling": False, "max_threads": 1}
PEERS = {
    "avif": Peer("AVIF", "AVIF", AVIF, "avif"),
    "webp": Peer("WebP", "WEBP", {"method": 6}, "webp"),
    "jpeg": Peer(
        "JPEG", "JPEG", {"optimize": True, "progressive": True, "subsampling": "4:2:0"}, "jpg"
    ),
}


def decode(data: bytes) -> np.ndarray:
    """The pixels of a file, uint8 [H, W, 3]."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def nearest(encode: Callable[[int], bytes], size: int) -> tuple[int, bytes]:
    """The quality 0..100, and its file, whose size is nearest to `size` bytes: by bisection."""
    low, high = 0, 100
    tried: dict[int, bytes] = {}
    while low <= high:
        middle = (low + high) // 2
        tried[middle] = encode(middle)
        if len(tried[middle]) < size:
            low = middle + 1
        else:
            high = middle - 1
    return min(tried.items(), key=lambda item: abs(len(item[1]) - size))
