"""The dial between the two decoders of a model: networks that differ in their decoder alone.

At 0 it is the network itself, for the least squared error; at 1 the decoder is the one that was
trained on from it to paint texture. Between them the weights are interpolated, which costs one
decoder, not two: network interpolation, Wang et al. 2018, arXiv:1809.00219, section 3.4.
"""

from functools import lru_cache, partial

import torch
from torch import Tensor

from ...errors import NoDecoderError
from ...nn.model import Network
from ...nn.transforms import Decoder

KEPT = 4  # networks: those of the last values


class Painters:
    """The networks of a model by their realism. Use from several threads is safe."""

    def __init__(self, network: Network, realism: dict[str, Tensor] | None):
        """realism: tensors as `weights.Model` has them, None for a model without."""
        self._network = network
        self._blend = None
        if realism is not None:
            self._blend = lru_cache(maxsize=KEPT)(partial(_blend, network, realism))

    def at(self, realism: float) -> Network:
        """The network that paints with a realism of 0 to 1.

        Raises NoDecoderError if there is no second decoder and realism is not 0; ValueError for
        numbers out of range.
        """
        if not 0 <= realism <= 1:
            raise ValueError(f"realism is {realism}, expected 0..1")
        if realism == 0:
            return self._network
        if self._blend is None:
            raise NoDecoderError(
                f"realism is {realism:g}, but the model has no realism decoder: expected 0"
            )
        return self._blend(float(realism))


@torch.no_grad()
def _blend(network: Network, realism: dict[str, Tensor], weight: float) -> Network:
    """The network with a decoder between its own, weight 0, and the other, weight 1."""
    own = network.decoder.state_dict()
    decoder = Decoder(network.config.transform, grained=True)
    for name, tensor in decoder.state_dict().items():
        other = realism[f"decoder.{name}"].float()
        first = own[name].cpu() if name in own else torch.zeros_like(other)  # no grain
        tensor.copy_(first.lerp(other, weight))
    like = next(network.decoder.parameters())
    decoder = decoder.to(like.device, like.dtype, memory_format=torch.channels_last)
    return network.with_decoder(decoder.eval().requires_grad_(False))
