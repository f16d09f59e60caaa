"""`vqcodec.weights` is `vqcodec.zoo.weights` now, and a model's network in torch is made by
`vqcodec.engine.torch.network.build`; the old name goes with version 0.3."""

from pathlib import Path
from types import SimpleNamespace

from .engine.torch.network import build
from .zoo import weights


def load_folder(folder: Path) -> SimpleNamespace:
    """As it was: a model with its `network`."""
    return _with_network(weights.load_folder(folder))


def load_shipped(name: str) -> SimpleNamespace:
    """As it was: a model with its `network`."""
    return _with_network(weights.load_shipped(name))


def _with_network(model: weights.Model) -> SimpleNamespace:
    return SimpleNamespace(**model._asdict(), network=build(model))
