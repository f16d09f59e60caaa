"""The learned codec that others are measured by: bmshj2018-hyperprior, with random weights.

Balle et al. 2018, "Variational image compression with a scale hyperprior", arXiv:1802.01436, at
the widths of its lower rates. Its speed hardly depends on training. CompressAI's, coder included,
where that is installed; else the published layers in plain torch, without quantiser and coder.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

N, M = 128, 192  # channels of the inner layers, and of the latents
QUALITY = 5  # of CompressAI's: the largest that has these widths
STRIDE = 64  # pixels in one hyper latent


class GDN(nn.Module):
    """x / sqrt(beta + gamma x^2), or times the root: Balle et al. 2016, arXiv:1511.06281."""

    def __init__(self, channels: int, inverse: bool = False):
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(0.1 * torch.eye(channels)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        norm = F.conv2d(x * x, self.gamma, self.beta)
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())


def _down(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)


def _up(inputs: int, outputs: int) -> nn.Module:
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1)


class Layers(nn.Module):
    """g_a, g_s, h_a and h_s of the paper."""

    def __init__(self):
        super().__init__()
        self.g_a = nn.Sequential(
            _down(3, N), GDN(N), _down(N, N), GDN(N), _down(N, N), GDN(N), _down(N, M)
        )
        self.g_s = nn.Sequential(
            *(_up(M, N), GDN(N, inverse=True), _up(N, N), GDN(N, inverse=True)),
            *(_up(N, N), GDN(N, inverse=True), _up(N, 3)),
        )
        self.h_a = nn.Sequential(
            nn.Conv2d(M, N, 3, padding=1), nn.ReLU(), _down(N, N), nn.ReLU(), _down(N, N)
        )
        self.h_s = nn.Sequential(
            *(_up(N, N), nn.ReLU(), _up(N, N), nn.ReLU()),
            *(nn.Conv2d(N, M, 3, padding=1), nn.ReLU()),
        )

    def compress(self, x: Tensor) -> dict[str, Tensor]:
        """Pixels [1, 3, H, W] -> latents y and hyper latents z, rounded. The encoder has to run
        h_s as well, for the scales that a coder needs."""
        y = self.g_a(x)
        z = self.h_a(y.abs()).round()
        self.h_s(z)
        return {"y": y.round(), "z": z}

    def decompress(self, y: Tensor, z: Tensor) -> dict[str, Tensor]:
        """The reverse: pixels x_hat [1, 3, H, W]."""
        self.h_s(z)
        return {"x_hat": self.g_s(y).clamp(0, 1)}


class Hyperprior(NamedTuple):
    """A network to time. what: which one it is, for people."""

    what: str
    network: nn.Module
    memory_format: torch.memory_format

    @torch.inference_mode()
    def encode(self, rgb: np.ndarray) -> dict:
        """uint8 [H, W, 3] -> what `decode` takes."""
        height, width = rgb.shape[:2]
        x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
        x = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        return self.network.compress(x.contiguous(memory_format=self.memory_format))

    @torch.inference_mode()
    def decode(self, coded: dict) -> np.ndarray:
        """Pixels, uint8 [H, W, 3], with the padding."""
        x = self.network.decompress(**coded)["x_hat"]
        return (x[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


@lru_cache
def load(memory_format: str = "contiguous_format") -> Hyperprior:
    """CompressAI's model, or its layers. memory_format: torch's default, or "channels_last"."""
    layout = getattr(torch, memory_format)
    torch.manual_seed(0)
    try:
        from compressai.zoo import bmshj2018_hyperprior
    except ImportError:
        network, what = Layers(), "the published layers in plain torch, without a coder"
    else:
        network = bmshj2018_hyperprior(quality=QUALITY, metric="mse", pretrained=False)
        network.update(force=True)  # the coder's tables
        what = "CompressAI's, with its coder"
    network.eval().requires_grad_(False).to(memory_format=layout)
    return Hyperprior(what, network, layout)
