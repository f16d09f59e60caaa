"""The trainer of GPUs: a step is two CUDA graphs, forward and backward in one, the optimiser in
the other; between them processes average their gradients.

On a GPU the kernels of a step take less time than launching them one by one, so that `Trainer`
leaves most of it idle. The steps are those of `Trainer`, up to float noise, and so are checkpoints:
a run may go on on the other kind of device. Without CUDA the same code runs uncaptured, as tests
have it.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed as dist

from ..errors import VqcodecError
from ..nn.model import Network
from .cuda import Pace, Prefetched, captured, memory_row
from .loop import CLIP, WARM_UP, Trainer
from .objective import Losses
from .presets import TrainConfig
from .soap import is_due
from .static_objective import StaticObjective, starts_of
from .static_optimiser import StaticOptimiser
from .static_step import Batch, GradientStep
from .weight_averages import decay_at


class GraphTrainer(Trainer):
    """A run of the codec stage on a GPU."""

    shares_soap = False  # matrix products and Cholesky QR take a GPU little

    def __init__(self, config: TrainConfig, data: list[Path], out: Path, init: Network | None):
        """As of `Trainer`."""
        super().__init__(config, data, out, init)
        names = {id(p): name for name, p in self.network.named_parameters()}
        self.optimiser = StaticOptimiser(
            self.soap, self.config.soap_rate, self.adam, self.ema, names
        )
        self.counts = torch.zeros_like(self.network.codebooks.bits)  # of the step
        self.batches, self.pace = Prefetched(self.batch, self.device), Pace(self.device)
        self.gradients: GradientStep | None = None
        self.update: Callable[[], None] | None = None
        self._align()

    def batch(self) -> Batch:
        """As of `Trainer`, sorted by level."""
        x, levels, degraded = super().batch()
        order = levels.argsort()
        clean = x[order]
        return clean, levels[order], clean if degraded is x else degraded[order]

    def train_step(self) -> Losses:
        self.share_clock()
        batch = self.batches.take()
        try:
            self._capture(batch)
        except torch.cuda.OutOfMemoryError as exc:
            count, size = len(batch[0]), batch[0].shape[-1]
            raise VqcodecError(
                f"a step of {count} crops of {size}x{size} does not fit the GPU's memory:"
                " --batch takes fewer"
            ) from exc
        self.batches.begin()
        losses = self.gradients(batch)
        if self.world > 1:
            dist.all_reduce(self.optimiser.flat_grads)
            dist.all_reduce(self.counts)
            self.optimiser.flat_grads.div_(self.world)
        clip = CLIP if self.step > WARM_UP else float("inf")
        self.optimiser.prepare(self.rate(), decay_at(self.config.ema, self.step), clip)
        if self.update is not None:
            self.update()
        elif self.optimiser.begin():
            self._add_counts()
        if is_due(self.step + 1, self.config.refresh):
            self.optimiser.refresh()
            self._align()
        self.pace.step()
        return Losses(*(tensor.clone() for tensor in losses))

    def _align(self) -> None:
        """Take the first process's weights: differences in the last bit would grow."""
        if self.world > 1:
            dist.broadcast(self.optimiser.data, 0)

    def _capture(self, batch: Batch) -> None:
        """Make the graphs that the step with this batch needs and that are not there yet."""
        if self.gradients is None or not self.gradients.fits(batch):
            self.gradients = None  # its memory is for the next one
            config, flat = self.config, self.optimiser.flat
            starts = starts_of(config.model, len(batch[0]), config.low_share)
            objective = StaticObjective(
                self.network, config.lambda_scale, True, config.distortion, starts
            )
            grads = self.optimiser.grads
            self.gradients = GradientStep(objective, batch, flat.params, grads, self.counts)
        if self.update is None and self.soap.count:
            codebooks = self.network.codebooks
            changes = [*self.optimiser.changed(), self.tables.counts, codebooks.bits]
            self.update = captured(self._update, changes, self.device)

    def _update(self) -> None:
        self.optimiser.step()
        self._add_counts()

    def _add_counts(self) -> None:
        if not self.config.scalar:
            self.tables.add(self.counts * self.optimiser.ok)

    def log_row(self, results: list[Losses]) -> dict:
        self.norm = float(self.optimiser.norm)
        return super().log_row(results) | memory_row(self.device)

    def state(self) -> dict:
        self.optimiser.store()
        self.norm = float(self.optimiser.norm)
        return super().state()

    def process_state(self) -> dict:
        self.optimiser.store()
        return super().process_state()

    def load_state(self, state: dict, process_state: dict | None) -> None:
        super().load_state(state, process_state)
        self.optimiser.load()
        self.optimiser.take_averages(self.ema)
        self.optimiser.norm.fill_(self.norm)
