"""Validation: rate and distortions of the averaged weights on fixed crops of held-out pictures."""

import math

import torch
from torch import Tensor

from ..nn.model import Network
from .data import Crops
from .degrade import degrade
from .objective import Objective
from .presets import TrainConfig

PICTURES = 12


class Validation:
    """Measures on the same crops and levels each time."""

    def __init__(self, crops: Crops, config: TrainConfig, network: Network):
        self.config, self.live = config, network
        self.x = self.degraded = crops.sample(PICTURES, config.late_crop)
        if config.model.task is not None:
            self.degraded = degrade(self.x, config.model.task, crops.generator)
        levels = config.model.transform.levels
        self.levels = [round(i * (levels - 1) / 5) for i in range(6)]

    @torch.no_grad()
    def measure(self, weights: dict[str, Tensor]) -> dict:
        """Geometric mean of six levels' costs (bpp + lambda * distortion, hard), and each level's
        own cost, rate, PSNR and `eye_distance`."""
        network = Network(self.config.model).to(self.x.device)
        network.load_state_dict(weights)
        network.codebooks.bits.copy_(self.live.codebooks.bits)
        objective = Objective(network, self.config.lambda_scale, True, self.config.distortion)
        rows = []
        for level in self.levels:
            levels = torch.full((4,), level, device=self.x.device)
            pairs = zip(self.x.split(4), self.degraded.split(4), strict=True)
            parts = [objective(x, levels, degraded) for x, degraded in pairs]
            cost, bpp, mse, unlike = (
                torch.cat([getattr(p, k) for p in parts]) for k in ("cost", "bpp", "mse", "unlike")
            )
            psnr = 10 * (255**2 / mse).log10()
            rows.append([float(values.mean()) for values in (cost, bpp, psnr, unlike)])
        costs, bpp, psnr, unlike = map(list, zip(*rows, strict=True))
        return {
            "valid_cost": math.exp(sum(map(math.log, costs)) / len(costs)),
            "valid_costs": costs,
            "valid_bpp": bpp,
            "valid_psnr": psnr,
            "valid_unlike": unlike,
        }
