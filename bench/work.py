"""What the networks compute: multiplications by module, and how fast the machine does them.

Convolutions are counted and timed where torch is called, so that modules that call it by
themselves count as well; a hook on every module tells in which of them a call was made.
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from vqcodec.codec import Codec

from .show import show

PEAK_SIDE = 960  # of the matrices that the peak is measured with; powers of two are slow


class Product(NamedTuple):
    """One convolution or matrix product. macs: multiply-accumulate operations."""

    module: str
    macs: int
    seconds: float


class Recorder(TorchFunctionMode):
    """Records the convolutions and matrix products that are called inside it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.products: list[Product] = []
        self.stack: list[str] = []

    def __torch_function__(self, call, types, args=(), kwargs=None):
        count = COUNTS.get(call)
        start = time.perf_counter()
        result = call(*args, **(kwargs or {}))
        if count is not None:
            seconds = time.perf_counter() - start
            name = self.stack[-1] if self.stack else ""
            macs = count(result, *args)
            self.products.append(Product(name, macs, seconds))
        return result

    @contextmanager
    def recording(self) -> Iterator["Recorder"]:
        """Record the products of the block, with the modules that they are in."""
        with ExitStack() as hooks:
            for name, module in self.network.named_modules():
                enter, leave = self._hooks(name)
                hooks.callback(module.register_forward_pre_hook(enter).remove)
                hooks.callback(module.register_forward_hook(leave).remove)
            hooks.enter_context(self)
            yield self

    def _hooks(self, name: str) -> tuple[Callable, Callable]:
        return (
            lambda *_: self.stack.append(name),
            lambda *_: (self.stack.pop(), None)[1],
        )


def _convolution(result: Tensor, x: Tensor, weight: Tensor, *_: object) -> int:
    return result.numel() * weight[0].numel()


def _added_to(result: Tensor, x: Tensor, other: Tensor, weight: Tensor, *_: object) -> int:
    return _convolution(result, x, weight)


def _transposed(result: Tensor, x: Tensor, weight: Tensor, *_: object) -> int:
    return x.numel() * weight[0].numel()


def _matrix(result: Tensor, x: Tensor, *_: object) -> int:
    return result.numel() * x.shape[-1]


COUNTS: dict[Callable, Callable[..., int]] = {
    torch.conv2d: _convolution,
    F.conv2d: _convolution,
    F.conv_transpose2d: _transposed,
    torch.conv_transpose2d: _transposed,
    F.linear: _matrix,
    torch.matmul: _matrix,
    torch.mm: _matrix,
    Tensor.matmul: _matrix,
    Tensor.__matmul__: _matrix,
}
if hasattr(torch.ops.mkldnn, "_convolution_pointwise"):  # as runtime.fused has them
    COUNTS[torch.ops.mkldnn._convolution_pointwise] = _convolution
    COUNTS[torch.ops.mkldnn._convolution_pointwise.binary] = _added_to


def record(network: nn.Module, work: Callable[[], object]) -> list[Product]:
    """The products of one call of `work`."""
    with Recorder(network).recording() as recorder:
        work()
    return recorder.products


def by_module(products: list[Product], pixels: int) -> dict[str, float]:
    """kMAC per pixel of each part of a network, and of each pass of its prior, in order of use.

    What a module computes itself, without one of its own, stands under its name alone.
    """
    found = Counter()
    for product in products:
        parts = product.module.split(".")
        found[".".join(parts[: 3 if parts[0] == "prior" else 2]) or "network"] += product.macs
    return {name: macs / pixels / 1e3 for name, macs in found.items()}


def peak_rate(dtype: torch.dtype = torch.float32, runs: int = 7) -> float:
    """MAC per second of a product of matrices of a type, the best of `runs`: as a product, and as
    a 1x1 convolution. Libraries differ, and on some CPUs the one for products is half as fast."""
    a, b = torch.rand(2, PEAK_SIDE, PEAK_SIDE).to(dtype)
    rows = a.view(1, -1, 8, PEAK_SIDE).permute(0, 3, 1, 2)  # channels_last
    ways = lambda: torch.mm(a, b), lambda: F.conv2d(rows, b[:, :, None, None])
    found = []
    for _ in range(runs + 1):
        for way in ways:
            start = time.perf_counter()
            way()
            found.append(time.perf_counter() - start)
    return PEAK_SIDE**3 / min(found[len(ways) :])


