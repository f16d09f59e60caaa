"""The state of the program that calls: it changes no result, and a call leaves it as it was."""

import os
import random
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from conftest import smooth_picture
from vqcodec.cli import main
from vqcodec.codec import Codec
from vqcodec.engine.torch import network, runtime
from vqcodec.generative import generate
from vqcodec.image import pixels
from vqcodec.image.metadata import Metadata
from vqcodec.image.pixels import Picture
from vqcodec.nn import prior

PICTURE = smooth_picture(40, 56)
HOLE = np.zeros(PICTURE.shape[:2], bool)
HOLE[8:30, 20:40] = True
DEVICES = "cpu", "onnx"

# What a program does with a codec, and the bytes that come of it. data: a file of PICTURE.
WORK: dict[str, Callable[[Codec, bytes], bytes]] = {
    "encode": lambda codec, data: codec.encode(PICTURE, 60, effort=1),
    "search": lambda codec, data: codec.encode(PICTURE, 60, effort=3),
    "decode": lambda codec, data: codec.decode(data).tobytes(),
    "crop": lambda codec, data: codec.decode(data, crop=(17, 3, 30, 20)).tobytes(),
    "scale 1/8": lambda codec, data: codec.decode(data, scale=8).tobytes(),
    "realism": lambda codec, data: codec.decode(data, realism=0.5).tobytes(),
    "damaged": lambda codec, data: codec.decode_damaged(data[:-60]).image.tobytes(),
    "tokens": lambda codec, data: codec.write_indices(codec.read_indices(data)),
    "inpaint": lambda codec, data: generate.inpaint(codec, PICTURE, HOLE).rgb.tobytes(),
    "sample": lambda codec, data: generate.sample(codec, 32, 48, seed=3).indices.tobytes(),
}


@pytest.fixture(scope="module")
def data(two_folder) -> bytes:
    return Codec.load(two_folder, "cpu").encode(PICTURE, 60, effort=1)


@pytest.fixture(scope="module")
def clean(two_folder, data) -> dict[str, dict[str, bytes]]:
    """What each engine makes where nothing is set."""
    return {device: results(fresh(two_folder, device), data) for device in DEVICES}


def fresh(folder: Path, device: str) -> Codec:
    """A codec whose first use is still to come, as in a new process."""
    for kept in (prior.lattice_mask, runtime._sums_are_exact, runtime._fused_is_right):
        kept.cache_clear()
    return Codec.load(folder, device)


def results(codec: Codec, data: bytes) -> dict[str, bytes]:
    return {name: work(codec, data) for name, work in WORK.items()}


@contextmanager
def setting(setter: Callable, value: object, before: object):
    setter(value)
    try:
        yield
    finally:
        setter(before)


def set_to(owner: object, name: str, value: object):
    """A context in which an attribute has a value."""
    return setting(lambda new: setattr(owner, name, new), value, getattr(owner, name))


def default_type(dtype: torch.dtype):
    return lambda: setting(torch.set_default_dtype, dtype, torch.float32)


# Of the calling thread, or of the process.
STATES = {
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "float64": default_type(torch.float64),
    "bfloat16": default_type(torch.bfloat16),
    "float16": default_type(torch.float16),
    "default device": lambda: setting(torch.set_default_device, "meta", None),
    "device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic": lambda: setting(torch.use_deterministic_algorithms, True, False),
    "frozen flags": lambda: set_to(torch.backends, "__allow_nonbracketed_mutation_flag", False),
    "errors of numpy": lambda: np.errstate(all="raise"),
}

