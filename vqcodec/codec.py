"""Codec: pictures <-> .vqc bytes, and the indices between them.

The only module that knows both tensors and bytes. Forward: pixels, latents, indices, payload,
container; back the same way. Indices are exact on every machine; pixels are float work that
may differ by one level in 255.
"""

import copy
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import chunks, container, pixels, shipped, symbols, weights
from .container import Header, Rectangle
from .errors import CorruptError, UnknownModelError
from .geometry import MAX_PIXELS, latents_across
from .metadata import to_info
from .nn.prior import LevelTables
from .pixels import Source
from .rate_control import DEFAULT_QUALITY, setting
from .tile_coder import Coded, TileCoder


class Indices(NamedTuple):
    """A picture as tokens.

    words: int32 [h, w, C], h = ceil(height / 16), w = ceil(width / 16). Channels are in the
    order of coding, low frequencies first. An entry is the number of a word in the codebook
    that the prior picks for its place, given what comes before it; -1 where the word is that
    of the channel before (a pair). FORMAT.md, "Indices", has the details.
    """

    model_id: bytes
    level: int
    width: int
    height: int
    words: np.ndarray


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
        self.model = model
        self.device = _pick_device(device)
        self.network = copy.deepcopy(model.network)
        self.network.to(self.device, memory_format=torch.channels_last)
        self.network.prior.to(engine)
        self.network.codebooks.to(engine)
        self.network.fixed_tables = LevelTables(
            *(table.to(self.device, engine) for table in model.network.fixed_tables)
        )
        self.tiles = TileCoder(self.network, symbols.make_tables(model.freqs), engine)

    @classmethod
    def load(cls, model: str | Path | None = None, device: str | None = None) -> "Codec":
        """A shipped model by name (None: the default), or a model folder by path.

        Raises UnknownModelError or ModelError.
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
        self, image: Source, quality: float = DEFAULT_QUALITY, *, max_pixels: int = MAX_PIXELS
    ) -> bytes:
        """Compress a picture (path, file object, bytes, PIL image or uint8 array) to .vqc bytes.

        image: alpha, ICC profile, EXIF and XMP are kept; `pixels.load` gives a Picture, which
        may be encoded as well, to take them away from.
        quality: 0 (smallest) to 100 (closest), need not be whole.
        Raises InputError, ImageTooLargeError; ValueError for a quality out of range.
        """
        picture = pixels.load(image, max_pixels)
        header, tiles = self._encode(picture, quality, max_pixels)
        beside = chunks.alpha_chunks(picture.alpha) + chunks.metadata_chunks(picture.metadata)
        return container.pack(header, [tile.segments for tile in tiles], beside)

    def encode_indices(
        self, image: Source, quality: float = DEFAULT_QUALITY, *, max_pixels: int = MAX_PIXELS
    ) -> Indices:
        """The tokens of a picture: those that `encode` would write. Raises as `encode`."""
        header, tiles = self._encode(image, quality, max_pixels)
        return self._indices(header, tiles)

    def decode(self, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
        """Paint the picture of a .vqc file: RGB, or RGBA if it has alpha. Its metadata goes to
        the image's `info`, under the names of Pillow: `icc_profile`, `exif` and `xmp`.

        Raises FormatError if the bytes are not a whole, undamaged file, UnknownModelError if
        it was made with another model than this one, ImageTooLargeError.
        """
        file = container.unpack(data, max_pixels)
        metadata = chunks.read_metadata(file.chunks).upright()
        alpha = chunks.read_alpha(file.chunks, file.header.width, file.header.height)
        image = self._paint(*self._read(file))
        if alpha is not None:
            image.putalpha(Image.fromarray(alpha))
        image.info.update(to_info(metadata))
        return image

    def read_indices(self, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Indices:
        """The tokens of a .vqc file, without painting it. Raises as `decode`."""
        return self._indices(*self._read(container.unpack(data, max_pixels)))

    def decode_indices(self, indices: Indices) -> Image.Image:
        """Paint tokens, which have no alpha. Raises UnknownModelError for those of another model,
        ValueError if their shape or a word does not fit."""
        return self._paint(*self._replay(indices))

    def write_indices(self, indices: Indices) -> bytes:
        """The .vqc file of tokens: the inverse of `read_indices`. Raises as `decode_indices`."""
        header, tiles = self._replay(indices)
        return container.pack(header, [tile.segments for tile in tiles])

    @torch.inference_mode()
    def _encode(self, image: Source, quality: float, max_pixels: int) -> tuple[Header, list[Coded]]:
        level, fidelity = setting(quality, self.model.config.transform.levels)
        rgb = pixels.load(image, max_pixels).rgb
        header = self._header(level, rgb.shape[1], rgb.shape[0])
        y = self._analyse(pixels.pad(rgb), level)
        parts = [_cut(y, tile) for tile in container.tile_grid(header)]
        return header, [self.tiles.encode(part, level, fidelity) for part in parts]

    @torch.inference_mode()
    def _read(self, file: container.Unpacked) -> tuple[Header, list[Coded]]:
        header, segments, _ = file
        self._check(header.model_id, header.level)
        tiles = []
        for payload, place in zip(segments, container.tile_grid(header), strict=True):
            tiles.append(self.tiles.decode(payload, place.height, place.width, header.level))
        return header, tiles

    @torch.inference_mode()
    def _replay(self, indices: Indices) -> tuple[Header, list[Coded]]:
        header = self._header(indices.level, indices.width, indices.height)
        self._check(indices.model_id, indices.level)
        shape = (*_grid(header), self.model.config.transform.latents)
        if indices.words.shape != shape:
            raise ValueError(f"words are {list(indices.words.shape)}, expected {list(shape)}")
        parts = [_cut_words(indices.words, tile) for tile in container.tile_grid(header)]
        return header, [self.tiles.replay(part, indices.level) for part in parts]

    def _header(self, level: int, width: int, height: int) -> Header:
        tile_log2 = container.choose_tile_log2(width, height)
        return Header(self.model.id, level, width, height, tile_log2)

    def _check(self, model_id: bytes, level: int) -> None:
        if model_id != self.model.id:
            raise UnknownModelError(
                f"made with model {model_id.hex()}, but this codec has {self.model.id.hex()}"
            )
        levels = self.model.config.transform.levels
        if level >= levels:
            raise CorruptError(f"level is {level}, expected less than {levels}")

    def _indices(self, header: Header, tiles: list[Coded]) -> Indices:
        words = np.empty((*_grid(header), self.model.config.transform.latents), dtype=np.int32)
        for tile, place in zip(tiles, container.tile_grid(header), strict=True):
            _cut_words(words, place)[:] = tile.words
        return Indices(header.model_id, header.level, header.width, header.height, words)

    def _analyse(self, rgb: np.ndarray, level: int) -> Tensor:
        """uint8 [H, W, 3], H and W multiples of 16 -> latents in steps [1, C, h, w]."""
        x = torch.from_numpy(rgb).to(self.device).permute(2, 0, 1)[None].float() / 255
        x = x.contiguous(memory_format=torch.channels_last)
        return self.network.analyse(x, torch.tensor([level], device=self.device))

    @torch.inference_mode()
    def _paint(self, header: Header, tiles: list[Coded]) -> Image.Image:
        latents = torch.empty(1, self.model.config.transform.latents, *_grid(header))
        latents = latents.to(self.device, memory_format=torch.channels_last)
        for tile, place in zip(tiles, container.tile_grid(header), strict=True):
            _cut(latents, place).copy_(tile.latents)
        levels = torch.tensor([header.level], device=self.device)
        x = self.network.synthesise(latents, levels)[0, :, : header.height, : header.width]
        rgb = (x * 255 + 0.5).clamp(0, 255).byte().permute(1, 2, 0)
        return Image.fromarray(np.ascontiguousarray(rgb.cpu().numpy()))


def _grid(header: Header) -> tuple[int, int]:
    """Height and width in latents."""
    return latents_across(header.height), latents_across(header.width)


def _cut(maps: Tensor, tile: Rectangle) -> Tensor:
    """The tile's view of [B, C, h, w]."""
    return maps[:, :, tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]


def _cut_words(words: np.ndarray, tile: Rectangle) -> np.ndarray:
    """The tile's view of [h, w, C]."""
    return words[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
