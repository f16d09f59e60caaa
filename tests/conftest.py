"""A tiny model with seeded random weights and a few pictures, for all tests."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from vqcodec.bitstream import container
from vqcodec.cli import options
from vqcodec.codec import Codec
from vqcodec.config import GRAIN_CHANNELS
from vqcodec.engine import exact_blocks
from vqcodec.nn.model import Network
from vqcodec.nn.quantizer import gaussian_probabilities
from vqcodec.train import cuda
from vqcodec.train.export import export, export_realism
from vqcodec.train.presets import tiny
from vqcodec.zoo import shipped, weights

ROOT = Path(__file__).parents[1]
GOLDEN = {shipped.OWN: ROOT / "tests" / "golden", "vqcodec_archive": ROOT / "archive" / "golden"}

# Child processes compute on one thread as well: small pictures lose time with more.
os.environ["OMP_NUM_THREADS"] = "1"


def golden_models() -> list[str]:
    """The installed models whose golden files are here: without the archive, or in a source
    distribution, these are the models of the package itself."""
    here = {package for package, folder in GOLDEN.items() if folder.is_dir()}
    return [entry.name for entry in shipped.entries() if entry.package in here]


def golden(model: str, kind: str = "valid") -> Path:
    """The folder of a model's golden files."""
    return GOLDEN[shipped.find(model).package] / kind


def fast_model() -> str:
    """The smallest of the models of the package itself."""
    return next(entry.name for entry in shipped.own() if entry.name.startswith("fast-"))


def cosines(count: int) -> torch.Tensor:
    """float32 [768, count]: the lowest frequencies of 16x16 RGB blocks, orthonormal."""
    place = (torch.arange(16) + 0.5) * torch.pi / 16
    waves = torch.cos(torch.arange(16)[:, None] * place) / 8**0.5  # [frequency, place]
    waves[0] /= 2**0.5
    order = sorted((u + v, u, v, c) for u in range(16) for v in range(16) for c in range(3))
    basis = torch.zeros(3, 256, count)
    for column, (_, u, v, c) in enumerate(order[:count]):
        basis[c, :, column] = torch.outer(waves[u], waves[v]).flatten()
    return basis.view(768, count)


