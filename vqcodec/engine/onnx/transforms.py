"""A model's encoder and decoder by ONNX Runtime.

Of what is large the fine blocks, two thirds of the work, compute one window after the other: their
maps, four times as large as the coarse ones', would fall out of the caches, and take twice as long
a pixel at 2 megapixels as at 0.4. A window's halo is that of the fine blocks alone.
"""

from collections import ChainMap
from collections.abc import Callable

import numpy as np

from ...config import STRIDE
from ...geometry import Rectangle, pixels_of, widened, windows, within
from ...zoo.weights import Model
from ..base import blended
from . import networks
from .grain import grain
from .sessions import Graph, Sessions

SIDE = 40  # latents of a window
WHOLE = 48**2  # latents that one graph computes at once
Make = Callable[..., bytes]  # a function of `networks`


class Transforms:
    """Graphs are made when they are first needed."""

    def __init__(self, model: Model, sessions: Sessions):
        self.model, self.config, self._sessions = model, model.config.transform, sessions

    def analyse(self, pixels: np.ndarray, level: int) -> np.ndarray:
        """Pixels float32 [16h, 16w, 3] in 0..1 -> latents float32 [h, w, C] in steps."""
        whole = Rectangle(0, 0, pixels.shape[1] // STRIDE, pixels.shape[0] // STRIDE)
        if not _is_large(whole):
            graph = self._graph("analysis", networks.analysis)
            return graph(pixels=pixels, blocks=_blocks(pixels), level=level)[0]
        fine = self._graph("fine analysis", networks.fine_analysis)
        features = np.empty((1, self.config.coarse_width, whole.height, whole.width), np.float32)
        for part in windows(whole, SIDE):
            near = widened(part, self.config.encoder_fine_reach, whole)
            seen = pixels[within(pixels_of(near))]
            found = fine(pixels=seen, level=level, **_ends("fine", part, near, 2))
            features[(..., *within(part))] = found[0]
        coarse = self._graph("coarse analysis", networks.coarse_analysis)
        return coarse(blocks=_blocks(pixels), features=features, level=level)[0]

    def synthesise(
        self,
        latents: np.ndarray,
        level: int,
        realism: float,
        origin: tuple[int, int],
        part: Rectangle,
    ) -> np.ndarray:
        """See `Engine.synthesise`."""
        whole = Rectangle(0, 0, *latents.shape[1::-1])
        if not _is_large(part):
            near = widened(part, self.config.fine_reach, whole)
            inputs = {"latents": latents, "level": level, **_grain(realism, origin, near)}
            inputs |= _ends("part", part, whole) | _ends("near", near, whole)
            graph = self._graph("synthesis", networks.synthesis, realism, parts=True)
            return graph(**inputs, **_ends("fine", part, near, 2))[0]
        coarse = self._graph("coarse synthesis", networks.coarse_synthesis, realism)
        features = coarse(latents=latents, level=level)[0]
        fine = self._graph("fine synthesis", networks.fine_synthesis, realism)
        pixels = np.empty((STRIDE * part.height, STRIDE * part.width, 3), np.float32)
        for window in windows(part, SIDE):
            near = widened(window, self.config.fine_reach, whole)
            inputs = {
                "latents": latents[within(window)],
                "features": features[(..., *within(near))],
            }
            inputs |= _grain(realism, origin, near) | _ends("fine", window, near, 2)
            pixels[within(pixels_of(window), pixels_of(part))] = fine(level=level, **inputs)[0]
        return pixels

    def synthesise_affine(self, latents: np.ndarray, level: int) -> np.ndarray:
        """See `Engine.synthesise_affine`."""
        graph = self._graph("affine synthesis", networks.synthesis, affine=True)
        return graph(latents=latents, level=level)[0]

    def _graph(self, name: str, make: Make, realism: float = 0.0, **how: bool) -> Graph:
        """What `make` of `networks` gives, with the decoder between fidelity and realism."""

        def model() -> bytes:
            decoder = blended(self.model, realism) if realism else {}
            return make(self.config, ChainMap(decoder, self.model.tensors), **how)

        return self._sessions.get(f"{name} {realism}" if realism else name, model)


def _blocks(pixels: np.ndarray) -> np.ndarray:
    """[16h, 16w, 3] -> [h, w, 768]"""
    height, width = (side // STRIDE for side in pixels.shape[:2])
    blocks = pixels.reshape(height, STRIDE, width, -1).swapaxes(1, 2)
    return blocks.reshape(height, width, -1)


def _is_large(part: Rectangle) -> bool:
    return part.width * part.height > WHOLE


def _grain(realism: float, origin: tuple[int, int], near: Rectangle) -> dict[str, np.ndarray]:
    """The input of a realism decoder."""
    if not realism:
        return {}
    return {"grain": grain(origin[0] + near.y, origin[1] + near.x, near.height, near.width)}


def _ends(name: str, part: Rectangle, region: Rectangle, per: int = 1) -> dict[str, np.ndarray]:
    """The inputs of a graph of `networks` that say what part of a region is wanted, in positions of
    a map with so many a latent each way."""
    sides = within(part, region)
    starts, ends = ([per * getattr(side, end) for side in sides] for end in ("start", "stop"))
    return {f"{name}_start": np.array(starts), f"{name}_end": np.array(ends)}
