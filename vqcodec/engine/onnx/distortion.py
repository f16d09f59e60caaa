"""What a search keeps low of a tile's pixels, and its slope along them, in numpy: what
`engine.torch.distortion` does.

Distortions are summed over the pixels in 255 units, channels averaged.
"""

from typing import NamedTuple

import numpy as np

from ...image.eye_distance import EYES_MSE, EYES_UNLIKE, EyeDistance


class JudgedPixels(NamedTuple):
    """The distortion of pixels as they are seen, clipped; and the slope along them, float32
    [H, W, 3], of their squared error without clipping, so that it leads back into the range."""

    error: float
    slope: np.ndarray


class Judge:
    """Judges pixels by the true ones, as one picture."""

    def __init__(self, distortion: str, x: np.ndarray):
        """distortion: of `config.DISTORTIONS`. x: the true pixels, float32 [H, W, 3] in 0..1."""
        self.x, self.weight = x, 255**2 / 3 * (1 if distortion == "mse" else EYES_MSE)
        self.eyes = None if distortion == "mse" else EyeDistance(_to_planes(x))

    def __call__(self, out: np.ndarray) -> JudgedPixels:
        """out: float32 [H, W, 3], about 0..1."""
        error = self.weight * float(np.square(out.clip(0, 1) - self.x).sum(dtype=np.float64))
        slope = np.float32(2 * self.weight) * (out - self.x)
        if self.eyes is None:
            return JudgedPixels(error, slope)
        distance, more = self.eyes.judge(_to_planes(out))
        scale = EYES_UNLIKE * out.shape[0] * out.shape[1]
        slope += np.float32(scale) * np.moveaxis(more, 0, 2)
        return JudgedPixels(error + scale * distance, slope)


def _to_planes(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 2, 0))
