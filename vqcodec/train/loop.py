"""The trainer of a whole model: initialisation, a step, weight averages, export."""

import dataclasses
import math
from pathlib import Path

import torch
from torch import Tensor

from ..engine.torch.runtime import multiplies_bfloat16
from ..nn.blocks import LevelEmbedding
from ..nn.model import Network
from ..nn.transforms import PIXEL_MEAN
from ..zoo.weights import Model
from .cuda import upload
from .curves import plot_curves
from .data import Crops, block_statistics, spread_levels
from .degrade import best_linear, degrade
from .export import export, split
from .frequency_counts import TableCounts
from .grow import grow
from .objective import Losses, Objective
from .presets import TrainConfig
from .runner import Runner
from .shrink import shrink
from .soap import Soap, matrix_shape
from .validation import Validation
from .weight_averages import start_averages, update_averages

WARM_UP = 100  # steps
CLIP = 3.0  # times the running gradient norm
# Standard deviations in a step and steps in one, to start with; a model file takes less than 256.
UNITS_MAX, STEPS_MAX = 128, 192


def fit_linear(network: Network, crops: Crops) -> None:
    """Start the linear path as the PCA of the training pictures; for a task, as that of their
    best linear restoration within a block."""
    basis, scale = block_statistics(crops, PIXEL_MEAN)
    latents, task = network.config.transform.latents, network.config.task
    analysis = basis
    if task is not None:
        filter, covariance = best_linear(crops, PIXEL_MEAN, task, crops.generator)
        analysis = filter @ basis
        scale = (analysis * (covariance @ analysis)).sum(0).clamp(min=1e-3).sqrt()
    with torch.no_grad():
        network.linear.analysis.copy_(analysis[:, :latents])
        network.linear.synthesis.copy_(basis[:, :latents])
        steps = network.gains.steps
        least = float(steps.max()) / UNITS_MAX  # grey pictures have no colour
        most = float(steps.min()) * STEPS_MAX
        network.gains.scale.copy_(scale[:latents].clamp(least, most))


def _size(network: Network) -> int:
    return sum(p.numel() for p in network.parameters())


