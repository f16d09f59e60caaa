"""`bench scales`: what it measures and what it prints."""

import math

from PIL import Image

from bench import scales
from conftest import smooth_picture


def test_what_is_decoded_whole_is_as_close_as_can_be(codec):
    data = codec.encode(smooth_picture(64, 80), effort=1)

    assert math.isinf(scales.closeness(codec, data, 2))
    assert 0 < scales.closeness(codec, data, 8) < 100


def test_a_row_for_each_scale_is_printed(model_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scales, "RUNS", 1)
    Image.fromarray(smooth_picture(48, 32)).save(tmp_path / "a.png")
    scales.run(tmp_path, str(model_folder), [30, 70])

    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert rows[1:] == [[q, s] for q in ("30", "70") for s in ("1/1", "1/2", "1/4", "1/8")]
