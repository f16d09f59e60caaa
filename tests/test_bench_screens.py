"""`bench screens`: bits at equal PSNR of pictures that become exact."""

import math

import pytest
from PIL import Image

from bench import screens
from conftest import page


def test_the_smallest_file_of_those_that_are_close_enough_counts():
    trials = [(0.2, 30.0), (0.5, 41.0), (0.4, math.inf)]

    assert screens.smallest(trials, 29) == 0.2
    assert screens.smallest(trials, 38) == 0.4
    assert math.isnan(screens.smallest(trials[:1], 38))


def test_a_row_for_each_target_is_printed(model_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(screens, "AVIF_QUALITIES", [60, 90])
    monkeypatch.setattr(screens, "cores", lambda: 1)
    Image.fromarray(page(64, 96)).save(tmp_path / "a.png")
    screens.run(tmp_path, str(model_folder), [50, 100], [30, 35], 1)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]

    assert [row[0] for row in rows[1:]] == ["30", "35"]
    ours, avif = (float(value) for value in rows[1][1:3])
    assert float(rows[1][4]) == pytest.approx(ours / avif, abs=0.002)
