"""The engine on torch: transforms, tile coder and refinement, on CPUs and GPUs."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from ...entropy.symbols import make_tables
from ...errors import CorruptError, VqcodecError
from ...geometry import Rectangle
from ...nn.prior import LevelTables
from ...rate_control import LAMBDA_SCALE, OperatingPoint
from ...zoo.weights import Model
from ..base import CodedTile, Maps
from ..scheduling import Ahead
from ..search import Search
from . import runtime
from .decoder_blend import DecoderBlend
from .network import build
from .refinement import refine
from .tensors import to_array, to_map, to_unit_map
from .tile_coder import TileCoder


def pick_device(name: str | None) -> torch.device:
    """A device by torch's name; None or "auto": a GPU of CUDA if there is one, else the CPU."""
    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


class TorchEngine:
    """A model on a device of torch: see `engine.base.Engine`."""

    @runtime.building()
    def __init__(
        self,
        model: Model,
        device: str | None = None,
        dtype: torch.dtype = torch.float32,
        precise: bool = False,
    ):
        """dtype: float32 or float64, in which the integer prior computes; both give the same
        indices for the same file. precise: as of `Codec.load`. Raises VqcodecError for a device
        that is not exact."""
        runtime.keep_pages()
        self.model = model
        self.torch_device = pick_device(device)
        self.device = str(self.torch_device)
        self.network = build(model).to(self.torch_device, memory_format=torch.channels_last)
        self.network.fixed_tables = LevelTables(
            *(table.to(self.torch_device) for table in self.network.fixed_tables)
        )
        self._dtype, self._coders = dtype, {}
        self.decoders = DecoderBlend(self.network.decoder, model)
        if not precise:
            fast = runtime.fast_type(self.torch_device)
            for module in (self.network.encoder, *self.network.decoder.blocks):
                module.to(fast)
        if self.torch_device.type != "cpu":
            self._check_exact()

    @property
    def tiles(self) -> TileCoder:
        """The tile coder, in float64 while the process has float32 sums rounded further."""
        exact = self._dtype == torch.float64 or runtime.float32_is_exact(self.torch_device)
        dtype = self._dtype if exact else torch.float64
        if dtype not in self._coders:
            self._coders[dtype] = self._coder(dtype)
        return self._coders[dtype]

    @runtime.building()
    def _coder(self, dtype: torch.dtype) -> TileCoder:
        network = self.network
        if dtype == torch.float64:
            network = _copy(network, torch.float32)
            network.prior.to(dtype)
            network.codebooks.to(dtype)
            network.fixed_tables = LevelTables(*(t.to(dtype) for t in network.fixed_tables))
        return TileCoder(network, make_tables(self.model.freqs), dtype)

    def _check_exact(self) -> None:
        """Compare the integer prior on this device with the CPU's, on a small tile: a device
        that computes it in another way would write files that nobody else can read."""
        side, level = 16, self.model.config.transform.levels - 1
        noise = np.random.default_rng(0)
        y = 3 * noise.standard_normal((side, side, self.model.config.transform.latents), np.float32)
        reference = TileCoder(build(self.model), self.tiles.tables, torch.float32)
        expected = reference.encode(y, level, LAMBDA_SCALE)
        try:
            found = self.tiles.decode(expected.segments, side, side, level).indices
        except CorruptError:
            found = None
        if not np.array_equal(found, expected.indices):
            raise VqcodecError(f"device {self.device} does not compute the prior exactly: use cpu")

    def analyse(self, rgb: np.ndarray, level: int) -> np.ndarray:
        """See `Engine.analyse`."""
        with runtime.isolated():
            x = to_unit_map(rgb, self.torch_device)
            y = self.network.analyse(x, self._levels(level))
            return to_array(y)

    def synthesise(
        self,
        latents: np.ndarray,
        level: int,
        realism: float = 0.0,
        origin: tuple[int, int] = (0, 0),
        part: Rectangle | None = None,
    ) -> np.ndarray:
        """See `Engine.synthesise`."""
        decoder = self.decoders.at(realism)
        with runtime.isolated():
            y, levels = to_map(latents, self.torch_device), self._levels(level)
            return to_array(self.network.synthesise(y, levels, origin, decoder, part=part))

    def synthesise_affine(self, latents: np.ndarray, level: int) -> np.ndarray:
        """See `Engine.synthesise_affine`."""
        with runtime.isolated():
            y = to_map(latents, self.torch_device)
            return to_array(self.network.synthesise(y, self._levels(level), affine=True))

    def refine(
        self, rgb: np.ndarray, around: Maps, tile: Rectangle, point: OperatingPoint, search: Search
    ) -> CodedTile:
        """See `Engine.refine`."""
        return refine(self.tiles, self.network.decoder, rgb, around, tile, point, search)

    def ahead(self, most: int) -> Ahead:
        """See `Engine.ahead`."""
        count, threads = runtime.share_of_threads(most, self.torch_device), torch.get_num_threads()

        def begin() -> None:
            runtime.take_threads(threads // count)

        def started() -> None:
            runtime.restore_threads(threads)

        return Ahead(count, begin, started)

    def _levels(self, level: int) -> Tensor:
        return torch.tensor([level], device=self.torch_device)


@runtime.building()
def _copy(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    return copy.deepcopy(module).to(dtype)
