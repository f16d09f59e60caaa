"""Refinement of the latents of one picture with torch's gradients: see `engine.search_steps`."""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...bitstream.container import Segments
from ...geometry import Rectangle, pixels_of, reach, widened, windows, within
from ...nn.model import PassResult
from ...nn.rate_proxy import GaussianBits, scale_bounds
from ...nn.transforms import Decoder
from ...rate_control import OperatingPoint
from ..base import CodedTile, Maps
from ..search import Search
from ..search_steps import ROUNDS, Assigned, Descent, Judged, Target
from .distortion import judge
from .runtime import exact_sums, isolated_with_gradients
from .tensors import to_array, to_map, to_unit_map
from .tile_coder import TileCoder

SIDE = 64  # latents of a window that gradients are computed in: memory grows with it


class Refinement(Descent):
    """One tile's."""

    def __init__(
        self,
        coder: TileCoder,
        decoder: Decoder,
        rgb: np.ndarray,
        around: Maps,
        tile: Rectangle,
        point: OperatingPoint,
        distortion: str,
    ):
        """rgb: the tile's pixels, as of `Engine.refine`, without padding. around: the encoder's
        latents of the tile and a halo, float32 [h, w, C]. tile: in latents. distortion: of
        `config.DISTORTIONS`."""
        self.coder, self.network, self.decoder = coder, coder.network, decoder
        self.region, self.tile, self.distortion = around.region, tile, distortion
        self.around = to_map(around.values, coder.device)
        self.levels = torch.tensor([point.level], device=coder.device)
        self.x = to_unit_map(rgb, coder.device)
        # A picture's file is always the same.
        self.noise = torch.Generator(coder.device).manual_seed(0)
        kappa = self.network.kappa(self.levels, 1.0).flatten().cpu().numpy()
        super().__init__(self.network.config, kappa, around.cut(tile).copy(), point)

    def _assigned(self, target: Target, differentiate: bool) -> Assigned:
        """The slope is that of a proxy of the bits, by way of the context alone."""
        y = to_map(target.latents, self.levels.device).requires_grad_(differentiate)
        scale = torch.from_numpy(target.lambda_scale).to(y.device)
        checkpointing = differentiate and self.tile.width * self.tile.height > SIDE**2
        with torch.set_grad_enabled(differentiate):
            passes = self.network.quantise(
                y.to(self.coder.dtype), self.levels, scale, checkpointing
            )
            results = list(passes)
            proxy = sum(self._proxy(y, result) for result in results) if differentiate else None
        slope = to_array(torch.autograd.grad(proxy, y)[0]) if differentiate else None
        bits = float(sum(self._bits(result) for result in results))
        return Assigned(self.coder.coded(results, Segments(b"", b"")), bits, slope)

    def _bits(self, result: PassResult) -> Tensor:
        """What the tables say that a pass costs."""
        chosen = result.chosen
        return (self.network.codebooks.bits_of(chosen.index, chosen.row) * result.step.mask).sum()

    def _proxy(self, y: Tensor, result: PassResult) -> Tensor:
        """Its proxy, whose slope leads through the pass's context."""
        step, bounds = result.step, scale_bounds(self.network.config.quantizer)
        r = y.detach()[:, step.channels] - step.expected.mean
        noise = torch.rand(r.shape, generator=self.noise, device=r.device, dtype=torch.float32)
        rate = GaussianBits.apply(r + noise - 0.5, step.expected.log_scale, *bounds)
        return (rate * step.mask).sum()

    def _judged(self, latents: np.ndarray, differentiate: bool) -> Judged:
        """Eyes compare the tile as a whole, and squared error is that of one window after the
        other; in either case what a gradient needs of the decoder is kept for one window alone."""
        whole = self.around.clone()
        _cut(whole, self.tile, self.region).copy_(to_map(latents, whole.device))
        whole.requires_grad_(differentiate)
        error, slope = 0.0, torch.zeros_like(whole)
        parts = windows(self.tile, SIDE) if self.distortion == "mse" else [self.tile]
        with torch.set_grad_enabled(differentiate):
            for part in parts:
                out = self._synthesised(whole, part)
                own = _cut(self.x, pixels_of(part), pixels_of(self.tile))
                out = out[..., : own.shape[2], : own.shape[3]]
                judged = judge(self.distortion, out, own)
                error += judged.error
                if differentiate:
                    slope += torch.autograd.grad(out, whole, judged.slope)[0]
        own = to_array(_cut(slope, self.tile, self.region)) if differentiate else None
        return Judged(error, own)

    def _synthesised(self, whole: Tensor, part: Rectangle) -> Tensor:
        """The pixels of a part of the tile. A gradient computes the windows again, if they are
        several."""
        decode = partial(self.network.synthesise, levels=self.levels, decoder=self.decoder)
        if max(part.width, part.height) > SIDE and whole.requires_grad:
            decode = partial(checkpoint, decode, use_reentrant=False, preserve_rng_state=False)
        pixels = pixels_of(part)
        out = whole.new_empty(1, 3, pixels.height, pixels.width)
        for window in windows(part, SIDE):
            seen = widened(window, reach(self.network.config.transform), self.region)
            decoded = decode(_cut(whole, seen, self.region))
            decoded = _cut(decoded, pixels_of(window), pixels_of(seen))
            _cut(out, pixels_of(window), pixels).copy_(decoded)
        return out


def refine(
    coder: TileCoder,
    decoder: Decoder,
    rgb: np.ndarray,
    around: Maps,
    tile: Rectangle,
    point: OperatingPoint,
    search: Search,
) -> CodedTile:
    """The best that a search of effort 2 to 9 finds for a tile; arguments as of `Refinement`."""
    with isolated_with_gradients(), exact_sums(coder.device):
        refinement = Refinement(coder, decoder, rgb, around, tile, point, search.distortion)
        return coder.packed(refinement.run(ROUNDS[search.effort - 1]).coded)


def _cut(maps: Tensor, part: Rectangle, region: Rectangle) -> Tensor:
    """The view of a part of a region, [..., h, w]."""
    return maps[(..., *within(part, region))]
