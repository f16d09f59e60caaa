"""The engine on ONNX Runtime: graphs are made of a model's tensors when they are first needed."""

from collections import ChainMap
from collections.abc import Callable
from functools import partial

import numpy as np

from ...entropy.symbols import make_tables
from ...geometry import Rectangle, widened, within
from ...rate_control import OperatingPoint
from ...zoo.weights import Model
from ..base import CodedTile, Maps, blended, check_realism
from ..scheduling import Ahead
from ..search import Search
from ..search_steps import ROUNDS
from . import networks
from .both_ways import BothWays
from .codebooks import Codebooks
from .grain import grain
from .refinement import Refinement
from .sessions import Sessions, thread_count
from .tile_coder import TileCoder


class OnnxEngine:
    """A model on the CPU by ONNX Runtime: see `engine.base.Engine`."""

    device = "cpu, ONNX Runtime"

    def __init__(self, model: Model):
        self.model = model
        self.transform = model.config.transform
        self._sessions = Sessions()
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
        graph = self._sessions.get(
            "analysis", lambda: networks.analysis(self.transform, self.model.tensors)
        )
        return graph(pixels=x, level=level)[0]

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
        whole = Rectangle(0, 0, *latents.shape[1::-1])
        part = part or whole
        near = widened(part, self.transform.fine_reach, whole)
        inputs = {"latents": latents, "level": level, **_ends(part, near)}
        if not realism:
            return self._synthesis("synthesis", dict)(**inputs)[0]
        inputs["grain"] = grain(origin[0] + near.y, origin[1] + near.x, near.height, near.width)
        graph = self._synthesis(f"synthesis {realism}", lambda: blended(self.model, realism))
        return graph(**inputs)[0]

    def synthesise_affine(self, latents: np.ndarray, level: int) -> np.ndarray:
        """See `Engine.synthesise_affine`."""
        graph = self._synthesis("affine", dict, affine=True)
        return graph(latents=latents, level=level)[0]

    def refine(
        self, rgb: np.ndarray, around: Maps, tile: Rectangle, point: OperatingPoint, search: Search
    ) -> CodedTile:
        """See `Engine.refine`."""
        found = Refinement(self.tiles, self.both_ways, rgb, around, tile, point, search.distortion)
        return self.tiles.packed(found.run(ROUNDS[search.effort - 1]).coded)

    def ahead(self, most: int) -> Ahead:
        """See `Engine.ahead`."""
        return Ahead(min(most, thread_count()))

    def _synthesis(self, name: str, tensors, affine: bool = False):
        """The graph of a decoder. tensors: makes those that take the place of the model's."""

        def make() -> bytes:
            found = ChainMap(tensors(), self.model.tensors)
            return networks.synthesis(self.transform, found, affine, parts=not affine)

        return self._sessions.get(name, make)

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


def _ends(part: Rectangle, near: Rectangle) -> dict[str, np.ndarray]:
    """The inputs of a graph of `networks.synthesis` that say what part is wanted."""
    fine = (Rectangle(*(2 * number for number in region)) for region in (part, near))
    found = {}
    for name, cut in {"part": within(part), "near": within(near), "fine": within(*fine)}.items():
        found[f"{name}_start"] = np.array([side.start for side in cut])
        found[f"{name}_end"] = np.array([side.stop for side in cut])
    return found
