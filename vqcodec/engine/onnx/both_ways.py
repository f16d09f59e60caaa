"""A model's decoder and prior as a search takes them: there, and with slopes back."""

import numpy as np

from ...config import ModelConfig
from ...zoo.weights import Tensors
from . import networks, slopes
from .sessions import Sessions

Signs = list[np.ndarray]  # where the ReLUs let something through, bool


class BothWays:
    """Graphs are made when they are first needed."""

    def __init__(self, config: ModelConfig, tensors: Tensors, sessions: Sessions):
        self.config, self.tensors, self.sessions = config, tensors, sessions

    def synthesise(self, latents: np.ndarray, level: int) -> tuple[np.ndarray, Signs]:
        """Latents float32 [h, w, C] in steps -> pixels float32 [16h, 16w, 3]."""

        def make() -> bytes:
            return networks.synthesis(self.config.transform, self.tensors, signs=True)

        graph = self.sessions.get("synthesis with signs", make)
        pixels, *signs = graph(latents=latents, level=level)
        return pixels, signs

    def slope(self, pixels: np.ndarray, signs: Signs, level: int) -> np.ndarray:
        """A slope along the pixels -> that along the latents."""

        def make() -> bytes:
            return slopes.synthesis(self.config.transform, self.tensors)

        graph = self.sessions.get("slope of synthesis", make)
        return graph(slope=pixels, level=level, **_by_name(signs))[0]

    def run_pass(
        self, index: int, state: np.ndarray, context: np.ndarray, level: int
    ) -> tuple[np.ndarray, np.ndarray, Signs]:
        """A pass of the prior, as `tile_coder.RunPass`."""

        def make() -> bytes:
            return networks.prior_pass(self.config, index, self.tensors, signs=True)

        graph = self.sessions.get(f"pass {index} with signs", make)
        state, sums, *signs = graph(state=state, context=context, level=level)
        return state, sums, signs

    def pass_slopes(
        self, index: int, state: np.ndarray, sums: np.ndarray, signs: Signs, level: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Slopes along what a pass gives -> those along the state and the context that it takes."""

        def make() -> bytes:
            return slopes.prior_pass(self.config, index, self.tensors)

        graph = self.sessions.get(f"slopes of pass {index}", make)
        return graph(state_slope=state, slope=sums, level=level, **_by_name(signs))


def _by_name(signs: Signs) -> dict[str, np.ndarray]:
    """The inputs of the graphs of `slopes`."""
    return {f"sign_{number}": sign for number, sign in enumerate(signs)}
