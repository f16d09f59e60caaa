"""The realism stage: a second decoder for the same files, trained against a discriminator.

Encoder, codebooks and prior are frozen, as in MS-ILLM (Muckley et al. 2023, arXiv:2301.11189).
The decoder starts as the fidelity decoder and follows three gradients at its pixels: of the
squared error, of a perceptual distance and of the adversarial loss. Each picture's squared error
pulls with a gradient of length one, the other two push with a `strength`: so they can move a
picture only so far from the least squared error, whatever the discriminator does. The strength
of each range of levels is set by what it costs: PSNR is to fall by `RealismConfig.aim`.
"""

import json
import os
import time
from pathlib import Path

import torch
from torch import Tensor
from torch import distributed as dist

from ..engine.torch.network import build
from ..nn.grain import grain
from ..nn.transforms import Decoder
from ..rate_control import FIDELITY
from ..zoo.weights import Model, load_folder
from .data import Crops
from .discriminator import Discriminator
from .export import export_realism
from .loop import average_gradients, open_run, short, spread_levels
from .perceptual import Perceptual
from .presets import RealismConfig
from .realism_loss import (
    Scene,
    deception_loss,
    discriminator_loss,
    loss_of_psnr,
    matching_loss,
    squared_error,
    unit,
)
from .realism_validation import Watch

LOG_STEPS = 50
RANGES = 6  # of levels, each with a strength of its own
STRENGTHS = 0.05, 2.0  # least and most
FOLLOW = 0.002  # how fast a strength follows, a step and dB
GRAIN = 0.05  # standard deviation of the weights of grain, to start with
PERCEPTUAL = 0.5  # of the strength: the weight of the perceptual gradient
# Of the pixels that a perceptual network sees: its strides and the decoder's have one period,
# and without it the decoder learns a faint pattern of that period which the network likes.
SHIFT = 8


def grained(decoder: Decoder) -> Decoder:
    """A trainable copy of a decoder that takes grain, and hardly hears it yet."""
    copied = Decoder(decoder.config, grained=True)
    copied.load_state_dict(decoder.state_dict(), strict=False)
    torch.nn.init.normal_(copied.grain.weight, std=GRAIN)
    return copied


