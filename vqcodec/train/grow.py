"""Initialising a larger network with the weights of a smaller one."""

import torch
from torch import Tensor

from ..config import PassConfig
from ..nn.blocks import LevelEmbedding
from ..nn.model import Network
from ..nn.transforms import PIXEL_MEAN
from .data import Crops, block_statistics

# Outputs of the branches that residual blocks add: what is new in them begins without effect.
LAST_LAYERS = ("mix.3.weight", "expand.2.weight", "project.weight")
TRANSFORMS = ("encoder.", "decoder.")
PASSES = "prior.passes."


@torch.no_grad()
def grow(network: Network, small: Network, crops: Crops) -> None:
    """Take over what `small` has into `network`, by name, at the first indices of each axis.

    Further blocks and channels begin without effect on the channels that there were. Further
    latents continue the PCA: they are the largest components of what the linear path of `small`
    leaves over.
    """
    known = small.config.transform.latents
    state = network.state_dict()
    theirs = _with_passes_of(network, small, _with_knots_of(network, small, small.state_dict()))
    for name in state:
        same = name in theirs and theirs[name].shape == state[name].shape
        if name.endswith(LAST_LAYERS) and not same:
            state[name].zero_()
    for name, tensor in theirs.items():
        if name in state and _fits(name, tensor, state[name]):
            if name.startswith(TRANSFORMS) and tensor.ndim == 4:
                state[name][: len(tensor), tensor.shape[1] :] = 0  # what reads a new channel
            state[name][tuple(slice(n) for n in tensor.shape)] = tensor
    network.load_state_dict(state)
    network.codebooks.bits.copy_(small.codebooks.bits)
    _extend_linear(network, known, crops)


def _fits(name: str, tensor: Tensor, target: Tensor) -> bool:
    """Whether a tensor goes into the first indices of another; a pass of other channels has
    means and scales elsewhere."""
    if name.startswith("prior.") and tensor.shape != target.shape:
        return False
    return all(a <= b for a, b in zip(tensor.shape, target.shape, strict=True))


def _with_knots_of(network: Network, small: Network, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of `small` with each level vector on the knots of `network`."""
    modules = dict(network.named_modules())
    for name, module in small.named_modules():
        if isinstance(module, LevelEmbedding) and name in modules:
            fit = torch.linalg.pinv(modules[name].weights) @ module.table()
            state = state | {f"{name}.knots": fit}
    return state


def _with_passes_of(
    network: Network, small: Network, state: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The state of `small` with its passes where `network` codes the same latents. Where two share
    what was one, the second adds nothing yet to what the first has read, and expects the same."""
    theirs, taken, larger = small.config.prior.passes, set(), network.state_dict()
    found = {name: tensor for name, tensor in state.items() if not name.startswith(PASSES)}
    for index, item in enumerate(network.config.prior.passes):
        number = next((n for n, other in enumerate(theirs) if _covers(other, item)), index)
        old, new = f"{PASSES}{number}.", f"{PASSES}{index}."
        parts = {new + name[len(old) :]: t for name, t in state.items() if name.startswith(old)}
        if number in taken:
            parts = {k: t for k, t in parts.items() if k.startswith((new + "head", new + "level"))}
            parts |= {
                k: torch.zeros_like(t) for k, t in larger.items() if k.startswith(new + "read")
            }
        taken.add(number)
        found |= parts
    return found


def _covers(other: PassConfig, item: PassConfig) -> bool:
    same = (other.start, other.stop) == (item.start, item.stop)
    return same and other.lattice & item.lattice == item.lattice


def _extend_linear(network: Network, known: int, crops: Crops) -> None:
    total = network.config.transform.latents
    if known == total:
        return
    linear = network.linear
    kept = torch.linalg.qr(linear.synthesis[:, :known]).Q
    basis, scale = block_statistics(crops, PIXEL_MEAN)
    rest = torch.eye(len(kept)) - kept @ kept.T
    covariance = rest @ (basis * scale**2) @ basis.T @ rest
    values, vectors = torch.linalg.eigh(covariance.double())
    more = vectors.flip(1)[:, : total - known].float()
    linear.analysis[:, known:] = more
    linear.synthesis[:, known:] = more
    network.gains.scale[known:] = values.flip(0)[: total - known].clamp(min=1e-3).sqrt().float()
