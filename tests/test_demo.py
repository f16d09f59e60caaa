"""The demo: a sheet of pictures with honest figures."""

import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vqcodec.cli import main
from vqcodec.compare import closeness
from vqcodec.compare.contact_sheet import Cell, busiest_box, draw_sheet
from vqcodec.compare.peers import PEERS


@pytest.fixture(autouse=True)
def psnr_alone(monkeypatch):
    monkeypatch.setattr(closeness, "CHOICES", ((closeness.PSNR,),))


def call(*args):
    return CliRunner().invoke(main, ["demo", *map(str, args)])


def test_the_demo_writes_a_sheet_and_prints_the_table(tmp_path, model_folder, picture):
    source, sheet = tmp_path / "a.png", tmp_path / "sheet.png"
    Image.fromarray(picture).save(source)
    result = call(source, "-o", sheet, "--model", model_folder)

    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.output
    assert lines[0].split() == ["bytes", "bpp", "PSNR"]
    beside = ["AVIF"] * PEERS["avif"].is_available + ["JPEG"]
    words = [word for line in lines[1:-1] for word in line.split() if word.isalpha()]
    each = ["vqcodec", *(word for name in beside for word in (name, "quality"))]
    names = [word for word in words if word not in ("dB", "its", "smallest", "largest")]
    assert names == ["low", *each, "middle", *each, "high", *each]
    assert lines[-1] == f"{source} 112x80 -> {sheet}"
    one = call(source, "-q", 30, "-f", "-o", sheet, "--model", model_folder).stdout.splitlines()
    assert len(one) == 2 + len(beside) + 1
    assert "vqcodec -q 30" in one[1]
    with Image.open(sheet) as opened:
        assert opened.format == "PNG"


def test_the_demo_has_a_picture_of_its_own(tmp_path, model_folder):
    pytest.importorskip("skimage")
    result = call("-o", tmp_path / "sheet.png", "--model", model_folder)

    assert result.stdout.splitlines()[-1].startswith("astronaut 512x512 -> ")


def test_without_scikit_image_the_extra_is_named(tmp_path, model_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    result = call("-o", tmp_path / "sheet.png", "--model", model_folder)

    assert result.exit_code == 1
    assert "pip install 'vqcodec[demo]'" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_existing_sheet_is_kept(tmp_path, model_folder):
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"precious")
    result = call("-o", sheet, "--model", model_folder)

    assert result.exit_code == 7
    assert result.stderr == (
        f"vqcodec: astronaut: {sheet} exists already; -f overwrites it, -o names another\n"
    )
    assert sheet.read_bytes() == b"precious"


def test_a_missing_picture_is_one_line(tmp_path, model_folder):
    result = call(tmp_path / "none.png", "-o", tmp_path / "sheet.png", "--model", model_folder)

    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_detail_is_where_the_detail_is():
    rgb = np.full((200, 300, 3), 128, np.uint8)
    rgb[110:170, 190:250] = np.random.default_rng(0).integers(0, 256, (60, 60, 3))
    box = busiest_box(rgb, 80)

    assert box.x <= 190
    assert box.x + 80 >= 250
    assert box.y <= 110
    assert box.y + 80 >= 170


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (300, 2), (37, 1000)])
def test_a_sheet_of_any_size_can_be_drawn(size):
    cell = Cell("original", "24 bpp", np.zeros((*size, 3), np.uint8))

    assert draw_sheet([[cell, cell]]).dtype == np.uint8
