"""Exponential moving averages of the weights: they code better than the last ones."""

from torch import Tensor, nn

from ..engine.torch.runtime import lerp_all


def start_averages(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters, by name."""
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def update_averages(
    averages: dict[str, Tensor], module: nn.Module, decay: float, step: int
) -> None:
    """Move the averages on to the parameters. decay: as of `decay_at`."""
    values = [p.detach() for p in module.parameters()]
    lerp_all(list(averages.values()), values, 1 - decay_at(decay, step))


def decay_at(decay: float, step: int) -> float:
    """What stays of the averages in a step: `decay`, and less in the first steps, whose weights are
    far from where training ends."""
    return min(decay, (step + 1) / (step + 10))
