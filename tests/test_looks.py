"""Measures made after what people see."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from conftest import smooth_picture
from vqcodec.errors import MissingExtraError, VqcodecError
from vqcodec.image import pixels
from vqcodec.metrics import looks


def blurred(rgb):
    height, width = rgb.shape[:2]
    small = Image.fromarray(rgb).resize((width // 2, height // 2))
    return np.asarray(small.resize((width, height)))


def test_butteraugli_is_both_norms_of_the_program(monkeypatch):
    before = smooth_picture(40, 56)
    after = blurred(before)

    def run(line, **_):
        for path, rgb in zip(line[1:], (before, after), strict=True):
            np.testing.assert_array_equal(pixels.load(path).rgb, rgb)
        return type("Done", (), {"stdout": "5.25\n3-norm: 2.125\n"})

    monkeypatch.setattr(looks.subprocess, "run", run)

    assert looks.butteraugli(before, after) == (5.25, 2.125)


def test_what_is_not_installed_says_how_to_get_it(monkeypatch):
    rgb = smooth_picture(16, 16)
    monkeypatch.setitem(sys.modules, "ssimulacra2", None)
    monkeypatch.setitem(sys.modules, "pycvvdp", None)
    monkeypatch.setattr(looks, "BUTTERAUGLI", "no_such_program")

    with pytest.raises(MissingExtraError, match=r"pip install 'vqcodec\[eyes\]'"):
        looks.ssimulacra2(rgb, rgb)
    with pytest.raises(MissingExtraError, match="apt install libjxl-devtools"):
        looks.butteraugli(rgb, rgb)
    with pytest.raises(MissingExtraError, match="cvvdp"):
        looks.Cvvdp()


def test_a_program_that_fails_is_one_line(monkeypatch):
    def run(line, **_):
        raise subprocess.CalledProcessError(1, line, stderr="cannot\nread\n")

    rgb = smooth_picture(16, 16)
    monkeypatch.setattr(looks.subprocess, "run", run)

    with pytest.raises(VqcodecError, match=r"butteraugli_main: cannot read$"):
        looks.butteraugli(rgb, rgb)


def test_small_pictures_are_told_apart_and_sizes_must_be_equal():
    pytest.importorskip("ssimulacra2")
    rgb = smooth_picture(5, 3)

    assert looks.ssimulacra2(rgb, rgb) == pytest.approx(100)
    assert looks.ssimulacra2(rgb, 255 - rgb) < 95
    with pytest.raises(ValueError, match="expected the same"):
        looks.ssimulacra2(rgb, rgb[:4])


def test_a_large_picture_is_the_mean_of_its_parts(monkeypatch):
    pytest.importorskip("ssimulacra2")
    rgb = smooth_picture(48, 100)
    other = rgb.copy()
    other[:, :50] = blurred(rgb[:, :50])
    halves = [looks.ssimulacra2(rgb[:, side], other[:, side]) for side in np.s_[:50, 50:]]

    monkeypatch.setattr(looks, "PART_SIDE", 60)

    assert halves[0] < halves[1] == pytest.approx(100)
    assert looks.ssimulacra2(rgb, other) == pytest.approx(np.mean(halves))
