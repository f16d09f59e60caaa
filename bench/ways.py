"""Ways to read a file: devices, types, threads, and switches of torch that would round sums.

Each switch is one that a host program may have set before it asks for a picture. Indices must not
depend on any of them.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import NamedTuple

import torch

from vqcodec.codec import Codec
from vqcodec.engine.torch.engine import TorchEngine
from vqcodec.zoo.weights import Model

PRIOR_TYPES = torch.float32, torch.float64
ONNX = "onnx"


class Switch(NamedTuple):
    """A setting of the process. on, off: set it, and what torch starts with."""

    name: str
    on: Callable[[], object]
    off: Callable[[], object]


class Way(NamedTuple):
    """How a file is read. dtype: in which the prior computes; ONNX Runtime has its own. switch: of
    SWITCHES, by its name; empty for none."""

    device: str
    dtype: torch.dtype = torch.float32
    threads: int = 1
    switch: str = ""


def _onednn(is_on: bool) -> None:
    with warnings.catch_warnings():
        # `set_flags` sets the TF32 switch as well, and warns that there is no Intel GPU.
        warnings.simplefilter("ignore", UserWarning)
        torch.backends.mkldnn.set_flags(is_on)


def _precision(owner: object, value: str) -> Callable[[], None]:
    return lambda: setattr(owner, "fp32_precision", value)


def _default_type(dtype: torch.dtype) -> Callable[[], None]:
    return lambda: torch.set_default_dtype(dtype)


def _switches() -> dict[str, Switch]:
    """Those that this torch has: the attribute `fp32_precision` came with 2.9."""
    matmul = torch.set_float32_matmul_precision
    found = [
        Switch("oneDNN off", lambda: _onednn(False), lambda: _onednn(True)),
        Switch("matmul medium", lambda: matmul("medium"), lambda: matmul("highest")),
        *(
            Switch(f"default {name}", _default_type(dtype), _default_type(torch.float32))
            for name, dtype in (("float64", torch.float64), ("bfloat16", torch.bfloat16))
        ),
    ]
    owners = {"fp32 tf32": (torch.backends, "tf32")}
    for kind in ("conv", "matmul"):
        owners[f"oneDNN {kind} bf16"] = getattr(torch.backends.mkldnn, kind, None), "bf16"
    for name, (owner, value) in owners.items():
        if hasattr(owner, "fp32_precision"):
            found.append(Switch(name, _precision(owner, value), _precision(owner, "none")))
    return {switch.name: switch for switch in found}


SWITCHES = _switches()


def ways() -> list[Way]:
    """All that this machine can try."""
    switches = "", "oneDNN off"
    found = [Way("cpu", d, n, s) for d in PRIOR_TYPES for n in (1, 2) for s in switches]
    others = [name for name in SWITCHES if name not in switches]
    found += [Way("cpu", threads=2, switch=name) for name in others]
    if torch.cuda.is_available():
        found += [Way("cuda", dtype) for dtype in PRIOR_TYPES]
        found += [Way("cuda", switch=name) for name in others]
    return [*found, Way(ONNX)] if find_spec("onnxruntime") else found


@contextmanager
def switched(way: Way) -> Iterator[None]:
    """Threads and switch of a way inside the block, as they were afterwards."""
    threads, switch = torch.get_num_threads(), SWITCHES.get(way.switch)
    torch.set_num_threads(way.threads)
    try:
        if switch:
            switch.on()
        yield
    finally:
        if switch:
            switch.off()
        torch.set_num_threads(threads)


def codec_of(model: Model, way: Way) -> Codec:
    """A codec that reads in this way; to be made and used while it is `switched`."""
    codec = Codec(model, way.device)
    if way.device != ONNX:
        engine = TorchEngine(model, way.device, way.dtype)
        codec._engines.pick = lambda *_, **__: engine  # a codec is never asked for a type
    return codec
