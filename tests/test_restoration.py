"""Networks with a task: their config, what they see in training, and what they make of pictures."""

import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bench.__main__ import main as bench
from conftest import random_network, smooth_picture
from vqcodec.cli import main
from vqcodec.codec import Codec
from vqcodec.config import NEWER, NEWER_TRANSFORM, ModelConfig, TaskConfig
from vqcodec.errors import ImageTooLargeError, ModelError
from vqcodec.generative import restoration
from vqcodec.metrics import psnr
from vqcodec.nn.model import Network
from vqcodec.nn.quantizer import gaussian_probabilities
from vqcodec.train.degrade import degrade
from vqcodec.train.export import export
from vqcodec.train.objective import Objective
from vqcodec.train.presets import small, tiny
from vqcodec.zoo import shipped

DENOISE, DOUBLE = TaskConfig(sigma=25.0), TaskConfig(factor=2)


def with_task(config: ModelConfig, task: TaskConfig) -> ModelConfig:
    return dataclasses.replace(config, task=task)


@pytest.fixture(scope="module")
def doubling(tmp_path_factory) -> Path:
    """A folder of the tests' random model, which says that it doubles."""
    folder = tmp_path_factory.mktemp("models") / "double"
    network = random_network()
    network.config = with_task(network.config, DOUBLE)
    export(network, gaussian_probabilities(network.config.quantizer), folder)
    return folder


def test_a_config_without_a_newer_field_has_the_bytes_it_had():
    for entry in shipped.entries():
        text = (shipped.folder_of(entry.name) / "config.json").read_text("utf-8")
        assert ModelConfig.from_json(text).to_json() + "\n" == text
        fields = json.loads(text)
        assert fields["transform"].keys().isdisjoint(NEWER_TRANSFORM)
        if re.fullmatch("base-[1-6]|fast-1", entry.name):
            assert fields.keys().isdisjoint(NEWER)


@pytest.mark.parametrize("task", [DENOISE, DOUBLE, TaskConfig(factor=4)])
def test_a_task_goes_through_json(task):
    config = with_task(tiny().model, task)

    assert ModelConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("fields", [{}, {"sigma": -1}, {"sigma": 1e9}, {"sigma": float("nan")},
                                    {"factor": 3}, {"sigma": 5, "factor": 2}])  # fmt: skip
def test_a_task_is_one_of_the_two(fields):
    with pytest.raises(ModelError, match="sigma"):
        TaskConfig(**fields)


def test_a_task_makes_another_model(doubling, codec):
    """The id covers the task: two networks of equal weights are not the same model."""
    assert Codec.load(doubling, "cpu").model.id != codec.model.id


