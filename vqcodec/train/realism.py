"""The realism stage: a second decoder for the same files, trained against a discriminator.

Encoder, codebooks and prior are frozen, as in MS-ILLM (Muckley et al. 2023, arXiv:2301.11189).
The decoder starts as the fidelity decoder and follows three gradients at its pixels: of the
squared error, of a perceptual distance and of the adversarial loss. Each picture's squared error
pulls with a gradient of length one, the other two push with a `strength`: so they can move a
picture only so far from the least squared error, whatever the discriminator does. The strength
of each range of levels is set by what it costs: PSNR is to fall by `RealismConfig.aim`.
"""

import copy
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ..engine.torch.network import build
from ..zoo.weights import Model, load_folder
from .cuda import upload
from .data import Crops, spread_levels
from .discriminator import Discriminator, Judgement
from .export import export_realism
from .perceptual import Perceptual
from .precision import half_precision
from .presets import RealismConfig
from .realism_loss import (
    deception_loss,
    discriminator_loss,
    loss_of_psnr,
    matching_loss,
    squared_error,
    unit,
)
from .realism_scene import FrozenModel, Scene
from .realism_validation import RealismValidation
from .runner import Runner
from .weight_averages import start_averages, update_averages

RANGES = 6  # of levels, each with its strength
STRENGTHS = 0.05, 3.0  # least and most
FOLLOW = 0.002  # how fast a strength follows, a step and dB
PERCEPTUAL = 0.5  # of the strength: the weight of the perceptual gradient
# Of the pixels that a perceptual network sees: its strides and the decoder's have one period, of 16
# pixels, and without it the decoder learns a pattern of that period which the network likes.
SHIFT = 16


class Views(NamedTuple):
    """A batch as the discriminator and the perceptual network see it."""

    scene: Scene
    y: Tensor  # float [B, 3, H, W]: the decoder's pixels, whose gradient is asked for
    real: list[Tensor]  # features of the photographs
    fake: list[Tensor]  # and of y, with a gradient


