"""The files of the web page: the page itself, and models as it takes them.

A model is a manifest, `models/ID.json`, and parts: its integer tables and the graphs of its
networks, each a gzip stream in `models/HASH.bin`, named by the SHA-256 of what it inflates to.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib import resources

import numpy as np
from safetensors.numpy import save

from ..engine.base import blended
from ..engine.onnx import networks
from ..entropy.fixed_point import scalar_range, table_sizes
from ..geometry import reach
from ..zoo.weights import Model
from .between import graph_between

INDEX = "models/index.json"
HASH_DIGITS = 32  # of a part's name: 128 bits
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
FAST, SMALL = 0, 6  # of zlib, for one look and for good: 9 takes three times as long for 1 %


def page_files() -> dict[str, bytes]:
    """The page's own files by their paths."""
    folder = resources.files(__package__).joinpath("page")
    return {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()}


def index_file(models: Iterable[tuple[str, bytes]]) -> bytes:
    """What models/index.json says of these models, names and ids."""
    return _json({"models": [{"name": name, "id": key.hex()} for name, key in models]})


def manifest_path(model_id: bytes) -> str:
    """Where a model's manifest is."""
    return f"models/{model_id.hex()}.json"


def model_files(model: Model, name: str, level: int = SMALL) -> dict[str, bytes]:
    """A model's manifest and parts by their paths. level: of the compression, 0..9."""
    files, parts = {}, {}
    for part, content in _parts(model):
        path = f"models/{hashlib.sha256(content).hexdigest()[:HASH_DIGITS]}.bin"
        files[path] = gzip.compress(content, level, mtime=0)
        parts[part] = {"path": path, "bytes": len(files[path])}
    files[manifest_path(model.id)] = _json(
        {
            "id": model.id.hex(),
            "name": name,
            "config": asdict(model.config),
            "reach": reach(model.config.transform),
            "fine_reach": model.config.transform.fine_reach,
            "parts": parts,
        }
    )
    return files


def _parts(model: Model) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each part."""
    config, tensors = model.config, model.tensors
    names = ("to_steps", "to_units", "log_steps", "codebooks.scalar_words", "codebooks.pair_words")
    tables = {name: np.int32(tensors[name]) for name in names}
    tables["first_sums"] = np.int32(tensors["prior.passes.0.level.knots"])
    tables["freqs"] = np.int32(np.concatenate(model.freqs))
    tables["sizes"] = np.int32(table_sizes(config.quantizer))
    tables["scalar_range"] = np.int32(scalar_range(config.quantizer))
    yield "tables", save(tables)
    for index in range(1, len(config.prior.passes)):
        yield f"pass {index}", networks.prior_pass(config, index, tensors)
    yield "synthesis", networks.synthesis(config.transform, tensors, parts=True)
    if model.realism is not None:
        start, end = (
            networks.synthesis(config.transform, {**tensors, **blended(model, weight)}, parts=True)
            for weight in (0.0, 1.0)
        )
        yield "realism", graph_between(start, end, "realism")


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
