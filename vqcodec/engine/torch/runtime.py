"""All that reaches into torch beyond its public interface, or has an effect on the process.

Each with its reason and its guard. The networks of `nn/` and the engine take it from here, and
nothing of the kind is anywhere else.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from threading import Lock

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

ONEDNN_MIN = 20480  # numbers in a map above which torch gives a convolution to oneDNN

# OpenMP has a number of threads for each thread that uses it; the other backends of
# torch have one for the process. Torch says which it has in text alone.
_THREADS_ARE_PER_THREAD = "backend: OpenMP" in torch.__config__.parallel_info()


# --- What the host's state would do to a call, and a call to the host's state


@contextmanager
def isolated() -> Iterator[None]:
    """Compute without gradients, in the types of the tensors, on their devices: whatever modes
    the caller's thread is in. They are those of the thread, and are as before afterwards."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        _enter_neutral(stack)
        yield


@contextmanager
def isolated_with_gradients() -> Iterator[None]:
    """As `isolated`, but gradients are recorded, also inside the caller's inference mode."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        _enter_neutral(stack)
        yield


def _enter_neutral(stack: ExitStack) -> None:
    for kind in ("cpu", "cuda"):
        if torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))
    # torch.set_default_device is a mode of the thread, too; entering it takes time in each call.
    if torch.get_default_device().type != "cpu":
        stack.enter_context(torch.device("cpu"))


@contextmanager
def building() -> Iterator[None]:
    """Make modules: as usual parameters, without a trace in the generator of random numbers."""
    with isolated_with_gradients(), _OwnDraws():
        yield


class _OwnDraws(TorchFunctionMode):
    """Layers draw their first weights, though others replace them: from a generator of ours. The
    process's cannot be put back, other threads draw from it meanwhile."""

    DRAWS = (torch.randn, Tensor.normal_, Tensor.uniform_)
    DRAWS += (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_)

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        given = {"generator": self.generator} if func in self.DRAWS else {}
        return func(*args, **{**(kwargs or {}), **given})


def _forget_threads() -> None:
    # A forked child has the record of OpenMP's threads, not the threads: it would wait for ever.
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


# --- Threads and memory


def share_of_threads(most: int, device: torch.device) -> int:
    """How many calls to make at a time, at most `most`: 1 where they cannot divide threads."""
    divisible = device.type == "cpu" and _THREADS_ARE_PER_THREAD
    return min(most, torch.get_num_threads()) if divisible else 1


def take_threads(count: int) -> None:
    """Have the calling thread compute with so many threads."""
    torch.get_num_threads()  # else it takes the process's number when it first computes
    torch.set_num_threads(count)


def restore_threads(count: int) -> None:
    """Have threads that begin later, and the calling one, compute with so many threads again: what
    one sets, later ones start with."""
    torch.set_num_threads(count)


def keep_pages() -> None:
    """Have glibc keep the memory of a picture's maps for the next one: it gives back what is more
    than twice the largest block that was ever freed, of at most 32 MB (mallopt(3), "dynamic mmap
    threshold"), and the pages that come anew each time took a tenth of the time of a picture."""
    torch.empty(31 << 20, dtype=torch.uint8)


# --- Exact sums


class _CudnnOff:
    """cuDNN, off while any thread computes exactly: it is the process's, so that the last one to
    leave restores it. Past `torch.backends`, whose flags a program may have frozen."""

    lock, users, before = Lock(), 0, True

    @classmethod
    def enter(cls) -> None:
        with cls.lock:
            if not cls.users:
                cls.before = torch._C._get_cudnn_enabled()
                torch._C._set_cudnn_enabled(False)
            cls.users += 1

    @classmethod
    def leave(cls) -> None:
        with cls.lock:
            cls.users -= 1
            if not cls.users:
                torch._C._set_cudnn_enabled(cls.before)


@contextmanager
def exact_sums(device: torch.device) -> Iterator[None]:
    """Sums of integers below 2**24 come out exact in float32, and in float64 in any case.

    On CPUs nothing is switched: where float32 may be rounded further, `float32_is_exact` says so,
    and float64 is taken. On CUDA cuDNN, whose Winograd and FFT convolutions round, is off
    meanwhile for all threads: it has no switch for one thread.
    """
    off = device.type == "cuda"
    if off:
        _CudnnOff.enter()
    try:
        yield
    finally:
        if off:
            _CudnnOff.leave()


def float32_is_exact(device: torch.device) -> bool:
    """Whether float32 convolutions have float32's precision as the process is set at present: it
    may allow TF32 or bfloat16 instead, by several switches of torch and by oneDNN's environment."""
    return _sums_are_exact(device, _precision())


