"""A model's files <-> its networks. FORMAT.md, "Model".

A model is a folder: config.json and three safetensors files. `prior` holds integers only and,
with `decoder`, all that a decoder needs: the model id is the hash of config, prior and decoder,
so that a better encoder for the same files keeps the id. A fourth, `realism`, may hold other
weights of the decoder's convolutions and one for grain, to paint the same latents with texture;
it is no part of the id either.
"""

import struct
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from ..config import PRECISION, ModelConfig
from ..entropy.fixed_point import SUM_BITS, TABLE_BITS, WEIGHT_BITS, WORD_BITS, table_sizes
from ..entropy.freqs import bits
from ..errors import ModelError
from ..nn.fixed import bias_grid
from ..nn.model import Network
from ..nn.prior import LevelTables, is_exact
from ..nn.transforms import Decoder
from . import shipped
from .files import PARTS, REALISM, model_id, read_files

WORD_MAX = 2**16  # steps; latents must stay below 2**18 to be exact in float32
# Units of the integer tensors of the prior, by the end of their names.
UNITS = {
    "weight": WEIGHT_BITS,
    "bias": SUM_BITS,
    "knots": SUM_BITS,
    "scalar_words": WORD_BITS,
    "pair_words": WORD_BITS,
    "to_steps": TABLE_BITS,
    "to_units": TABLE_BITS,
    "log_steps": SUM_BITS,
}


class Model(NamedTuple):
    """A loaded model. freqs: uint32 [K] for each row of the tables. realism: the second decoder,
    by the names of `network.state_dict()`; None if the model has none."""

    id: bytes
    config: ModelConfig
    network: Network
    freqs: tuple[np.ndarray, ...]
    realism: dict[str, Tensor] | None = None


def part_of(name: str) -> str:
    """Which file a tensor of `Network.state_dict` belongs to."""
    if name.startswith(("prior.", "codebooks.")):
        return "prior"
    if name.startswith(("encoder.", "gains.encode.")) or name == "linear.analysis":
        return "encoder"
    return "decoder"


def _network(config: ModelConfig, parts: dict[str, dict[str, Tensor]]) -> Network:
    """Fill a network. The prior's integers become floats that hold them exactly."""
    network = Network(config)
    state = {}
    fixed = {}
    for part, tensors in parts.items():
        for name, tensor in tensors.items():
            if part == "prior":
                unit = UNITS.get(name.rsplit(".")[-1])
                if name == "freqs":
                    continue
                if unit is None or tensor.is_floating_point():
                    raise ModelError(f"prior tensor {name} is not one of integers that we know")
                tensor = (tensor.double() * 2.0**-unit).float()
            (fixed if name in LevelTables._fields else state)[name] = tensor.float()
    try:
        network.load_state_dict(state)
        network.fixed_tables = LevelTables(**fixed)
    except (RuntimeError, TypeError) as exc:
        raise ModelError(f"tensors do not fit the config: {exc}") from exc
    return network


@torch.no_grad()
def _check(network: Network, config: ModelConfig) -> None:
    """Refuse a prior whose arithmetic could leave the exact range, or tables out of bounds."""
    shape = (config.transform.levels, config.transform.latents)
    for table in network.fixed_tables:
        if tuple(table.shape) != shape or not bool(table.abs().max() < 2**8):
            raise ModelError(f"level tables: expected {shape} and values below 256")
    for words in network.codebooks.parameters():
        if words.numel() and not bool(words.abs().max() <= WORD_MAX):
            raise ModelError(f"a word is {float(words.abs().max())} steps, limit {WORD_MAX}")
    for name, values in network.prior.named_parameters():
        if name.endswith((".bias", ".knots")) and not torch.equal(values, bias_grid(values)):
            raise ModelError(f"prior tensor {name}: a bias exceeds its bound")
    network.prior.freeze()  # weights count as they are: fast-1 has rows above training's bound
    if not is_exact(network.prior):
        raise ModelError(f"prior overflows: sums up to {network.prior.worst_sum()}, limit 2**24")


def _split_freqs(flat: Tensor, config: ModelConfig) -> tuple[np.ndarray, ...]:
    sizes = table_sizes(config.quantizer)
    if flat.dtype != torch.int32 or len(flat) != sum(sizes) or int(flat.min()) < 0:
        raise ModelError(f"freqs: expected {sum(sizes)} integers, found {tuple(flat.shape)}")
    rows = tuple(np.split(flat.numpy().astype(np.uint32), np.cumsum(sizes)[:-1]))
    for index, row in enumerate(rows):
        if int(row.sum(dtype=np.int64)) != 2**PRECISION - len(row):
            raise ModelError(f"freqs of row {index} sum to {row.sum()}, not 2**24 - {len(row)}")
    return rows


def check_realism(tensors: dict[str, Tensor], network: Network) -> None:
    """Raise ModelError unless the tensors are finite and can stand for those of the decoder."""
    other = Decoder(network.config.transform, grained=True)
    own = {f"decoder.{name}": t for name, t in other.state_dict().items()}
    if odd := sorted(own.keys() ^ tensors.keys()):
        text = "is missing in it" if odd[0] in own else "is none of the decoder's tensors"
        raise ModelError(f"{REALISM}.safetensors: {odd[0]} {text}")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            found, expected = list(tensor.shape), list(own[name].shape)
            raise ModelError(f"{REALISM}.safetensors: {name} is {found}, expected {expected}")
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            raise ModelError(f"{REALISM}.safetensors: {name} has not only finite numbers")


def assemble(config: ModelConfig, parts: dict[str, dict[str, Tensor]]) -> Model:
    """Networks from the tensors of the three files. Raises ModelError if they are refused."""
    network = _network(config, parts)
    _check(network, config)
    freqs = _split_freqs(parts["prior"]["freqs"], config)
    for row, counts in enumerate(freqs):
        network.codebooks.bits[row, : len(counts)] = torch.from_numpy(bits(counts)).float()
    network.eval().requires_grad_(False)
    network.prior.freeze()
    network.codebooks.freeze()
    named = (parts["prior"] | parts["decoder"]).items()
    own_id = model_id(config, {name: tensor.numpy() for name, tensor in named})
    return Model(own_id, config, network, freqs)


def load_folder(folder: Path, hashes: dict[str, str] | None = None) -> Model:
    """Load a model folder; `hashes` are the files' expected SHA-256 in hex. With them there is a
    realism decoder if they have its hash, without them if the folder has its file.

    Raises ModelError if a file is missing, is not what its hash says, or is refused.
    """
    is_there = (folder / f"{REALISM}.safetensors").is_file()
    has_realism = is_there if hashes is None else REALISM in hashes
    names = (*PARTS, REALISM) if has_realism else PARTS
    config, blobs = read_files(folder, names, hashes)
    try:
        parts = {part: load_tensors(blob) for part, blob in blobs.items()}
    except (SafetensorError, struct.error, ValueError) as exc:
        raise ModelError(f"model files in {folder} are damaged: {exc}") from exc
    realism = parts.pop(REALISM, None)
    model = assemble(config, parts)
    if realism is not None:
        check_realism(realism, model.network)
    return model._replace(realism=realism)


@lru_cache(maxsize=4)
def load_shipped(name: str) -> Model:
    """A model of this package by name; cached in the process.

    Raises UnknownModelError, or ModelError if its files are not the ones that were shipped.
    """
    entry = shipped.find(name)
    model = load_folder(shipped.folder_of(name), entry.sha256)
    if model.id != entry.id:
        raise ModelError(f"model {name} has id {model.id.hex()}, not {entry.id.hex()}")
    return model
