"""`decode --crop`, and `--threads`."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vqcodec.cli import main

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path, monkeypatch, codec, picture) -> Path:
    """The working folder: good.vqc, of 112x80 pixels."""
    monkeypatch.chdir(tmp_path)
    Path("good.vqc").write_bytes(codec.encode(picture))
    return tmp_path


@pytest.fixture
def decode(folder, model_folder):
    def call(*args: str):
        line = ["decode", "good.vqc", *args, "--model", str(model_folder)]
        return CliRunner().invoke(main, line)

    return call


@pytest.mark.parametrize("target", ["a.png", "a.ppm", "a.webp"])
def test_a_crop_is_written_and_told(decode, codec, target):
    result = decode("--crop", "30,20,50,40", "-o", target)
    expected = codec.decode(Path("good.vqc").read_bytes()).crop((30, 20, 80, 60))

    assert result.exit_code == 0
    assert f"{target} 50x40" in result.stdout
    assert np.array_equal(np.asarray(Image.open(target)), np.asarray(expected))


def test_a_crop_goes_to_stdout(decode):
    result = decode("--crop", "0,0,5,4", "-o", "-")

    assert result.stdout_bytes.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("crop", "text"),
    [
        ("0,0,113,80", "the picture is 112x80"),
        ("-1,0,5,5", "the picture is 112x80"),
        ("0,0,5", "X,Y,W,H"),
        ("0,0,5,x", "X,Y,W,H"),
    ],
)
def test_a_crop_that_is_none_is_wrong_usage(decode, folder, crop, text):
    result = decode(f"--crop={crop}")

    assert result.exit_code == 2
    assert text in result.stderr
    assert [path.name for path in folder.iterdir()] == ["good.vqc"]


@pytest.mark.parametrize("line", [["encode", "a.png"], ["decode", "good.vqc", "-o", "b.png"]])
def test_threads_are_those_of_torch(folder, model_folder, picture, line):
    """One, where torch would take one a core."""
    Image.fromarray(picture).save("a.png")
    line = [*line, "--threads", "1", "--model", str(model_folder)]
    code = f"""
from vqcodec.cli import main
main({line}, standalone_mode=False)
import torch
print("threads", torch.get_num_threads())
"""
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)

    assert done.stdout.endswith("threads 1\n"), done.stderr
