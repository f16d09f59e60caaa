"""Training on a GPU, where there is one: what graphs compute is what CPUs do, and runs end well.

Elsewhere the same trainers run uncaptured in test_static_step.py and test_realism_training.py.
"""

import dataclasses
import json

import numpy as np
import pytest
import torch

from conftest import random_network, save_pictures, smooth_picture
from vqcodec.codec import Codec
from vqcodec.train import cuda
from vqcodec.train.presets import REALISM_PRESETS, tiny

pytest.importorskip("matplotlib")
from vqcodec.train.graph_realism import GraphRealismTrainer
from vqcodec.train.graph_trainer import GraphTrainer
from vqcodec.train.loop import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return save_pictures(tmp_path_factory.mktemp("pictures"), 8, 128, 128)


@pytest.fixture
def on_gpu(monkeypatch):
    """From when it is called on trainers are on the GPU."""
    return lambda: monkeypatch.setattr(cuda, "is_there", torch.cuda.is_available)


def test_captured_steps_have_the_losses_of_cpus(pictures, tmp_path, monkeypatch, on_gpu):
    """With the same crops, without noise, and with SOAP standing still: see test_static_step.py."""
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, 0.5))
    config = dataclasses.replace(tiny(), minutes=1e12, soap_rate=0.0)
    one = Trainer(config, [pictures], tmp_path / "one", random_network())
    on_gpu()
    other = GraphTrainer(config, [pictures], tmp_path / "other", random_network())
    other.crops.pooled = False
    for trainer in (one, other):
        trainer.crops.generator.manual_seed(7)
        trainer.generator.manual_seed(7)
    for _ in range(8):
        a, b = one.train_step(), other.train_step()
        one.step, other.step = one.step + 1, other.step + 1
        for name in ("cost", "proxy_bpp", "mse"):
            x, y = (getattr(losses, name).sort().values.cpu() for losses in (a, b))
            torch.testing.assert_close(y, x, rtol=0.02, atol=1e-3)
    counts = other.tables.counts.cpu()
    torch.testing.assert_close(counts.sum(1), one.tables.counts.sum(1), rtol=0.02, atol=10.0)


@pytest.mark.parametrize("resident", [True, False])
def test_a_run_ends_with_a_model_that_codes(pictures, tmp_path, on_gpu, resident):
    """Of two sizes of crops, thus of two graphs; and it can be gone on with."""
    on_gpu()
    config = dataclasses.replace(tiny(), minutes=0.3, late_crop=96, late_share=0.5)
    trainer = GraphTrainer(config, [pictures], tmp_path, None)
    trainer.crops.resident = resident
    trainer.crops.flat = trainer.crops.flat.to(trainer.device if resident else "cpu")
    trainer.run()
    again = GraphTrainer(config, [pictures], tmp_path, random_network())
    again.resume(tmp_path / "checkpoint.pt")
    again.train_step()
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    codec = Codec(trainer.export(tmp_path / "model"), "cpu")
    rgb = smooth_picture(64, 64, 50)
    indices = codec.encode_indices(rgb, 50).indices

    assert trainer.step > 20
    assert trainer.gradients.x.shape[-1] == 96
    assert all(np.isfinite(row.get("cost", row.get("valid_cost"))) for row in rows)
    assert np.array_equal(codec.read_indices(codec.encode(rgb, 50)).indices, indices)


def test_a_run_of_realism_moves_the_decoder(pictures, tmp_path, model_folder, on_gpu):
    on_gpu()
    config = dataclasses.replace(REALISM_PRESETS["tiny"], minutes=1e12, alone=2)
    trainer = GraphRealismTrainer(config, [pictures], tmp_path, model_folder, None)
    before = trainer.of_decoder.data.clone()
    for _ in range(6):
        row = trainer.train_step()
        trainer.step += 1
    trainer.save()

    assert all(bool(torch.isfinite(value)) for value in row.values())
    moved = (trainer.of_decoder.data - before).abs().max()
    assert 0 < float(moved) < 0.1
