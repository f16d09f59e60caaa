"""LPIPS, a distance that follows what people see: Zhang et al. 2018, arXiv:1801.03924.

The version with SqueezeNet 1.1 and linear weights v0.1, on 8-bit RGB.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

# The layers of SqueezeNet between one output that is compared and the next: a pool, or the
# number of a fire module.
STAGES = (), ("pool", 3, 4), ("pool", 6, 7), ("pool", 9), (10,), (11,), (12,)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of RGB in -1..1
TINY = 1e-10
MIN_SIDE = 17  # pixels: below, nothing is left after the last pool


class Lpips:
    """The distance with the weights of one file.

    path: safetensors with `features.*`, named as in torchvision's squeezenet1_1, and `lpips.lin0`
    to `lpips.lin6`, [channels] each. Raises ValueError for any other file.
    """

    def __init__(self, path: Path):
        try:
            self._weights = {name: w.float() for name, w in load_file(path).items()}
        except (SafetensorError, OSError) as exc:
            raise ValueError(f"{path} is no safetensors file: {exc}") from exc
        missing = sorted(_names() - self._weights.keys())
        if missing:
            raise ValueError(f"{path} has no {missing[0]}: weights of LPIPS on SqueezeNet expected")

    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """0 for equal pictures, about 1 for unlike ones; uint8 [H, W, 3] both.

        nan for sides below 17 pixels.
        """
        if min(a.shape[:2]) < MIN_SIDE:
            return float("nan")
        pair = torch.from_numpy(np.stack([a, b])).permute(0, 3, 1, 2).float() / 127.5 - 1
        shift, scale = (torch.tensor(values)[:, None, None] for values in (SHIFT, SCALE))
        with torch.inference_mode():
            outputs = self._outputs((pair - shift) / scale)
            return float(sum(map(self._difference, range(len(STAGES)), outputs)))

    def _difference(self, number: int, output: Tensor) -> Tensor:
        """The part of one output [2, C, h, w]."""
        a, b = output / (output.square().sum(1, keepdim=True).sqrt() + TINY)
        return ((a - b).square().mean((1, 2)) * self._weights[f"lpips.lin{number}"]).sum()

    def _outputs(self, x: Tensor) -> list[Tensor]:
        """The seven outputs that are compared."""
        x, found = functional.relu(self._convolve(x, "features.0", stride=2)), []
        for stage in STAGES:
            for layer in stage:
                if layer == "pool":
                    x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
                else:
                    x = self._fire(x, f"features.{layer}")
            found.append(x)
        return found

    def _fire(self, x: Tensor, name: str) -> Tensor:
        x = functional.relu(self._convolve(x, f"{name}.squeeze"))
        wide = self._convolve(x, f"{name}.expand3x3", padding=1)
        return functional.relu(torch.cat([self._convolve(x, f"{name}.expand1x1"), wide], 1))

    def _convolve(self, x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return functional.conv2d(x, weight, bias, stride, padding)


def _names() -> set[str]:
    """The tensors that a file must have."""
    fires = [layer for stage in STAGES for layer in stage if layer != "pool"]
    parts = ["features.0"]
    parts += [f"features.{n}.{p}" for n in fires for p in ("squeeze", "expand1x1", "expand3x3")]
    names = {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}
    return names | {f"lpips.lin{number}" for number in range(len(STAGES))}
