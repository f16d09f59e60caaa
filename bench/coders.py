"""The codecs of the speed tables behind one pair of calls, and the threads of all.

Torch is imported only for the codecs that need it: their memory is compared.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import numpy as np
from PIL import AvifImagePlugin

from vqcodec.compare.peers import nearest

from . import ours, peers

HYPERPRIORS = {"hyperprior": "contiguous_format", "hyperprior-cl": "channels_last"}
PILLOW = {  # the peer, and what is other than in its settings
    "jpeg": ("jpeg", {}),
    "webp": ("webp", {}),
    "avif-s6": ("avif", {"speed": 6}),
    "avif-s4": ("avif", {"speed": 4}),
    "jp2": ("jp2", {}),
    "jxl": ("jxl", {}),
}


class Coder(NamedTuple):
    """encode: uint8 [H, W, 3] -> what decode takes. decode: back to pixels."""

    encode: Callable[[np.ndarray], object]
    decode: Callable[[object], object]


class Ours(NamedTuple):
    """model: folder or name; empty: the default. device: as of `Codec.load`. effort: 0 for that by
    the picture's size."""

    model: str = ""
    device: str = "cpu"
    effort: int = 1


DEFAULT = Ours()


def names() -> list[str]:
    """All that can be measured here, ours first."""
    known = [name for name, (peer, _) in PILLOW.items() if peers.available([peer])]
    return [ours.CODEC, *HYPERPRIORS, *known]


def load(name: str, quality: float = 0, own: Ours = DEFAULT) -> Coder:
    """quality: as the codec has it; see `quality_near`. own: how ours is loaded."""
    if name == ours.CODEC:
        from vqcodec.codec import Codec

        codec = Codec.load(own.model or None, own.device)
        effort = own.effort or None
        return Coder(lambda rgb: codec.encode(rgb, quality, effort=effort), codec.decode)
    if name in HYPERPRIORS:
        from . import hyperprior

        network = hyperprior.load(HYPERPRIORS[name])
        return Coder(network.encode, network.decode)
    peer, settings = PILLOW[name]
    peers.available([peer])  # makes a plugin known to Pillow
    if peer == "avif":  # at the time of the call: `threads` sets it
        return Coder(
            lambda rgb: peers.encode(
                peer, rgb, quality, max_threads=AvifImagePlugin.DEFAULT_MAX_THREADS, **settings
            ),
            peers.decode,
        )
    return Coder(lambda rgb: peers.encode(peer, rgb, quality, **settings), peers.decode)


def quality_near(name: str, rgb: np.ndarray, size: int) -> int:
    """The quality at which a file of `rgb` is nearest to `size` bytes; 0 for what has none."""
    if name not in PILLOW:
        return 0
    if name == "jp2":  # its quality is the ratio of sizes
        return max(1, round(rgb.nbytes / size))
    peer, _ = PILLOW[name]
    return nearest(lambda quality: peers.encode(peer, rgb, quality), size)[0]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch, ONNX Runtime's sessions made in the block, and AVIF have so many; the others of
    Pillow's have one."""
    torch = sys.modules.get("torch")  # imported later it takes the number of the variable
    before = torch and torch.get_num_threads(), AvifImagePlugin.DEFAULT_MAX_THREADS
    try:
        with mock.patch.dict(os.environ, OMP_NUM_THREADS=str(count)):
            if torch:
                torch.set_num_threads(count)
            AvifImagePlugin.DEFAULT_MAX_THREADS = count  # Pillow's only way to say it for decoding
            yield
    finally:
        if torch:
            torch.set_num_threads(before[0])
        AvifImagePlugin.DEFAULT_MAX_THREADS = before[1]
