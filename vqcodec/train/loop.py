"""The training loop: one for every preset, resumable, on one or many processes."""

import dataclasses
import json
import math
import os
import time
from pathlib import Path

import torch
from torch import Tensor
from torch import distributed as dist

from ..nn.blocks import LevelVector
from ..nn.model import Network
from ..nn.transforms import PIXEL_MEAN
from ..zoo.weights import Model
from .curves import plot_curves
from .data import Crops, block_statistics, build_cache
from .degrade import best_linear, degrade
from .export import export, split
from .frequency_counts import TableCounts
from .grow import grow
from .objective import Losses, Objective
from .presets import TrainConfig
from .shrink import shrink
from .soap import Soap, matrix_shape
from .validation import Validation

WARM_UP = 100  # steps
LOG_STEPS = 50
LOW = 0.6  # of the levels are low ones: below about 0.7 bits a pixel on photographs
CLIP = 3.0  # times the running gradient norm
# Standard deviations in a step and steps in one, to start with; a model file takes less than 256.
UNITS_MAX, STEPS_MAX = 128, 192


def open_run(data: list[Path], out: Path) -> tuple[int, int, torch.device]:
    """(rank, world size, device); joins the others when started by torchrun, and makes `out` and
    the cache of pictures in it."""
    rank, world = 0, 1
    if "RANK" in os.environ:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        rank, world = dist.get_rank(), dist.get_world_size()
    out.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        build_cache(data, out / "cache")
    if world > 1:
        dist.barrier()
    return rank, world, torch.device("cuda" if torch.cuda.is_available() else "cpu")