class RealismTrainer:
    """One process of a run of the realism stage."""

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
        self.config, self.out, self.source = config, out, source
        self.network = network = build(load_folder(source))
        self.rank, self.world, self.device = open_run(data, out)
        seed = config.seed + self.rank
        self.crops = Crops(out / "cache", self.device, False, seed)
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(config.seed)
        layout = {"device": self.device, "memory_format": torch.channels_last}
        network.to(**layout)
        self.perceptual = Perceptual(perceptual, self.device) if perceptual else None
        self.painter = grained(network.decoder).to(**layout).train()
        self.discriminator = Discriminator(
            network.config.transform.latents, self._feature_sizes()
        ).to(**layout)
        self.adam = torch.optim.Adam(self.painter.parameters(), betas=(0.5, 0.99))
        rate = config.discriminator_rate
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), lr=rate, betas=(0.5, 0.99))
        self.ema = {k: p.detach().clone() for k, p in self.painter.named_parameters()}
        self.strength = torch.full((RANGES,), config.strength, device=self.device)
        self.fallen = torch.zeros(RANGES, device=self.device)  # dB, running means
        self.step, self.elapsed, self.mark = 0, 0.0, time.monotonic()
        self.log: list[dict] = []
        self.stopping = False  # set from outside: `run` ends after the step
        self.watch = Watch(self, Crops(out / "cache", self.device, True, 0))

    def _feature_sizes(self) -> list[int]:
        if self.perceptual is None:
            return []
        blank = torch.zeros(1, 3, 64, 64, device=self.device)
        with torch.no_grad():
            return [output.shape[1] for output in self.perceptual.outputs(blank)]

    def progress(self) -> float:
        return min(1.0, self.elapsed / (60 * self.config.minutes))

    @torch.no_grad()
    def scene(self, x: Tensor, levels: Tensor) -> Scene:
        """What a file of these pixels holds, and how the fidelity decoder paints it."""
        x = x.to(memory_format=torch.channels_last)
        net = self.network
        with torch.autocast(x.device.type, torch.bfloat16):
            y = net.analyse(x, levels)
        for result in net.quantise(y, levels, FIDELITY):
            steps = result.latents
        latents = steps * net.gains.to_units()[levels][:, :, None, None]
        return Scene(x, levels, latents, self.paint(net.decoder, latents, levels))

    def paint(self, decoder: Decoder, latents: Tensor, levels: Tensor) -> Tensor:
        """Pixels float32 [B, 3, H, W], about 0..1; each picture is from another place."""
        noise = None
        if decoder.is_grained:
            origins = torch.randint(2**16, (len(latents), 2), generator=self.generator).tolist()
            size = latents.shape[2:]
            noise = torch.cat([grain(*place, *size, latents.device) for place in origins])
        net = self.network
        with torch.autocast(latents.device.type, torch.bfloat16):
            return decoder(latents, net.linear, net.gains.scale, levels, noise)

    def _batch(self) -> Scene:
        count = self.config.batch
        x = self.crops.varied(count, self.config.crop)
        total = self.network.config.transform.levels
        levels = spread_levels(count, total, self.config.low_share, self.generator)
        return self.scene(x, levels.to(self.device))

    def _features(self, x: Tensor, shift: tuple[int, int]) -> list[Tensor]:
        """Of the pixels without the first `shift` rows and columns."""
        if self.perceptual is None:
            return []
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.perceptual.outputs(x[..., shift[0] :, shift[1] :])

    def _judge(self, x: Tensor, scene: Scene, features: list[Tensor]):
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.discriminator(x, scene.latents, features)

    def train_step(self) -> dict[str, Tensor]:
        scene = self._batch()
        pixels = self.paint(self.painter, scene.latents, scene.levels)
        y = pixels.detach().requires_grad_(True)
        shift = tuple(torch.randint(SHIFT, (2,), generator=self.generator).tolist())
        with torch.no_grad():
            real = self._features(scene.x, shift)
        fake = self._features(y, shift)
        row = self._train_discriminator(scene, y.detach(), real, [f.detach() for f in fake])
        alone = self.config.alone
        if self.step >= alone:
            warm = min(1.0, (self.step - alone + 1) / alone)
            row |= self._train_painter(scene, pixels, y, real, fake, warm)
        return row

    def _train_discriminator(
        self, scene: Scene, y: Tensor, real: list[Tensor], fake: list[Tensor]
    ) -> dict[str, Tensor]:
        both = scene._replace(latents=torch.cat([scene.latents] * 2))
        features = [torch.cat(pair) for pair in zip(real, fake, strict=True)]
        logits = self._judge(torch.cat([scene.x, y]), both, features).logits
        yes, no = logits.chunk(2)
        loss = discriminator_loss(yes, no)
        self.adam_d.zero_grad()
        loss.backward()
        self._average(self.discriminator)
        self.adam_d.step()
        right = ((yes > 0).float().mean() + (no < 0).float().mean()) / 2
        return {"discriminator": loss.detach(), "right": right}

    def _train_painter(
        self,
        scene: Scene,
        pixels: Tensor,
        y: Tensor,
        real: list[Tensor],
        fake: list[Tensor],
        warm: float,
    ) -> dict[str, Tensor]:
        """A step along the three gradients, `warm` of the adversarial one."""
        self.discriminator.requires_grad_(False)
        judged = self._judge(y, scene, fake)
        if self.perceptual is None:
            with torch.no_grad():
                own = self._judge(scene.x, scene, real).features
            likeness = matching_loss(own, judged.features)
        else:
            likeness = self.perceptual.between(real, fake)
        deception = deception_loss(judged.logits)
        self.discriminator.requires_grad_(True)
        (push,) = torch.autograd.grad(deception.sum(), y, retain_graph=True)
        (draw,) = torch.autograd.grad(likeness.sum(), y)
        error = squared_error(scene, y)
        (pull,) = torch.autograd.grad(error.sum(), y)
        ranges = scene.levels * RANGES // self.network.config.transform.levels
        strength = self.strength[ranges].view(-1, 1, 1, 1)
        total = unit(pull) + strength * (PERCEPTUAL * unit(draw) + warm * unit(push))
        self.adam.zero_grad()
        pixels.backward(total / len(total))
        self._average(self.painter)
        for group in self.adam.param_groups:
            group["lr"] = self.config.rate * min(warm, 1.02 - self.progress())
        self.adam.step()
        fallen = loss_of_psnr(scene, y)
        self._follow(ranges, fallen)
        decay = min(self.config.ema, (self.step + 1) / (self.step + 10))
        values = [p.detach() for p in self.painter.parameters()]
        torch._foreach_lerp_(list(self.ema.values()), values, 1 - decay)
        return {
            "likeness": likeness.detach().mean(),
            "deception": deception.detach().mean(),
            "fallen": fallen.mean(),
        }

    def _follow(self, ranges: Tensor, fallen: Tensor) -> None:
        """Set each range's strength by what it has cost lately."""
        for index in range(RANGES):
            mine = fallen[ranges == index]
            if len(mine):
                self.fallen[index] += 0.02 * len(mine) * (mine.mean() - self.fallen[index])
        if self.world > 1:
            dist.all_reduce(self.fallen)
            self.fallen /= self.world
        self.strength *= (FOLLOW * (self.config.aim - self.fallen)).exp()
        self.strength.clamp_(*STRENGTHS)

    def _average(self, module: torch.nn.Module) -> None:
        """Average the gradients over the processes, and the time, so that all stop together."""
        if self.world == 1:
            return
        params = [p for p in module.parameters() if p.grad is not None]
        clock = torch.tensor([self.elapsed, float(self.stopping)], device=self.device)
        (clock,) = average_gradients(params, [clock])
        self.elapsed, self.stopping = float(clock[0]) / self.world, bool(clock[1] > 0)

    def run(self) -> None:
        """Train to the end of the schedule, or until `stopping`."""
        saved, self.mark = self.elapsed, time.monotonic()
        rows: list[dict[str, Tensor]] = []
        while self.progress() < 1 and not self.stopping:
            if self.elapsed - saved > 60 * self.config.save_minutes:
                self.save()
                saved, self.mark = self.elapsed, time.monotonic()
            rows.append(self.train_step())
            now = time.monotonic()
            self.elapsed, self.mark = self.elapsed + now - self.mark, now
            self.step += 1
            if self.step % LOG_STEPS == 0:
                self._log(rows)
                rows = []
        self.save()

    def _log(self, rows: list[dict[str, Tensor]]) -> None:
        if self.rank == 0:
            names = rows[-1].keys()
            means = {k: float(torch.stack([r[k] for r in rows if k in r]).mean()) for k in names}
            ranges = {"strength": self.strength.tolist(), "fallen_by_range": self.fallen.tolist()}
            self.record({"step": self.step, "minutes": self.elapsed / 60, **means, **ranges})

    def record(self, row: dict) -> None:
        self.log.append(row)
        print(" ".join(f"{k} {short(v)}" for k, v in row.items()), flush=True)

    def save(self) -> None:
        """Watch the averaged weights, then write the checkpoint and the log."""
        if self.rank:
            return
        row = {"step": self.step, "minutes": self.elapsed / 60}
        self.record(row | self.watch.measure())
        state = {
            "painter": self.painter.state_dict(),
            "ema": self.ema,
            "best": self.watch.best,
            "score": self.watch.score,
            "discriminator": self.discriminator.state_dict(),
            "adam": self.adam.state_dict(),
            "adam_d": self.adam_d.state_dict(),
            "strength": self.strength,
            "fallen": self.fallen,
            "step": self.step,
            "elapsed": self.elapsed,
            "log": self.log,
        }
        torch.save(state, self.out / "checkpoint.pt.tmp")
        os.replace(self.out / "checkpoint.pt.tmp", self.out / "checkpoint.pt")
        (self.out / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in self.log))

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same model."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.painter.load_state_dict(state["painter"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.adam.load_state_dict(state["adam"])
        self.adam_d.load_state_dict(state["adam_d"])
        self.ema, self.log = state["ema"], state["log"]
        self.strength, self.fallen = state["strength"], state["fallen"]
        self.watch.best, self.watch.score = state["best"], state["score"]
        self.step, self.elapsed = state["step"], state["elapsed"]

    def export(self, folder: Path) -> Model:
        """Write a copy of the model with the best weights seen as its realism decoder."""
        return export_realism(self.source, self.watch.best, folder)
