"""Golden files: what one release wrote, every later one reads, to the same indices."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vqcodec import errors, read_header
from vqcodec.codec import Codec
from vqcodec.zoo import shipped

GOLDEN = Path(__file__).parent / "golden"
VALID = json.loads((GOLDEN / "valid" / "index.json").read_text())
INVALID = sorted((GOLDEN / "invalid").glob("*.vqc"))


def codec_of(data: bytes) -> Codec:
    return Codec.shared(read_header(data).model_id)


def test_there_are_golden_files_of_every_shipped_model():
    for entry in shipped.entries():
        assert sum(file.startswith(f"{entry.name}-") for file in VALID) >= 6
        assert sum(path.name.startswith(f"{entry.name}-") for path in INVALID) >= 10


@pytest.mark.parametrize("file", VALID)
def test_indices_are_the_ones_of_the_release_that_wrote_the_file(file):
    data = (GOLDEN / "valid" / file).read_bytes()
    indices = codec_of(data).read_indices(data)

    assert [indices.width, indices.height] == VALID[file]["size"]
    found = hashlib.sha256(indices.indices.astype("<i4").tobytes()).hexdigest()
    assert found == VALID[file]["words"]


@pytest.mark.parametrize("file", [file for file in VALID if "tiled" not in file])
def test_the_float64_engine_reads_the_same_indices(file):
    data = (GOLDEN / "valid" / file).read_bytes()
    codec = Codec(codec_of(data).model, "cpu", engine=torch.float64)
    words = codec.read_indices(data).indices.astype("<i4")

    assert hashlib.sha256(words.tobytes()).hexdigest() == VALID[file]["words"]


@pytest.mark.parametrize("path", sorted((GOLDEN / "valid").glob("*.png")), ids=lambda p: p.stem)
def test_pixels_conform_within_one_level(path):
    data = path.with_suffix(".vqc").read_bytes()
    painted = codec_of(data).decode(data)

    with Image.open(path) as expected:
        assert painted.mode == expected.mode
        difference = np.asarray(painted).astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("path", INVALID, ids=lambda p: p.stem)
def test_invalid_files_raise_the_error_of_their_name(path):
    data = path.read_bytes()
    expected = getattr(errors, path.stem.rsplit(".", 1)[1])

    with pytest.raises(errors.VqcodecError) as caught:
        codec_of(data).decode(data)
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value)
