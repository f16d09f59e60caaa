"""The interface of an engine: one model's networks on one backend, numpy arrays in and out.

Maps are [h, w, C], channels last, of one picture. A codec asks for five things: pixels to latents
(`analyse`), latents to pixels (`synthesise`), latents to a tile's payload and back (`tiles`), and
refined latents (`refine`). All else in `engine/` is neutral to the backend.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from ..bitstream.container import Segments
from ..entropy.sampler import IndexSampler
from ..errors import NoDecoderError
from ..geometry import Rectangle, within
from ..rate_control import OperatingPoint
from ..zoo.weights import Model
from .search import Search

REFINEMENT_HALO = 4  # latents around a tile that refinement decodes: as the encoder has them

Item, Result = TypeVar("Item"), TypeVar("Result")


class Maps(NamedTuple):
    """Values [h, w, ...] of a rectangle of a picture."""

    values: np.ndarray
    region: Rectangle

    def cut(self, part: Rectangle) -> np.ndarray:
        """The view of a part of the rectangle."""
        return self.values[within(part, self.region)]


class PassColumns(NamedTuple):
    """What one pass of the prior codes, [M, c]: its positions in raster order by its channels.

    indices: integers, see `codec.Indices`. rows: integers, the row of the tables of each, -1 for
    the second of a pair. mask: bool [h, w], where the positions are.
    """

    indices: np.ndarray
    rows: np.ndarray
    mask: np.ndarray
    channels: slice


class CodedTile(NamedTuple):
    """A tile in its three forms. latents: float32 [h, w, C], in steps of the quantiser."""

    latents: np.ndarray
    segments: Segments
    passes: tuple[PassColumns, ...]

    @property
    def indices(self) -> np.ndarray:
        """int32 [h, w, C], see `codec.Indices`."""
        return self._map([part.indices for part in self.passes], np.int32)

    @property
    def tables(self) -> np.ndarray:
        """int16 [h, w, C]: the row of the tables of each index, -1 where nothing is coded."""
        return self._map([part.rows for part in self.passes], np.int16)

    def _map(self, columns: list[np.ndarray], dtype: type) -> np.ndarray:
        values = np.full(self.latents.shape, -1, dtype=dtype)
        for part, found in zip(self.passes, columns, strict=True):
            values[part.mask, part.channels] = found
        return values


class TileCoder(Protocol):
    """One tile's latents <-> indices <-> payload, by walking the prior's passes: FORMAT.md,
    "Prior". The indices of a payload are the same with every engine."""

    def encode(self, y: np.ndarray, level: int, lambda_scale: float) -> CodedTile:
        """Code latents y, float32 [h, w, C] in steps; lambda_scale: see `OperatingPoint`."""

    def decode(self, segments: Segments, height: int, width: int, level: int) -> CodedTile:
        """Decode a tile of height x width latents. Raises CorruptError if the payload is not
        what an encoder writes."""

    def decode_start(
        self, segments: Segments, height: int, width: int, level: int, count: int
    ) -> np.ndarray:
        """Decode the first `count` passes, the coarse ones or more: their latents float32
        [h, w, c], of the channels that they code, or of all C with zeros. Raises CorruptError as
        `decode`."""

    def decode_coarse(self, payload: bytes, height: int, width: int, level: int) -> CodedTile:
        """Decode the coarse segment of a tile whose fine one is lost: the other passes take the
        prior's means. Raises CorruptError as `decode`."""

    def replay(self, indices: np.ndarray, level: int) -> CodedTile:
        """Code given indices, int32 [h, w, C]. Raises ValueError for ones that do not fit."""

    def resample(
        self, indices: np.ndarray, level: int, keep: int, sampler: IndexSampler
    ) -> CodedTile:
        """Keep the indices of the first `keep` passes, as `replay`, and draw all others anew."""

    def complete(
        self, given: np.ndarray, known: np.ndarray, level: int, sampler: IndexSampler | None
    ) -> CodedTile:
        """A tile of which a part is known. given: float32 [h, w, C] in steps, of the coarse
        passes' channels everywhere, of the others where `known`, bool [h, w]. The rest is drawn
        or, without a sampler, takes the prior's means."""


class Calls(Protocol):
    """A context in which calls are made a few ahead of their use, several at a time."""

    def __enter__(self) -> "Calls": ...

    def __exit__(self, *exception: object) -> None: ...

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item], depth: int | None = None
    ) -> Iterator[Result]:
        """The results of `work` on each item, in order; see `scheduling.Ahead`."""


class Engine(Protocol):
    """The networks of a model on one backend. Use from several threads is safe."""

    model: Model
    device: str  # as reports have it
    tiles: TileCoder

    def analyse(self, rgb: np.ndarray, level: int) -> np.ndarray:
        """Pixels [16 h, 16 w, 3], uint8 or float32 in 0..1 -> latents float32 [h, w, C], in
        steps."""

    def synthesise(
        self,
        latents: np.ndarray,
        level: int,
        realism: float = 0.0,
        origin: tuple[int, int] = (0, 0),
        part: Rectangle | None = None,
    ) -> np.ndarray:
        """Latents float32 [h, w, C] in steps -> pixels float32 [16 h, 16 w, 3], about 0..1.

        realism: 0..1, between the two decoders. origin: row and column of the first latent in the
        picture; grain depends on it. part: the latents whose pixels are wanted, and come; None:
        all. Raises NoDecoderError, ValueError as `check_realism`.
        """

    def synthesise_affine(self, latents: np.ndarray, level: int) -> np.ndarray:
        """As `synthesise`, by a decoder without its residual blocks: an affine map from each
        latent to its 16 x 16 pixels."""

    def refine(
        self, rgb: np.ndarray, around: Maps, tile: Rectangle, point: OperatingPoint, search: Search
    ) -> CodedTile:
        """A tile with indices that cost less than those of the encoder's latents.

        rgb: its pixels, as of `analyse`, [H, W, 3], without padding. around: the encoder's latents
        of the tile and a halo. search: of effort 2 to 9.
        """

    def ahead(self, most: int) -> Calls:
        """A context for at most so many calls at a time, with the backend's threads divided."""


def blended(model: Model, weight: float) -> dict[str, np.ndarray]:
    """float32 tensors of a decoder between the first, weight 0, and the realism decoder, 1, by
    the names of the latter."""
    found = {}
    for name, end in model.realism.items():
        end = end.astype(np.float32)
        start = model.tensors.get(name, np.float32(0))  # the first has no grain
        found[name] = start + (end - start) * np.float32(weight)
    return found


def check_realism(realism: float, model: Model) -> None:
    """Raise NoDecoderError if there is no second decoder and realism is not 0; ValueError for
    numbers out of 0..1."""
    if not 0 <= realism <= 1:
        raise ValueError(f"realism is {realism}, expected 0..1")
    if realism and model.realism is None:
        raise NoDecoderError(
            f"realism is {realism:g}, but the model has no realism decoder: expected 0"
        )
