"""One picture through several codecs at the same size, with bytes, PSNR and MS-SSIM."""

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


class CodedPicture(NamedTuple):
    """What one codec makes of the picture. ms_ssim: nan where not measured."""

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
        """For a contact sheet: size and distance to the original are its caption."""
        close = f"{self.psnr:.2f} dB"
        if math.isnan(self.ms_ssim):
            return Cell(self.name, f"{spaced(self.size)} B, {self.bpp:.3f} bpp, {close}", self.rgb)
        figures = f"{spaced(self.size)} B, {close}, MS-SSIM {self.ms_ssim:.4f}"
        return Cell(self.name, figures, self.rgb)


def original(rgb: np.ndarray) -> Cell:
    """The picture itself, uint8 [H, W, 3], for a sheet."""
    height, width = rgb.shape[:2]
    return Cell("original", f"{width}x{height}, 24 bpp", rgb)


def ours(codec: "Codec", rgb: np.ndarray, quality: float) -> CodedPicture:
    """The picture through a .vqc file."""
    data = codec.encode(rgb, quality)
    decoded = np.asarray(codec.decode(data))
    return CodedPicture(f"vqcodec -q {quality:g}", len(data), decoded, psnr(rgb, decoded))


def of_size(peer: Peer, rgb: np.ndarray, size: int) -> CodedPicture:
    """The picture through the peer's file whose size is nearest to `size` bytes."""
    quality, data = nearest(lambda quality: peer.save(rgb, quality=quality), size)
    name = f"{peer.label} quality {quality}"
    if abs(len(data) - size) > NEAR * size and not 2 < quality < 98:
        name += ", its smallest" if len(data) > size else ", its largest"
    decoded = decode(data)
    return CodedPicture(name, len(data), decoded, psnr(rgb, decoded))


def with_ms_ssim(coded: CodedPicture, rgb: np.ndarray) -> CodedPicture:
    """The same with its MS-SSIM, nan if the picture is too small.

    Raises ImportError where pytorch-msssim is not installed.
    """
    if min(rgb.shape[:2]) < MS_SSIM_MIN_SIDE:
        return coded
    return coded._replace(ms_ssim=ms_ssim(rgb, coded.rgb))
