"""The commands that look at files and models: verify, tokens, models."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vqcodec.cli import main
from vqcodec.cli.console import Clock, Report
from vqcodec.cli.goals import Goal
from vqcodec.cli.param_types import Bytes
from vqcodec.image import pixels
from vqcodec.metrics import looks, psnr
from vqcodec.zoo import shipped


@pytest.fixture
def folder(tmp_path, monkeypatch, codec, picture) -> Path:
    monkeypatch.chdir(tmp_path)
    data = codec.encode(picture)
    Image.fromarray(picture).save("a.png")
    Path("good.vqc").write_bytes(data)
    Path("cut.vqc").write_bytes(data[:-9])
    return tmp_path


def call(*args: object):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_verify_passes_a_whole_file(folder, model_folder):
    result = call("verify", "good.vqc", "--model", model_folder)

    assert result.exit_code == 0
    assert result.stdout.startswith("good.vqc: ok, ")


def test_verify_fails_a_damaged_one_and_goes_on(folder, model_folder):
    result = call("verify", "cut.vqc", "good.vqc", "--model", model_folder)

    assert result.exit_code == 4
    assert "good.vqc: ok" in result.stdout
    assert "cut.vqc" in result.stderr


def test_verify_measures_against_the_source(folder, model_folder, codec, picture):
    arguments = ("verify", "good.vqc", "--against", "a.png", "--json", "--model", model_folder)
    found = json.loads(call(*arguments).stdout)
    painted = np.asarray(codec.decode(Path("good.vqc").read_bytes()))

    assert found["psnr"] == psnr(painted, picture)
    assert found["bits_per_pixel"] == 8 * Path("good.vqc").stat().st_size / (80 * 112)


def test_verify_against_a_picture_of_another_size_is_wrong_usage(folder, model_folder, picture):
    Image.fromarray(picture[:9]).save("b.png")
    result = call("verify", "good.vqc", "--against", "b.png", "--model", model_folder)

    assert result.exit_code == 2
    assert "112x9" in result.stderr


def test_tokens_are_those_of_the_library(folder, model_folder, codec):
    result = call("tokens", "good.vqc", "--model", model_folder)
    indices = codec.read_indices(Path("good.vqc").read_bytes())

    assert result.exit_code == 0
    with np.load("good.npz", allow_pickle=False) as archive:
        assert np.array_equal(archive["words"], indices.indices)
        assert archive["size"].tolist() == [112, 80]
        assert int(archive["level"]) == indices.level
        assert str(archive["model_id"]) == indices.model_id.hex()


def test_tokens_do_not_overwrite_without_force(folder, model_folder):
    Path("good.npz").write_bytes(b"kept")

    assert call("tokens", "good.vqc", "--model", model_folder).exit_code == 7
    assert Path("good.npz").read_bytes() == b"kept"
    assert call("tokens", "good.vqc", "-f", "--model", model_folder).exit_code == 0


def test_a_target_size_is_kept_and_its_quality_told(folder, model_folder):
    most = Path("good.vqc").stat().st_size
    result = call("encode", "a.png", "--target-size", most, "--model", model_folder)

    assert result.exit_code == 0
    assert Path("a.vqc").stat().st_size <= most
    assert ", quality " in result.stdout


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("900", 900), ("900.0", 900), ("900b", 900), ("0.9kB", 900), ("0.9 K", 900)),
        *(("1KiB", 1024), ("2e-3MB", 2000), ("0.002mib", 2097.152)),
    ],
)
def test_a_target_size_may_have_a_unit(text, size):
    assert Bytes().convert(text, None, None) == pytest.approx(size)


def test_a_target_psnr_is_reached(folder, model_folder):
    call("encode", "a.png", "--target-psnr", 15, "--model", model_folder)
    found = call("verify", "a.vqc", "--against", "a.png", "--json", "--model", model_folder)

    assert json.loads(found.stdout)["psnr"] >= 15


def test_a_target_out_of_reach_has_its_exit_code_and_writes_nothing(folder, model_folder):
    result = call("encode", "a.png", "--target-bpp", 0.001, "--model", model_folder)

    assert result.exit_code == 8
    assert "out of reach" in result.stderr
    assert not Path("a.vqc").exists()


def test_two_targets_are_wrong_usage(folder, model_folder):
    arguments = ("--target-bpp", 1, "--target-size", 900, "--model", model_folder)

    assert call("encode", "a.png", *arguments).exit_code == 2


def test_a_target_by_looks_is_met_told_and_may_be_out_of_reach(folder):
    pytest.importorskip("ssimulacra2")
    y, x = np.mgrid[:80, :112]
    waves = np.stack([120 + 60 * np.sin((x + y) / 5), 110 + 50 * np.sin(x * y / 300), 0 * x], -1)
    Image.fromarray(waves.astype(np.uint8)).save("a.png")
    result = call("encode", "a.png", "--target-ssimulacra2", 70, "--effort", 1)
    found = float(re.search(r", SSIMULACRA2 ([0-9.]+)$", result.stdout)[1])
    call("decode", "a.vqc", "-o", "b.png")

    assert 70 <= found < 71
    assert looks.ssimulacra2(*(pixels.load(f"{name}.png").rgb for name in "ab")) == pytest.approx(
        found, abs=0.01
    )
    assert call("encode", "a.png", "--target-ssimulacra2", 99, "-f").exit_code == 8
    assert call("encode", "a.png", "--target-ssimulacra2", 50, "--tune", "psnr").exit_code == 2
    assert call("encode", "a.png", "--target-ssimulacra2", 101).exit_code == 2


def test_a_clock_shows_which_trial_of_a_target_is_under_way(codec, picture):
    clock = Clock("a.png", visible=False)
    given = Goal.of(50, 1, target_size=900), codec, pixels.load(picture)
    given[0].encode(*given[1:], 10**6, Report(clock=clock))

    assert re.fullmatch(r"trial \d+, quality \d+\.\d", clock.text)


def test_models_lists_what_is_shipped():
    rows = [json.loads(line) for line in call("models", "--json").stdout.splitlines()]

    assert [row["name"] for row in rows] == [entry.name for entry in shipped.entries()]
    assert [row["name"] for row in rows if row["default"]] == [shipped.default_name()]
    assert all(row["name"] in call("models").stdout for row in rows)


def test_damaged_files_are_painted_on_request_and_still_fail(folder, model_folder, codec):
    arguments = ("--allow-damaged", "--model", model_folder)
    result = call("decode", "cut.vqc", "good.vqc", *arguments)

    assert result.exit_code == 4
    assert "cut.vqc: decoded, but damaged: 1 of 1 tiles only coarse" in result.stderr
    assert "good.vqc" not in result.stderr
    expected = codec.decode(Path("good.vqc").read_bytes())
    assert pixels.load("cut.png").rgb.shape == (80, 112, 3)
    assert np.array_equal(pixels.load("good.png").rgb, np.asarray(expected))
    assert call("decode", "good.vqc", "-fv", *arguments).exit_code == 0


def test_a_file_of_which_nothing_is_left_is_not_painted(folder, model_folder):
    Path("head.vqc").write_bytes(Path("good.vqc").read_bytes()[:30])
    result = call("decode", "head.vqc", "--allow-damaged", "--model", model_folder)

    assert result.exit_code == 4
    assert not Path("head.png").exists()
