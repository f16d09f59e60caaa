"""Loading a model's tensors, with every bound checked. FORMAT.md, "Model". Numpy only.

A model is a folder: config.json and three safetensors files. `prior` holds integers only and,
with `decoder`, all that a decoder needs: the model id is the hash of config, prior and decoder,
so that a better encoder for the same files keeps the id. A fourth, `realism`, may hold other
weights of the decoder's convolutions and one for grain, to decode the same latents with texture;
it is no part of the id either.
"""

import struct
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from ..config import PRECISION, ModelConfig
from ..entropy.fixed_point import BIAS_MAX, CODEWORD_BITS, EXACT_SUM, table_sizes
from ..errors import ModelError
from . import shipped
from .files import PARTS, REALISM, model_id, read_config, read_parts
from .shapes import INPUT_MAX, LEVEL_TABLES, UNITS, decoder_shapes, part_of, shapes

CODEWORD_MAX = 2**16  # steps; latents must stay below 2**18 to be exact in float32
TABLE_MAX = 2**8  # of an entry of the level tables
DECODING, ENCODING = ("prior", "decoder"), ("encoder",)  # the parts of the id, and the other
Tensors = Mapping[str, np.ndarray]


class Model(NamedTuple):
    """A loaded model.

    tensors: of the files, by name: integers of the prior, floats of encoder and decoder. realism:
    the second decoder, by the names that the first has in `tensors`; None if the model has none.
    """

    id: bytes
    config: ModelConfig
    tensors: Tensors
    realism: Tensors | None = None

    @property
    def freqs(self) -> tuple[np.ndarray, ...]:
        """uint32 [K] for each row of the tables."""
        return _split_freqs(self.tensors["freqs"], self.config)


class LazyTensors(Mapping[str, np.ndarray]):
    """Tensors of these names, which are read when one is first asked for; `read` may then raise
    ModelError. Two threads may both read."""

    def __init__(self, names: Iterable[str], read: Callable[[], Tensors]):
        self._names, self._read = frozenset(names), read
        self._found: Tensors | None = None

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        if self._found is None:
            self._found = self._read()
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)


def load_folder(folder: Path, hashes: dict[str, str] | None = None) -> Model:
    """Load a model folder; `hashes` are the files' expected SHA-256 in hex. With them there is a
    realism decoder if they have its hash, without them if the folder has its file.

    Raises ModelError if a file is missing, is not what its hash says, or is refused.
    """
    is_there = (folder / f"{REALISM}.safetensors").is_file()
    has_realism = is_there if hashes is None else REALISM in hashes
    names = (*PARTS, REALISM) if has_realism else PARTS
    return assemble(read_config(folder), _load(folder, names, hashes))


@lru_cache(maxsize=4)
def load_shipped(name: str) -> Model:
    """A model of this package by name; cached in the process. Its tensors are read when they are
    first needed: those of prior and decoder, of the encoder, and of the realism decoder. That
    raises ModelError if a file is not the one that was shipped.

    Raises UnknownModelError, or ModelError if its config cannot be read.
    """
    entry = shipped.find(name)
    folder = shipped.folder_of(name)  # now: what is installed may be another when tensors are read
    config = read_config(folder)
    expected = shapes(config)
    tensors = ChainMap(
        *(
            LazyTensors(
                [name for name in expected if part_of(name) in parts],
                partial(_shipped_parts, folder, entry, config, parts),
            )
            for parts in (DECODING, ENCODING)
        )
    )
    if entry.realism is None:
        return Model(entry.id, config, tensors)
    read = partial(_shipped_realism, shipped.realism_file(name).parent, entry, config)
    return Model(entry.id, config, tensors, LazyTensors(decoder_shapes(config, grained=True), read))


def assemble(config: ModelConfig, parts: Mapping[str, Tensors]) -> Model:
    """A model of the tensors of its files. Raises ModelError if they are refused."""
    tensors = _checked(config, {part: parts[part] for part in PARTS})
    identity = model_id(config, {**parts["prior"], **parts["decoder"]})
    realism = parts.get(REALISM)
    if realism is not None:
        check_realism(realism, config)
    return Model(identity, config, tensors, realism)


def _load(
    folder: Path, parts: tuple[str, ...], hashes: Mapping[str, str] | None
) -> dict[str, Tensors]:
    blobs = read_parts(folder, parts, hashes)
    try:
        return {part: load_tensors(blob) for part, blob in blobs.items()}
    except (SafetensorError, struct.error, ValueError, KeyError) as exc:
        raise ModelError(f"model files in {folder} are damaged: {exc}") from exc


