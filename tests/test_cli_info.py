"""`info --map`, `models`, `verify --against`, and the habits that all commands share."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner, Result
from PIL import Image

from conftest import page, smooth_picture
from vqcodec import metrics
from vqcodec.cli import main
from vqcodec.compare.bit_allocation import BitAllocation
from vqcodec.compare.bit_map import MAX_SIDE, MIN_SIDE, draw_map, summary
from vqcodec.image import pixels
from vqcodec.zoo import shipped


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


def allocation_of(bits: np.ndarray) -> BitAllocation:
    return BitAllocation(bits, (np.array([3, 0, 5, 0]), np.array([0, 9, 1]), np.array([1, 1, 0])))


def test_the_map_is_lightest_where_most_bits_are():
    bits = np.full((4, 6), 10.0)
    bits[1, 4] = 500
    grey = np.full((64, 96, 3), 128, np.uint8)
    sheet = draw_map(grey, allocation_of(bits), 2)
    scale = MIN_SIDE / 96
    picture = sheet[16 : 16 + round(64 * scale), 16 : 16 + MIN_SIDE].mean(2)
    y, x = (places.mean() / scale for places in np.nonzero(picture == picture.max()))

    assert (int(y) // 16, int(x) // 16) == (1, 4)


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (2400, 40)])
def test_the_map_has_a_size_to_look_at(size):
    height, width = size
    bits = np.zeros((-(-height // 16), -(-width // 16)))
    sheet = draw_map(np.zeros((height, width, 3), np.uint8), allocation_of(bits), 2)

    assert MIN_SIDE < max(sheet.shape) < MAX_SIDE + 400


def test_the_summary_counts_codewords_and_escapes():
    assert summary(allocation_of(np.zeros((1, 1))), 2) == (
        "3 of 5 scalar codewords, 2 of 2 pair codewords used; 1 escapes"
    )


def test_info_draws_a_map_and_says_what_it_shows(folder):
    result = call("info", "a.vqc", "--map", "map.png")

    assert result.exit_code == 0
    assert result.stdout.startswith("a.vqc -> map.png: ")
    assert " pair codewords used; " in result.stdout
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


# Models


def test_models_says_what_each_model_is():
    for entry in shipped.entries():
        row = next(
            row
            for row in map(json.loads, call("models", "--json").stdout.splitlines())
            if row["name"] == entry.name
        )
        assert row["id"] == entry.id.hex()
        assert row["bytes"] > 1e5
        assert row["decoders"]
        assert "unknown" not in (row["licence"], row["data"], *row["decoders"])
        for part in (row["id"], row["licence"], row["data"], *row["decoders"]):
            assert part in call("models").stdout


# Verify


def test_verify_prints_psnr_and_ms_ssim_against_the_source(folder, codec):
    pytest.importorskip("pytorch_msssim")
    line = call("verify", "a.vqc", "--against", "a.png").stdout
    found = json.loads(call("verify", "a.vqc", "--against", "a.png", "--json").stdout)
    pair = pixels.load("a.png").rgb, np.asarray(codec.decode(Path("a.vqc").read_bytes()))

    assert found["psnr"] == pytest.approx(metrics.psnr(*pair))
    assert found["ms_ssim"] == pytest.approx(metrics.ms_ssim(*pair))
    assert line.endswith(f", PSNR {found['psnr']:.2f} dB, MS-SSIM {found['ms_ssim']:.4f}\n")


def test_ms_ssim_is_left_out_where_it_cannot_be_measured(folder, codec, monkeypatch):
    Image.fromarray(smooth_picture(160, 192)).save("small.png")
    Path("small.vqc").write_bytes(codec.encode("small.png"))

    assert call("verify", "small.vqc", "--against", "small.png").stdout.endswith(" dB\n")
    module = sys.modules["vqcodec.cli.verify"]  # as an attribute it is the command
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert call("verify", "a.vqc", "--against", "a.png").stdout.endswith(" dB\n")


# Habits of all commands


def test_the_help_of_each_command_has_examples():
    for command in sorted(main.commands):
        lines = call(command, "--help").stdout.split("Examples:")[1].splitlines()

        assert any(f" {command} " in f"{line} " for line in lines[1:3])


def test_an_option_of_any_command_is_read_from_its_variable(folder, monkeypatch):
    monkeypatch.setenv("VQCODEC_VERIFY_AGAINST", "a.png")
    monkeypatch.setenv("VQCODEC_DEVICE", "gpu")

    assert "'gpu' is not one of" in call("verify", "a.vqc").stderr
    monkeypatch.setenv("VQCODEC_DEVICE", "cpu")
    assert "PSNR" in call("verify", "a.vqc").stdout


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_wrong_usage(folder, monkeypatch, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    result = call("decode", "a.vqc", "--device", device, "-f")

    assert result.exit_code == 2
    assert f"--device {device}" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_the_shells(shell):
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("click asks bash for its version")
    environment = {"_VQCODEC_COMPLETE": f"{shell}_source"}
    result = CliRunner().invoke(main, env=environment, prog_name="vqcodec")

    assert result.exit_code == 0
    assert f"_VQCODEC_COMPLETE={shell}_complete" in result.stdout


def test_completion_knows_commands_and_options():
    complete = BashComplete(main, {}, "vqcodec", "_VQCODEC_COMPLETE").get_completions

    assert [item.value for item in complete([], "enc")] == ["encode"]
    assert [item.value for item in complete(["decode", "--device"], "c")] == ["cpu", "cuda"]


def test_a_file_without_loss_is_described_decoded_and_verified(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rgb = page(64, 96)
    Image.fromarray(rgb).save("page.png")
    assert call("encode", "page.png", "--lossless", "-v").exit_code == 0
    told = call("info", "page.vqc").stdout
    facts = json.loads(call("info", "page.vqc", "--json").stdout)

    assert "model     none: all pixels are exact" in told
    assert "exact     " in told
    assert "100% of the pixels" in told
    assert facts["lossless"]
    assert facts["exact_share"] == 1
    assert call("decode", "page.vqc", "-o", "again.png").exit_code == 0
    assert (np.asarray(Image.open("again.png")) == rgb).all()
    verified = call("verify", "page.vqc", "--against", "page.png")
    assert "0 indices" in verified.stdout
    assert "PSNR inf dB" in verified.stdout
    tokens = call("tokens", "page.vqc", "-o", "page.npz")
    assert tokens.exit_code == 9
    assert tokens.stderr.count("\n") == 1


@pytest.mark.parametrize("other", [["--target-psnr", "40"], ["--target-bpp", "1"], ["--no-exact"]])
def test_without_loss_goes_with_no_target(tmp_path, monkeypatch, other):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(page(32, 32)).save("page.png")
    result = call("encode", "page.png", "--lossless", *other)

    assert result.exit_code == 2
    assert f"--lossless does not go with {other[0]}" in result.stderr
    assert not Path("page.vqc").exists()
