"""Training examples of the realism stage: a crop, its latents, and the first decoder's pixels."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..nn.grain import grain
from ..nn.model import Network
from ..nn.transforms import Decoder
from ..rate_control import LAMBDA_SCALE

GRAIN = 0.05  # standard deviation of the weights of grain, to start with


class Scene(NamedTuple):
    """A batch: pixels, and what the frozen networks make of them.

    x, fidelity: float [B, 3, H, W] in 0..1. latents: [B, C, H/16, W/16] in standard deviations.
    """

    x: Tensor
    levels: Tensor
    latents: Tensor
    fidelity: Tensor


class FrozenModel:
    """The networks of the model that gets a second decoder."""

    def __init__(self, network: Network, generator: torch.Generator):
        """generator: on the CPU, for the positions that pictures are from."""
        self.network, self.generator = network, generator
        self.levels = network.config.transform.levels

    @torch.no_grad()
    def scene(self, x: Tensor, levels: Tensor) -> Scene:
        """What a file of these pixels holds, and how the fidelity decoder decodes it."""
        x = x.to(memory_format=torch.channels_last)
        net = self.network
        with torch.autocast(x.device.type, torch.bfloat16):
            y = net.analyse(x, levels)
        for result in net.quantise(y, levels, LAMBDA_SCALE):
            steps = result.latents
        latents = steps * net.gains.to_units()[levels][:, :, None, None]
        return Scene(x, levels, latents, self.synthesise(net.decoder, latents, levels))

    def synthesise(self, decoder: Decoder, latents: Tensor, levels: Tensor) -> Tensor:
        """Pixels float32 [B, 3, H, W], about 0..1; each picture is from another position."""
        noise = None
        if decoder.is_grained:
            origins = torch.randint(2**16, (len(latents), 2), generator=self.generator).tolist()
            size = latents.shape[2:]
            noise = torch.cat([grain(*origin, *size, latents.device) for origin in origins])
        net = self.network
        with torch.autocast(latents.device.type, torch.bfloat16):
            return decoder(latents, net.linear, net.gains.scale, levels, noise)

    def grained_decoder(self) -> Decoder:
        """A trainable copy of the decoder that takes grain, and hardly hears it yet."""
        decoder = Decoder(self.network.config.transform, grained=True)
        decoder.load_state_dict(self.network.decoder.state_dict(), strict=False)
        nn.init.normal_(decoder.grain.weight, std=GRAIN)
        return decoder
