"""`bench rates`: what it measures and what it prints."""

import numpy as np
import pytest
from PIL import Image

from conftest import smooth_picture

pytest.importorskip("matplotlib")
from bench import rates
from vqcodec.metrics import bits_per_pixel, psnr


def test_a_size_that_falls_is_found():
    rising = np.array([[0.1, 0.2, 0.3], [0.2, 0.1, 0.3], [0.1, 0.1, 0.1]])
    assert rates.falls(rising) == [1]


def test_sizes_are_those_of_files_and_targets_are_not_exceeded(codec, tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "QUALITIES", (0, 60, 100))
    rgb = smooth_picture(40, 56)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    found = rates.measure(codec, [tmp_path / "a.png"], [1e-3, 8.0, 1e3], 1)

    sizes = [len(codec.encode(rgb, quality, effort=1)) for quality in (0, 60, 100)]
    assert found.bpp[0] == pytest.approx([bits_per_pixel(size, 56, 40) for size in sizes])
    assert np.isnan(found.reached[0, 0])
    assert found.reached[0, 1] <= 8
    assert found.reached[0, 2] == found.bpp[0, 2]


def test_both_tables_are_printed(model_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rates, "QUALITIES", (0, 100))
    Image.fromarray(smooth_picture(32, 32)).save(tmp_path / "a.png")
    rates.run(tmp_path, str(model_folder), [1e-3, 1e3], 1, 1)

    out = capsys.readouterr().out
    assert "pictures whose size falls somewhere, of 1: none" in out
    assert out.splitlines()[-2].split()[-1] == "1"  # nothing reaches a thousandth of a bit


def test_targets_of_closeness_are_counted_by_what_the_files_decode_to(
    codec, model_folder, tmp_path, capsys
):
    rgb = smooth_picture(40, 56)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    low, high = (
        psnr(rgb, np.asarray(codec.decode(codec.encode(rgb, q, effort=1)))) for q in (0, 100)
    )
    rates.run_looks(tmp_path, str(model_folder), "psnr", (low + high) / 2, high - low, 1)
    rates.run_looks(tmp_path, str(model_folder), "psnr", 90, 1, 1)

    first, second = capsys.readouterr().out.split("picture", 1)[1].split("picture ", 1)
    assert (low + high) / 2 <= float(first.split()[4]) <= high
    assert "1 of 1" in first
    assert "nan" in second
    assert "0 of 1" in second
