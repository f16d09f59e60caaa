"""The engine on ONNX Runtime: graphs are made of a model's tensors when they are first needed."""

from collections.abc import Callable
from functools import partial

import numpy as np

from ...entropy.symbols import make_tables
from ...geometry import Rectangle
from ...rate_control import OperatingPoint
from ...zoo.weights import Model
from ..base import CodedTile, Maps, check_realism
from ..scheduling import Ahead
from ..search import Search
from ..search_steps import ROUNDS
from . import networks
from .both_ways import BothWays
from .codebooks import Codebooks
from .refinement import Refinement
from .sessions import Sessions, thread_count
from .tile_coder import TileCoder
from .transforms import Transforms


class OnnxEngine:
    """A model on the CPU by ONNX Runtime: see `engine.base.Engine`."""

    device = "cpu, ONNX Runtime"

    def __init__(self, model: Model):
        self.model = model
        self.transform = model.config.transform
        self._sessions = Sessions()
        self._transforms = Transforms(model, self._sessions)
        self.both_ways = BothWays(model.config, model.tensors, self._sessions)
        codewords = (model.tensors[f"codebooks.{kind}_words"] for kind in ("scalar", "pair"))
        self.tiles = TileCoder(
            model.config,
            model.tensors,
            Codebooks(model.config.quantizer, *codewords, model.freqs),
            make_tables(model.freqs),
            self._kappa,
            self._run_pass,
        )

    def analyse(self, rgb: np.ndarray, level: int) -> np.ndarray:
        """See `Engine.analyse`."""
        x = np.float32(rgb) / 255 if rgb.dtype == np.uint8 else rgb
        self._sessions.prepare(*self._pass(1))
        return self._transforms.analyse(x, level)

    def synthesise(
        self,
        latents: np.ndarray,
        level: int,
        realism: float = 0.0,
        origin: tuple[int, int] = (0, 0),
        part: Rectangle | None = None,
    ) -> np.ndarray:
        """See `Engine.synthesise`."""
        check_realism(realism, self.model)
        part = part or Rectangle(0, 0, *latents.shape[1::-1])
        return self._transforms.synthesise(latents, level, realism, origin, part)

    def synthesise_affine(self, latents: np.ndarray, level: int) -> np.ndarray:
        """See `Engine.synthesise_affine`."""
        return self._transforms.synthesise_affine(latents, level)

    def refine(
        self, rgb: np.ndarray, around: Maps, tile: Rectangle, point: OperatingPoint, search: Search
    ) -> CodedTile:
        """See `Engine.refine`."""
        found = Refinement(self.tiles, self.both_ways, rgb, around, tile, point, search.distortion)
        return self.tiles.packed(found.run(ROUNDS[search.effort - 1]).coded)

    def ahead(self, most: int) -> Ahead:
        """See `Engine.ahead`."""
        return Ahead(min(most, thread_count()))

    def _kappa(self, level: int) -> np.ndarray:
        """Bits that a squared error of one step is worth, float32 [C]: as `Network.kappa`, for a
        scale of 1."""
        to_units = networks.decode_gains(self.transform, self.model.tensors)[level]
        energy = (to_units * self.model.tensors["gains.scale"]) ** 2
        return np.float32(self.transform.lambdas()[level] / 3) * energy

    def _run_pass(
        self, index: int, state: np.ndarray, context: np.ndarray, level: int
    ) -> tuple[np.ndarray, np.ndarray]:
        passes = self.model.config.prior.passes
        if index + 1 < len(passes) and level >= passes[index + 1].min_level:
            self._sessions.prepare(*self._pass(index + 1))
        graph = self._sessions.get(*self._pass(index))
        return graph(state=state, context=context, level=level)

    def _pass(self, index: int) -> tuple[str, Callable[[], bytes]]:
        """The name of a pass's graph, and what makes it."""
        make = partial(networks.prior_pass, self.model.config, index, self.model.tensors)
        return f"pass {index}", make
