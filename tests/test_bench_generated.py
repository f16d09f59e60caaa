"""What the benchmark says of samples and of filled holes."""

import math

import numpy as np
import pytest
from PIL import Image

from bench import generated
from conftest import smooth_picture


def test_sample_compares_bits_with_the_entropy_of_the_tables(model_folder, monkeypatch, capsys):
    monkeypatch.setattr(generated, "SAMPLE_SIZE", (256, 192))
    generated.run_sample(str(model_folder), [2, 6], 2)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]

    assert [line[0] for line in lines[1:3]] == ["2", "6"]
    assert all(abs(float(line[1]) / float(line[2]) - 1) < 0.05 for line in lines[1:3])
    assert lines[-1] == ["2", "samples", "a", "level,", "256x192"]


def test_inpaint_compares_what_a_hole_is_filled_with(model_folder, tmp_path, capsys):
    for seed in range(2):
        Image.fromarray(smooth_picture(80, 112, seed)).save(tmp_path / f"{seed}.png")
    generated.run_inpaint(tmp_path, str(model_folder), 32)
    lines = capsys.readouterr().out.splitlines()

    assert [line.split("  ")[0] for line in lines[1:-1]] == list(generated.METHODS)
    assert lines[-1] == "2 pictures, a hole of 32x32 pixels in the middle"


def test_a_hole_in_a_flat_picture_is_filled_flat(codec):
    found = generated.fill(codec, np.full((64, 80, 3), 77, np.uint8), 16)

    assert set(found) == set(generated.METHODS)
    assert all(math.isinf(found[name]) for name in generated.METHODS[:3])
    with pytest.raises(ValueError, match="picture is 20x16, expected more than 16"):
        generated.fill(codec, np.zeros((16, 20, 3), np.uint8), 16)
