"""Forward and backward of batches of one size, as one CUDA graph."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..engine.torch.runtime import copy_all
from .cuda import captured
from .objective import Losses
from .static_objective import StaticObjective

Batch = tuple[Tensor, Tensor, Tensor]  # as of `Trainer.batch`


class GradientStep:
    """Computes losses, and gradients and counts into tensors that are given."""

    def __init__(
        self,
        objective: StaticObjective,
        batch: Batch,
        params: list[Tensor],
        grads: list[Tensor],
        counts: Tensor,
    ):
        """batch: what it is captured with; those to come have its shapes. grads, counts: where the
        results go, of the shapes of `params` and of `Losses.counts`."""
        self.objective, self.params, self.targets = objective, params, [*grads, counts]
        x, self.levels, degraded = (tensor.clone() for tensor in batch)
        self.x = x.contiguous(memory_format=torch.channels_last)
        self.degraded = self.x  # unless the encoder sees another picture
        if batch[2] is not batch[0]:
            self.degraded = degraded.contiguous(memory_format=torch.channels_last)
        self._run: Callable[[], Losses] = captured(self._compute, [], x.device)

    def fits(self, batch: Batch) -> bool:
        return batch[0].shape == self.x.shape

    def __call__(self, batch: Batch) -> Losses:
        """The losses lie where those of the next call will."""
        for target, source in zip((self.x, self.levels, self.degraded), batch, strict=True):
            target.copy_(source)
        return self._run()

    def _compute(self) -> Losses:
        losses = self.objective(self.x, self.levels, self.degraded)
        # Those of passes and codewords that the batch does not meet are zeros.
        grads = torch.autograd.grad(losses.objective, self.params, materialize_grads=True)
        copy_all(self.targets, [*grads, losses.counts])
        return losses._replace(objective=losses.objective.detach())
