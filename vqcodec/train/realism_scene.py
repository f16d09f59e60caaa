"""Training examples of the realism stage: a crop, its latents, and the first decoder's pixels."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..nn.grain import grain_at
from ..nn.model import Network
from ..nn.transforms import Decoder
from ..rate_control import LAMBDA_SCALE
from .precision import half_precision

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
        with half_precision(x.device):
            y = net.analyse(x, levels)
        for result in net.quantise(y, levels, LAMBDA_SCALE):
            steps = result.latents
        return self.scene_of(x, levels, steps)

    def scene_of(self, x: Tensor, levels: Tensor, steps: Tensor) -> Scene:
        """As `scene`, of the decoded latents in steps."""
        latents = steps * self.network.gains.to_units()[levels][:, :, None, None]
        return Scene(x, levels, latents, self.synthesise(self.network.decoder, latents, levels))

    def origins(self, count: int) -> Tensor:
        """int64 [count, 2]: positions that pictures may be from, on the CPU."""
        return torch.randint(2**16, (count, 2), generator=self.generator)

    def synthesise(
        self, decoder: Decoder, latents: Tensor, levels: Tensor, origins: Tensor | None = None
    ) -> Tensor:
        """Pixels float32 [B, 3, H, W], about 0..1; each picture is from another position, that of
        `origins` or one that is drawn."""
        noise = None
        if decoder.is_grained:
            if origins is None:
                origins = self.origins(len(latents)).to(latents.device)
            noise = grain_at(origins, *latents.shape[2:])
        net = self.network
        with half_precision(latents.device):
            return decoder(latents, net.linear, net.gains.scale, levels, noise)

    def grained_decoder(self) -> Decoder:
        """A trainable copy of the decoder that takes grain, and hardly hears it yet."""
        decoder = Decoder(self.network.config.transform, grained=True)
        decoder.load_state_dict(self.network.decoder.state_dict(), strict=False)
        nn.init.normal_(decoder.grain.weight, std=GRAIN)
        return decoder
