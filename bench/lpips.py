"""LPIPS of pairs of pictures, and features of patches for KID, by the network of one file.

The network is that of `vqcodec.train.perceptual`; figures are of SqueezeNet 1.1 with LPIPS's
weights of version 0.1, on 8-bit RGB, unless another file is given.
"""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqcodec.errors import ModelError
from vqcodec.train.perceptual import MIN_SIDE, Perceptual

BATCH = 64  # patches at once


class Lpips:
    """The distance with the weights of one file, as `Perceptual` takes them. Raises ModelError for
    any other file, and for one without LPIPS's own weights."""

    def __init__(self, path: Path):
        self._network = Perceptual(path)
        if not self._network.is_lpips:
            raise ModelError(f"{path} has no lpips.lin0: weights of LPIPS expected")
        self._last: tuple[np.ndarray | None, list[Tensor]] = None, []

    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """0 for equal pictures, about 1 for unlike ones; uint8 [H, W, 3] both.

        nan for sides below 32 pixels. What the network makes of `a` is kept for the next call,
        since an original is compared with many.
        """
        if min(a.shape[:2]) < MIN_SIDE:
            return math.nan
        with torch.inference_mode():
            last = self._last
            if last[0] is not a:
                self._last = last = a, self._network.outputs(_pixels(a[None]))
            return float(self._network.between(last[1], self._network.outputs(_pixels(b[None]))))

    def features(self, patches: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, 3] -> float64 [N, C], the means of the network's last output."""
        with torch.inference_mode():
            starts = range(0, len(patches), BATCH)
            outputs = [self._network.outputs(_pixels(patches[s : s + BATCH]))[-1] for s in starts]
            return torch.cat([output.mean((2, 3)) for output in outputs]).double().numpy()


def _pixels(pictures: np.ndarray) -> Tensor:
    """uint8 [N, H, W, 3] -> float [N, 3, H, W] in 0..1."""
    return torch.tensor(pictures).permute(0, 3, 1, 2).float() / 255
