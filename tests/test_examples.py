"""The programs in examples/ run, are short, and do what they say."""

import os
import re
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from conftest import fast_model, smooth_picture
from vqcodec.codec import Codec

FOLDER = Path(__file__).parents[1] / "examples"


@pytest.fixture
def fast() -> Codec:
    return Codec.load(fast_model(), "cpu")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, installed):
    """Run an example in an empty folder with the tests' model; returns what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *args: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *args])
        runpy.run_path(str(FOLDER / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_the_examples_are_short_and_say_how_to_run_them():
    paths = sorted(FOLDER.glob("*.py"))
    assert len(paths) >= 13
    for path in paths:
        text = path.read_text(encoding="utf-8")

        assert f"python examples/{path.name}" in text
        assert sum(bool(line.strip()) for line in text.splitlines()) <= 40, path.name


def test_encode_decode(run):
    Image.fromarray(smooth_picture(64, 96)).save("photo.jpg")
    sizes = [int(size) for size in re.findall(r"(\d+) bytes", run("encode_decode.py", "photo.jpg"))]

    assert sizes == sorted(sizes)
    assert len(Path("photo.vqc").read_bytes()) == sizes[-1]
    with Image.open("photo.decoded.png") as image:
        assert image.size == (96, 64)


def test_pillow_images(run):
    Image.fromarray(smooth_picture(160, 320)).save("photo.png")

    assert run("pillow_images.py", "photo.png").startswith("VQC RGB (320, 160) ")
    with Image.open("photo.thumbnail.png") as image:
        assert image.size == (128, 64)


def test_target_size(run):
    Image.fromarray(smooth_picture(64, 96)).save("photo.png")
    limit = 600
    text = run("target_size.py", "photo.png", str(limit))

    assert len(Path("photo.vqc").read_bytes()) <= limit
    assert float(re.search(r"for ([\d.]+) dB", text)[1]) >= 30


def test_huge_region(run, codec):
    rgb = smooth_picture(160, 320)
    Path("huge.vqc").write_bytes(codec.encode(rgb, 60))
    text = run("huge_region.py", "huge.vqc", "40", "32", "100", "64")

    whole = np.asarray(codec.decode(Path("huge.vqc").read_bytes()))
    with Image.open("huge.region.png") as image:
        np.testing.assert_array_equal(np.asarray(image), whole[32:96, 40:140])
    assert text.startswith("100x64 of 320x160 pixels in ")
    assert f"mean of each channel: {whole.mean((0, 1)).round(1)}" in text


def test_batch_folder(tmp_path):
    """As a program of its own: its processes import it."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.fromarray(smooth_picture(64, 96)).save(tmp_path / "in" / "deep" / "a.png")
    (tmp_path / "in" / "b.png").write_text("not a picture")
    command = [sys.executable, str(FOLDER / "batch_folder.py"), "in", "out", "1"]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)

    first, second = done.stdout.splitlines()
    size = (tmp_path / "out" / "deep" / "a.vqc").stat().st_size
    assert first.startswith("in/b.png: ")
    assert second == f"in/deep/a.png: {size} bytes"
    assert len(list((tmp_path / "out").rglob("*.vqc"))) == 1


def test_token_neighbours(run, codec):
    dots = np.random.default_rng(0).integers(0, 2, (64, 64, 1), dtype=np.uint8) * 255
    pictures = {
        "smooth1": smooth_picture(64, 64),
        "smooth2": smooth_picture(64, 64) ^ 1,  # a trace of noise
        "dots1": np.repeat(dots, 3, 2),
        "dots2": np.repeat(dots[::-1], 3, 2),
    }
    for name, rgb in pictures.items():
        Path(f"{name}.vqc").write_bytes(codec.encode(rgb, 70))
    text = run("token_neighbours.py", *(f"{name}.vqc" for name in pictures))

    for name in pictures:
        kind, number = name[:-1], int(name[-1])
        assert f"{name}.vqc is most like {kind}{3 - number}.vqc " in text


def test_token_classifier(fast, run, monkeypatch):
    """The indices of a trained model tell patterns apart."""
    monkeypatch.setattr(fast, "encode", partial(fast.encode, effort=1))  # the search takes long
    monkeypatch.setattr(Codec, "load", lambda: fast)
    text = run("token_classifier.py", "60")

    assert float(re.search(r"training: ([\d.]+) of 40", text)[1]) > 0.8
    assert float(re.search(r"test: ([\d.]+) of 20", text)[1]) > 0.6  # by chance 0.25


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of what training imports
def test_train_your_own(run):
    pytest.importorskip("matplotlib")
    Path("photos").mkdir()
    for seed in range(18):
        Image.fromarray(smooth_picture(128, 128, seed)).save(f"photos/{seed}.png")
    text = run("train_your_own.py", "photos", "run", "0.02")

    identity = re.search(r"model ([0-9a-f]{16}) in run/model", text)[1]
    assert Codec.load("run/model", "cpu").model.id.hex() == identity
    assert "128x128 in " in text


def drawn_digits(count: int) -> np.ndarray:
    """uint8 [count, 28, 28]: digits of Pillow's font, of some sizes and in some places."""
    rng, out = np.random.default_rng(0), []
    for number in rng.integers(10, size=count):
        image, font = Image.new("L", (28, 28)), ImageFont.load_default(int(rng.integers(18, 26)))
        place = tuple(int(n) for n in rng.integers(12, 17, 2))
        ImageDraw.Draw(image).text(place, str(number), 255, font, anchor="mm")
        out.append(np.asarray(image))
    return np.stack(out)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of what training imports
def test_digits(run):
    pytest.importorskip("matplotlib")
    np.save("digits.npy", drawn_digits(300))
    text = run("digits.py", "out", "0.03", "digits.npy")
    identity = re.search(r"model ([0-9a-f]{16}) in out/model", text)[1]
    text = run("digits_look.py", "out", "90")
    bits, indices, error, png = map(float, re.findall(r"([\d.]+) (?:bits|of ind|dB)", text)[:4])

    assert Codec.load("out/model", "cpu").model.id.hex() == identity
    assert 0 < indices < bits < png
    assert error > 10  # black for all is at 8 dB
    assert re.search(r"\d+ of \d+ codewords occur, perplexity [\d.]+", text)
    with Image.open("out/look.png") as sheet:
        assert sheet.size == (280, 112)
    assert Path("out/curves.png").is_file()