class Trainer(Runner):
    """A run of the codec stage. `ema` are averages of the weights over steps: what is exported."""

    stage = "codec"
    shares_soap = True  # among the processes: its work is much of a step on CPUs

    def __init__(self, config: TrainConfig, data: list[Path], out: Path, init: Network | None):
        """init: the network to start with; one of another config is grown to `config.model`, or
        shrunk if it has more parameters. Raises ModelError if neither fits. The model says that
        it was trained for `config.distortion`, whatever `config.model` and `init` say."""
        trained_for = None if config.distortion == "mse" else config.distortion
        model = dataclasses.replace(config.model, distortion=trained_for)
        config = dataclasses.replace(config, model=model)
        super().__init__(config, data, out)
        cache = out / "cache"
        torch.manual_seed(config.seed)
        self.crops = Crops(cache, self.device, False, config.seed)
        self.network = self._start(init)
        self.network.to(self.device, memory_format=torch.channels_last)
        seed = config.seed + 1 + self.rank
        self.crops.generator.manual_seed(seed)
        self.generator = self.noise = torch.Generator().manual_seed(seed)
        if self.device.type != "cpu":  # noise of whole crops is drawn where they are
            self.noise = torch.Generator(self.device).manual_seed(seed)
        torch.manual_seed(seed)
        self.objective = Objective(self.network, config.lambda_scale, True, config.distortion)
        self.tables = TableCounts(self.network.codebooks)
        self.validation = Validation(Crops(cache, self.device, True, 0), config, self.network)
        self._build_optimisers()
        self.ema = start_averages(self.network)
        self.norm = 0.0  # of the gradient, running mean
        self.checked = False  # whether the network can be exported

    def _start(self, init: Network | None) -> Network:
        model = self.config.model
        if init and dataclasses.replace(init.config, distortion=model.distortion) == model:
            init.config = model
            return init
        network = Network(model)
        if init is None:
            fit_linear(network, self.crops)
        elif _size(init) > _size(network):
            shrink(network, init, self.crops, self.config.lambda_scale, self.config.distortion)
        else:
            grow(network, init, self.crops)
        return network

    def _build_optimisers(self) -> None:
        knots = {id(m.knots) for m in self.network.modules() if isinstance(m, LevelEmbedding)}
        linear = [id(p) for p in self.network.linear.parameters()]
        codewords = [id(p) for p in self.network.codebooks.parameters()]
        matrices, vectors = [], []
        for p in self.network.parameters():
            if id(p) in linear or (id(p) in codewords and self.config.scalar):
                continue
            apart = id(p) in knots or id(p) in codewords
            is_matrix = p.ndim > 1 and not apart and min(matrix_shape(p)) > 9 and p.shape[1] > 1
            (matrices if is_matrix else vectors).append(p)
        half = self.config.half_turn and multiplies_bfloat16(self.device)
        turn = torch.bfloat16 if half else torch.float32
        self.soap = Soap(matrices, self.config.refresh, turn, self.shares_soap)
        groups = [{"params": vectors, "base": self.config.adam_rate}]
        groups += [
            {"params": list(self.network.linear.parameters()), "base": self.config.linear_rate}
        ]
        self.adam = torch.optim.Adam(groups, betas=(0.9, 0.98), foreach=True)

    def rate(self) -> float:
        """Factor of the learning rates: a short rise, then a cosine over the schedule."""
        low = self.config.final_rate
        cosine = low + (1 - low) * 0.5 * (1 + math.cos(math.pi * self.progress()))
        return cosine * min(1.0, (self.step + 1) / WARM_UP)

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Crops [B, 3, size, size] in 0..1, levels [B], and the crops as the encoder sees them."""
        size, count = self.config.crop, self.config.batch
        if self.progress() >= 1 - self.config.late_share:
            late = self.config.late_crop
            size, count = late, max(1, count * size * size // (late * late))
        x = self.crops.varied(count, size).to(memory_format=torch.channels_last)
        total = self.config.model.transform.levels
        levels = spread_levels(count, total, self.config.low_share, self.generator)
        task = self.config.model.task
        degraded = x if task is None else degrade(x, task, self.noise)
        return x, upload(levels, self.device), degraded

    def train_step(self) -> Losses:
        losses = self.objective(*self.batch())
        params = list(self.network.parameters())
        for p in params:
            p.grad = None
        losses.objective.backward()
        for p in params:
            if p.grad is None:  # of a pass that no level of this batch has
                p.grad = torch.zeros_like(p)
        (counts,) = self.synchronise(params, [losses.counts])
        limit = CLIP * self.norm if self.step > WARM_UP else 1e9
        norm = float(torch.nn.utils.clip_grad_norm_(params, limit, foreach=True))
        if not math.isfinite(norm):
            return losses  # this batch is left out
        self.norm += 0.02 * (min(norm, limit) - self.norm) if self.step else norm
        factor = self.rate()
        self.soap.step(factor * self.config.soap_rate)
        for group in self.adam.param_groups:
            group["lr"] = factor * group["base"]
        self.adam.step()
        if not self.config.scalar:
            self.tables.add(counts)
        update_averages(self.ema, self.network, self.config.ema, self.step)
        return losses

    def log_row(self, results: list[Losses]) -> dict:
        def mean(name: str) -> float:
            return float(torch.cat([getattr(item, name) for item in results]).mean())

        mse = torch.cat([item.mse for item in results])
        return {
            "rate": self.rate(),
            "cost": mean("cost"),
            "bpp": mean("bpp"),
            "proxy_bpp": mean("proxy_bpp"),
            "psnr": float((10 * (255**2 / mse).log10()).mean()),
            "unlike": mean("unlike"),
            "pass_bpp": torch.stack([item.pass_bpp for item in results]).mean(0).tolist(),
            "norm": self.norm,
            **self.tables.usage(),
        }

    def measure(self) -> dict:
        return self.validation.measure(self.averaged())

    def save(self) -> None:
        """As of `Runner`, and draw the curves. The first time raises ModelError if the averaged
        weights could not be exported: better known now than at the end."""
        super().save()
        if self.rank:
            return
        plot_curves(self.log, self.out / "curves.png")
        if not self.checked:
            split(self._averaged_network(), self.tables.probabilities())
            self.checked = True

    def averaged(self) -> dict[str, Tensor]:
        """The state of the network with averaged weights."""
        return self.network.state_dict() | self.ema

    def _averaged_network(self) -> Network:
        network = Network(self.config.model)
        network.load_state_dict({name: t.cpu() for name, t in self.averaged().items()})
        return network

    def export(self, folder: Path) -> Model:
        """Write the averaged weights as a model folder. Raises ModelError if the loader would
        refuse it."""
        return export(self._averaged_network(), self.tables.probabilities(), folder)

    def state(self) -> dict:
        return {
            "model": self.config.model.to_json(),
            "network": self.network.state_dict(),
            "ema": self.ema,
            "counts": self.tables.counts,
            "adam": self.adam.state_dict(),
            "norm": self.norm,
        }

    def process_state(self) -> dict:
        return self.soap.state_dict()

    def load_state(self, state: dict, process_state: dict | None) -> None:
        """SOAP's bases start anew if the number of processes has changed, or how they share."""
        self.network.load_state_dict(state["network"])
        self.ema = state["ema"]
        self.tables.restore(state["counts"])
        self.adam.load_state_dict(state["adam"])
        if process_state is not None and self.soap.fits(process_state):
            self.soap.load_state_dict(process_state)
        self.norm = state["norm"]