def finish_processes() -> None:
    """Wait for the others and leave them: one that just exits breaks what they still receive."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def average_gradients(params: list[Tensor], extra: list[Tensor]) -> list[Tensor]:
    """Average the gradients over the processes; returns the sums of `extra`, float32 tensors."""
    flat = torch.cat([t.flatten() for t in (*(p.grad for p in params), *extra)])
    dist.all_reduce(flat)
    parts = flat.split([t.numel() for t in (*params, *extra)])
    for p, part in zip(params, parts, strict=False):
        p.grad.copy_(part.view_as(p) / dist.get_world_size())
    return [part.view_as(t) for part, t in zip(parts[len(params) :], extra, strict=True)]


def fit_linear(network: Network, crops: Crops) -> None:
    """Start the linear path as the PCA of the training pictures; for a task, as that of their
    best linear restoration within a block."""
    basis, scale = block_statistics(crops, PIXEL_MEAN)
    latents, task = network.config.transform.latents, network.config.task
    analysis = basis
    if task is not None:
        filter, seen = best_linear(crops, PIXEL_MEAN, task, crops.generator)
        analysis = filter @ basis
        scale = (analysis * (seen @ analysis)).sum(0).clamp(min=1e-3).sqrt()
    with torch.no_grad():
        network.linear.analysis.copy_(analysis[:, :latents])
        network.linear.synthesis.copy_(basis[:, :latents])
        steps = network.gains.steps
        least = float(steps.max()) / UNITS_MAX  # grey pictures have no colour
        most = float(steps.min()) * STEPS_MAX
        network.gains.scale.copy_(scale[:latents].clamp(least, most))


def _size(network: Network) -> int:
    return sum(p.numel() for p in network.parameters())


def spread_levels(count: int, levels: int, low_share: float, generator: torch.Generator) -> Tensor:
    """int64 [count]: levels spread evenly, but the lower LOW of them get `low_share`."""
    place = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    place = place / count
    low = place / low_share * LOW
    high = LOW + (place - low_share) / (1 - low_share) * (1 - LOW)
    return (torch.where(place < low_share, low, high) * levels).long()


class Trainer:
    """One process of a run. Everything that a run needs to go on is in `state`."""

    def __init__(self, config: TrainConfig, data: list[Path], out: Path, init: Network | None):
        """init: the network to start with; one of another config is grown to `config.model`, or
        shrunk if it has more parameters. Raises ModelError if neither fits. The model says that
        it was trained for `config.distortion`, whatever `config.model` and `init` say."""
        trained_for = None if config.distortion == "mse" else config.distortion
        model = dataclasses.replace(config.model, distortion=trained_for)
        self.config, self.out = dataclasses.replace(config, model=model), out
        self.rank, self.world, self.device = open_run(data, out)
        cache = out / "cache"
        torch.manual_seed(config.seed)
        self.crops = Crops(cache, self.device, False, config.seed)
        self.network = self._start(init)
        self.network.to(self.device, memory_format=torch.channels_last)
        seed = config.seed + 1 + self.rank
        self.crops.generator.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self.objective = Objective(self.network, config.fidelity, True, config.distortion)
        self.tables = TableCounts(self.network.codebooks)
        held_out = Crops(cache, self.device, True, 0)
        self.validation = Validation(held_out, self.config, self.network)
        self._build_optimisers()
        self.ema = {k: p.detach().clone() for k, p in self.network.named_parameters()}
        self.step, self.elapsed, self.norm = 0, 0.0, 0.0
        self.mark = time.monotonic()  # up to when `elapsed` counts
        self.log: list[dict] = []
        self.checked = False  # whether the network can be exported
        self.stopping = False  # set from outside, a signal handler say: `run` ends after the step

    def _start(self, init: Network | None) -> Network:
        model = self.config.model
        if init and dataclasses.replace(init.config, distortion=model.distortion) == model:
            init.config = model
            return init
        network = Network(model)
        if init is None:
            fit_linear(network, self.crops)
        elif _size(init) > _size(network):
            shrink(network, init, self.crops, self.config.fidelity)
        else:
            grow(network, init, self.crops)
        return network

    def _build_optimisers(self) -> None:
        knots = {id(m.knots) for m in self.network.modules() if isinstance(m, LevelVector)}
        linear = [id(p) for p in self.network.linear.parameters()]
        words = [id(p) for p in self.network.codebooks.parameters()]
        matrices, vectors = [], []
        for p in self.network.parameters():
            if id(p) in linear or (id(p) in words and self.config.scalar):
                continue
            apart = id(p) in knots or id(p) in words
            is_matrix = p.ndim > 1 and not apart and min(matrix_shape(p)) > 9 and p.shape[1] > 1
            (matrices if is_matrix else vectors).append(p)
        turn = torch.bfloat16 if self.config.half_turn else torch.float32
        self.soap = Soap(matrices, every=self.config.refresh, turn=turn)
        groups = [{"params": vectors, "base": self.config.adam_rate}]
        groups += [
            {"params": list(self.network.linear.parameters()), "base": self.config.linear_rate}
        ]
        self.adam = torch.optim.Adam(groups, betas=(0.9, 0.98), foreach=True)

    def progress(self) -> float:
        return min(1.0, self.elapsed / (60 * self.config.minutes))

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
        seen = x if task is None else degrade(x, task, self.generator)
        return x, levels.to(self.device), seen

    def train_step(self) -> Losses:
        losses = self.objective(*self.batch())
        for p in self.network.parameters():
            p.grad = None
        losses.objective.backward()
        for p in self.network.parameters():
            if p.grad is None:  # of a pass that no level of this batch has
                p.grad = torch.zeros_like(p)
        now = time.monotonic()
        self.elapsed, self.mark = self.elapsed + now - self.mark, now
        params = list(self.network.parameters())
        counts = self._reduce(params, losses.counts) if self.world > 1 else losses.counts
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
        decay = min(self.config.ema, (self.step + 1) / (self.step + 10))
        averages, values = list(self.ema.values()), list(self.network.parameters())
        torch._foreach_lerp_(averages, [v.detach() for v in values], 1 - decay)
        return losses

    def _reduce(self, params: list[Tensor], counts: Tensor) -> Tensor:
        """Average gradients over the processes; returns the summed counts.

        The processes also agree on the time and on stopping, or one would wait for another.
        """
        clock = counts.new_tensor([self.elapsed, float(self.stopping)])
        counts, clock = average_gradients(params, [counts, clock])
        self.elapsed, self.stopping = float(clock[0]) / self.world, bool(clock[1] > 0)
        return counts

    def run(self) -> None:
        """Train to the end of the schedule, or until `stopping`."""
        saved, self.mark = self.elapsed, time.monotonic()
        batch: list[Losses] = []
        while self.progress() < 1 and not self.stopping:
            if self.elapsed - saved > 60 * self.config.save_minutes:
                self.save()
                saved, self.mark = self.elapsed, time.monotonic()
            batch.append(self.train_step())
            self.step += 1
            if self.step % LOG_STEPS == 0:
                self._log(batch)
                batch = []
        self.save()

    def _log(self, batch: list[Losses]) -> None:
        if self.rank:
            return

        def mean(name: str) -> float:
            return float(torch.cat([getattr(item, name) for item in batch]).mean())

        mse = torch.cat([item.mse for item in batch])
        row = {
            "step": self.step,
            "minutes": round(self.elapsed / 60, 2),
            "rate": self.rate(),
            "cost": mean("cost"),
            "bpp": mean("bpp"),
            "proxy_bpp": mean("proxy_bpp"),
            "psnr": float((10 * (255**2 / mse).log10()).mean()),
            "unlike": mean("unlike"),
            "pass_bpp": [float(v) for v in torch.stack([b.pass_bpp for b in batch]).mean(0)],
            "norm": self.norm,
            **self.tables.usage(),
        }
        self._record(row)

    def _record(self, row: dict) -> None:
        self.log.append(row)
        text = " ".join(f"{k} {short(v)}" for k, v in row.items())
        print(text, flush=True)

    def save(self) -> None:
        """Validate the averaged weights, then write the checkpoint, log and curves.

        The first time raises ModelError if these weights could not be exported: better now than
        at the end."""
        self._store(self.soap.state_dict(), f"soap-{self.rank}-of-{self.world}.pt")
        if self.rank:
            return
        row = {"step": self.step, "minutes": round(self.elapsed / 60, 2)}
        self._record(row | self.validation.measure(self.averaged()))
        state = {
            "network": self.network.state_dict(),
            "ema": self.ema,
            "counts": self.tables.counts,
            "adam": self.adam.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
            "norm": self.norm,
            "log": self.log,
            "model": self.config.model.to_json(),
        }
        self._store(state, "checkpoint.pt")
        (self.out / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in self.log))
        plot_curves(self.log, self.out / "curves.png")
        if not self.checked:
            split(self._averaged_network(), self.tables.probabilities())
            self.checked = True

    def _store(self, state: dict, name: str) -> None:
        torch.save(state, self.out / f"{name}.tmp")
        os.replace(self.out / f"{name}.tmp", self.out / name)

    def averaged(self) -> dict[str, Tensor]:
        return self.network.state_dict() | self.ema

    def export(self, folder: Path) -> Model:
        """Write the averaged weights as a model folder. Raises ModelError if that would be
        refused."""
        return export(self._averaged_network(), self.tables.probabilities(), folder)

    def _averaged_network(self) -> Network:
        network = Network(self.config.model)
        network.load_state_dict({name: t.cpu() for name, t in self.averaged().items()})
        return network

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint. SOAP's bases start anew if the number of processes changed."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.ema = state["ema"]
        self.tables.restore(state["counts"])
        self.adam.load_state_dict(state["adam"])
        soap = path.with_name(f"soap-{self.rank}-of-{self.world}.pt")
        if soap.exists():
            self.soap.load_state_dict(torch.load(soap, map_location=self.device, weights_only=True))
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.norm, self.log = state["norm"], state["log"]


def short(value) -> str:
    if isinstance(value, list):
        return "/".join(short(v) for v in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
