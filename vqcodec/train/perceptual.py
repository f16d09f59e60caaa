"""LPIPS: a perceptual distance on the features of a network that is given as a file.

LPIPS: Zhang et al. 2018, arXiv:1801.03924. Three networks are known by their tensors' names,
which are torchvision's: SqueezeNet 1.1, VGG16 and AlexNet. A file may hold LPIPS's own weights
of the channels (`lpips.lin0`, ..., [channels] each, version 0.1); without them all channels of
a layer weigh alike, the paper's baseline.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from ..errors import ModelError

Layer = tuple[str, int]  # kind and number; the number of a pool is its kernel
SHIFT, SCALE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's mean and deviation
TINY = 1e-10
MIN_SIDE = 32  # pixels: of smaller pictures the last layers see nothing

# Each network as the layers up to each of the outputs that LPIPS compares.
SQUEEZENET = (
    (("conv", 0),),
    (("pool", 3), ("fire", 3), ("fire", 4)),
    (("pool", 3), ("fire", 6), ("fire", 7)),
    (("pool", 3), ("fire", 9)),
    (("fire", 10),),
    (("fire", 11),),
    (("fire", 12),),
)
VGG16 = (
    (("conv", 0), ("conv", 2)),
    (("pool", 2), ("conv", 5), ("conv", 7)),
    (("pool", 2), ("conv", 10), ("conv", 12), ("conv", 14)),
    (("pool", 2), ("conv", 17), ("conv", 19), ("conv", 21)),
    (("pool", 2), ("conv", 24), ("conv", 26), ("conv", 28)),
)
ALEXNET = (
    (("conv", 0),),
    (("pool", 3), ("conv", 3)),
    (("pool", 3), ("conv", 6)),
    (("conv", 8),),
    (("conv", 10),),
)
# (stride, padding) of the convolutions that are not 3x3
SHAPES = {11: (4, 2), 5: (1, 2)}  # AlexNet's first two, by kernel


class Perceptual:
    """The distance with the weights of one file.

    path: safetensors, or a state dictionary that torch.load reads with `weights_only`.
    Raises ModelError for any other file.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu"):
        weights = {k: w.float().to(device) for k, w in _load(path).items()}
        self._stages = _stages_of(weights, path)
        self._weights = weights
        self._linear = _linear_of(weights, len(self._stages), path)
        self._shift, self._scale = (
            torch.tensor(v, device=device)[:, None, None] for v in (SHIFT, SCALE)
        )

    @property
    def is_lpips(self) -> bool:
        """Whether the file has LPIPS's own weights of the channels."""
        return bool(self._linear)

    def outputs(self, x: Tensor) -> list[Tensor]:
        """The layers' outputs [B, C, h, w] of pictures float [B, 3, H, W] in 0..1."""
        x, found = (x - self._shift) / self._scale, []
        for stage in self._stages:
            for kind, number in stage:
                x = getattr(self, f"_{kind}")(x, number)
            found.append(x)
        return found

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """float [B]: 0 for equal pictures, about 1 for unlike ones; differentiable.

        a, b: float [B, 3, H, W] in 0..1, sides of at least MIN_SIDE.
        """
        return self.between(self.outputs(a), self.outputs(b))

    def between(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """The distance of two lists of `outputs`."""
        parts = []
        for number, (one, other) in enumerate(zip(a, b, strict=True)):
            square = (_unit(one) - _unit(other)).square().mean((2, 3))  # [B, C]
            linear = self._linear[number] if self._linear else square.new_ones(square.shape[1])
            parts.append(square @ linear)
        return torch.stack(parts).sum(0)

    def _pool(self, x: Tensor, kernel: int) -> Tensor:
        return F.max_pool2d(x, kernel, 2, ceil_mode="features.3.squeeze.weight" in self._weights)

    def _conv(self, x: Tensor, number: int) -> Tensor:
        weight = self._weights[f"features.{number}.weight"]
        stride, padding = SHAPES.get(weight.shape[2], (1, 1))
        if "features.3.squeeze.weight" in self._weights:
            stride, padding = 2, 0
        return F.relu(
            F.conv2d(x, weight, self._weights[f"features.{number}.bias"], stride, padding)
        )

    def _fire(self, x: Tensor, number: int) -> Tensor:
        def convolve(y: Tensor, part: str, padding: int = 0) -> Tensor:
            name = f"features.{number}.{part}"
            weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
            return F.relu(F.conv2d(y, weight, bias, padding=padding))

        x = convolve(x, "squeeze")
        return torch.cat([convolve(x, "expand1x1"), convolve(x, "expand3x3", 1)], 1)


def _unit(x: Tensor) -> Tensor:
    """Features as unit vectors over the channels."""
    x = x.float()
    return x / (x.square().sum(1, keepdim=True) + TINY).sqrt()


def _load(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as exc:
        raise ModelError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except SafetensorError as exc:
        raise ModelError(f"{path} is no safetensors file: {exc}") from exc
    except Exception as exc:  # whatever torch.load meets in a damaged file
        raise ModelError(f"{path} is no file of tensors that torch reads") from exc
    if isinstance(state, dict) and all(isinstance(w, Tensor) for w in state.values()):
        return state
    raise ModelError(f"{path}: expected a dictionary of tensors")


def _stages_of(weights: dict[str, Tensor], path: Path) -> tuple[tuple[Layer, ...], ...]:
    """The network that the tensors are of; raises ModelError if one is missing."""
    if "features.3.squeeze.weight" in weights:
        stages = SQUEEZENET
    elif "features.28.weight" in weights:
        stages = VGG16
    else:
        stages = ALEXNET
    for kind, number in (layer for stage in stages for layer in stage if layer[0] != "pool"):
        parts = ("squeeze", "expand1x1", "expand3x3") if kind == "fire" else ("",)
        for part in parts:
            name = ".".join(filter(None, ("features", str(number), part, "weight")))
            for tensor in (name, f"{name[:-6]}bias"):
                if tensor not in weights:
                    raise ModelError(
                        f"{path} has no {tensor}: expected SqueezeNet 1.1, VGG16 or AlexNet"
                    )
    return stages


def _linear_of(weights: dict[str, Tensor], count: int, path: Path) -> list[Tensor]:
    """LPIPS's weights of each output's channels; empty if the file has none."""
    found = [n for n in range(count) if f"lpips.lin{n}" in weights]
    if found and len(found) < count:
        missing = next(n for n in range(count) if n not in found)
        raise ModelError(f"{path} has lpips.lin{found[0]} but no lpips.lin{missing}")
    return [weights[f"lpips.lin{n}"].flatten() for n in found]
