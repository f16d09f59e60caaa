"""Versions of a picture, ours and of other codecs at the same size, with honest figures."""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..metrics import MS_SSIM_MIN_SIDE, bits_per_pixel, ms_ssim, psnr
from .captions import spaced
from .contact_sheet import Cell
from .peers import Peer, decode, nearest

if TYPE_CHECKING:
    from ..codec import Codec

NEAR = 0.1  # of a size: a file farther away is said to be the codec's smallest or largest


class Version(NamedTuple):
    """A coded picture. ms_ssim: nan where not measured."""

    name: str
    size: int  # bytes
    rgb: np.ndarray  # uint8 [H, W, 3]
    psnr: float  # dB
    ms_ssim: float = math.nan

    @property
    def bpp(self) -> float:
        height, width = self.rgb.shape[:2]
        return bits_per_pixel(self.size, width, height)

    @property
    def cell(self) -> Cell:
        """The version for a sheet: size and distance to the original are its caption."""
        close = f"{self.psnr:.2f} dB"
        if math.isnan(self.ms_ssim):
            return Cell(self.name, f"{spaced(self.size)} B, {self.bpp:.3f} bpp, {close}", self.rgb)
        figures = f"{spaced(self.size)} B, {close}, MS-SSIM {self.ms_ssim:.4f}"
        return Cell(self.name, figures, self.rgb)


def original(rgb: np.ndarray) -> Cell:
    """The picture itself, uint8 [H, W, 3], for a sheet."""
    height, width = rgb.shape[:2]
    return Cell("original", f"{width}x{height}, 24 bpp", rgb)


def ours(codec: "Codec", rgb: np.ndarray, quality: float) -> Version:
    """The picture through a .vqc file."""
    data = codec.encode(rgb, quality)
    decoded = np.asarray(codec.decode(data))
    return Version(f"vqcodec -q {quality:g}", len(data), decoded, psnr(rgb, decoded))


def of_size(peer: Peer, rgb: np.ndarray, size: int) -> Version:
    """The picture through the peer's file whose size is nearest to `size` bytes."""
    quality, data = nearest(lambda quality: peer.save(rgb, quality=quality), size)
    name = f"{peer.label} quality {quality}"
    if abs(len(data) - size) > NEAR * size and not 2 < quality < 98:
        name += ", its smallest" if len(data) > size else ", its largest"
    decoded = decode(data)
    return Version(name, len(data), decoded, psnr(rgb, decoded))


def with_ms_ssim(version: Version, rgb: np.ndarray) -> Version:
    """The version with its MS-SSIM, nan if the picture is too small.

    Raises ImportError where pytorch-msssim is not installed.
    """
    if min(rgb.shape[:2]) < MS_SSIM_MIN_SIDE:
        return version
    return version._replace(ms_ssim=ms_ssim(rgb, version.rgb))
