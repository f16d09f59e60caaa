"""Golden files: what one release wrote, every later one reads, to the same indices."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import GOLDEN, exact_pixels_of, golden, golden_models
from vqcodec import errors, read_header
from vqcodec.codec import Codec
from vqcodec.engine.torch import runtime
from vqcodec.zoo import shipped

MODELS = golden_models()


@pytest.fixture(scope="module", params=MODELS)
def model(request) -> str:
    """All tests of a model run one after another, so that it is loaded once."""
    return request.param


def codec_of(data: bytes) -> Codec:
    return Codec.shared(read_header(data).model_id)


def read(model: str, kind: str) -> bytes:
    return (golden(model) / f"{model}-{kind}.vqc").read_bytes()


@lru_cache
def hashes(folder: Path) -> dict[str, dict]:
    """The index of a folder: files, and what must be decoded from them."""
    return json.loads((folder / "index.json").read_text())


def expected_of(model: str) -> dict[str, dict]:
    return {f: row for f, row in hashes(golden(model)).items() if f.startswith(f"{model}-")}


def digest(words: np.ndarray) -> str:
    return hashlib.sha256(words.astype("<i4").tobytes()).hexdigest()


def error_of(path: Path) -> errors.VqcodecError | None:
    data = path.read_bytes()
    try:
        codec_of(data).decode(data)
    except errors.VqcodecError as error:
        return error
    return None


def test_there_are_golden_files_of_every_shipped_model_and_of_no_other():
    for package, folder in GOLDEN.items():
        names = [name for name in MODELS if shipped.find(name).package == package]
        if not names:
            continue  # the archive, where it is not installed
        invalid = [path.name for path in (folder / "invalid").glob("*.vqc")]
        for found, least in ((list(hashes(folder / "valid")), 10), (invalid, 12)):
            counts = [sum(file.startswith(f"{name}-") for file in found) for name in names]

            assert min(counts) >= least
            assert sum(counts) == len(found)


def test_indices_are_the_ones_of_the_release_that_wrote_the_file(model):
    expected, found = expected_of(model), {}
    for file in expected:
        data = (golden(model) / file).read_bytes()
        indices = codec_of(data).read_indices(data)
        found[file] = {"size": [indices.width, indices.height], "words": digest(indices.indices)}

    assert found == expected


def test_float64_reads_the_same_indices(model, monkeypatch):
    """Of a file of all passes, of one with escapes, and of one of several tiles."""
    monkeypatch.setattr(runtime, "float32_is_exact", lambda device: False)
    codec = Codec(codec_of(read(model, "fine")).model, "cpu")
    assert codec.engine.tiles.dtype == torch.float64
    for kind in ("fine", "dots", "tiles"):
        indices = codec.read_indices(read(model, kind)).indices

        assert digest(indices) == expected_of(model)[f"{model}-{kind}.vqc"]["words"], kind


def test_onnx_runtime_reads_the_same_indices(model):
    codec = Codec.load(model, "onnx")
    expected = {file: row["words"] for file, row in expected_of(model).items()}
    found = {f: codec.read_indices((golden(model) / f).read_bytes()).indices for f in expected}

    assert {f: digest(x) for f, x in found.items()} == expected


def test_pixels_conform_within_one_level(model):
    codec = Codec.load(model, "cpu", precise=True)
    paths = sorted(golden(model).glob(f"{model}-*.png"))
    assert len(paths) == 2
    for path in paths:
        data = path.with_suffix(".vqc").read_bytes()
        decoded = codec.decode(data)

        with Image.open(path) as expected:
            assert decoded.mode == expected.mode
            difference = np.asarray(decoded).astype(int) - np.asarray(expected)
        assert np.abs(difference).max() <= 1, path.name


def test_invalid_files_raise_the_error_of_their_name(model):
    paths = list(golden(model, "invalid").glob(f"{model}-*.vqc"))
    expected = {path.name: path.stem.rsplit(".", 1)[1] for path in paths}
    found = {path.name: error_of(path) for path in paths}

    assert {name: type(error).__name__ for name, error in found.items()} == expected
    assert not any("\n" in str(error) for error in found.values())


def test_exact_pixels_and_indices_beside_them_are_those_of_the_release_that_wrote_the_file():
    folder = GOLDEN[shipped.OWN] / "exact"
    expected, found = hashes(folder), {}
    for file in expected:
        data = (folder / file).read_bytes()
        codec, header = codec_of(data), read_header(data)
        words = codec.read_indices(data).indices if header.learned else np.empty(0)
        pixels = np.asarray(codec.decode(data))[exact_pixels_of(data)]
        found[file] = {
            "size": [header.width, header.height],
            "words": digest(words),
            "exact": hashlib.sha256(pixels.tobytes()).hexdigest(),
        }

    assert len(found) >= 3
    assert found == expected
