"""Initialising a smaller network with the weights of a larger one, by structured pruning.

What residual blocks add to is a stream that matrices alone read and write, so that any basis
serves: the smaller network keeps the directions that matter most to the loss, by balanced
truncation of the covariances of the stream and of its gradient. Channels that a nonlinearity or a
depthwise kernel keeps apart are picked by the product of the two variances; those that stay stand
in for the others as well as they predict them (least squares). Blocks whose absence costs least are
left out.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..config import PassConfig
from ..errors import ModelError
from ..nn.blocks import LevelEmbedding, Residual
from ..nn.fixed import FixedBlock
from ..nn.model import Network
from ..nn.prior import PriorPass
from .data import Crops
from .importance import ActivationStats, Cut, balanced, cost_without, observe, spread, strongest
from .objective import Objective

ROUNDS = 12  # batches that are looked at
BATCH, SIDE = 8, 128  # crops and pixels
SIZES = "latents", "fine_width", "coarse_width"  # of transforms, besides their blocks
# What reads a stream besides the blocks that add to it.
READERS = {
    "encoder.fine": "encoder.down",
    "encoder.coarse": "encoder.head",
    "decoder.coarse": "decoder.up",
    "decoder.fine": "decoder.head",
}


def shrink(
    network: Network, large: Network, crops: Crops, lambda_scale: float, distortion: str = "mse"
) -> None:
    """Take over into `network` what it has room for of `large`, a trained network.

    lambda_scale, distortion: as of `Objective`, whose gradients say what matters. Raises ModelError
    if `network` has more of anything, or other levels or codebooks.
    """
    _check(network, large)
    objective = Objective(large, lambda_scale, True, distortion)
    batches = [_batch(large, crops) for _ in range(ROUNDS)]
    stats = observe(objective, batches)
    kept = _kept_blocks(network, objective, batches[0])
    with torch.no_grad():
        found = _shared(network, large)
        for side in ("encoder", "decoder"):
            found |= _transform(side, network, large, stats, kept)
        found |= _prior(network, large, stats, kept)
        network.load_state_dict({name: t.contiguous() for name, t in found.items()})
        network.codebooks.bits.copy_(large.codebooks.bits)


def _check(network: Network, large: Network) -> None:
    mine, theirs = network.config, large.config
    a, b = mine.transform, theirs.transform
    same = mine.quantizer == theirs.quantizer and mine.task == theirs.task
    same &= a.lambdas() == b.lambdas() and mine.prior.expand == theirs.prior.expand
    if not same:
        raise ModelError("only a network of the same levels and codebooks can be shrunk")
    sizes = [(getattr(a, name), getattr(b, name)) for name in SIZES]
    sizes.append((mine.prior.width, theirs.prior.width))
    sizes += [
        (len(network.get_submodule(name)), len(large.get_submodule(other)))
        for name, other in _rows(network, large)
    ]
    if any(small > other for small, other in sizes):
        raise ModelError(f"expected at most the sizes of {theirs}, found {mine}")


def _batch(network: Network, crops: Crops) -> tuple[Tensor, Tensor]:
    """Crops, and levels spread over all."""
    device = network.lambdas.device
    x = crops.varied(BATCH, SIDE).to(device, memory_format=torch.channels_last)
    position = (torch.arange(BATCH) + torch.rand(BATCH, generator=crops.generator)) / BATCH
    return x, (position * network.config.transform.levels).long().to(device)


def _rows(network: Network, large: Network) -> Iterator[tuple[str, str]]:
    """Names of the rows of blocks in the one and where they come from in the other."""
    for part in READERS:
        yield part, part
    for index, number in enumerate(_counterparts(network, large)):
        if network.prior.passes[index].source:
            yield f"prior.passes.{index}.blocks", f"prior.passes.{number}.blocks"


def _counterparts(network: Network, large: Network) -> list[int]:
    """For each pass that of `large` which codes the most of its latents."""

    def shared(a: PassConfig, b: PassConfig) -> int:
        channels = min(a.stop, b.stop) - max(a.start, b.start)
        return max(0, channels) * (a.lattice & b.lattice).bit_count()

    theirs = large.config.prior.passes
    found = [0]  # the first passes have nothing to read
    for item in network.config.prior.passes[1:]:
        amounts = [shared(item, other) for other in theirs[1:]]
        found.append(1 + amounts.index(max(amounts)))
    return found


def _kept_blocks(
    network: Network, objective: Objective, batch: tuple[Tensor, Tensor]
) -> dict[str, list[int]]:
    """For each row of blocks, by name, the numbers in the larger network of those that stay."""
    kept, rows = {}, list(_rows(network, objective.network))
    for mine, theirs in tqdm(rows, desc="weighing blocks", unit=" rows", disable=None):
        blocks = objective.network.get_submodule(theirs)
        order, count = list(range(len(blocks))), len(network.get_submodule(mine))
        if count < len(blocks):
            costs = [cost_without(objective, block, batch) for block in blocks]
            order.sort(key=costs.__getitem__, reverse=True)
        kept[mine] = sorted(order[:count])
    return kept


def _shared(network: Network, large: Network) -> dict[str, Tensor]:
    """What has only latent channels: the first of the linear path and of the gains; codebooks."""
    theirs, found = large.state_dict(), {}
    for name, tensor in network.state_dict().items():
        if name.startswith("linear."):
            found[name] = theirs[name][:, : tensor.shape[1]]
        elif name.startswith("codebooks."):
            found[name] = theirs[name]
    count = network.config.transform.latents
    found["gains.scale"] = theirs["gains.scale"][:count]
    for name in ("gains.encode", "gains.decode"):
        table = large.get_submodule(name).table()
        found[f"{name}.knots"] = _on_knots(network.get_submodule(name), table[:, :count])
    return found


def _on_knots(vector: LevelEmbedding, table: Tensor) -> Tensor:
    """The knots that come closest to a table of all levels."""
    return torch.linalg.pinv(vector.weights) @ table


def _transform(
    side: str,
    network: Network,
    large: Network,
    stats: dict[str, ActivationStats],
    kept: dict[str, list[int]],
) -> dict[str, Tensor]:
    """The encoder or the decoder."""
    found, cuts = {}, {}
    latents = network.config.transform.latents
    for part in ("fine", "coarse"):
        name = f"{side}.{part}"
        level = network.get_submodule(f"{name}_level")
        cuts[part] = cut = balanced(_readers(name, stats), level.knots.shape[1])
        table = large.get_submodule(f"{name}_level").table()
        found[f"{name}_level.knots"] = _on_knots(level, table @ cut.write)
        for n, number in enumerate(kept[name]):
            there = f"{name}.{number}"
            blocks = (large.get_submodule(there), network.get_submodule(f"{name}.{n}"))
            found |= _within(f"{name}.{n}", _residual(*blocks, there, cut, stats))
    fine, coarse = cuts["fine"], cuts["coarse"]
    module = large.get_submodule(side)
    stem, head = module.stem, module.head
    if side == "encoder":
        down = torch.einsum("oihw,ik->okhw", module.down.weight, fine.read)
        found["encoder.down.weight"] = torch.einsum("oihw,ok->kihw", down, coarse.write)
        found["encoder.down.bias"] = coarse.write.T @ module.down.bias
        first, last, stem_weight = fine, coarse, stem.weight
        head_weight, head_bias = head.weight[:latents], head.bias[:latents]
    else:
        up = module.up.weight[..., 0, 0].unflatten(0, (-1, 4))  # [W, 4, W of coarse]
        up = torch.einsum("fsc,fk,cj->ksj", up, fine.write, coarse.read)
        found["decoder.up.weight"] = _kernel(up.flatten(0, 1))
        bias = module.up.bias.unflatten(0, (-1, 4))
        found["decoder.up.bias"] = (fine.write.T @ bias).flatten()
        first, last, stem_weight = coarse, fine, stem.weight[:, :latents]
        head_weight, head_bias = head.weight, head.bias
    found[f"{side}.stem.weight"] = _kernel(first.write.T @ stem_weight[..., 0, 0])
    found[f"{side}.stem.bias"] = first.write.T @ stem.bias
    found[f"{side}.head.weight"] = _kernel(head_weight[..., 0, 0] @ last.read)
    return found | {f"{side}.head.bias": head_bias}


def _kernel(matrix: Tensor) -> Tensor:
    return matrix[:, :, None, None]


def _readers(name: str, stats: dict[str, ActivationStats]) -> list[ActivationStats]:
    """All that read the stream of a part."""
    ends = (".mix.0", ".expand.0")
    return [
        item
        for key, item in stats.items()
        if key == READERS[name] or (key.startswith(f"{name}.") and key.endswith(ends))
    ]


def _within(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}


def _residual(
    large: Residual, small: Residual, name: str, cut: Cut, stats: dict[str, ActivationStats]
) -> dict[str, Tensor]:
    """name: of the larger block."""
    found = {}
    for branch in ("mix", "expand"):
        layers, last = large.get_submodule(branch), len(large.get_submodule(branch)) - 1
        inner = stats[f"{name}.{branch}.{last}"]
        kept = strongest([inner], small.get_submodule(branch)[0].out_channels)
        found[f"{branch}.0.weight"] = _kernel(layers[0].weight[kept, :, 0, 0] @ cut.read)
        found[f"{branch}.0.bias"] = layers[0].bias[kept]
        if branch == "mix":  # the depthwise kernels
            found["mix.2.weight"] = layers[2].weight[kept]
            found["mix.2.bias"] = layers[2].bias[kept]
        out = layers[last].weight[..., 0, 0] @ spread(inner.values, kept)
        found[f"{branch}.{last}.weight"] = _kernel(cut.write.T @ out)
        found[f"{branch}.{last}.bias"] = cut.write.T @ layers[last].bias
    return found


def _prior(
    network: Network, large: Network, stats: dict[str, ActivationStats], kept: dict[str, list[int]]
) -> dict[str, Tensor]:
    readers = [
        item
        for name, item in stats.items()
        if name.startswith("prior.") and name.endswith((".head", ".expand"))
    ]
    state = strongest(readers, network.config.prior.width)
    passes, found = large.prior.passes, {}
    for index, number in enumerate(_counterparts(network, large)):
        item, name = network.prior.passes[index], f"prior.passes.{index}"
        found[f"{name}.level.knots"] = _on_knots(item.level, _level_table(item, passes, number))
        if item.source is None:
            continue
        there = f"prior.passes.{number}"
        found |= _within(name, _ends(item, passes[number], there, state, stats))
        for n, m in enumerate(kept[f"{name}.blocks"]):
            key = f"blocks.{m}"
            blocks = (large.get_submodule(f"{there}.{key}"), item.blocks[n])
            tensors = _fixed_block(*blocks, f"{there}.{key}", state, stats)
            found |= _within(f"{name}.blocks.{n}", tensors)
    return found


def _level_table(small: PriorPass, passes: nn.ModuleList, number: int) -> Tensor:
    """float32 [L, 2 c]: means and scales to start from, of the pass of that number in the larger
    network, and for channels that it lacks of those that have them."""
    start, stop = small.config.start, small.config.stop
    table = torch.zeros(len(small.level.weights), 2, stop - start)
    for item in (*passes, passes[number]):
        mine, theirs = _overlap(small.config, item.config)
        table[:, :, mine] = item.level.table().unflatten(1, (2, -1))[:, :, theirs]
    return table.flatten(1)


def _ends(
    small: PriorPass, large: PriorPass, name: str, state: Tensor, stats: dict[str, ActivationStats]
) -> dict[str, Tensor]:
    """Of a pass what it reads and expects, for the channels that both have. name: of the larger
    pass. state: channels of the running state that stay."""
    mine, theirs = _overlap(small.source, large.source)
    read = torch.zeros_like(small.read.weight)
    read[:, mine] = large.read.weight[state][:, theirs]
    read[:, -1] = large.read.weight[state, -1]  # the mark of what is decoded
    mine, theirs = _overlap(small.config, large.config)
    weight = large.head.weight[..., 0, 0] @ spread(stats[f"{name}.head"].values, state)
    weight = weight.unflatten(0, (2, -1))  # means and scales
    head = torch.zeros_like(small.head.weight[..., 0, 0]).unflatten(0, (2, -1))
    head[:, mine] = weight[:, theirs]
    bias = torch.zeros_like(small.head.bias).unflatten(0, (2, -1))
    bias[:, mine] = large.head.bias.unflatten(0, (2, -1))[:, theirs]
    return {
        "read.weight": read,
        "read.bias": large.read.bias[state],
        "head.weight": _kernel(head.flatten(0, 1)),
        "head.bias": bias.flatten(),
    }


def _overlap(a: PassConfig, b: PassConfig) -> tuple[slice, slice]:
    """The channels that both have, counted within either."""
    low = max(a.start, b.start)
    high = max(low, min(a.stop, b.stop))
    return slice(low - a.start, high - a.start), slice(low - b.start, high - b.start)


def _fixed_block(
    large: FixedBlock,
    small: FixedBlock,
    name: str,
    state: Tensor,
    stats: dict[str, ActivationStats],
) -> dict[str, Tensor]:
    """name: of the larger block. state: as of `_ends`."""
    inner = stats[f"{name}.project"]
    kept = strongest([inner], len(small.expand.bias))
    expand = large.expand.weight[kept, :, 0, 0] @ spread(stats[f"{name}.expand"].values, state)
    project = large.project.weight[state, :, 0, 0] @ spread(inner.values, kept)
    return {
        "spread.weight": large.spread.weight[state],
        "spread.bias": large.spread.bias[state],
        "expand.weight": _kernel(expand),
        "expand.bias": large.expand.bias[kept],
        "project.weight": _kernel(project),
        "project.bias": large.project.bias[state],
        "level.knots": _on_knots(small.level, large.level.table()[:, kept]),
    }
