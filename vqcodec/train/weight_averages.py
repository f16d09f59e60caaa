"""Exponential moving averages of the weights: they code better than the last ones."""

from torch import Tensor, nn

from ..engine.torch.runtime import lerp_all


def start_averages(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters, by name."""
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def update_averages(
    averages: dict[str, Tensor], module: nn.Module, decay: float, step: int
) -> None:
    """Move the averages on to the parameters. decay: what stays of them in a step; less in the
    first steps, whose weights are far from where training ends."""
    decay = min(decay, (step + 1) / (step + 10))
    values = [p.detach() for p in module.parameters()]
    lerp_all(list(averages.values()), values, 1 - decay)