def _shipped_parts(
    folder: Path, entry: shipped.Entry, config: ModelConfig, parts: tuple[str, ...]
) -> Tensors:
    found = _load(folder, parts, entry.sha256)
    tensors = _checked(config, found)
    if parts == DECODING and (identity := model_id(config, tensors)) != entry.id:
        raise ModelError(f"model {entry.name} has id {identity.hex()}, not {entry.id.hex()}")
    return tensors


def _shipped_realism(folder: Path, entry: shipped.Entry, config: ModelConfig) -> Tensors:
    found = _load(folder, (REALISM,), {REALISM: entry.realism.sha256})[REALISM]
    check_realism(found, config)
    return found


def _checked(config: ModelConfig, parts: Mapping[str, Tensors]) -> Tensors:
    """All tensors of some of the three files. Raises ModelError if they are refused."""
    tensors = {name: array for tensors in parts.values() for name, array in tensors.items()}
    expected = {name: shape for name, shape in shapes(config).items() if part_of(name) in parts}
    _check_shapes(tensors, expected, "tensors do not fit the config")
    for part, found in parts.items():
        if odd := [name for name in found if part_of(name) != part]:
            raise ModelError(f"{part}.safetensors: {odd[0]} belongs to {part_of(odd[0])}")
    if "prior" in parts:
        _check_exact(parts["prior"], config)
        _split_freqs(parts["prior"]["freqs"], config)
    return tensors


def check_realism(tensors: Tensors, config: ModelConfig) -> None:
    """Raise ModelError unless the tensors are finite and can stand for those of the decoder."""
    _check_shapes(tensors, decoder_shapes(config, grained=True), f"{REALISM}.safetensors")
    for name, array in tensors.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ModelError(f"{REALISM}.safetensors: {name} has not only finite numbers")


def _check_shapes(tensors: Tensors, expected: Mapping[str, tuple], what: str) -> None:
    if odd := sorted(expected.keys() ^ tensors.keys()):
        text = "is missing" if odd[0] in expected else "is not one that we know"
        raise ModelError(f"{what}: {odd[0]} {text}")
    for name, array in tensors.items():
        if array.shape != expected[name]:
            found = list(array.shape)
            raise ModelError(f"{what}: {name} is {found}, expected {list(expected[name])}")


def _check_exact(prior: Tensors, config: ModelConfig) -> None:
    """Refuse a prior whose arithmetic could leave the exact range, or tables out of bounds."""
    for name, array in prior.items():
        if array.dtype.kind != "i":
            raise ModelError(f"prior tensor {name} is {array.dtype}, expected integers")
    for name in LEVEL_TABLES:
        if _largest(prior[name]) >= TABLE_MAX << UNITS[name]:
            raise ModelError(f"level table {name} has values of {TABLE_MAX} or more")
    for name in ("codebooks.scalar_words", "codebooks.pair_words"):
        if _largest(prior[name]) > CODEWORD_MAX << CODEWORD_BITS:
            raise ModelError(f"{name}: a codeword is above the limit of {CODEWORD_MAX} steps")
    worst = 0
    for name, array in prior.items():
        layer, _, kind = name.rpartition(".")
        if kind in ("bias", "knots") and _largest(array) > BIAS_MAX:
            raise ModelError(f"prior layer {layer}: a bias exceeds its bound")
        if kind == "weight":
            rows = np.abs(array.astype(np.int64)).sum((1, 2, 3))
            worst = max(worst, int(rows.max()) * INPUT_MAX[layer.rpartition(".")[2]])
    if worst + 3 * BIAS_MAX >= EXACT_SUM:
        raise ModelError(f"prior overflows: sums up to {worst + 3 * BIAS_MAX}, limit 2**24")


def _largest(array: np.ndarray) -> int:
    """The largest absolute value; 0 of nothing."""
    return max(int(array.max()), -int(array.min())) if array.size else 0


def _split_freqs(flat: np.ndarray, config: ModelConfig) -> tuple[np.ndarray, ...]:
    if flat.dtype != np.int32 or int(flat.min()) < 0:
        raise ModelError(f"freqs: expected int32 from 0 on, found {flat.dtype}")
    sizes = table_sizes(config.quantizer)
    rows = tuple(np.split(flat.astype(np.uint32), np.cumsum(sizes)[:-1]))
    for index, row in enumerate(rows):
        if int(row.sum(dtype=np.int64)) != 2**PRECISION - len(row):
            raise ModelError(f"freqs of row {index} sum to {row.sum()}, not 2**24 - {len(row)}")
    return rows