@pytest.mark.parametrize("factor", [2, 4])
def test_training_reduces_and_enlarges_as_pillow_does(factor):
    """But for rounding, which Pillow does between rows and columns as well: on noise, where
    another bicubic kernel is far off."""
    rgb = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    small = restoration.degrade(rgb, TaskConfig(factor=factor), np.random.default_rng(0))
    pillow = np.asarray(Image.fromarray(small).resize((96, 64), Image.Resampling.BICUBIC))
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255
    ours = degrade(x, TaskConfig(factor=factor), torch.Generator())[0].permute(1, 2, 0) * 255

    assert small.shape == (64 // factor, 96 // factor, 3)
    assert np.abs(ours.numpy() - pillow).max() < 2.1
    assert np.abs(ours.numpy() - pillow).mean() < 0.5


def test_noise_is_of_its_sigma_and_of_8_bits():
    grey = np.full((128, 128, 3), 128, np.uint8)
    mine = restoration.degrade(grey, DENOISE, np.random.default_rng(0)).astype(float)
    x = torch.full((1, 3, 128, 128), 128 / 255)
    training = degrade(x, DENOISE, torch.Generator().manual_seed(0)).numpy() * 255

    for noisy in (mine, training):
        assert noisy.std() == pytest.approx(25, rel=0.02)
        assert np.abs(noisy - noisy.round()).max() < 1e-3
    assert degrade(torch.ones(1, 3, 64, 64), DENOISE, torch.Generator()).max() == 1


def test_the_encoder_sees_the_degraded_picture_and_the_error_is_to_the_clean_one():
    objective = Objective(random_network(), 3.0, autocast=False)
    clean, seen = torch.full((2, 3, 64, 64), 0.3), torch.full((2, 3, 64, 64), 0.6)
    levels = torch.tensor([7, 7])
    with torch.no_grad():
        plain, crossed = objective(seen, levels), objective(clean, levels, seen)

    assert torch.equal(crossed.bpp, plain.bpp)  # the same words
    assert (crossed.mse > plain.mse + 1000).all()  # 0.3 of 255 is 76


def test_a_restored_picture_keeps_alpha_and_metadata(doubling):
    codec = Codec.load(doubling, "cpu")
    rgba = np.dstack([smooth_picture(40, 56), np.full((40, 56), 99, np.uint8)])
    image = Image.fromarray(rgba)
    exif = Image.Exif()
    exif[0x010E] = "a test"
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    decoded = codec.decode(restoration.restore(codec, buffer.getvalue()))

    assert (decoded.mode, decoded.size) == ("RGBA", (112, 80))
    assert set(np.asarray(decoded)[..., 3].ravel()) == {99}
    assert decoded.getexif()[0x010E] == "a test"


def test_a_picture_that_grows_above_the_limit_is_refused(doubling):
    with pytest.raises(ImageTooLargeError, match="80x80 = 6400"):
        restoration.restore(
            Codec.load(doubling, "cpu"), np.zeros((40, 40, 3), np.uint8), max_pixels=5000
        )


def test_a_network_with_a_task_is_not_searched(doubling):
    """Search would bring the words closer to the degraded picture."""
    codec, rgb = Codec.load(doubling, "cpu"), smooth_picture(64, 64)

    assert codec.encode(rgb, effort=9) == codec.encode(rgb, effort=1)


def test_restore_needs_a_model_with_a_task(installed, tmp_path, picture, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture).save("a.png")
    result = CliRunner().invoke(main, ["restore", "--model", "random", "a.png"])

    assert result.exit_code == 5
    assert result.stderr == (
        "vqcodec: model tiny has no task: restoring needs one of vqcodec train --task\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_restore_writes_enlarged_pictures(doubling, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.jpg"):
        Image.fromarray(smooth_picture(40, 56)).save(name)
    Path("c.png").write_text("no picture")
    names = ["a.png", "b.jpg", "c.png"]
    result = CliRunner().invoke(main, ["restore", "--model", str(doubling), *names])

    assert result.exit_code == 3  # c.png alone
    assert "a.png 56x40 -> a.restored.png 112x80, " in result.stdout
    for name in ("a.restored.png", "b.restored.png"):
        with Image.open(name) as image:
            assert image.size == (112, 80)
    assert not Path("c.restored.png").exists()


def test_the_bench_compares_with_doing_nothing(doubling, tmp_path):
    """An untrained network loses to bicubic; each picture has a line, and the mean."""
    for seed in range(2):
        Image.fromarray(smooth_picture(51, 64, seed)).save(tmp_path / f"{seed}.png")
    command = ["restore", "--images", str(tmp_path), "--model", str(doubling)]
    lines = CliRunner().invoke(bench, command).output.splitlines()
    rows = [[float(cell) for cell in line.split()[1:]] for line in lines[1:]]

    assert lines[0].split("  ")[0] == "picture"
    assert len(rows) == 3
    assert rows[2] == pytest.approx(np.mean(rows[:2], 0), abs=0.02)
    assert all(row[2] == pytest.approx(row[1] - row[0], abs=0.02) for row in rows)


def test_the_bench_refuses_a_model_without_a_task(model_folder, tmp_path):
    Image.fromarray(smooth_picture(64, 64)).save(tmp_path / "a.png")
    command = ["restore", "--images", str(tmp_path), "--model", str(model_folder)]
    result = CliRunner().invoke(bench, command)

    assert result.exit_code == 1
    assert re.fullmatch(r"Error: model tiny has no task: .*\n", result.output)


def test_the_linear_start_fits_a_model_file():
    """Of grey, flat pictures: one latent has much energy and the others none, and a model file
    takes less than 256 in its tables."""
    pytest.importorskip("matplotlib")
    from vqcodec.train.loop import fit_linear

    class Flat:
        def varied(self, count, size):
            return torch.rand(count, 1, 1, 1).expand(-1, 3, 32, 32)

    network = Network(small().model)
    fit_linear(network, Flat())

    assert network.gains.to_steps().max() < 200
    assert network.gains.to_units().max() < 200


def stripes(seed: int) -> np.ndarray:
    """uint8 [96, 96, 3]: grey waves, finer than what a reduction to half keeps in full."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96] * 2 * np.pi * 0.2  # periods of 5 pixels
    phases, parts = rng.uniform(0, 2 * np.pi, 2), rng.dirichlet([1, 1])
    wave = parts[0] * np.sin(x + phases[0]) + parts[1] * np.sin(y + phases[1])
    return np.repeat((128 + 90 * wave).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.slow
@pytest.mark.parametrize("task", [DENOISE, DOUBLE])
def test_the_tiny_preset_beats_doing_nothing_on_pictures_it_has_not_seen(task, tmp_path):
    pytest.importorskip("matplotlib")
    from vqcodec.train.loop import Trainer

    (tmp_path / "pictures").mkdir()
    for seed in range(16):
        Image.fromarray(stripes(seed)).save(tmp_path / "pictures" / f"{seed}.png")
    config = dataclasses.replace(tiny(), model=with_task(tiny().model, task), minutes=0.02)
    trainer = Trainer(config, [tmp_path / "pictures"], tmp_path / "run", None)
    trainer.run()
    codec = Codec(trainer.export(tmp_path / "model"), "cpu")

    rng = np.random.default_rng(0)
    for seed in range(100, 104):
        clean = stripes(seed)
        degraded = restoration.degrade(clean, task, rng)
        nothing = np.asarray(Image.fromarray(degraded).resize((96, 96), Image.Resampling.BICUBIC))
        decoded = np.asarray(codec.decode(restoration.restore(codec, degraded)))
        assert psnr(clean, decoded) > psnr(clean, nothing) + 1
