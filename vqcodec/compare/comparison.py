"""One picture through several codecs at the same size, with bytes and how close they are."""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..metrics import bits_per_pixel
from .captions import spaced
from .closeness import Measure
from .contact_sheet import ORIGINAL, Cell
from .peers import Peer, decode, nearest

if TYPE_CHECKING:
    from ..codec import Codec

NEAR = 0.1  # of a size: a file farther away is said to be the codec's smallest or largest


class CodedPicture(NamedTuple):
    """What one codec makes of the picture. closeness: what was measured; nan where the picture is
    too small for it."""

    name: str
    size: int  # bytes
    rgb: np.ndarray  # uint8 [H, W, 3]
    closeness: tuple[tuple[Measure, float], ...] = ()

    @property
    def bpp(self) -> float:
        height, width = self.rgb.shape[:2]
        return bits_per_pixel(self.size, width, height)

    @property
    def cell(self) -> Cell:
        """For a contact sheet or a page: size and closeness to the original are its caption."""
        close = tuple(m.said(value) for m, value in self.closeness if not math.isnan(value))
        return Cell(self.name, f"{spaced(self.size)} B, {self.bpp:.3f} bpp", self.rgb, close)

    def measured(self, rgb: np.ndarray, measures: list[Measure]) -> "CodedPicture":
        """The same with how close it is to the original."""
        return self._replace(closeness=tuple((m, m.between(rgb, self.rgb)) for m in measures))


def original(rgb: np.ndarray) -> Cell:
    """The picture itself, uint8 [H, W, 3], for a sheet."""
    height, width = rgb.shape[:2]
    return Cell(ORIGINAL, f"{width}x{height}, 24 bpp", rgb)


def ours(codec: "Codec", rgb: np.ndarray, quality: float) -> CodedPicture:
    """The picture through a .vqc file."""
    data = codec.encode(rgb, quality)
    return CodedPicture(f"vqcodec -q {quality:g}", len(data), np.asarray(codec.decode(data)))


def of_size(peer: Peer, rgb: np.ndarray, size: int) -> CodedPicture:
    """The picture through the peer's file whose size is nearest to `size` bytes."""
    quality, data = nearest(lambda quality: peer.save(rgb, quality=quality), size)
    name = f"{peer.label} quality {quality}"
    if abs(len(data) - size) > NEAR * size and not 2 < quality < 98:
        name += ", its smallest" if len(data) > size else ", its largest"
    return CodedPicture(name, len(data), decode(data))


def table(rows: list[tuple[str, CodedPicture]]) -> list[str]:
    """Lines of text: size and closeness of each, behind a word that may be empty."""
    measures = [measure for measure, _ in rows[0][1].closeness]
    width = max(len(word) for word, _ in rows) + 1
    heads = "".join(f"{m.label:>{_column(m)}}" for m in measures)
    lines = [f"{'':{width}}{'':30}{'bytes':>10}{'bpp':>8}{heads}"]
    for word, coded in rows:
        figures = "".join(_figure(*item) for item in coded.closeness)
        size = f"{spaced(coded.size):>10}{coded.bpp:>8.3f}"
        lines.append(f"{word:{width}}{coded.name:30}{size}{figures}")
    return [line.rstrip() for line in lines] if width > 1 else [line[1:] for line in lines]


def _column(measure: Measure) -> int:
    return max(10, len(measure.label) + 2)


def _figure(measure: Measure, value: float) -> str:
    said = "-" if math.isnan(value) else measure.said(value).removeprefix(measure.label).strip()
    return f"{said:>{_column(measure)}}"
