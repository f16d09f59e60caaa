"""Refinement of the latents of one picture with the graphs of `slopes`: see `engine.search_steps`.

A tile is decoded at once, with its halo; what its slope needs of that is a bit for each number, a
tenth of a gigabyte for the largest tile.
"""

import numpy as np

from ...geometry import Rectangle, pixels_of, within
from ...rate_control import OperatingPoint
from ..base import Maps
from ..search_steps import Assigned, Descent, Judged, Target
from .both_ways import BothWays
from .context_bits import ContextBits
from .distortion import Judge
from .tile_coder import TileCoder


class Refinement(Descent):
    """One tile's."""

    def __init__(
        self,
        coder: TileCoder,
        networks: BothWays,
        rgb: np.ndarray,
        around: Maps,
        tile: Rectangle,
        point: OperatingPoint,
        distortion: str,
    ):
        """rgb: the tile's pixels, as of `Engine.refine`, without padding. around: the encoder's
        latents of the tile and a halo, float32 [h, w, C]. tile: in latents. distortion: of
        `config.DISTORTIONS`."""
        self.around = Maps(around.values.copy(), around.region)
        self.around.values[..., coder.config.coded_channels(point.level) :] = 0
        start = self.around.cut(tile).copy()
        super().__init__(coder.config, coder.kappa(point.level), start, point)
        self.bits, self.networks, self.tile = ContextBits(coder, networks), networks, tile
        x = np.float32(rgb) / 255 if rgb.dtype == np.uint8 else rgb
        self.judge = Judge(distortion, x)
        rows, columns = within(pixels_of(tile), pixels_of(around.region))
        self.own = (
            slice(rows.start, rows.start + len(x)),
            slice(columns.start, columns.start + x.shape[1]),
        )

    def _assigned(self, target: Target, differentiate: bool) -> Assigned:
        return self.bits.assign(target, self.level, differentiate)

    def _judged(self, latents: np.ndarray, differentiate: bool) -> Judged:
        self.around.cut(self.tile)[:] = latents
        pixels, signs = self.networks.synthesise(self.around.values, self.level)
        judged = self.judge(pixels[self.own])
        if not differentiate:
            return Judged(judged.error, None)
        along = np.zeros_like(pixels)
        along[self.own] = judged.slope
        slope = self.networks.slope(along, signs, self.level)
        return Judged(judged.error, Maps(slope, self.around.region).cut(self.tile))