def random_network(seed: int = 0) -> Network:
    """An untrained network of the tiny preset whose every part does something."""
    torch.manual_seed(seed)
    network = Network(tiny().model)
    latents = network.config.transform.latents
    basis = cosines(latents)
    with torch.no_grad():
        network.linear.analysis.copy_(basis)
        network.linear.synthesis.copy_(basis)
        network.gains.scale.copy_(torch.linspace(400, 40, latents))
        for name, p in network.prior.named_parameters():
            if name.endswith(("head.weight", "knots")):
                p.normal_(std=0.2)
    return network


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Small tensors gain nothing from threads, and lose much where other work runs."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _torch(monkeypatch):
    """Commands compute with torch, as the library does; test_onnx.py has the other engine."""
    monkeypatch.setenv("VQCODEC_DEVICE", "cpu")
    # And training on CPUs wherever tests run, but for test_cuda.py.
    monkeypatch.setattr(cuda, "is_there", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # of processes that tests start


@pytest.fixture(scope="session", autouse=True)
def _interruptible():
    """Shells start background jobs deaf to Ctrl-C, and processes that these start stay so."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "random"
    network = random_network()
    export(network, gaussian_probabilities(network.config.quantizer), folder)
    return folder


@pytest.fixture(scope="session")
def codec(model_folder) -> Codec:
    return Codec.load(model_folder, "cpu")


@pytest.fixture(scope="session")
def strong_folder(tmp_path_factory) -> Path:
    """A model whose convolutional paths add as much as its linear ones: a wrong halo would show."""
    network = random_network()
    for name, p in network.named_parameters():
        if name.endswith(("mix.3.weight", "expand.2.weight", "coder.head.weight")):
            torch.nn.init.normal_(p, std=0.3)
    folder = tmp_path_factory.mktemp("models") / "strong"
    export(network, gaussian_probabilities(network.config.quantizer), folder)
    return folder


@pytest.fixture(scope="session")
def two_folder(model_folder, tmp_path_factory) -> Path:
    """A copy of the model that has a second decoder, near the first."""
    network = Codec.load(model_folder, "cpu", precise=True).engine.network
    generator = torch.Generator().manual_seed(7)
    own = network.decoder.state_dict()
    other = {name: t + 0.05 * torch.randn(t.shape, generator=generator) for name, t in own.items()}
    width = network.config.transform.fine_width
    other["grain.weight"] = torch.randn(width, GRAIN_CHANNELS, 1, 1, generator=generator)
    folder = tmp_path_factory.mktemp("two") / "two"
    export_realism(model_folder, other, folder)
    return folder


@pytest.fixture(scope="session")
def lpips_weights(tmp_path_factory) -> Path:
    """Random weights in the layout of SqueezeNet 1.1 and of LPIPS."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"features.0": (64, 3, 3)}
    for number, (size, squeeze, expand) in {
        3: (64, 16, 64),
        4: (128, 16, 64),
        6: (128, 32, 128),
        7: (256, 32, 128),
        9: (256, 48, 192),
        10: (384, 48, 192),
        11: (384, 64, 256),
        12: (512, 64, 256),
    }.items():
        shapes[f"features.{number}.squeeze"] = squeeze, size, 1
        shapes[f"features.{number}.expand1x1"] = expand, squeeze, 1
        shapes[f"features.{number}.expand3x3"] = expand, squeeze, 3
    weights = {}
    for name, (outputs, inputs, side) in shapes.items():
        weight = torch.randn(outputs, inputs, side, side, generator=generator)
        weights[f"{name}.weight"] = weight / (inputs * side * side) ** 0.5
        weights[f"{name}.bias"] = torch.zeros(outputs)
    for number, channels in enumerate((64, 128, 256, 384, 384, 512, 512)):
        weights[f"lpips.lin{number}"] = torch.full((channels,), 1 / 7)
    path = tmp_path_factory.mktemp("lpips") / "weights.safetensors"
    save_file(weights, path)
    return path


@pytest.fixture
def installed(monkeypatch, model_folder, codec):
    """The tests' model as the only and default one that is installed."""
    pretend_installed(monkeypatch, shipped.Entry("random", codec.model.id, {}))
    monkeypatch.setattr(shipped, "default_name", lambda: "random")
    monkeypatch.setattr(shipped, "folder_of", lambda name: model_folder)
    forget_models()
    yield
    forget_models()


def pretend_installed(monkeypatch, *entries: shipped.Entry) -> None:
    """These models, and no others, are installed."""
    monkeypatch.setattr(shipped, "own", lambda: entries)
    monkeypatch.setattr(shipped, "entries", lambda: entries)


def forget_models() -> None:
    options.load_codec.cache_clear()
    Codec._shared.clear()
    weights.load_shipped.cache_clear()


def smooth_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 [H, W, 3]: waves and a little noise, something like a photograph's spectrum."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 64.0
    waves = [np.sin(rng.normal(size=2) @ [y.ravel(), x.ravel()] * 3 + k) for k in range(6)]
    base = np.stack(waves[:3], -1) + 0.5 * np.stack(waves[3:], -1)
    rgb = 128 + 60 * base.reshape(height, width, 3) + rng.normal(scale=6, size=(height, width, 3))
    return rgb.clip(0, 255).astype(np.uint8)


def save_pictures(folder: Path, count: int, height: int, width: int) -> Path:
    """The folder, with pictures 0.png to COUNT - 1.png."""
    for seed in range(count):
        Image.fromarray(smooth_picture(height, width, seed)).save(folder / f"{seed}.png")
    return folder


def page(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Lines of text on white: uint8 [height, width, 3]."""
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    rng = np.random.default_rng(seed)
    letters = np.array(list("aeinorstlcdmpbgh .,"))
    for y in range(6, height - 12, 22):
        draw.text((8, y), "".join(rng.choice(letters, width // 10)), (20, 20, 60), font)
    return np.array(image)


def exact_pixels_of(data: bytes) -> np.ndarray:
    """bool [H, W]: the exact pixels of a file."""
    header, _, _, exact = container.unpack(data)
    where = np.zeros((header.height, header.width), bool)
    for part, tile in zip(exact, container.tile_grid(header), strict=True):
        if part is not None:
            area = container.tile_pixels(header, tile)
            found = exact_blocks.mask_of(part, area)
            rows, columns = slice(area.y, area.y + area.height), slice(area.x, area.x + area.width)
            where[rows, columns] = True if found is None else found
    return where


@pytest.fixture
def picture() -> np.ndarray:
    return smooth_picture(80, 112)


def decoded_tiles(codec, monkeypatch) -> list:
    """The segments of the tiles that a codec of either engine decodes, while it does."""
    calls, coder = [], codec.engine.tiles
    decode = coder.decode

    def listen(segments, *rest):
        calls.append(segments)
        return decode(segments, *rest)

    monkeypatch.setattr(coder, "decode", listen)
    return calls


WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "bincount", "unique", "equal"}
BY_INDEX = {"index", "index_put", "index_put_", "_unsafe_index_put", "_index_put_impl_"}


class Decisions(TorchDispatchMode):
    """Lists operations whose shapes depend on data, or that wait for the device to know it; and
    copies to or from another device."""

    def __init__(self):
        super().__init__()
        self.found, self.count = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, self.count = func.overloadpacket.__name__, self.count + 1
        if name in WAITS or name.startswith("unique"):
            self.found.append(name)
        if name in BY_INDEX and any(i is not None and i.dtype == torch.bool for i in args[1]):
            self.found.append(f"{name} by a mask")
        result = func(*args, **(kwargs or {}))
        if name in ("_to_copy", "copy_") and isinstance(result, torch.Tensor):
            source = args[1] if name == "copy_" else args[0]
            if source.device != result.device:
                self.found.append(f"copy from {source.device} to {result.device}")
        return result
