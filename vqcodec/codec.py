"""Codec: pictures <-> .vqc bytes, and the indices between them.

Forward: pixels, latents, indices, payload, container; back the same way. What computes the
networks is an engine (`engine/`), asked for here and nowhere named. Indices are exact on every
machine and engine; pixels are float work that may differ by a level or two in 255.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from .bitstream import chunks, container
from .bitstream.container import Exact, Header
from .bitstream.salvage import TileState, salvage
from .bitstream.source import FileSource, read_source
from .engine import exact_tiles, reading, tiling
from .engine.assembly import assemble, depth_of, whole
from .engine.base import CodedTile, Engine, check_realism
from .engine.concealment import Rescued
from .engine.search import Search, search_of
from .engine.select import LOADING, Engines
from .entropy.sampler import IndexSampler
from .errors import CorruptError, NoIndicesError, UnknownModelError
from .geometry import MAX_PIXELS, Rectangle, latents_across, region_of, within
from .image import pixels
from .image.depth import BYTE
from .image.metadata import Metadata
from .image.pixels import Picture, Source
from .image.strips import Strips, to_image
from .progress import Progress, followed, listener
from .rate_control import DEFAULT_QUALITY, OperatingPoint, operating_point
from .tokens import Indices
from .zoo import shipped, weights
from .zoo.weights import Model

Crop = tuple[int, int, int, int]  # x, y, width, height in pixels


class Codec:
    """A loaded model, ready to encode and decode. Use from several threads is safe."""

    _shared: dict[bytes, "Codec"] = {}  # noqa: RUF012  guarded by LOADING

    def __init__(self, model: Model, device: str | None = None, precise: bool = False):
        """device, precise: as of `load`. Networks are set up when they are first needed."""
        self.model = model
        self._engines = Engines(model, device, precise)
        self._name: str | None = None  # of a shipped model

    @classmethod
    def load(
        cls, model: str | Path | None = None, device: str | None = None, precise: bool = False
    ) -> "Codec":
        """A shipped model by name (None: the default), or a model folder by path: a Path, or text
        with a separator in it.

        device: where the networks run. None or "auto": ONNX Runtime; torch where it is
        imported already, or where the picture is large and it is there, and then on a GPU of CUDA
        if there is one. "cpu": torch's CPU where torch is installed.
        "onnx": ONNX Runtime. Others: as torch names them.
        precise: never in bfloat16, which moves pixels by up to two levels in 255; pictures that are
        decoded to more than 8 bits never are.
        Raises UnknownModelError; ModelError, for a shipped model's tensors when they are needed.
        """
        if model is None:
            model = shipped.default_name()
        if shipped.is_path(model):
            return cls(weights.load_folder(Path(model)), device, precise)
        codec = cls(weights.load_shipped(model), device, precise)
        codec._name = model
        return codec

    @classmethod
    def shared(cls, model_id: bytes | None = None) -> "Codec":
        """The process's codec for a model id (None: the default model), loaded once."""
        entry = (
            shipped.find(shipped.default_name()) if model_id is None else shipped.entry_of(model_id)
        )
        with LOADING.lock:
            if entry.id not in cls._shared:
                cls._shared[entry.id] = cls.load(entry.name)
            return cls._shared[entry.id]

    def __reduce__(self):
        how = self._engines.device, self._engines.precise
        if self._name is not None:
            return Codec.load, (self._name, *how)
        return Codec, (self.model, *how)

    @property
    def engine(self) -> Engine:
        """What computes pictures that are not large. Raises as `Engines.pick`."""
        return self._engines.pick()

    @property
    def device(self) -> str:
        """Where the networks run, for reports."""
        return self.engine.device

    @overload
    def encode(self, image: list, *rest: Any, **options: Any) -> list[bytes]: ...
    @overload
    def encode(self, image: Source, *rest: Any, **options: Any) -> bytes: ...

    def encode(
        self,
        image: Source | list[Source],
        quality: float | OperatingPoint = DEFAULT_QUALITY,
        *,
        effort: int | None = None,
        tune: str | None = None,
        depth: int | None = None,
        lossless: bool = False,
        exact: bool = True,
        max_pixels: int = MAX_PIXELS,
        progress: Progress = None,
    ) -> bytes | list[bytes]:
        """Compress a picture (path, file object, bytes, PIL image, array or tensor, as
        `pixels.load` has it) to .vqc bytes; a list of pictures to a list.

        image: alpha, ICC profile, EXIF and XMP are kept; `pixels.load` gives a Picture, which
        may be encoded as well, to take them away from.
        quality: 0 (smallest) to 100 (closest), need not be whole; or an operating point.
        effort: 1 (none) to 9: how long to search for better indices for this picture. None: 4
        to 1 by its size, as `rate_control.default_effort` has it.
        tune: what the search keeps low: "psnr", the squared error, or "eyes", half of it and what
        eyes see beside it. None: what the model was trained for.
        depth: bits of a channel, 8 to 16, that the picture is to have, and of a uint16 array those
        that it uses. None: the source's; 16 of uint16, 8 of floats.
        lossless: all pixels are exact, whatever the quality. exact: text and drawings are, from
        quality 75 on, nearly so below, where that is better; without, a file has indices of all.
        progress: called with the share done, 0..1, after each tile, and each that is tried for
        exact parts, or each picture of a list; True: a bar on stderr.
        Raises InputError, ImageTooLargeError, MissingExtraError; ValueError for a quality,
        effort, tune or depth out of range; TypeError for what is no picture.
        """
        if isinstance(image, list):
            how = {"effort": effort, "tune": tune, "depth": depth, "max_pixels": max_pixels}
            how |= {"lossless": lossless, "exact": exact}
            encode = partial(self.encode, quality=quality, **how)
            return list(followed(map(encode, image), len(image), progress))
        picture = pixels.load(image, max_pixels, depth)
        search = search_of(self.model.config, effort, tune, picture.rgb.shape)
        beside = chunks.alpha_chunks(picture.alpha) + chunks.metadata_chunks(picture.metadata)
        if lossless:
            header = exact_tiles.without_networks(self._header_for(picture, 0, max_pixels))
            exact = exact_tiles.without_loss(picture.rgb, header)
            exact = list(followed(exact, container.tile_count(header), progress))
            return container.pack(header, (), beside, exact)
        header, tiles, exact = self._encode(picture, quality, search, max_pixels, exact, progress)
        return container.pack(header, [tile.segments for tile in tiles], beside, exact)

    def encode_indices(
        self,
        image: Source,
        quality: float = DEFAULT_QUALITY,
        *,
        effort: int | None = None,
        tune: str | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> Indices:
        """The tokens of a picture: those that `encode` would write, had it no exact blocks. Raises
        as `encode`."""
        picture = pixels.load(image, max_pixels, None)
        search = search_of(self.model.config, effort, tune, picture.rgb.shape)
        header, tiles, _ = self._encode(picture, quality, search, max_pixels)
        return self._indices(header, tiles)

    @overload
    def decode(self, data: FileSource, *, depth: None = None, **options: Any) -> Image.Image: ...
    @overload
    def decode(self, data: FileSource, *, depth: int, **options: Any) -> np.ndarray: ...

    def decode(
        self,
        data: FileSource,
        *,
        depth: int | None = None,
        crop: Crop | None = None,
        scale: int = 1,
        realism: float = 0.0,
        max_pixels: int = MAX_PIXELS,
        progress: Progress = None,
    ) -> Image.Image | np.ndarray:
        """The picture of a .vqc file (bytes, path or file object): RGB, or L if it is grey, and
        RGBA or LA if it has alpha. Its metadata goes to the image's `info`, under the names of
        Pillow: `icc_profile`, `exif` and `xmp`; the numbers of its colours, where the file has
        them, as `cicp`.

        depth: None: a Pillow image, of 8 bits whatever the file has. 8 to 16: an array instead, of
        levels of so many bits, uint8 or, above 8, uint16: [H, W] if it is grey, else [H, W, C]. The
        file's own depth is that of `read_header`.
        crop: x, y, width and height in pixels of the part to decode; None: all. Of a large
        picture only the tiles that matter to it are decoded.
        scale: 1, 2, 4 or 8; the picture, or the crop of it, comes at 1/scale of its size,
        rounded up. At 4 and 8 that takes a fraction of the time, and realism changes nothing.
        realism: from 0, fidelity, to 1, believable texture; more than 0 needs a model with a
        second decoder. The bytes of a file do not depend on it.
        progress: called with the share done, 0..1, after each strip; True: a bar on stderr.

        Raises FormatError if the bytes are not a whole, undamaged file, UnknownModelError if
        it was made with another model than this one, ImageTooLargeError, NoDecoderError;
        ValueError for a crop that is not inside the picture, a depth, scale or realism out of
        range.
        """
        how = {"crop": crop, "scale": scale, "realism": realism, "max_pixels": max_pixels}
        strips = self.decode_strips(data, depth=depth or BYTE, **how)
        strips = strips._replace(rows=followed(strips.rows, strips.height, progress, len))
        return whole(strips, depth)

    def decode_strips(
        self,
        data: FileSource,
        *,
        depth: int | None = None,
        crop: Crop | None = None,
        scale: int = 1,
        realism: float = 0.0,
        max_pixels: int = MAX_PIXELS,
    ) -> Strips:
        """As `decode`, strip by strip while they are asked for: a large picture is never held
        as a whole. depth: bits of a channel, None: the file's. Raises as `decode`, some
        CorruptErrors only from `rows`."""
        file = container.unpack(read_source(data), max_pixels)
        header = file.header
        self._check(header)
        region = region_of(crop, scale, header.width, header.height)
        check_realism(realism, self.model)
        depth, beside = depth_of(depth, header), chunks.read_beside(file.chunks, header)
        rows = reading.rows_of(self._engines.pick, file, region, scale, realism, depth)
        return assemble(header, region, scale, rows, depth, beside)

    def decode_damaged(self, data: FileSource, *, depth: int | None = None, **how: Any) -> Rescued:
        """What can be saved of a damaged or truncated .vqc file, the rest guessed. A sound file
        gives what `decode` does, and arguments are its own, but for `progress`.

        Raises FormatError if the header or every tile is lost, else as `decode`.
        """
        strips, *more = self.decode_damaged_strips(data, depth=depth or BYTE, **how)
        return Rescued(whole(strips, depth), *more)

    def decode_damaged_strips(
        self,
        data: FileSource,
        *,
        depth: int | None = None,
        crop: Crop | None = None,
        scale: int = 1,
        realism: float = 0.0,
        max_pixels: int = MAX_PIXELS,
    ) -> tuple[Strips, tuple[TileState, ...], tuple[str, ...]]:
        """As `decode_damaged`, its picture as of `decode_strips`."""
        found = salvage(read_source(data), max_pixels)
        header = found.header
        self._check(header)
        region = region_of(crop, scale, header.width, header.height)
        check_realism(realism, self.model)
        depth, beside = depth_of(depth, header), chunks.read_damaged(found.chunks, header)
        how = region, scale, realism, depth
        rows, states, lost = reading.rescued_rows(self._engines.pick, found, *how)
        strips = assemble(header, region, scale, rows, depth, beside)
        tail = () if found.ended else ("the file's end is damaged: alpha or metadata may be lost",)
        return strips, states, (*lost, *beside.notices, *tail)

    def read_indices(self, data: FileSource, *, max_pixels: int = MAX_PIXELS) -> Indices:
        """The tokens of a .vqc file, without its pixels; under exact blocks they are of a smooth
        fill. Raises as `decode`, and NoIndicesError for a file of exact pixels alone."""
        file, tiles = self._read(data, max_pixels)
        return self._indices(file.header, tiles)

    def read_tables(self, data: FileSource, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
        """Which table codes each index: int16 [h, w, C], the row of `model.freqs`, -1 where
        nothing is coded. With it an index has a meaning by itself: codeword k of the table's
        codebook. Raises as `decode`."""
        file, tiles = self._read(data, max_pixels)
        shape = (*_grid(file.header), self.model.config.transform.latents)
        tables = np.empty(shape, dtype=np.int16)
        for tile, region in zip(tiles, container.tile_grid(file.header), strict=True):
            tables[within(region)] = tile.tables
        return tables

    def decode_indices(self, indices: Indices, *, realism: float = 0.0) -> Image.Image:
        """The picture of tokens, which have no alpha. realism: as of `decode`. Raises
        UnknownModelError for those of another model, NoDecoderError; ValueError if their shape
        or an index does not fit."""
        header = self._header_of(indices)
        check_realism(realism, self.model)
        engine = self._engines.pick(header.width * header.height)
        region = Rectangle(0, 0, header.width, header.height)
        replay = partial(_replay, engine, indices)
        rows = tiling.synthesise(
            engine, realism, header, region, lambda _, tile: replay(tile).latents
        )
        channels = 1 if header.grey else 3
        return to_image(Strips(header.width, header.height, channels, Metadata(), rows))

    def write_indices(self, indices: Indices) -> bytes:
        """The .vqc file of tokens: the inverse of `read_indices`. Raises as `decode_indices`."""
        header = self._header_of(indices)
        engine = self._engines.pick(header.width * header.height)
        tiles = [_replay(engine, indices, tile) for tile in container.tile_grid(header)]
        return container.pack(header, [tile.segments for tile in tiles])

    def resample_indices(self, indices: Indices, keep: int, sampler: IndexSampler) -> Indices:
        """Tokens with the same indices in the first `keep` passes of the prior and drawn ones in
        the others, which do not matter in `indices`. Raises as `decode_indices`."""
        header = self._header_of(indices)
        coder = self._engines.pick(header.width * header.height).tiles
        tiles = (
            coder.resample(indices.indices[within(tile)], indices.level, keep, sampler)
            for tile in container.tile_grid(header)
        )
        return self._indices(header, tiles)

    def _encode(
        self,
        image: Source,
        quality: float | OperatingPoint,
        search: Search,
        max_pixels: int,
        exact: bool = False,
        progress: Progress = None,
    ) -> tuple[Header, Iterator[CodedTile], tuple[Exact | None, ...]]:
        """The tiles come one by one, while they are asked for. exact: some parts may be so."""
        point, tell = quality, listener(progress)
        if not isinstance(point, OperatingPoint):
            point = operating_point(point, self.model.config.transform.levels)
        picture = pixels.load(image, max_pixels, None)
        header = self._header_for(picture, point.level, max_pixels)
        engine = self._engines.pick(header.width * header.height)
        plan = exact_tiles.Plan(header, picture.rgb)
        if exact:
            plan = exact_tiles.plan(engine, plan, point, tell)
        return plan.header, exact_tiles.learned_tiles(engine, plan, point, search, tell), plan.exact

    def _read(
        self, data: FileSource, max_pixels: int
    ) -> tuple[container.Unpacked, Iterator[CodedTile]]:
        file = container.unpack(read_source(data), max_pixels)
        header = file.header
        self._check(header)
        if not header.learned:
            raise NoIndicesError("all pixels of the file are exact: it has no indices")
        engine = self._engines.pick(header.width * header.height)
        return file, tiling.each_tile(engine, header, partial(tiling.read_tile, engine, file))

    def _header_of(self, indices: Indices) -> Header:
        """Raises UnknownModelError; ValueError if the indices are not of the picture's shape."""
        kind = indices.grey, indices.depth, indices.cicp
        header = self._header(indices.level, indices.width, indices.height, *kind)
        self._check(replace(header, model_id=indices.model_id))
        shape = (*_grid(header), self.model.config.transform.latents)
        if indices.indices.shape != shape:
            raise ValueError(f"indices are {list(indices.indices.shape)}, expected {list(shape)}")
        return header

    def _header(
        self, level: int, width: int, height: int, grey: bool, depth: int, cicp: tuple | None
    ) -> Header:
        tile_log2 = container.choose_tile_log2(width, height)
        more = {"depth": depth, "cicp": cicp and tuple(cicp)}
        return Header(self.model.id, level, width, height, tile_log2, grey, **more)

    def _header_for(self, picture: Picture, level: int, max_pixels: int) -> Header:
        size, kind = picture.rgb.shape[1::-1], (picture.grey, picture.depth, picture.cicp)
        header = self._header(level, *size, *kind)
        container.check_tiles(header, max_pixels)
        return header

    def _check(self, header: Header) -> None:
        if not header.learned:
            return  # no model was used
        if header.model_id != self.model.id:
            raise UnknownModelError(
                f"made with model {header.model_id.hex()}, but this codec has {self.model.id.hex()}"
            )
        levels = self.model.config.transform.levels
        if header.level >= levels:
            raise CorruptError(f"level is {header.level}, expected less than {levels}")

    def _indices(self, header: Header, tiles: Iterable[CodedTile]) -> Indices:
        found = np.empty((*_grid(header), self.model.config.transform.latents), dtype=np.int32)
        for tile, region in zip(tiles, container.tile_grid(header), strict=True):
            found[within(region)] = tile.indices
        size, kind = (header.width, header.height), (header.grey, header.depth, header.cicp)
        return Indices(header.model_id, header.level, *size, found, *kind)


def _replay(engine: Engine, indices: Indices, region: Rectangle) -> CodedTile:
    return engine.tiles.replay(indices.indices[within(region)], indices.level)


def _grid(header: Header) -> tuple[int, int]:
    """Height and width in latents."""
    return latents_across(header.height), latents_across(header.width)