class RealismTrainer(Runner):
    """A run of the realism stage."""

    stage = "realism"

    def __init__(
        self,
        config: RealismConfig,
        data: list[Path],
        out: Path,
        source: Path,
        perceptual: Path | None,
    ):
        """source: the folder of the model whose decoder is refined.

        perceptual: weights for `Perceptual`; None takes the discriminator's features instead.
        """
        network = build(load_folder(source))
        super().__init__(config, data, out)
        self.source = source
        seed = config.seed + self.rank
        self.crops = Crops(out / "cache", self.device, False, seed)
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(config.seed)
        layout = {"device": self.device, "memory_format": torch.channels_last}
        self.frozen = FrozenModel(network.to(**layout), self.generator)
        self.perceptual = Perceptual(perceptual, self.device) if perceptual else None
        self.decoder = self.frozen.grained_decoder().to(**layout).train()
        self.discriminator = Discriminator(
            network.config.transform.latents, self._feature_sizes()
        ).to(**layout)
        self.adam = torch.optim.Adam(self.decoder.parameters(), betas=(0.5, 0.99))
        rate = config.discriminator_rate
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), lr=rate, betas=(0.5, 0.99))
        self.ema = start_averages(self.decoder)
        self.strength = torch.full((RANGES,), config.strength, device=self.device)
        self.fallen = torch.zeros(RANGES, device=self.device)  # dB, running means
        self.range_numbers = torch.arange(RANGES, device=self.device)
        held_out = Crops(out / "cache", self.device, True, 0)
        sheet = out / "samples.png"
        self.validation = RealismValidation(
            self.frozen, self.decoder, held_out, config, self.perceptual, sheet
        )

    def _feature_sizes(self) -> list[int]:
        if self.perceptual is None:
            return []
        blank = torch.zeros(1, 3, 64, 64, device=self.device)
        with torch.no_grad():
            return [output.shape[1] for output in self.perceptual.outputs(blank)]

    def _crops(self) -> tuple[Tensor, Tensor]:
        """Crops float [B, 3, size, size] in 0..1, and their levels int64 [B]."""
        count = self.config.batch
        x = self.crops.varied(count, self.config.crop)
        levels = spread_levels(count, self.frozen.levels, self.config.low_share, self.generator)
        return x, upload(levels, self.device)

    def _features(self, x: Tensor, shift: Tensor) -> list[Tensor]:
        """Of the window of the pixels that `shift` begins, as of `_window`."""
        if self.perceptual is None:
            return []
        with half_precision(x.device):
            return self.perceptual.outputs(self._window(x, shift))

    def _window(self, x: Tensor, shift: Tensor) -> Tensor:
        """Of maps [B, c, H, W] all but SHIFT - 1 rows and columns. shift: int64 [2], the first row
        and column of it, 0..SHIFT - 1."""
        top, left = shift.tolist()
        height, width = (size - SHIFT + 1 for size in x.shape[2:])
        return x[..., top : top + height, left : left + width]

    def _judge(self, x: Tensor, scene: Scene, features: list[Tensor]) -> Judgement:
        with half_precision(x.device):
            return self.discriminator(x, scene.latents, features)

    def train_step(self) -> dict[str, Tensor]:
        scene = self.frozen.scene(*self._crops())
        pixels = self.frozen.synthesise(self.decoder, scene.latents, scene.levels)
        shift = torch.randint(SHIFT, (2,), generator=self.generator).to(self.device)
        views = self._views(scene, pixels, shift)
        loss, right = self._discrimination(views)
        self.adam_d.zero_grad()
        loss.backward()
        self._synchronise(self.discriminator)
        self.adam_d.step()
        row = {"discriminator": loss.detach(), "right": right}
        if self.step >= self.config.alone:
            warm = self._warmth()
            gradient, fallen, more = self._gradient(views, warm)
            self.adam.zero_grad()
            pixels.backward(gradient)
            self._synchronise(self.decoder)
            for group in self.adam.param_groups:
                group["lr"] = self.config.rate * self._rate(warm)
            self.adam.step()
            row |= more
            self._follow(self._ranges(scene), fallen)
            update_averages(self.ema, self.decoder, self.config.ema, self.step)
        return row

    def _warmth(self) -> float:
        """0..1: of the adversarial gradient, and of the rate at first."""
        alone = self.config.alone
        return min(1.0, max(0, self.step - alone + 1) / alone)

    def _rate(self, warm: float) -> float:
        """Factor of the decoder's rate."""
        return min(warm, 1.02 - self.progress())

    def _views(self, scene: Scene, pixels: Tensor, shift: Tensor) -> Views:
        """shift: as of `_features`."""
        y = pixels.detach().requires_grad_(True)
        with torch.no_grad():
            real = self._features(scene.x, shift)
        return Views(scene, y, real, self._features(y, shift))

    def _discrimination(self, views: Views) -> tuple[Tensor, Tensor]:
        """The discriminator's loss, and in what part of the places it is right."""
        scene, y, real, fake = views
        both = scene._replace(latents=torch.cat([scene.latents] * 2))
        features = [torch.cat([a, b.detach()]) for a, b in zip(real, fake, strict=True)]
        logits = self._judge(torch.cat([scene.x, y.detach()]), both, features).logits
        yes, no = logits.chunk(2)
        right = ((yes > 0).float().mean() + (no < 0).float().mean()) / 2
        return discriminator_loss(yes, no), right

    def _gradient(
        self, views: Views, warm: float | Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """What the decoder's pixels [B, 3, H, W] are to move against: the three gradients, `warm`
        of the adversarial one. And what it has cost, in dB [B], and what to log."""
        scene, y, real, fake = views
        self.discriminator.requires_grad_(False)
        judged = self._judge(y, scene, fake)
        if self.perceptual is None:
            with torch.no_grad():
                expected = self._judge(scene.x, scene, real).features
            likeness = matching_loss(expected, judged.features)
        else:
            likeness = self.perceptual.between(real, fake)
        deception = deception_loss(judged.logits)
        self.discriminator.requires_grad_(True)
        (push,) = torch.autograd.grad(deception.sum(), y, retain_graph=True)
        (draw,) = torch.autograd.grad(likeness.sum(), y)
        (pull,) = torch.autograd.grad(squared_error(scene, y).sum(), y)
        strength = self.strength[self._ranges(scene)].view(-1, 1, 1, 1)
        total = unit(pull) + strength * (PERCEPTUAL * unit(draw) + warm * unit(push))
        fallen = loss_of_psnr(scene, y)
        row = {
            "likeness": likeness.detach().mean(),
            "deception": deception.detach().mean(),
            "fallen": fallen.mean(),
        }
        return total / len(total), fallen, row

    def _ranges(self, scene: Scene) -> Tensor:
        """int64 [B]: the range of levels that each crop's is in."""
        return scene.levels * RANGES // self.frozen.levels

    def _follow(self, ranges: Tensor, fallen: Tensor) -> None:
        """Set each range's strength by what it has cost lately."""
        mine = (ranges[:, None] == self.range_numbers).to(fallen.dtype)  # [B, RANGES]
        # For each crop its range's mean moves by a fiftieth of the way.
        self.fallen += 0.02 * (fallen @ mine - mine.sum(0) * self.fallen)
        if self.world > 1:
            dist.all_reduce(self.fallen)
            self.fallen /= self.world
        self.strength *= (FOLLOW * (self.config.aim - self.fallen)).exp()
        self.strength.clamp_(*STRENGTHS)

    def _synchronise(self, module: nn.Module) -> None:
        self.synchronise([p for p in module.parameters() if p.grad is not None], [])

    def log_row(self, results: list[dict[str, Tensor]]) -> dict:
        names = results[-1].keys()
        means = {k: float(torch.stack([r[k] for r in results if k in r]).mean()) for k in names}
        ranges = {"strength": self.strength.tolist(), "fallen_by_range": self.fallen.tolist()}
        return means | ranges

    def measure(self) -> dict:
        decoder = copy.deepcopy(self.decoder)
        decoder.load_state_dict(decoder.state_dict() | self.ema)
        return self.validation.measure(decoder)

    def export(self, folder: Path) -> Model:
        """Write a copy of the model with the best weights measured as its realism decoder."""
        return export_realism(self.source, self.validation.best, folder)

    def state(self) -> dict:
        return {
            "decoder": self.decoder.state_dict(),
            "ema": self.ema,
            "discriminator": self.discriminator.state_dict(),
            "adam": self.adam.state_dict(),
            "adam_d": self.adam_d.state_dict(),
            "strength": self.strength,
            "fallen": self.fallen,
            "validation": self.validation.state(),
        }

    def load_state(self, state: dict, process_state: dict | None) -> None:
        self.decoder.load_state_dict(state["decoder"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.adam.load_state_dict(state["adam"])
        self.adam_d.load_state_dict(state["adam_d"])
        self.ema, self.strength, self.fallen = state["ema"], state["strength"], state["fallen"]
        self.validation.load_state(state["validation"])
