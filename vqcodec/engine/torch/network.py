"""Building the torch network of a model from its tensors."""

import torch
from torch import Tensor

from ...entropy.freqs import bits
from ...nn.model import Network
from ...nn.prior import LevelTables
from ...zoo.shapes import UNITS, part_of
from ...zoo.weights import Model, Tensors
from .runtime import building


def build(model: Model) -> Network:
    """The network, frozen, on the CPU. The prior's integers become floats that hold them."""
    with building():
        network = Network(model.config)
        state = to_floats(model.tensors)
        tables = {name: state.pop(name) for name in LevelTables._fields}
        network.load_state_dict(state)
        network.fixed_tables = LevelTables(**tables)
        for row, counts in enumerate(model.freqs):
            network.codebooks.bits[row, : len(counts)] = torch.from_numpy(bits(counts))
        network.eval().requires_grad_(False)
        network.prior.freeze()
        network.codebooks.freeze()
    return network


def to_floats(tensors: Tensors) -> dict[str, Tensor]:
    """float32 of all tensors but the frequencies; integers in their units."""
    found = {}
    for name, array in tensors.items():
        if name != "freqs":
            tensor = torch.from_numpy(array)
            if part_of(name) == "prior":
                tensor = tensor.double() * 2.0 ** -UNITS[name.rsplit(".")[-1]]
            found[name] = tensor.float()
    return found
