"""Interpolation between the two decoders of a model: what `realism` sets.

At 0 it is the first, for fidelity; at 1 the one that was trained on from it for realism. Between
them the weights are interpolated, which costs one decoder, not two: network interpolation, Wang
et al. 2018, arXiv:1809.00219, section 3.4.
"""

from functools import lru_cache, partial

import torch

from ...nn.transforms import Decoder
from ...zoo.weights import Model
from ..base import blended, check_realism
from .network import to_floats
from .runtime import building

KEPT = 4  # decoders: those of the last values


class DecoderBlend:
    """The decoders of a model by their realism. Use from several threads is safe."""

    def __init__(self, decoder: Decoder, model: Model):
        self._decoder, self._model = decoder, model
        self._blend = lru_cache(maxsize=KEPT)(partial(_blend, decoder, model))

    def at(self, realism: float) -> Decoder:
        """The decoder of a realism of 0 to 1. Raises as `check_realism`."""
        check_realism(realism, self._model)
        return self._blend(float(realism)) if realism else self._decoder


def _blend(decoder: Decoder, model: Model, weight: float) -> Decoder:
    """A decoder between the first, weight 0, and the other, weight 1."""
    with building(), torch.no_grad():
        mixed = Decoder(model.config.transform, grained=True)
        tensors = to_floats(blended(model, weight))
        mixed.load_state_dict({name: tensors[f"decoder.{name}"] for name in mixed.state_dict()})
        for name, module in mixed.named_children():
            like = next(getattr(decoder, name, decoder.stem).parameters(), decoder.stem.weight)
            module.to(like.device, like.dtype, memory_format=torch.channels_last)
        return mixed.eval().requires_grad_(False)
