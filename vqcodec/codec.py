"""Codec: pictures <-> .vqc bytes, and the indices between them.

The only module that knows both tensors and bytes. Forward: pixels, latents, indices, payload,
container; back the same way. Indices are exact on every machine; pixels are float work that
may differ by one level in 255.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image

from .bitstream import chunks, container
from .bitstream.container import Header
from .bitstream.salvage import TileState, salvage
from .engine import downscaled, tiling
from .engine.concealment import conceal, tile_notices
from .engine.tiling import Maps
from .engine.torch.decoder_blend import Painters
from .engine.torch.refinement import HALO, search
from .engine.torch.scheduling import AT_ONCE, Ahead
from .engine.torch.tile_coder import Coded, TileCoder
from .entropy import symbols
from .entropy.sampler import Drawing
from .errors import CorruptError, UnknownModelError, VqcodecError
from .geometry import MAX_PIXELS, Rectangle, grid_of, latents_across, pixels_of, widened
from .image import pixels
from .image.metadata import Metadata, to_info
from .image.pixels import Source
from .image.strips import Strips, to_image
from .nn.prior import LevelTables
from .nn.transforms import convolution_type
from .rate_control import DEFAULT_EFFORT, DEFAULT_QUALITY, EFFORTS, FIDELITY, Setting, setting
from .zoo import shipped, weights

Crop = tuple[int, int, int, int]  # x, y, width, height in pixels
Result = TypeVar("Result")


class Rescued(NamedTuple):
    """What `Codec.decode_damaged` painted. states: of each tile, in raster order; LOST ones are
    painted from their neighbours, COARSE ones lack detail. notices: what is missing, one
    phrase each; none for a sound file."""

    image: Image.Image
    states: tuple[TileState, ...]
    notices: tuple[str, ...]


class Indices(NamedTuple):
    """A picture as tokens.

    words: int32 [h, w, C], h = ceil(height / 16), w = ceil(width / 16). Channels are in the
    order of coding, low frequencies first. An entry is the number of a word in the codebook
    that the prior picks for its place, given what comes before it; -1 where the word is that
    of the channel before (a pair). FORMAT.md, "Indices", has the details.
    grey: the picture has one channel.
    """

    model_id: bytes
    level: int
    width: int
    height: int
    words: np.ndarray
    grey: bool = False


def _pick_device(name: str | None) -> torch.device:
    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


class Codec:
    """A loaded model, ready to encode and decode. Use from several threads is safe."""

    def __init__(
        self, model: weights.Model, device: str | None = None, engine: torch.dtype = torch.float32
    ):
        """engine: float32 or float64, the type in which the integer prior computes; both give
        the same indices for the same file."""
        tiling.keep_pages()
        self.model = model
        self.device = _pick_device(device)
        self.network = copy.deepcopy(model.network)
        self.network.to(self.device, memory_format=torch.channels_last)
        self.network.prior.to(engine)
        self.network.codebooks.to(engine)
        self.network.fixed_tables = LevelTables(
            *(table.to(self.device, engine) for table in model.network.fixed_tables)
        )
        self.painters = Painters(self.network, model.realism)
        fast = convolution_type(self.device)
        self.network.encoder.to(fast)
        self.searched = self.network.with_decoder(copy.deepcopy(self.network.decoder).to(fast))
        self.tiles = TileCoder(self.network, symbols.make_tables(model.freqs), engine)
        if self.device.type != "cpu":
            self._check_exact()

    @torch.inference_mode()
    def _check_exact(self) -> None:
        """Compare the integer prior on this device with the CPU's, on a small tile: a device
        that computes it in another way would write files that nobody else can read."""
        side, level = 16, self.model.config.transform.levels - 1
        noise = torch.Generator().manual_seed(0)
        y = 3 * torch.randn(1, self.model.config.transform.latents, side, side, generator=noise)
        expected = TileCoder(self.model.network, self.tiles.tables, torch.float32).encode(
            y, level, FIDELITY
        )
        try:
            found = self.tiles.decode(expected.segments, side, side, level).words
        except CorruptError:
            found = None
        if not np.array_equal(found, expected.words):
            raise VqcodecError(f"device {self.device} does not compute the prior exactly: use cpu")

    @classmethod
    def load(cls, model: str | Path | None = None, device: str | None = None) -> "Codec":
        """A shipped model by name (None: the default), or a model folder by path.

        device: as torch names it; None or "auto": a GPU of CUDA if there is one, else the CPU.
        Raises UnknownModelError, ModelError; VqcodecError for a device that is not exact.
        """
        if model is None:
            model = shipped.default_name()
        folder = Path(model)
        if folder.is_dir():
            return cls(weights.load_folder(folder), device)
        return cls(weights.load_shipped(str(model)), device)

    @classmethod
    @lru_cache(maxsize=4)
    def shared(cls, model_id: bytes | None = None) -> "Codec":
        """The process's codec for a model id (None: the default model), loaded once."""
        return cls.load(None if model_id is None else shipped.name_of(model_id))

    def encode(
        self,
        image: Source,
        quality: float | Setting = DEFAULT_QUALITY,
        *,
        effort: int = DEFAULT_EFFORT,
        max_pixels: int = MAX_PIXELS,
    ) -> bytes:
        """Compress a picture (path, file object, bytes, PIL image or uint8 array) to .vqc bytes.

        image: alpha, ICC profile, EXIF and XMP are kept; `pixels.load` gives a Picture, which
        may be encoded as well, to take them away from.
        quality: 0 (smallest) to 100 (closest), need not be whole; or the level and fidelity that
        it stands for.
        effort: 1 (fastest) to 9: how long to search for better indices for this picture.
        Raises InputError, ImageTooLargeError; ValueError for a quality or effort out of range.
        """
        picture = pixels.load(image, max_pixels)
        header, tiles = self._encode(picture, quality, effort, max_pixels)
        beside = chunks.alpha_chunks(picture.alpha) + chunks.metadata_chunks(picture.metadata)
        return container.pack(header, [tile.segments for tile in tiles], beside)

    def encode_indices(
        self,
        image: Source,
        quality: float = DEFAULT_QUALITY,
        *,
        effort: int = DEFAULT_EFFORT,
        max_pixels: int = MAX_PIXELS,
    ) -> Indices:
        """The tokens of a picture: those that `encode` would write. Raises as `encode`."""
        header, tiles = self._encode(image, quality, effort, max_pixels)
        return self._indices(header, tiles)

    def decode(
        self,
        data: bytes,
        *,
        crop: Crop | None = None,
        scale: int = 1,
        realism: float = 0.0,
        max_pixels: int = MAX_PIXELS,
    ) -> Image.Image:
        """Paint the picture of a .vqc file: RGB, or L if it is grey, and RGBA or LA if it has
        alpha. Its metadata goes to the image's `info`, under the names of Pillow: `icc_profile`,
        `exif` and `xmp`.

        crop: x, y, width and height in pixels of the part to paint; None paints all. Of a large
        picture only the tiles that matter to it are decoded.
        scale: 1, 2, 4 or 8; the picture, or the crop of it, is painted at 1/scale of its size,
        rounded up. At 4 and 8 that takes a fraction of the time, and realism changes nothing.
        realism: from 0, least squared error, to 1, believable texture; more than 0 needs a model
        with a second decoder. The bytes of a file do not depend on it.

        Raises FormatError if the bytes are not a whole, undamaged file, UnknownModelError if
        it was made with another model than this one, ImageTooLargeError, NoDecoderError;
        ValueError for a crop that is not inside the picture, a scale or realism out of range.
        """
        strips = self.decode_strips(
            data, crop=crop, scale=scale, realism=realism, max_pixels=max_pixels
        )
        return _image(strips)

    def decode_strips(
        self,
        data: bytes,
        *,
        crop: Crop | None = None,
        scale: int = 1,
        realism: float = 0.0,
        max_pixels: int = MAX_PIXELS,
    ) -> Strips:
        """As `decode`, strip by strip while they are asked for: a large picture is never held
        as a whole. Raises as `decode`, some CorruptErrors only from `rows`."""
        file = container.unpack(data, max_pixels)
        header = file.header
        self._check(header.model_id, header.level)
        metadata = chunks.read_metadata(file.chunks).upright()
        alpha = chunks.read_alpha(file.chunks, header.width, header.height)
        place, painter = downscaled.place_of(header, crop, scale), self.painters.at(realism)
        if downscaled.is_quick(self.model.config, place, scale):
            rows = downscaled.paint(self.tiles, file, place, scale)
        else:
            rows = tiling.paint(
                painter, header, place, lambda *tile: self._read_tile(file, *tile).latents
            )
            rows = downscaled.shrink_rows(rows, scale)
        return downscaled.strips(header, place, scale, rows, alpha, metadata)

    def decode_damaged(
        self,
        data: bytes,
        *,
        crop: Crop | None = None,
        scale: int = 1,
        realism: float = 0.0,
        max_pixels: int = MAX_PIXELS,
    ) -> Rescued:
        """Paint what can be saved of a damaged or truncated .vqc file, and guess the rest. A sound
        file gives what `decode` does.

        Raises FormatError if the header or every tile is lost, else as `decode`.
        """
        found = salvage(data, max_pixels)
        header = found.header
        self._check(header.model_id, header.level)
        place, painter = downscaled.place_of(header, crop, scale), self.painters.at(realism)
        with torch.inference_mode():
            latents, states = conceal(self.tiles, found)
        alpha, metadata, notices = chunks.read_damaged(found.chunks, header.width, header.height)
        rows = tiling.paint(painter, header, place, lambda _, tile: latents.cut(tile))
        rows = downscaled.shrink_rows(rows, scale)
        strips = downscaled.strips(header, place, scale, rows, alpha, metadata.upright())
        tail = () if found.ended else ("the file's end is damaged: alpha or metadata may be lost",)
        return Rescued(_image(strips), states, (*tile_notices(states), *notices, *tail))

    def read_indices(self, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Indices:
        """The tokens of a .vqc file, without painting it. Raises as `decode`."""
        file = container.unpack(data, max_pixels)
        self._check(file.header.model_id, file.header.level)
        return self._indices(file.header, self._tiles(file.header, partial(self._read_tile, file)))

    def read_tables(self, data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
        """Which table codes each index: int16 [h, w, C], the place in `model.freqs`, -1 where
        nothing is coded. With it an index has a meaning of its own: word k of the table's
        codebook. Raises as `decode`."""
        file = container.unpack(data, max_pixels)
        self._check(file.header.model_id, file.header.level)
        shape = (*_grid(file.header), self.model.config.transform.latents)
        tables = np.empty(shape, dtype=np.int16)
        tiles = self._tiles(file.header, partial(self._read_tile, file))
        for tile, place in zip(tiles, container.tile_grid(file.header), strict=True):
            _cut_words(tables, place)[:] = tile.tables
        return tables

    def decode_indices(self, indices: Indices, *, realism: float = 0.0) -> Image.Image:
        """Paint tokens, which have no alpha. realism: as of `decode`. Raises UnknownModelError for
        those of another model, NoDecoderError; ValueError if their shape or a word does not fit."""
        header = self._header_of(indices)
        place = Rectangle(0, 0, header.width, header.height)
        rows = tiling.paint(
            self.painters.at(realism),
            header,
            place,
            lambda _, tile: self._replay(indices, tile).latents,
        )
        channels = 1 if header.grey else 3
        return to_image(Strips(header.width, header.height, channels, Metadata(), rows))

    def write_indices(self, indices: Indices) -> bytes:
        """The .vqc file of tokens: the inverse of `read_indices`. Raises as `decode_indices`."""
        header = self._header_of(indices)
        tiles = [self._replay(indices, tile).segments for tile in container.tile_grid(header)]
        return container.pack(header, tiles)

    @torch.inference_mode()
    def redraw_indices(self, indices: Indices, keep: int, drawing: Drawing) -> Indices:
        """Tokens with the same words in the first `keep` passes of the prior and drawn ones in
        the others, whose words in `indices` do not matter. Raises as `decode_indices`."""
        header = self._header_of(indices)
        tiles = (
            self.tiles.redraw(_cut_words(indices.words, tile), indices.level, keep, drawing)
            for tile in container.tile_grid(header)
        )
        return self._indices(header, tiles)

    def _encode(
        self, image: Source, quality: float | Setting, effort: int, max_pixels: int
    ) -> tuple[Header, Iterator[Coded]]:
        """The tiles come one by one, while they are asked for."""
        best = quality
        if not isinstance(best, Setting):
            best = setting(best, self.model.config.transform.levels)
        if effort not in EFFORTS:
            raise ValueError(f"effort is {effort}, expected {EFFORTS[0]}..{EFFORTS[-1]}")
        picture = pixels.load(image, max_pixels)
        header = self._header(best.level, *picture.rgb.shape[1::-1], picture.grey)
        container.check_tiles(header, max_pixels)
        encode = partial(self._encode_tile, picture.rgb, header, best, effort)
        most = AT_ONCE if effort == 1 else 1  # a search takes 0.8 GB
        return header, self._tiles(header, lambda _, tile: encode(tile), most)

    @torch.inference_mode()
    def _encode_tile(
        self, rgb: np.ndarray, header: Header, setting: Setting, effort: int, tile: Rectangle
    ) -> Coded:
        whole = grid_of(header.width, header.height)
        place = widened(tile, HALO if effort > 1 else 0, whole)
        y = Maps(tiling.analyse(self.network, rgb, header.level, place), place)
        # Search would bring back what a network with a task takes away.
        if effort == 1 or self.model.config.task is not None:
            return self.tiles.encode(y.cut(tile), header.level, setting.fidelity)
        own = pixels_of(tile)
        part = rgb[own.y : own.y + own.height, own.x : own.x + own.width]
        choice = search(self.searched, part, y, tile, setting, effort)
        return self.tiles.encode(choice.latents, header.level, setting.fidelity)

    def _tiles(
        self, header: Header, work: Callable[[int, Rectangle], Result], most: int = AT_ONCE
    ) -> Iterator[Result]:
        """What `work` makes of the number and place of each tile, a few at a time."""
        places = list(enumerate(container.tile_grid(header)))
        with Ahead(self.device, min(most, len(places))) as ahead:
            yield from ahead.map(lambda tile: work(*tile), places)

    @torch.inference_mode()
    def _read_tile(self, file: container.Unpacked, number: int, place: Rectangle) -> Coded:
        segments = file.tiles[number]
        return self.tiles.decode(segments, place.height, place.width, file.header.level)

    @torch.inference_mode()
    def _replay(self, indices: Indices, place: Rectangle) -> Coded:
        return self.tiles.replay(_cut_words(indices.words, place), indices.level)

    def _header_of(self, indices: Indices) -> Header:
        """Raises UnknownModelError; ValueError if the words are not of the picture's shape."""
        header = self._header(indices.level, indices.width, indices.height, indices.grey)
        self._check(indices.model_id, indices.level)
        shape = (*_grid(header), self.model.config.transform.latents)
        if indices.words.shape != shape:
            raise ValueError(f"words are {list(indices.words.shape)}, expected {list(shape)}")
        return header

    def _header(self, level: int, width: int, height: int, grey: bool) -> Header:
        tile_log2 = container.choose_tile_log2(width, height)
        return Header(self.model.id, level, width, height, tile_log2, grey)

    def _check(self, model_id: bytes, level: int) -> None:
        if model_id != self.model.id:
            raise UnknownModelError(
                f"made with model {model_id.hex()}, but this codec has {self.model.id.hex()}"
            )
        levels = self.model.config.transform.levels
        if level >= levels:
            raise CorruptError(f"level is {level}, expected less than {levels}")

    def _indices(self, header: Header, tiles: Iterable[Coded]) -> Indices:
        words = np.empty((*_grid(header), self.model.config.transform.latents), dtype=np.int32)
        for tile, place in zip(tiles, container.tile_grid(header), strict=True):
            _cut_words(words, place)[:] = tile.words
        size = header.width, header.height
        return Indices(header.model_id, header.level, *size, words, header.grey)


def _image(strips: Strips) -> Image.Image:
    image = to_image(strips)
    image.info.update(to_info(strips.metadata))
    return image


def _grid(header: Header) -> tuple[int, int]:
    """Height and width in latents."""
    return latents_across(header.height), latents_across(header.width)


def _cut_words(words: np.ndarray, tile: Rectangle) -> np.ndarray:
    """The tile's view of [h, w, C]."""
    return words[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