def _precision() -> tuple[str, ...]:
    """The switches. Torch's own getter of the older one raises after use of the newer ones."""
    if get := getattr(torch._C, "_get_fp32_precision_getter", None):  # torch 2.9
        kinds = (("generic", "all"), ("cuda", "all"), ("cuda", "matmul"), ("cuda", "conv"))
        kinds += (("mkldnn", "all"), ("mkldnn", "matmul"), ("mkldnn", "conv"))
        return tuple(get(*kind) for kind in kinds)
    return (torch.get_float32_matmul_precision(), str(torch.backends.cuda.matmul.allow_tf32))


@lru_cache(maxsize=32)
def _sums_are_exact(device: torch.device, switches: tuple[str, ...]) -> bool:
    """Compare sums of integers with float64's, of each kind of convolution that the prior has."""
    with isolated(), exact_sums(device):
        i = torch.arange(64 * 24 * 24, device=device)
        x = (i * 7919 % 2047).view(1, 64, 24, 24).float()
        x = x.contiguous(memory_format=torch.channels_last)
        w = (i[: 64 * 64 * 9] * 104729 % 255 - 127).view(64, 64, 3, 3).float()
        for kernel, groups in ((w[:, :, :1, :1], 1), (w, 1), (w[:, :1], 64)):
            side = kernel.shape[2] // 2
            found = F.conv2d(x, kernel, padding=side, groups=groups)
            expected = F.conv2d(x.double(), kernel.double(), padding=side, groups=groups)
            if not torch.equal(found.double(), expected):
                return False
        return True


# --- Faster ways to the same


def fast_type(device: torch.device) -> torch.dtype:
    """What an encoder computes the convolutional paths in, and a decoder its residual blocks:
    bfloat16 on CPUs that multiply it in hardware, twice as fast there, else float32. Of what is
    shown that moves 4 to 10 of 100 numbers by one level in 255, up to three of 100,000 by two, and
    PSNR against the source by 0.002 dB, at most 0.006 (docs/speed.md)."""
    fast = device.type == "cpu" and multiplies_bfloat16(device)
    return torch.bfloat16 if fast else torch.float32


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device does so in hardware; a CPU that does not takes four to seven times as
    long as in float32."""
    if device.type != "cpu":
        return True
    # torch 2.4 does not say what a CPU can: it computes in float32.
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return known.get("avx512_bf16", False) and torch.backends.mkldnn.is_available()


def point_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 1x1 convolution. A 1x1 kernel has nothing to dilate, but in one thread torch takes oneDNN
    for dilated ones alone if they are float32: 2.2 times as fast, and 2.5 times with gradients."""
    dilated = x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > ONEDNN_MIN
    return F.conv2d(x, weight, bias, dilation=2 if dilated else 1)


def fused(x: Tensor, conv: nn.Conv2d, tail: str = "none", plus: Tensor | None = None) -> Tensor:
    """A convolution that also takes the "relu" or does the "add" of `plus` while it writes. Torch
    has it of oneDNN for its own compiler, not for users: ask `can_fuse`."""
    ops = torch.ops.mkldnn
    shape = list(conv.padding), [1, 1], [1, 1], conv.groups
    if plus is None:
        return ops._convolution_pointwise(x, conv.weight, conv.bias, *shape, tail, [], "")
    rest = *shape, tail, 1.0, None, [], None
    return ops._convolution_pointwise.binary(x, plus, conv.weight, conv.bias, *rest)


def can_fuse(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether `fused` is to be had: oneDNN is for CPUs, and may be switched off."""
    on = getattr(torch.backends.mkldnn, "enabled", True)
    return device.type == "cpu" and on and _fused_is_right(dtype)


@lru_cache
def _fused_is_right(dtype: torch.dtype) -> bool:
    """Whether `fused` is there, and gives what the steps give."""
    with building(), torch.no_grad():
        conv = nn.Conv2d(16, 16, 1, dtype=dtype)
        x = torch.linspace(-1, 1, 16 * 64, dtype=torch.float32).to(dtype).view(1, 16, 8, 8)
        plain = conv(x)
        near = partial(torch.allclose, atol=0.1, rtol=0.1)
        try:
            return near(fused(x, conv, "relu"), plain.relu()) and near(
                fused(x, conv, "add", x), plain + x
            )
        except (AttributeError, RuntimeError, TypeError):
            return False


def lerp_all(averages: list[Tensor], values: list[Tensor], weight: float) -> None:
    """Move each average towards its value, in place: one call for all, which torch's optimisers
    have and its users have not; else a kernel is launched for each."""
    torch._foreach_lerp_(averages, values, weight)


def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy each source into its target: one call for all, as `lerp_all`."""
    torch._foreach_copy_(targets, sources)


def time_convolutions() -> None:
    """Have cuDNN try its algorithms for each new shape and keep the fastest: for training, whose
    shapes are few. It is the process's."""
    torch.backends.cudnn.benchmark = True
