"""Exact indices: one file read in many ways."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch

from vqcodec.bitstream import container
from vqcodec.codec import Codec, Indices
from vqcodec.engine import tiling
from vqcodec.engine.torch.runtime import exact_sums
from vqcodec.engine.torch.tensors import to_map
from vqcodec.errors import VqcodecError
from vqcodec.geometry import grid_of, within
from vqcodec.rate_control import operating_point
from vqcodec.zoo.weights import Model

from .pictures import find, load
from .show import show
from .ways import ONNX, Way, codec_of, switched, ways

BATCH = 8


class Written(NamedTuple):
    """A picture as a file, and the indices that its encoder chose."""

    picture: str
    quality: float
    data: bytes
    indices: Indices


def encode_all(codec: Codec, folder: Path, qualities: Iterable[float]) -> list[Written]:
    """Every picture of a folder at every quality."""
    found = []
    for picture in find([folder]):
        for quality in qualities:
            data = codec.encode(picture.path, quality, effort=1)
            indices = codec.encode_indices(picture.path, quality, effort=1)
            found.append(Written(picture.name, quality, data, indices))
    return found


def differing(model: Model, way: Way, files: list[Written]) -> list[Written]:
    """The files whose indices, read in this way, are not the encoder's."""
    with switched(way):
        codec = codec_of(model, way)
        return [file for file in files if not _is_same(codec, file)]


def _is_same(codec: Codec, file: Written) -> bool:
    """Whether the indices are the encoder's, and give the same file again."""
    try:
        found = codec.read_indices(file.data)
        again = codec.write_indices(found)
    except (VqcodecError, ValueError):
        return False
    return np.array_equal(found.indices, file.indices.indices) and again == file.data


@torch.inference_mode()
def differing_in_a_batch(codec: Codec, rgb: np.ndarray, quality: float) -> int:
    """Of BATCH parts of a picture, side by side, that are coded at once: how many get other
    indices or tables than alone. The codec itself never does this."""
    coder = codec.engine.tiles
    point = operating_point(quality, codec.model.config.transform.levels)
    y = tiling.analyse(codec.engine, rgb, point.level, grid_of(*rgb.shape[1::-1]))
    y = to_map(y, coder.device).to(coder.dtype)
    parts = torch.cat(y[..., : y.shape[3] // BATCH * BATCH].chunk(BATCH, 3))

    def walk(y: torch.Tensor) -> list[torch.Tensor]:
        levels = torch.full((len(y),), point.level)
        with exact_sums(coder.device):
            results = list(coder.network.quantise(y, levels, point.lambda_scale))
        return [torch.stack([found.chosen.index, found.chosen.row], 1) for found in results]

    together = walk(parts)
    return sum(
        not all(map(torch.equal, [found[k : k + 1] for found in together], walk(part[None])))
        for k, part in enumerate(parts)
    )


def differing_backwards(codec: Codec, rgb: np.ndarray, quality: float) -> int:
    """Of the 64x64 tiles of a picture, decoded last one first: how many get other indices than
    the encoder's."""
    with mock.patch.object(container, "choose_tile_log2", return_value=container.MIN_TILE_LOG2):
        data = codec.encode(rgb, quality, effort=1)
        indices = codec.encode_indices(rgb, quality, effort=1).indices
    file = container.unpack(data)
    tiles = list(zip(container.tile_grid(file.header), file.tiles, strict=True))
    differ = 0
    for place, segments in reversed(tiles):
        size = place.height, place.width, file.header.level
        found = codec.engine.tiles.decode(segments, *size).indices
        differ += not np.array_equal(found, indices[within(place)])
    return differ


def run(folder: Path, model: str, qualities: list[float]) -> int:
    """Print what was tried; return the number of files that differed in some way."""
    first = Codec.load(model or None, "cpu")
    tried = [(way, "torch") for way in ways()]
    files = {"torch": encode_all(first, folder, qualities)}
    if Way(ONNX) in ways():
        tried.append((Way("cpu", threads=2), ONNX))
        files[ONNX] = encode_all(Codec(first.model, ONNX), folder, qualities)
    lines = [["device", "prior in", "threads", "switch", "written by", "files", "differ"]]
    bad: dict[tuple[str, float], None] = {}
    for way, writer in tried:
        wrong = differing(first.model, way, files[writer])
        bad |= {(file.picture, file.quality): None for file in wrong}
        lines.append([*_cells(way), writer, str(len(files[writer])), str(len(wrong))])
    show(lines)
    others = 0
    for picture in find([folder]):
        for quality in qualities:
            others += differing_in_a_batch(first, load(picture), quality)
            others += differing_backwards(first, load(picture), quality)
    print(f"{others} tiles differ in a batch of {BATCH} or decoded last one first")
    for picture, quality in bad:
        print(f"differs: {picture} at quality {quality:g}")
    return len(bad) + others


def _cells(way: Way) -> list[str]:
    if way.device == ONNX:
        return [ONNX, "graphs", "", ""]
    return [way.device, str(way.dtype).removeprefix("torch."), str(way.threads), way.switch]
