"""What packages of measures import and hardly use, where it is missing or does not load.

ColorVideoVDP takes a blur of torchvision; ST-LPIPS takes torchvision, IPython and torchsummary for
networks and prints that are not asked for here. torchvision must be of the same build as torch, and
is as large as all else together. The blur's stand-in gives the same numbers.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MODULES = {  # by what is tried, all that then has to be there
    "torchvision.transforms": ("torchvision", "torchvision.ops", "torchvision.models"),
    "IPython": (),
    "torchsummary": (),
}


class GaussianBlur(nn.Module):
    """torchvision's: a separable Gaussian of `size` by `size` pixels, with mirrored borders."""

    def __init__(self, size: int, sigma: float):
        super().__init__()
        half = torch.arange(size) - (size - 1) / 2
        weights = torch.exp(-0.5 * (half / sigma) ** 2)
        self._weights, self._border = weights / weights.sum(), size // 2

    def forward(self, x: Tensor) -> Tensor:
        """float [..., H, W] -> the same shape."""
        maps = F.pad(x.reshape(-1, 1, *x.shape[-2:]), 4 * (self._border,), mode="reflect")
        weights = self._weights.to(maps)
        maps = F.conv2d(maps, weights[None, None, None, :])
        return F.conv2d(maps, weights[None, None, :, None]).reshape(x.shape)


CONTENT = {
    "torchvision.transforms": {"GaussianBlur": GaussianBlur},
    "torchvision.ops": {"MLP": None},
    "IPython": {"embed": None},
    "torchsummary": {"summary": None},
}


@contextmanager
def provided() -> Iterator[None]:
    """What cannot be imported in this process has a stand-in while the block imports a package.
    Others would take it for what it is not, and find it gone afterwards."""
    made: list[str] = []
    for name, others in MODULES.items():
        try:
            importlib.import_module(name)
        except Exception:  # one of another build of torch fails with errors of its own
            _forget(name.partition(".")[0])
            made += _stand_in(name, *others)
    try:
        yield
    finally:
        for name in made:
            sys.modules.pop(name, None)


def _forget(package: str) -> None:
    """Take away what an import that failed has left behind."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def _stand_in(*names: str) -> tuple[str, ...]:
    for name in sorted(names):
        sys.modules[name] = module = ModuleType(name)
        vars(module).update(CONTENT.get(name, {}))
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, module)
    return names
