"""Pictures <-> .vqc bytes with ONNX Runtime: a part of what `codec.Codec` does, without torch.

It encodes pictures of one tile (`container.choose_tile_log2`). What it paints, a picture or a
crop of one, it paints at once.
"""

import os
from functools import lru_cache
from threading import Lock

import numpy as np
import onnxruntime
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from ...bitstream import chunks, container
from ...bitstream.container import Header, Unpacked
from ...config import ModelConfig
from ...entropy import symbols
from ...entropy.fixed_point import table_sizes
from ...errors import CorruptError, ModelError, UnknownModelError
from ...geometry import (
    MAX_PIXELS,
    Rectangle,
    check_crop,
    cover,
    grid_of,
    meet,
    pixels_of,
    reach,
    widened,
    within,
)
from ...image import pixels
from ...image.pixels import Source
from ...image.strips import Strips
from ...rate_control import DEFAULT_QUALITY, setting
from ...zoo import shipped
from ...zoo.files import PARTS, model_id, read_files
from . import networks
from .codebooks import STEP, Codebooks
from .tile_coder import TileCoder

Crop = tuple[int, int, int, int]  # x, y, width, height in pixels


class OnnxCodec:
    """A shipped model, ready for small pictures and crops. Use from several threads is safe."""

    device = "cpu, ONNX Runtime"  # as reports have it

    def __init__(self, identity: bytes, config: ModelConfig, tensors: dict[str, np.ndarray]):
        """tensors: of prior, decoder and encoder."""
        self.id, self.config, self.tensors = identity, config, tensors
        sizes = np.cumsum(table_sizes(config.quantizer))[:-1]
        freqs = tuple(np.split(tensors["freqs"].astype(np.uint32), sizes))
        words = tensors["codebooks.scalar_words"], tensors["codebooks.pair_words"]
        codebooks = Codebooks(config.quantizer, *words, freqs)
        tables = symbols.make_tables(freqs)
        self.tiles = TileCoder(config, tensors, codebooks, tables, self._run_pass)
        self._sessions: dict[str | int, onnxruntime.InferenceSession] = {}
        self._lock = Lock()

    @classmethod
    @lru_cache(maxsize=4)
    def load(cls, name: str) -> "OnnxCodec":
        """A shipped model by name; cached in the process.

        Raises UnknownModelError, or ModelError if its files are not the ones that were shipped.
        """
        entry = shipped.find(name)
        hashes = {part: entry.sha256[part] for part in PARTS if part in entry.sha256}
        folder = shipped.folder_of(name)
        config, blobs = read_files(folder, PARTS, hashes)
        try:
            parts = {part: load_tensors(blob) for part, blob in blobs.items()}
        except (SafetensorError, ValueError) as exc:
            raise ModelError(f"model files in {folder} are damaged: {exc}") from exc
        found = model_id(config, parts["prior"] | parts["decoder"])
        if found != entry.id:
            raise ModelError(f"model {name} has id {found.hex()}, not {entry.id.hex()}")
        return cls(entry.id, config, parts["prior"] | parts["decoder"] | parts["encoder"])

    def encode(
        self,
        image: Source,
        quality: float = DEFAULT_QUALITY,
        *,
        effort: int = 1,
        max_pixels: int = MAX_PIXELS,
    ) -> bytes:
        """As `Codec.encode`, but of one tile. effort: 1; search takes gradients, that is torch."""
        if effort != 1:
            raise ValueError(f"effort is {effort}, expected 1")
        best = setting(quality, self.config.transform.levels)
        picture = pixels.load(image, max_pixels)
        height, width = picture.rgb.shape[:2]
        header = Header(self.id, best.level, width, height, None, picture.grey)
        container.check_tiles(header, max_pixels)
        y = self._analyse(picture.rgb, best.level)
        tile = self.tiles.encode(y, best.level, best.fidelity * self._kappa(best.level))
        beside = chunks.alpha_chunks(picture.alpha) + chunks.metadata_chunks(picture.metadata)
        return container.pack(header, [tile.segments], beside)

    def decode_strips(
        self,
        data: bytes,
        *,
        crop: Crop | None = None,
        scale: int = 1,
        realism: float = 0.0,
        max_pixels: int = MAX_PIXELS,
    ) -> Strips:
        """As `Codec.decode_strips`, but in one strip, painted at once: memory grows with the crop.
        scale: 1. realism: 0."""
        file = container.unpack(data, max_pixels)
        header = file.header
        if realism or scale != 1:
            raise ValueError(f"realism is {realism}, scale {scale}, expected 0 and 1")
        whole = Rectangle(0, 0, header.width, header.height)
        place = whole if crop is None else Rectangle(*crop)
        check_crop(place, header.width, header.height)
        self._check(header)
        metadata = chunks.read_metadata(file.chunks).upright()
        alpha = chunks.read_alpha(file.chunks, header.width, header.height)
        picture = self._paint(file, place)
        if alpha is not None:
            picture = np.dstack([picture, alpha[within(place, whole)]])
        return Strips(place.width, place.height, picture.shape[2], metadata, iter([picture]))

    def _check(self, header: Header) -> None:
        if header.model_id != self.id:
            raise UnknownModelError(
                f"made with model {header.model_id.hex()}, but this codec has {self.id.hex()}"
            )
        levels = self.config.transform.levels
        if header.level >= levels:
            raise CorruptError(f"level is {header.level}, expected less than {levels}")

    def _analyse(self, rgb: np.ndarray, level: int) -> np.ndarray:
        """Latents float32 [h, w, C] in steps."""
        x = np.float32(pixels.pad(rgb)) / 255
        (y,) = self._run("analysis", pixels=x, level=level)
        return y

    def _paint(self, file: Unpacked, place: Rectangle) -> np.ndarray:
        """A place in pixels: uint8 [place.height, place.width, 3 or 1]."""
        header = file.header
        grid = grid_of(header.width, header.height)
        window = widened(cover(place), reach(self.config.transform), grid)
        y = self._latents(file, window)
        (x,) = self._run("synthesis", latents=y, level=header.level)
        x = x[within(place, pixels_of(window))]
        if header.grey:
            x = x.mean(2, keepdims=True)
        return np.clip(x * 255 + 0.5, 0, 255).astype(np.uint8)

    def _latents(self, file: Unpacked, window: Rectangle) -> np.ndarray:
        """Those of a window in latents, float32 [h, w, C] in steps, from the tiles that meet it."""
        shape = window.height, window.width, self.config.transform.latents
        y = np.empty(shape, np.float32)
        for segments, tile in zip(file.tiles, container.tile_grid(file.header), strict=True):
            if part := meet(tile, window):
                coded = self.tiles.decode(segments, tile.height, tile.width, file.header.level)
                y[within(part, window)] = coded.latents[within(part, tile)]
        y /= STEP
        return y

    def _kappa(self, level: int) -> np.ndarray:
        """As `Network.kappa`, at a fidelity of 1: float32 [C]."""
        to_units = networks.level_gains(self.config.transform, self.tensors)[1][level]
        energy = (to_units * self.tensors["gains.scale"]) ** 2
        return np.float32(self.config.transform.lambdas()[level] / 3) * energy

    def _run_pass(
        self, index: int, state: np.ndarray, context: np.ndarray, level: int
    ) -> tuple[np.ndarray, np.ndarray]:
        return self._run(index, state=state, context=context, level=level)

    def _run(self, name: str | int, level: int, **inputs: np.ndarray) -> list[np.ndarray]:
        """Run a transform, or a pass of the prior by its number."""
        return self._session(name).run(None, inputs | {"level": np.array([level])})

    def _session(self, name: str | int) -> onnxruntime.InferenceSession:
        """The network's session, made when it is first needed."""
        with self._lock:
            if name not in self._sessions:
                if name == "analysis":
                    model = networks.analysis(self.config.transform, self.tensors)
                elif name == "synthesis":
                    model = networks.synthesis(self.config.transform, self.tensors)
                else:
                    model = networks.prior_pass(self.config, name, self.tensors)
                self._sessions[name] = _start(model)
            return self._sessions[name]


def _start(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.log_severity_level = 3  # errors, which are raised as well
    # Threads that wait would spin on the cores that the rest needs, such as other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _threads() -> int:
    """Those of --threads, which is given to torch in this way; else one a core."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit():
        return int(given)
    affinity = getattr(os, "sched_getaffinity", None)  # cores that this process may use
    return len(affinity(0)) if affinity else os.cpu_count() or 1
