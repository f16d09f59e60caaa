"""A tiny model with seeded random weights and a few pictures, for all tests."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vqcodec.codec import Codec
from vqcodec.nn.model import Network
from vqcodec.nn.quantizer import gaussian_probabilities
from vqcodec.train.export import export
from vqcodec.train.presets import tiny


def random_network(seed: int = 0) -> Network:
    """An untrained network of the tiny preset whose every part does something."""
    torch.manual_seed(seed)
    network = Network(tiny().model)
    latents = network.config.transform.latents
    basis = torch.linalg.qr(torch.randn(768, latents)).Q
    with torch.no_grad():
        network.linear.analysis.copy_(basis)
        network.linear.synthesis.copy_(basis)
        network.gains.scale.copy_(torch.linspace(400, 40, latents))
        for name, p in network.prior.named_parameters():
            if name.endswith(("head.weight", "knots")):
                p.normal_(std=0.2)
    return network


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "random"
    network = random_network()
    export(network, gaussian_probabilities(network.config.quantizer), folder)
    return folder


@pytest.fixture(scope="session")
def codec(model_folder) -> Codec:
    return Codec.load(model_folder, "cpu")


def smooth_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 [H, W, 3]: waves and a little noise, something like a photograph's spectrum."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 64.0
    waves = [np.sin(rng.normal(size=2) @ [y.ravel(), x.ravel()] * 3 + k) for k in range(6)]
    base = np.stack(waves[:3], -1) + 0.5 * np.stack(waves[3:], -1)
    rgb = 128 + 60 * base.reshape(height, width, 3) + rng.normal(scale=6, size=(height, width, 3))
    return rgb.clip(0, 255).astype(np.uint8)


@pytest.fixture
def picture() -> np.ndarray:
    return smooth_picture(80, 112)
