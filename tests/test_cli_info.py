"""`vqcodec info --map`, `models` and `verify --against`."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from conftest import smooth_picture
from vqcodec import pixels
from vqcodec.cli import main
from vqcodec.cli.heat import MAX_SIDE, MIN_SIDE, draw_map, summary
from vqcodec.usage import Usage


@pytest.fixture
def folder(tmp_path, monkeypatch, codec, installed) -> Path:
    """The working folder, with a picture and its file."""
    monkeypatch.chdir(tmp_path)
    rgb = smooth_picture(176, 192)
    Image.fromarray(rgb).save("a.png")
    Path("a.vqc").write_bytes(codec.encode(rgb))
    return tmp_path


def call(*args: str) -> Result:
    result = CliRunner().invoke(main, args)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


# The map


def usage_of(bits: np.ndarray) -> Usage:
    return Usage(bits, (np.array([3, 0, 5, 0]), np.array([0, 9, 1]), np.array([1, 1, 0])))


def test_the_map_is_lightest_where_most_bits_are():
    bits = np.full((4, 6), 10.0)
    bits[1, 4] = 500
    grey = np.full((64, 96, 3), 128, np.uint8)
    sheet = draw_map(grey, usage_of(bits), 2)
    scale = MIN_SIDE / 96
    picture = sheet[16 : 16 + round(64 * scale), 16 : 16 + MIN_SIDE].mean(2)
    y, x = (places.mean() / scale for places in np.nonzero(picture == picture.max()))

    assert (int(y) // 16, int(x) // 16) == (1, 4)


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (2400, 40)])
def test_the_map_has_a_size_to_look_at(size):
    height, width = size
    bits = np.zeros((-(-height // 16), -(-width // 16)))
    sheet = draw_map(np.zeros((height, width, 3), np.uint8), usage_of(bits), 2)

    assert MIN_SIDE < max(sheet.shape) < MAX_SIDE + 400


def test_the_summary_counts_words_and_escapes():
    assert summary(usage_of(np.zeros((1, 1))), 2) == (
        "2 of 5 scalar words, 2 of 2 pair words used; 1 escapes"
    )


def test_info_draws_a_map_and_says_what_it_shows(folder):
    result = call("info", "a.vqc", "--map", "map.png")

    assert result.exit_code == 0
    assert result.stdout.startswith("a.vqc -> map.png: ")
    assert " pair words used; " in result.stdout
    assert pixels.load("map.png").rgb.std() > 20
    assert call("info", "a.vqc", "--map", "map.png").exit_code == 7
    assert call("info", "a.vqc", "--map", "map.png", "-f").exit_code == 0


@pytest.mark.parametrize("more", [["--json"], ["a.vqc"]])
def test_the_map_is_of_one_file_and_no_json(folder, more):
    assert call("info", "a.vqc", "--map", "map.png", *more).exit_code == 2


def test_a_map_without_a_format_is_told_before_the_work(folder):
    result = call("info", "a.vqc", "--map", "map.doc")

    assert result.exit_code == 7
    assert not Path("map.doc").exists()