# How far float32 may be rounded: pixels may be, indices are not. Set in the newer way of torch 2.9.
BACKENDS = torch.backends
PRECISIONS = {
    "medium": lambda: setting(torch.set_float32_matmul_precision, "medium", "highest"),
    "all": lambda: set_to(BACKENDS, "fp32_precision", "tf32"),
    "cuda matmul": lambda: set_to(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    "cudnn conv": lambda: set_to(BACKENDS.cudnn.conv, "fp32_precision", "tf32"),
    "mkldnn matmul": lambda: set_to(BACKENDS.mkldnn.matmul, "fp32_precision", "bf16"),
    "mkldnn conv": lambda: set_to(BACKENDS.mkldnn.conv, "fp32_precision", "bf16"),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("state", STATES)
def test_the_first_use_in_a_state_gives_what_it_gives_without(
    two_folder, data, clean, state, device
):
    """And so does the second, outside: what the first has made and kept is sound."""
    codec = fresh(two_folder, device)
    with STATES[state]():
        inside = results(codec, data)
    outside = results(codec, data)

    assert differing(inside, clean[device]) == []
    assert differing(outside, clean[device]) == []


@pytest.mark.parametrize("state", STATES)
def test_a_codec_in_use_works_on_in_a_state(two_folder, data, clean, state):
    codec = fresh(two_folder, "cpu")
    results(codec, data)
    with STATES[state]():
        inside = results(codec, data)

    assert differing(inside, clean["cpu"]) == []


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("used", [False, True], ids=["first use", "in use"])
def test_a_lower_precision_of_float32_moves_no_index(two_folder, data, clean, name, used):
    if not hasattr(BACKENDS, "fp32_precision") and name != "medium":
        pytest.skip("this torch has it not")
    codec = fresh(two_folder, "cpu")
    if used:
        results(codec, data)
    with PRECISIONS[name]():
        before = state_of_the_process()
        found = results(codec, data)
        after = state_of_the_process()

    assert found["tokens"] == clean["cpu"]["tokens"]
    assert found["sample"] == clean["cpu"]["sample"]
    near = (np.frombuffer(one["decode"], np.uint8).astype(int) for one in (found, clean["cpu"]))
    assert np.abs(np.subtract(*near)).max() <= 1
    assert after == before


def differing(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    return [name for name in expected if found[name] != expected[name]]


def state_of_the_process() -> dict[str, object]:
    """All that a program may have set. Torch's older ways of asking raise after the newer."""
    backends = torch._C._get_fp32_precision_getter if hasattr(BACKENDS, "fp32_precision") else None
    kinds = [(one, kind) for one in ("cuda", "mkldnn") for kind in ("all", "conv", "matmul")]
    return {
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
        "numpy's generator": np.random.get_state()[1].tobytes(),  # noqa: NPY002
        "python's generator": random.getstate(),
        "type": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "autocast": torch.is_autocast_enabled("cpu"),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "cudnn": (torch._C._get_cudnn_enabled(), torch._C._get_cudnn_benchmark()),
        "mkldnn": torch._C._get_mkldnn_enabled(),
        "precision": [backends(*kind) for kind in kinds] if backends else None,
        "filters": list(warnings.filters),
        "errors of numpy": np.geterr(),
        "environment": {**os.environ, "ORT_DISABLE_TELEMETRY": ""},
        "directory": Path.cwd(),
    }


@pytest.mark.parametrize("device", DEVICES)
def test_a_call_leaves_the_state_of_the_process_as_it_was(two_folder, data, device):
    before = state_of_the_process()
    results(fresh(two_folder, device), data)

    assert state_of_the_process() == before


def test_another_thread_sees_no_change_while_a_call_is_under_way(two_folder, data):
    codec, seen = fresh(two_folder, "cpu"), []
    before = state_of_the_process()

    def look(*_: object) -> None:
        with ThreadPoolExecutor(1) as other:
            seen.append(other.submit(state_of_the_process).result())

    for module in (codec.engine.network.encoder, codec.engine.network.prior.passes[1].read):
        module.register_forward_pre_hook(look)
    codec.engine.network.decoder.register_forward_hook(look)
    codec.decode(codec.encode(PICTURE, 60, effort=1))
    codec.encode(PICTURE, 60, effort=2)

    assert len(seen) > 4
    assert all(state == before for state in seen)


@pytest.mark.parametrize("before", [True, False])
def test_cudnn_is_off_for_exact_sums_and_then_as_it_was(before):
    """On CUDA alone, where flags are frozen as well; it needs no GPU to be switched."""
    with setting(torch._C._set_cudnn_enabled, before, True), STATES["frozen flags"]():
        with runtime.exact_sums(torch.device("cpu")):
            assert torch._C._get_cudnn_enabled() == before
        with runtime.exact_sums(torch.device("cuda")):
            with runtime.exact_sums(torch.device("cuda")):
                pass
            assert not torch._C._get_cudnn_enabled()
        assert torch._C._get_cudnn_enabled() == before


def test_draws_of_other_threads_while_a_model_is_made_are_not_drawn_again(codec, monkeypatch):
    make = network.Network

    def with_a_draw_beside(*arguments: object):
        thread = threading.Thread(target=lambda: drawn.append(torch.rand(1)))
        thread.start()
        thread.join()
        return make(*arguments)

    torch.manual_seed(0)
    expected, drawn = [torch.rand(1) for _ in range(2)], []
    monkeypatch.setattr(network, "Network", with_a_draw_beside)
    torch.manual_seed(0)
    network.build(codec.model)

    assert [*drawn, torch.rand(1)] == expected


class DefaultType(TorchDispatchMode):
    """Collects the operations that make float16 of what has none: it is the default type."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        given = tree_leaves((args, kwargs))
        asked = torch.float16 in given or any(is_half(value) for value in given)
        if not asked and any(is_half(value) for value in tree_leaves(made)):
            self.found.append(str(func))
        return made


def is_half(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.float16


def test_nothing_is_computed_in_the_default_type(two_folder, data):
    """Also where it would be rounded to the same number afterwards."""
    noise = np.random.default_rng(0).integers(0, 2, (32, 32, 3)).astype(np.uint8) * 255
    with default_type(torch.float16)():
        with DefaultType() as watch:
            torch.ones(1)
        assert len(watch.found) == 1
        with DefaultType() as watch:
            codec = fresh(two_folder, "cpu")
            results(codec, data)
            codec.decode(codec.encode(noise, 100, effort=2))  # it has escapes

    assert watch.found == []


# The filters of warnings are the process's: a context that sets them may put back those of another
# thread, or take its away.


@pytest.fixture
def odd_file(tmp_path) -> Path:
    """A picture that Pillow warns of."""
    path = tmp_path / "odd.png"
    pixels.save(Picture(PICTURE, metadata=Metadata(exif=b"MM\0*damaged")), path)
    return path


def test_reading_a_picture_leaves_the_filters_of_warnings_alone(odd_file, monkeypatch):
    seen, read = [], Image.Image.getexif

    def look(image: Image.Image) -> Image.Exif:
        seen.append(list(warnings.filters))
        return read(image)

    monkeypatch.setattr(Image.Image, "getexif", look)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = list(warnings.filters)
        pixels.load(odd_file)

    assert seen
    assert all(filters == expected for filters in seen)


def test_commands_show_no_warnings_of_pillow(odd_file, installed):
    result = CliRunner().invoke(main, ["encode", str(odd_file), "--effort", "1"])

    assert result.exit_code == 0, result.output
    assert "Corrupt" not in result.output
