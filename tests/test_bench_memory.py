"""The benchmark of memory measures real processes on real pictures."""

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bench import memory
from bench.__main__ import main
from conftest import fast_model


def test_pictures_have_the_size_asked_for(tmp_path):
    width, height = memory.write_picture(tmp_path / "a.ppm", 0.5)
    with Image.open(tmp_path / "a.ppm") as image:
        rgb = np.asarray(image)

    assert rgb.shape == (height, width, 3)
    assert abs(width * height / 0.5e6 - 1) < 0.01
    assert rgb.std() > 10


@pytest.mark.slow
def test_a_table_with_a_row_for_each_work(monkeypatch):
    """With a shipped model, which starts without torch."""
    monkeypatch.setattr(memory, "START", 0.01)
    monkeypatch.setattr(memory, "CROP", 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("VQCODEC_DEVICE")
    result = CliRunner().invoke(main, ["memory", "--sizes", "0.02", "--model", fast_model()])
    _head, *rows = (line.split() for line in result.stdout.splitlines())

    assert result.exit_code == 0, result.output
    assert [row[2] for row in rows] == ["encode", "decode", "crop"]
    assert all(int(row[-1]) > 50 for row in rows)
    assert all(float(row[5]) > 0 for row in rows)


def test_a_failure_of_the_process_is_told(tmp_path):
    with pytest.raises(click.ClickException, match="encode"):
        memory.measure("encode", tmp_path / "missing.png")
