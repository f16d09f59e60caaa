"""Importance of directions and channels: covariances of activations and of the loss's gradient.

Balanced truncation is Moore 1981, "Principal component analysis in linear systems".
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..nn.fixed import FixedConv
from .objective import Objective

RIDGE = 1e-7  # of the mean variance


class ActivationStats(NamedTuple):
    """Of what a layer reads: float64 [C, C], sums of x x^T and of the same of its gradient."""

    values: Tensor
    slopes: Tensor


class Cut(NamedTuple):
    """Between a stream of W channels and one of w: float32 [W, w] each. The larger is about
    read @ smaller, the smaller write.T @ larger."""

    read: Tensor
    write: Tensor


def observe(
    objective: Objective, batches: list[tuple[Tensor, Tensor]]
) -> dict[str, ActivationStats]:
    """What each matrix of the network reads, by the name of its layer; pixels are left out.

    batches: as `Objective` takes them.
    """
    network, hooks = objective.network, []
    values: dict[str, Tensor] = {}
    slopes: dict[str, Tensor] = {}

    def add(sums: dict[str, Tensor], name: str, x: Tensor) -> None:
        flat = x.detach().float().movedim(1, -1).flatten(0, -2)
        sums[name] = sums.get(name, 0) + (flat.T @ flat).double()

    def watch(name: str):
        def hook(module: nn.Module, arguments: tuple) -> None:
            x = arguments[0]
            if x.requires_grad:
                add(values, name, x)
                x.register_hook(lambda slope: add(slopes, name, slope))

        return hook

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | FixedConv) and module.groups == 1:
            hooks.append(module.register_forward_pre_hook(watch(name)))
    for batch in tqdm(batches, desc="looking at activations", unit=" batches", disable=None):
        objective(*batch).objective.backward()
        network.zero_grad()
    for hook in hooks:
        hook.remove()
    return {name: ActivationStats(gram, slopes[name]) for name, gram in values.items()}


@torch.no_grad()
def cost_without(objective: Objective, block: nn.Module, batch: tuple[Tensor, Tensor]) -> float:
    """Mean log cost of a batch if a residual block does nothing."""
    hook = block.register_forward_hook(lambda module, arguments, out: arguments[0])
    cost = float(objective(*batch).cost.log().mean())
    hook.remove()
    return cost


def balanced(readers: list[ActivationStats], count: int) -> Cut:
    """The `count` directions of a stream that move the loss most, of all that read it."""
    values, slopes = (_root(sum(grams)) for grams in zip(*readers, strict=True))
    left, strength, right = torch.linalg.svd(slopes.T @ values)
    read, write = values @ right[:count].T, slopes @ left[:, :count] / strength[:count]
    # An orthonormal basis of the same directions: in it activations have the size they had.
    read, mix = torch.linalg.qr(read)
    return Cut(read.float(), (write @ mix.T).float())


def _root(gram: Tensor) -> Tensor:
    """R with R R^T = gram."""
    energies, basis = torch.linalg.eigh(_ridged(gram))
    return basis * energies.clamp(min=0).sqrt()


def _ridged(gram: Tensor) -> Tensor:
    ridge = (RIDGE * gram.diagonal().mean()).clamp(min=1e-30)
    return gram + torch.diag(ridge.expand(len(gram)))


def strongest(readers: list[ActivationStats], count: int) -> Tensor:
    """int64 [count]: the channels with the largest product of variance and gradient's."""
    total = 0
    for values, slopes in readers:
        product = values.diagonal() * slopes.diagonal()
        total = total + product / product.sum().clamp(min=1e-30)
    return total.argsort(descending=True)[:count].sort().values


def spread(values: Tensor, kept: Tensor) -> Tensor:
    """float32 [C, w]: by what all channels are predicted best from those that are kept."""
    return torch.linalg.solve(_ridged(values[kept][:, kept]), values[kept]).T.float()
