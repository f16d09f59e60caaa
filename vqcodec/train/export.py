"""Export of a trained network as a model folder: integers for the prior, float16 for the rest."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from ..config import ModelConfig
from ..entropy.freqs import from_probabilities
from ..errors import ModelError
from ..image.atomic_write import write_atomically
from ..nn.blocks import LevelEmbedding
from ..nn.fixed import FixedConv, bias_grid
from ..nn.model import Network
from ..nn.prior import LevelTables, level_tables
from ..zoo.files import PARTS, REALISM
from ..zoo.shapes import UNITS, part_of
from ..zoo.weights import Model, assemble, load_folder


def dense_levels(network: Network) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Config and tensors with one knot a level, so that a table needs no interpolation."""
    config = network.config
    transform = dataclasses.replace(config.transform, knots=config.transform.levels)
    state = {k: v.detach().clone() for k, v in network.state_dict().items()}
    for name, module in network.named_modules():
        if isinstance(module, LevelEmbedding):
            state[f"{name}.knots"] = module.table().detach()
        if isinstance(module, FixedConv):
            state[f"{name}.weight"] = module.fixed_weight().detach()
            state[f"{name}.bias"] = bias_grid(module.bias).detach()
    for name in state:
        if name.startswith("prior.") and name.endswith(".knots"):
            state[name] = bias_grid(state[name])
    return dataclasses.replace(config, transform=transform), state


def to_integers(name: str, tensor: Tensor) -> Tensor:
    scaled = torch.floor(tensor.double() * 2.0 ** UNITS[name.rsplit(".")[-1]] + 0.5)
    most = float(scaled.abs().max()) if scaled.numel() else 0.0  # a control has no pairs
    if most >= 2**24:
        raise ModelError(f"{name}: values up to {float(tensor.abs().max())} do not fit 24 bits")
    small = most < 2**15
    return scaled.to(torch.int16 if small else torch.int32).contiguous()


def split(
    network: Network, probabilities: list[Tensor]
) -> tuple[ModelConfig, dict[str, dict[str, Tensor]]]:
    """Config and tensors of the three files of a model. Raises ModelError if the loader would
    refuse them."""
    config, state = dense_levels(network)
    levels = torch.arange(config.transform.levels)
    gains = network.gains
    tables = level_tables(gains.to_steps().detach(), gains.to_units().detach(), levels)
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for name, tensor in state.items():
        part = part_of(name)
        if part == "prior":
            tensor = to_integers(name, tensor)
        elif tensor.ndim > 1 and not name.startswith("gains."):
            tensor = tensor.half()
        parts[part][name] = tensor.contiguous()
    for name, table in zip(LevelTables._fields, tables, strict=True):
        parts["prior"][name] = to_integers(name, table)
    counts = [
        torch.from_numpy(from_probabilities(p.numpy()).astype("int32")) for p in probabilities
    ]
    parts["prior"]["freqs"] = torch.cat(counts)
    assemble(config, {part: _arrays(tensors) for part, tensors in parts.items()})
    return config, parts


def export(network: Network, probabilities: list[Tensor], folder: Path) -> Model:
    """Write a model folder. Raises ModelError if the loader would refuse it."""
    config, parts = split(network.cpu(), probabilities)
    files = {f"{part}.safetensors": save(tensors) for part, tensors in parts.items()}
    _write(folder, {"config.json": config.to_json().encode() + b"\n"} | files)
    return load_folder(folder)


def _arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def export_realism(source: Path, decoder: dict[str, Tensor], folder: Path) -> Model:
    """Write a copy of the model in `source` with a realism decoder, the tensors of a `Decoder`."""
    names = ("config.json", *(f"{part}.safetensors" for part in PARTS))
    files = {name: (source / name).read_bytes() for name in names}
    tensors = {f"decoder.{k}": t.cpu().contiguous() for k, t in decoder.items()}
    tensors = {k: t.half() if t.ndim > 1 else t for k, t in tensors.items()}
    _write(folder, files | {f"{REALISM}.safetensors": save(tensors)})
    return load_folder(folder)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files of a model, each whole or not at all. They are readable by whom the umask
    lets; those of safetensors' `save_file` would be by their owner alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomically(folder / name, data, overwrite=True)


def index_entry(folder: Path, model: Model) -> dict:
    """The row of models/index.json that ships this folder."""
    parts = PARTS if model.realism is None else (*PARTS, REALISM)
    hashes = {
        part: hashlib.sha256((folder / f"{part}.safetensors").read_bytes()).hexdigest()
        for part in parts
    }
    return {"name": folder.name, "id": model.id.hex(), "sha256": hashes}


def append_to_index(index: Path, entry: dict, default: bool = True) -> None:
    """Add a model to index.json, as the default or not; earlier rows are never changed."""
    known = json.loads(index.read_text()) if index.exists() else {"default": "", "models": []}
    if any(row["name"] == entry["name"] for row in known["models"]):
        raise ModelError(f"{index} has a model named {entry['name']} already")
    if default:
        known["default"] = entry["name"]
    known["models"].append(entry)
    index.write_text(json.dumps(known, indent=1) + "\n")
