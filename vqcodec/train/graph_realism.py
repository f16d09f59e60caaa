"""The realism stage on a GPU: a step is one CUDA graph, once the discriminator's alone and then
both networks' in one.

What is drawn for a step (crops, levels, the pictures' positions, the shift) comes in tensors, as do
the strengths, so that no shape and no launch depends on it. The steps are those of
`RealismTrainer`, up to float noise, and so are checkpoints. Several processes exchange gradients
within a step, which is not captured then.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ..engine.torch.runtime import copy_all
from ..rate_control import LAMBDA_SCALE
from .cuda import Pace, Prefetched, captured, memory_row, upload
from .precision import half_precision
from .presets import RealismConfig
from .realism import SHIFT, RealismTrainer, Views
from .realism_scene import Scene
from .soap import Soap
from .static_objective import StaticObjective, starts_of
from .static_optimiser import StaticOptimiser
from .weight_averages import decay_at, start_averages

Row = dict[str, Tensor]


class _Walk(StaticObjective):
    """The walk of the passes for its latents: nothing is counted."""

    def _count(self, *arguments: object) -> None:
        pass


class GraphRealismTrainer(RealismTrainer):
    """A run of the realism stage on a GPU."""

    def __init__(
        self,
        config: RealismConfig,
        data: list[Path],
        out: Path,
        source: Path,
        perceptual: Path | None,
    ):
        """As of `RealismTrainer`."""
        super().__init__(config, data, out, source, perceptual)
        network = self.frozen.network
        starts = starts_of(network.config, config.batch, config.low_share)
        self.walk = _Walk(network, LAMBDA_SCALE, True, "mse", starts)
        none: dict[str, Tensor] = start_averages(self.discriminator)  # nobody asks for them
        self.of_decoder = self._optimiser(self.decoder, self.adam, config.rate, self.ema)
        self.of_discriminator = self._optimiser(
            self.discriminator, self.adam_d, config.discriminator_rate, none
        )
        self.warm = torch.zeros((), device=self.device)
        self.batches, self.pace = Prefetched(self._inputs, self.device), Pace(self.device)
        self.inputs: tuple[Tensor, ...] = ()
        self.steps: dict[bool, Callable[[], Row]] = {}  # by whether the decoder's is in it

    def _optimiser(
        self, module: nn.Module, adam: torch.optim.Adam, rate: float, averages: dict[str, Tensor]
    ) -> StaticOptimiser:
        adam.param_groups[0]["base"] = rate
        names = {id(p): name for name, p in module.named_parameters()}
        return StaticOptimiser(Soap([]), 0.0, adam, averages, names)

    def _inputs(self) -> tuple[Tensor, ...]:
        """Crops and levels, sorted by level; positions and the shift as of `RealismTrainer`."""
        x, levels = self._crops()
        order = levels.argsort()
        origins = upload(self.frozen.origins(len(x)), self.device)
        shift = upload(torch.randint(SHIFT, (2,), generator=self.generator), self.device)
        x = x[order].contiguous(memory_format=torch.channels_last)
        return x, levels[order], origins[order], shift

    def train_step(self) -> Row:
        self.share_clock()
        inputs, both = self.batches.take(), self.step >= self.config.alone
        if not self.inputs:
            self.inputs = tuple(tensor.clone() for tensor in inputs)
        copy_all(list(self.inputs), list(inputs))
        if both not in self.steps:
            self.steps = {both: self._captured(both)}
        self.batches.begin()
        self._prepare()
        row = self.steps[both]()
        self.pace.step()
        return {name: value.clone() for name, value in row.items()}

    def _captured(self, both: bool) -> Callable[[], Row]:
        if self.world > 1:
            return lambda: self._compute(both)
        changes = [*self.of_discriminator.changed(), *self.of_decoder.changed()]
        changes += [self.strength, self.fallen]
        return captured(lambda: self._compute(both), changes, self.device)

    def _prepare(self) -> None:
        warm, decay = self._warmth(), decay_at(self.config.ema, self.step)
        self.warm.fill_(warm)
        self.of_discriminator.prepare(1.0, 0.0, float("inf"))
        self.of_decoder.prepare(self._rate(warm), decay, float("inf"))

    def _compute(self, both: bool) -> Row:
        scene, pixels, views = self._look(both)
        loss, right = self._discrimination(views)
        self._step(self.of_discriminator, loss, None)
        row = {"discriminator": loss.detach(), "right": right}
        if both:
            gradient, fallen, more = self._gradient(views, self.warm)
            self._step(self.of_decoder, pixels, gradient)
            row |= more
            self._follow(self._ranges(scene), fallen)
        return row

    def _look(self, both: bool) -> tuple[Scene, Tensor, Views]:
        """The batch, the decoder's pixels of it, with a gradient if `both`, and both as seen."""
        x, levels, origins, shift = self.inputs
        with torch.no_grad():
            with half_precision(x.device):
                y = self.frozen.network.analyse(x, levels, self.walk.latents)
            scene = self.frozen.scene_of(x, levels, self.walk.code(y, levels).latents)
        with torch.set_grad_enabled(both):
            pixels = self.frozen.synthesise(self.decoder, scene.latents, levels, origins)
        return scene, pixels, self._views(scene, pixels, shift)

    def _window(self, x: Tensor, shift: Tensor) -> Tensor:
        """As of `RealismTrainer`."""
        for axis in (2, 3):
            index = torch.arange(x.shape[axis] - SHIFT + 1, device=x.device)
            x = x.index_select(axis, index + shift[axis - 2])
        return x.contiguous(memory_format=torch.channels_last)

    def _step(self, optimiser: StaticOptimiser, result: Tensor, gradient: Tensor | None) -> None:
        params = optimiser.flat.params
        grads = torch.autograd.grad(result, params, gradient, materialize_grads=True)
        copy_all(optimiser.grads, list(grads))
        if self.world > 1:
            dist.all_reduce(optimiser.flat_grads)
            optimiser.flat_grads.div_(self.world)
        optimiser.step()

    def log_row(self, results: list[Row]) -> dict:
        return super().log_row(results) | memory_row(self.device)

    def state(self) -> dict:
        self.of_decoder.store()
        self.of_discriminator.store()
        return super().state()

    def load_state(self, state: dict, process_state: dict | None) -> None:
        mine = self.strength, self.fallen  # which graphs read
        super().load_state(state, process_state)
        copy_all(list(mine), [self.strength, self.fallen])
        self.strength, self.fallen = mine
        self.of_decoder.load()
        self.of_discriminator.load()
        self.of_decoder.take_averages(self.ema)
