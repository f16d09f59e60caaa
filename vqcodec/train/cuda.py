"""All of training that is CUDA's alone: graphs, streams, pinned memory, which GPU is whose.

On a CPU each function does what it is for without it, so that what calls them is the same.
"""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from ..engine.torch.runtime import time_convolutions

T = TypeVar("T")
WARM_UP = 3  # calls before a capture: libraries choose their algorithms, and take memory
AHEAD = 2  # steps that the host may be ahead of the device
SHARE = 0.4  # of a GPU's free memory is for pictures


def is_there() -> bool:
    return torch.cuda.is_available()


def own_device() -> torch.device:
    """The GPU of this process, torchrun's LOCAL_RANK, or the CPU."""
    if not is_there():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    time_convolutions()
    return device


def memory_row(device: torch.device) -> dict[str, float]:
    """For the log: the most memory that tensors have taken, in GiB."""
    if device.type != "cuda":
        return {}
    return {"gib": torch.cuda.max_memory_allocated(device) / 2**30}


def holds(device: torch.device, size: int) -> bool:
    """Whether pictures of `size` bytes may lie in the device's memory: of a CPU never, files do."""
    return device.type == "cuda" and size < SHARE * torch.cuda.mem_get_info(device)[0]


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device. The copy is queued there: nothing waits for it."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def captured(
    function: Callable[[], T], changes: list[Tensor], device: torch.device
) -> Callable[[], T]:
    """`function` as a CUDA graph, whose result is the same tensors each time; on a CPU itself.

    It must not wait for the device. changes: tensors that it changes and that outlive it: they are
    after the capture what they were before.
    """
    if device.type != "cuda":
        return function
    before = [tensor.clone() for tensor in changes]
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            function()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()
    for tensor, value in zip(changes, before, strict=True):
        tensor.copy_(value)

    def replay() -> T:
        graph.replay()
        return result

    return replay


class Pace:
    """Keeps the host at most AHEAD steps ahead of the device, so that what it measures of time,
    and Ctrl-C, are of now."""

    def __init__(self, device: torch.device):
        self.device, self.ends = device, deque()

    def step(self) -> None:
        """A step is queued."""
        if self.device.type != "cuda":
            return
        self.ends.append(torch.cuda.Event())
        self.ends[-1].record()
        if len(self.ends) > AHEAD:
            self.ends.popleft().synchronize()


class Prefetched:
    """The tensors that `make` gives, each time made while those before are used: by a thread, on a
    stream of its own. On a CPU they are made when they are asked for."""

    def __init__(self, make: Callable[[], tuple[Tensor, ...]], device: torch.device):
        self.make, self.device, self.next = make, device, None
        self.thread: ThreadPoolExecutor | None = None
        if device.type == "cuda":
            self.thread, self.stream = ThreadPoolExecutor(1), torch.cuda.Stream(device)

    def take(self) -> tuple[Tensor, ...]:
        """The next tensors. Nothing is made meanwhile, until `begin`: a capture must be alone."""
        if self.thread is None:
            return self.make()
        tensors, ready = (self.next or self._submit()).result()
        self.next = None
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(ready)
        for tensor in tensors:
            tensor.record_stream(stream)  # its memory is not for others before
        return tensors

    def begin(self) -> None:
        """Begin with the next."""
        if self.thread is not None:
            self.next = self._submit()

    def _submit(self) -> Future:
        return self.thread.submit(self._made)

    def _made(self) -> tuple[tuple[Tensor, ...], "torch.cuda.Event"]:
        torch.cuda.set_device(self.device)
        with torch.cuda.stream(self.stream):
            tensors = self.make()
            ready = torch.cuda.Event()
            ready.record()
        return tensors, ready
