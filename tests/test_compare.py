"""compare: a picture beside other codecs at the same size, as a sheet or as a page."""

import base64
import io
import math
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from conftest import smooth_picture
from vqcodec.cli import main
from vqcodec.compare import closeness
from vqcodec.compare.comparison import of_size, table
from vqcodec.compare.contact_sheet import Cell, draw_row
from vqcodec.compare.html_page import draw_page
from vqcodec.compare.peers import PEERS, decode, nearest
from vqcodec.metrics import looks, psnr

LABELS = ["vqcodec", *(peer.label for peer in PEERS.values() if peer.is_available)]


def call(*args):
    return CliRunner().invoke(main, ["compare", *map(str, args)])


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(smooth_picture(176, 208)).save(path)
    return path


ALL = closeness.CHOICES


@pytest.fixture(autouse=True)
def rough(monkeypatch):
    """PSNR, and a measure that takes no time."""
    measure = closeness.Measure("rough", "rough {:.1f}", lambda a, b: abs(a - 1.0 * b).mean())
    monkeypatch.setattr(closeness, "CHOICES", ((closeness.PSNR,), (measure,)))


class Page(HTMLParser):
    """The tags of a page with their attributes; balanced or not."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_sheet_is_written_and_its_figures_are_printed(tmp_path, model_folder, source):
    result = call(source, "-q", "60", "-o", tmp_path / "sheet.png", "--model", model_folder)

    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.output
    assert lines[0].split() == ["bytes", "bpp", "PSNR", "rough"]
    assert [line.split()[0] for line in lines[1:-1]] == LABELS
    assert lines[1].startswith("vqcodec -q 60 ")
    assert all(re.search(r" \d+\.\d\d dB +\d+\.\d$", line) for line in lines[1:-1])
    assert lines[-1] == f"{source} 208x176 -> {tmp_path / 'sheet.png'}"
    with Image.open(tmp_path / "sheet.png") as opened:
        assert opened.format == "PNG"


@pytest.mark.parametrize("command", ["compare", "demo"])
def test_a_page_holds_all_versions_and_needs_nothing_else(tmp_path, model_folder, source, command):
    options = [source, "-o", tmp_path / "page.html", "--model", model_folder]
    result = CliRunner().invoke(main, [command, *map(str, options)])

    assert result.exit_code == 0, result.output
    text = (tmp_path / "page.html").read_text("utf-8")
    page = Page(text)
    images = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    switches = [attrs["id"] for tag, attrs in page.tags if tag == "input"]
    assert page.open == []
    # In the details of each of the demo's qualities the original stands first.
    groups, beside = (1, len(LABELS)) if command == "compare" else (3, len(LABELS) - 1)
    assert len(switches) == 1 + groups * beside
    assert len(images) == len(switches) + groups * (1 + beside)
    assert all(f"#v{n}:checked ~ .stage #w{n}" in text for n in range(len(switches)))
    for image in images:
        kind, data = image.split(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
            opened.load()
    assert text.count("rough ") == 2 * groups * beside  # on the button and under the detail
    assert "http" not in text
    assert [attrs for tag, attrs in page.tags if tag in ("script", "link")] == [{}]


def test_what_is_not_installed_is_named_in_one_line_and_the_rest_is_done(
    tmp_path, model_folder, source, monkeypatch
):
    monkeypatch.setattr(closeness, "CHOICES", ALL)
    for name in ("pytorch_msssim", "pycvvdp", "ssimulacra2"):
        monkeypatch.setitem(sys.modules, name, None)
    looks.shared_cvvdp.cache_clear()
    monkeypatch.setattr(looks, "BUTTERAUGLI", "no_such_program")
    result = call(source, "-o", tmp_path / "page.html", "--model", model_folder)

    assert result.exit_code == 0, result.output
    named = re.findall(
        r"(SSIMULACRA2|Butteraugli|CVVDP|MS-SSIM) \((?:pip|apt) install", result.stderr
    )
    assert named == ["SSIMULACRA2", "Butteraugli", "CVVDP", "MS-SSIM"]
    assert result.stderr.count("\n") == 1
    assert result.stdout.splitlines()[0].split() == ["bytes", "bpp", "PSNR"]
    assert "left out, as not installed: SSIMULACRA2" in (tmp_path / "page.html").read_text("utf-8")


def test_ms_ssim_stands_in_for_what_is_not_there(monkeypatch):
    pytest.importorskip("pytorch_msssim")
    monkeypatch.setattr(closeness, "CHOICES", ALL)
    monkeypatch.setitem(sys.modules, "pycvvdp", None)
    looks.shared_cvvdp.cache_clear()

    found, _ = closeness.installed()

    assert closeness.MS_SSIM in found
    assert closeness.CVVDP not in found


def test_what_is_measured_of_no_small_picture_is_a_dash(picture):
    coded = of_size(PEERS["jpeg"], picture, 2000).measured(picture, [closeness.MS_SSIM])

    assert math.isnan(coded.closeness[0][1])
    assert table([("", coded)])[1].endswith(" -")
    assert coded.cell.closeness == ()


@pytest.mark.parametrize(
    ("out", "code"), [("there.html", 7), ("none/a.png", 7), ("a.xyz", 7), ("a.png", 7)]
)
def test_what_cannot_be_written_is_one_line_and_nothing_is_lost(
    tmp_path, model_folder, source, out, code
):
    (tmp_path / "there.html").write_text("precious")
    before = sorted(tmp_path.iterdir())
    result = call(source, "-o", tmp_path / out, "--model", model_folder)

    assert result.exit_code == code
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.html").read_text() == "precious"


def test_a_missing_picture_is_one_line(tmp_path, model_folder):
    result = call(tmp_path / "none.png", "-o", tmp_path / "a.png", "--model", model_folder)

    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_nearest_finds_the_quality_whose_file_has_nearly_the_size(picture):
    jpeg = PEERS["jpeg"]
    sizes = [len(jpeg.save(picture, quality=quality)) for quality in range(101)]

    quality, data = nearest(lambda quality: jpeg.save(picture, quality=quality), sizes[60] + 3)

    assert abs(len(data) - sizes[60]) <= 40
    assert len(data) == sizes[quality]


def test_a_version_has_the_figures_of_its_file(picture):
    version = of_size(PEERS["jpeg"], picture, 2000)
    quality = int(version.name.removeprefix("JPEG quality "))
    data = PEERS["jpeg"].save(picture, quality=quality)

    assert version.size == len(data)
    close = psnr(picture, decode(data))
    assert version.measured(picture, [closeness.PSNR]).cell.closeness == (f"{close:.2f} dB",)


@pytest.mark.parametrize(("size", "words"), [(1, "its smallest"), (10**9, "its largest")])
def test_a_codec_that_cannot_have_the_size_says_so(picture, size, words):
    assert of_size(PEERS["jpeg"], picture, size).name.endswith(words)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (300, 2), (37, 1000)])
def test_a_row_of_any_size_can_be_drawn(size):
    cell = Cell("original", "24 bpp", np.zeros((*size, 3), np.uint8))

    assert draw_row([cell, cell, cell]).dtype == np.uint8


def test_a_page_shows_at_most_a_part_of_a_large_picture_and_escapes_names():
    rgb = np.zeros((1700, 40, 3), np.uint8)
    text = draw_page("<a>", Cell("a & b", "1 < 2", rgb), {"": [Cell("c", "d", rgb, ("e",))]}, "f<")

    assert "<h1>&lt;a&gt;</h1>" in text
    assert "a &amp; b" in text
    assert "40x1600 pixels of it" in text
    assert "<p>f&lt;</p>" in text