class Use(NamedTuple):
    """How a transform spends its time; shares of its seconds, 0..1. rate: MAC per second of its
    products. near_peak: share of the products that reach half of the machine's peak."""

    seconds: float
    products: float
    near_peak: float
    rate: float


def use(network: nn.Module, work: Callable[[], object], peak: float, runs: int) -> Use:
    """Medians over `runs` calls of `work`, which calls one transform of the network."""
    work()  # warm
    totals, recorded = [], []
    for _ in range(runs):
        start = time.perf_counter()
        recorded.append(record(network, work))
        totals.append(time.perf_counter() - start)
    total = statistics.median(totals)
    seconds = [statistics.median(p.seconds for p in same) for same in zip(*recorded, strict=True)]
    macs = [product.macs for product in recorded[0]]
    fast = sum(s for s, m in zip(seconds, macs, strict=True) if m / s >= peak / 2)
    return Use(total, sum(seconds) / total, fast / total, sum(macs) / sum(seconds))


def table(network: nn.Module, parts: dict[str, Callable[[], object]], pixels: int) -> None:
    """Print kMAC per pixel by module. parts: calls to count, by what they are."""
    lines = [["part", "module", "kMAC/pixel"]]
    for part, work in parts.items():
        found = by_module(record(network, work), pixels)
        lines += [[part, name, f"{value:.2f}"] for name, value in found.items()]
        lines.append([part, "total", f"{sum(found.values()):.2f}"])
    show(lines)


def alone(network: nn.Module, name: str, within: Callable[[], object]) -> Callable[[], None]:
    """The calls of a transform, a method of the network, that `within` makes, to be made again."""
    transform, calls = getattr(network, name), []

    def catch(*arguments: object, **named: object) -> Tensor:
        calls.append((arguments, named))
        return transform(*arguments, **named)

    with mock.patch.object(network, name, catch):
        within()

    @torch.inference_mode()
    def again() -> None:
        for arguments, named in calls:
            transform(*arguments, **named)

    return again


def networks(codec: Codec, rgb: np.ndarray, quality: float, runs: int) -> None:
    """Print kMAC per pixel by module of a codec with torch's engine, and how its transforms use
    the machine on a picture uint8 [H, W, 3]."""
    network, data = codec.engine.network, codec.encode(rgb, quality, effort=1)
    transforms = {
        "encoder": alone(network, "analyse", lambda: codec.encode(rgb, quality, effort=1)),
        "decoder": alone(network, "synthesise", lambda: codec.decode(data)),
    }
    parts = transforms | {"prior": lambda: codec.read_indices(data)}
    table(network, parts, rgb.shape[0] * rgb.shape[1])
    kinds = {name: next(getattr(network, name).fine.parameters()).dtype for name in transforms}
    peaks = {kind: peak_rate(kind) for kind in dict.fromkeys(kinds.values())}
    rates = ", ".join(f"{peaks[kind] / 1e9:.1f} of {_short(kind)}" for kind in peaks)
    print(f"\npeak of a matrix product, GMAC/s: {rates}; shares of the time in")
    heads = ["transform", "in", "ms", "products", "those at half the peak", "GMAC/s", "of the peak"]
    lines = [heads]
    for name, call in transforms.items():
        rate = peaks[kinds[name]]
        used = use(network, call, rate, runs)
        shares = f"{used.products:.0%}", f"{used.near_peak:.0%}"
        speed = f"{used.rate / 1e9:.1f}", f"{used.rate / rate:.0%}"
        lines.append([name, _short(kinds[name]), f"{used.seconds * 1e3:.1f}", *shares, *speed])
    show(lines)


def _short(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
