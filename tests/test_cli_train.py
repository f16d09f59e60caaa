"""`vqcodec train`: what it hands to the training loop, and how it ends."""

import dataclasses
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from vqcodec.cli import main
from vqcodec.codec import Codec
from vqcodec.config import TaskConfig
from vqcodec.train import cuda, graph_trainer, loop
from vqcodec.train.presets import base, fast, small, tiny


class FakeTrainer:
    """Remembers what it was given; a run can be one that Ctrl-C ends."""

    made: ClassVar[list["FakeTrainer"]] = []
    interrupted = False

    def __init__(self, config, data, out, init):
        self.config, self.data, self.out, self.init = config, data, out, init
        self.rank, self.stopping, self.elapsed = 0, False, 90.0
        self.resumed = self.exported = None
        self.made.append(self)

    def run(self):
        self.stopping = self.interrupted

    def resume(self, path):
        self.resumed = path

    def export(self, folder):
        self.exported = folder
        return SimpleNamespace(id=b"\1" * 8)


@pytest.fixture
def trainers(monkeypatch, tmp_path):
    """The trainers that a command makes; the working folder has one of pictures."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "Trainer", FakeTrainer)
    monkeypatch.setattr(FakeTrainer, "made", [])
    Path("photos").mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save("photos/a.png")
    return FakeTrainer.made


def call(*args):
    result = CliRunner().invoke(main, ["train", *map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_run_ends_with_a_model(trainers):
    result = call("--data", "photos", "--data", "photos/a.png", "--out", "run", "--minutes", 5)

    (trainer,) = trainers
    assert result.exit_code == 0
    assert result.stdout == f"model {'01' * 8} written to {Path('run/model')}\n"
    assert (trainer.config.minutes, trainer.config.model) == (5, base().model)
    assert (trainer.data, trainer.out) == ([Path("photos"), Path("photos/a.png")], Path("run"))
    assert (trainer.init, trainer.resumed, trainer.exported) == (None, None, Path("run/model"))


def test_a_run_can_start_from_a_model(trainers, model_folder):
    call("--data", "photos", "--out", "run", "--init", model_folder, "--export", "mine")

    (trainer,) = trainers
    assert trainer.config.model == trainer.init.config
    assert trainer.init.config.transform.knots == trainer.init.config.transform.levels
    assert trainer.init.fixed_tables is None
    assert trainer.init.codebooks.frozen_codewords is None
    assert all(p.requires_grad for p in trainer.init.parameters())
    assert trainer.exported == Path("mine")


def test_on_a_gpu_the_trainer_is_that_of_graphs_with_larger_steps(trainers, monkeypatch):
    class OnGpu(FakeTrainer):
        pass

    monkeypatch.setattr(graph_trainer, "GraphTrainer", OnGpu)
    call("--data", "photos", "--out", "a", "--preset", "fast")
    monkeypatch.setattr(cuda, "is_there", lambda: True)
    call("--data", "photos", "--out", "b", "--preset", "fast")
    call("--data", "photos", "--out", "c", "--preset", "tiny", "--batch", 3)
    slow, filling, trial = trainers

    assert [type(trainer) for trainer in trainers] == [FakeTrainer, OnGpu, OnGpu]
    assert slow.config == fast()
    assert (filling.config.batch, filling.config.crop, filling.config.late_crop) == (64, 256, 384)
    assert filling.config.model == fast().model
    assert trial.config == dataclasses.replace(tiny(), batch=3)


@pytest.mark.parametrize("option", ["--resize", "--grow"])
def test_a_run_can_start_from_a_model_of_another_size(trainers, model_folder, option):
    call("--data", "photos", "--out", "run", "--preset", "fast", "--init", model_folder, option)

    (trainer,) = trainers
    assert trainer.config.model == fast().model
    assert trainer.init.config.transform.latents == tiny().model.transform.latents


def test_a_task_is_part_of_the_model(trainers, model_folder):
    call("--data", "photos", "--out", "a", "--task", "denoise", "--sigma", 15, "--preset", "small")
    call("--data", "photos", "--out", "b", "--task", "superres", "--init", model_folder)
    call("--data", "photos", "--out", "c", "--init", model_folder)
    denoise, double, plain = trainers

    assert denoise.config.model == dataclasses.replace(small().model, task=TaskConfig(sigma=15.0))
    assert double.config.model.task == TaskConfig(factor=2)
    assert double.config.model == double.init.config  # so that it is not grown
    assert plain.config.model.task is None


def test_a_distortion_is_that_of_the_model_unless_another_is_given(
    trainers, model_folder, tmp_path
):
    shutil.copytree(model_folder, "eyes")
    text = Path("eyes/config.json").read_text()
    Path("eyes/config.json").write_text('{"distortion":"eyes",' + text[1:])
    Path("run").mkdir()
    torch.save(
        {"stage": "codec", "model": Path("eyes/config.json").read_text()}, "run/checkpoint.pt"
    )
    for line in (
        "--out a",
        "--out b --distortion eyes",
        "--out c --init ./eyes",
        "--out d --init ./eyes --distortion mse",
        "--out e --init ./eyes --preset tiny --resize",
        "--out run --resume",
    ):
        assert call("--data", "photos", *line.split()).exit_code == 0

    found = [trainer.config.distortion for trainer in trainers]
    assert found == ["mse", "eyes", "eyes", "mse", "eyes", "eyes"]


def test_resume_takes_the_network_of_the_checkpoint(trainers):
    Path("run").mkdir()
    torch.save({"stage": "codec", "model": tiny().model.to_json()}, "run/checkpoint.pt")
    call("--data", "photos", "--out", "run", "--resume")

    (trainer,) = trainers
    assert trainer.config.model == tiny().model
    assert trainer.resumed == Path("run/checkpoint.pt")


def test_an_interrupt_stops_with_one_line_and_no_model(trainers, monkeypatch):
    monkeypatch.setattr(FakeTrainer, "interrupted", True)
    result = call("--data", "photos", "--out", "run")

    assert result.exit_code == 130
    assert result.stderr == "stopped and saved at 1.5 minutes; --resume goes on\n"
    assert trainers[0].exported is None


def test_matplotlib_is_asked_for_before_the_training(trainers, monkeypatch):
    monkeypatch.setattr(sys.modules["vqcodec.cli.train"], "find_spec", lambda name: None)
    result = call("--data", "photos", "--out", "run")

    assert result.exit_code == 1
    assert result.stderr == "vqcodec: training needs matplotlib: pip install 'vqcodec[train]'\n"


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        ("--data none --out run", 3, "there is no none to train on"),
        ("--data photos --out run --resume", 3, "there is no run/checkpoint.pt"),
        ("--data photos --out bad --resume", 5, "is not a checkpoint"),
        ("--data photos --out run --export photos", 7, "photos exists already"),
        ("--data photos --out run --init none", 5, "no model or model folder named 'none'"),
        ("--data photos --out run --init x --resume", 2, "give either"),
        ("--data photos --out run --resize", 2, "--resize needs --init"),
        ("--data photos --out run --minutes nan", 2, "not a number"),
        ("--data photos --out run --sigma 25", 2, "--sigma needs --task denoise"),
        ("--data photos --out run --task denoise --factor 2", 2, "needs --task superres"),
        ("--data photos --out run --task denoise --sigma 1000", 2, "--sigma"),
        ("--data photos --out run --task denoise --resume", 2, "--resume keeps its task"),
        ("--data photos --out run --distortion eyes --resume", 2, "keeps its distortion"),
        ("--data photos --out run --distortion ears", 2, "'ears' is not one of"),
    ],
)
def test_a_failure_is_told_before_the_training(trainers, line, code, text):
    Path("bad").mkdir()
    Path("bad/checkpoint.pt").write_bytes(b"garbage")
    result = call(*line.split())

    assert result.exit_code == code
    assert text in result.stderr
    assert trainers == []


@pytest.mark.slow
def test_a_trained_model_codes_pictures(tmp_path, picture):
    """The real loop, for a moment."""
    pytest.importorskip("matplotlib")
    for number in range(3):
        Image.fromarray(np.roll(picture, number, 0)).save(tmp_path / f"{number}.png")
    out = tmp_path / "run"
    options = ["--data", tmp_path, "--out", out, "--preset", "tiny", "--minutes", 0.01]

    assert call(*options).exit_code == 0
    assert call(*options, "--resume").exit_code == 0
    data = Codec.load(out / "model", "cpu").encode(picture)
    assert Codec.load(out / "model", "cpu").decode(data).size == (112, 80)
