"""Training: data, optimiser, loop, checkpoints and export, with a tiny network."""

import dataclasses
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import random_network, save_pictures, smooth_picture
from vqcodec.codec import Codec
from vqcodec.config import ModelConfig, PassConfig, lattice
from vqcodec.engine.torch.network import build
from vqcodec.errors import InputError, ModelError
from vqcodec.nn.fixed import FixedConv
from vqcodec.nn.model import Network
from vqcodec.nn.quantizer import gaussian_probabilities
from vqcodec.nn.rate_proxy import GaussianBits
from vqcodec.train import data as train_data
from vqcodec.train.export import export, export_realism
from vqcodec.train.objective import Losses, Objective
from vqcodec.train.presets import tiny
from vqcodec.train.soap import Soap
from vqcodec.zoo import weights

pytest.importorskip("matplotlib")
from vqcodec.train.dead_leaves import dead_leaves
from vqcodec.train.grow import grow
from vqcodec.train.loop import Trainer
from vqcodec.train.realism_scene import FrozenModel


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("pictures"), 12, 96, 128)


def config(steps_minutes=10.0, **changes):
    return dataclasses.replace(tiny(), minutes=steps_minutes, batch=2, **changes)


def test_pictures_of_folders_and_shards_are_found(pictures, tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(smooth_picture(80, 80)).save(buffer, "JPEG")
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for name in ("a.jpg", "b.txt"):
            info = tarfile.TarInfo(name)
            info.size = len(buffer.getvalue())
            shard.addfile(info, io.BytesIO(buffer.getvalue()))

    names = [s.name for s in train_data.read_sources([pictures, tmp_path / "shard.tar"])]
    assert len(names) == 13
    assert "a.jpg" in names


def test_a_cache_of_no_pictures_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no pictures"):
        train_data.build_cache([tmp_path], tmp_path / "cache")


def test_crops_are_cut_from_the_pictures(pictures, tmp_path):
    train_data.build_cache([pictures], tmp_path)
    crops = train_data.Crops(tmp_path, torch.device("cpu"), False, 0)
    sample = crops.sample(8, 64)
    stored = np.concatenate([np.asarray(Image.open(p)).reshape(-1, 3) for p in pictures.iterdir()])

    for corner in (sample[:, :, 0, 0] * 255).round().byte().numpy():
        assert (stored == corner).all(1).any()


def test_crops_are_the_same_cut_from_the_file_and_gathered_on_a_device(tmp_path):
    """Those of pictures that are too small, too, which go on by their edge."""
    for seed, size in enumerate(((96, 128), (70, 90), (64, 100))):
        Image.fromarray(smooth_picture(*size, seed)).save(tmp_path / f"{seed}.png")
    train_data.build_cache([tmp_path], tmp_path / "cache")
    cut, gathered = (
        train_data.Crops(tmp_path / "cache", torch.device("cpu"), False, 0, resident)
        for resident in (False, True)
    )

    for size in (64, 80, 120):
        assert torch.equal(cut.sample(6, size), gathered.sample(6, size))


def test_drawn_crops_of_a_pool_are_made_once_and_turned_over(tmp_path, monkeypatch):
    Image.new("RGB", (128, 128), (99, 99, 99)).save(tmp_path / "a.png")
    train_data.build_cache([tmp_path], tmp_path / "cache")
    crops = train_data.Crops(tmp_path / "cache", torch.device("cpu"), False, 0)
    monkeypatch.setattr(train_data, "POOL", 2)
    monkeypatch.setattr(train_data, "POOL_BATCH", 1)
    crops.pooled = True
    drawn = torch.cat([crops.varied(16, 32)[:2] for _ in range(6)])
    pool = crops.pools[32].crops.float() / 255
    turned = torch.cat([pool, pool.flip(2), pool.flip(3), pool.flip(2, 3)])
    grey = turned.mean(1)  # colours are changed after that
    nearest = [(grey - x.mean(0)).abs().amax((1, 2)) for x in drawn]

    assert len(pool) == 2
    assert len({int(distances.argmin()) for distances in nearest}) > 2
    assert sum(float(distances.min()) < 0.01 for distances in nearest) > 8
    crops.varied(16, 48)
    assert list(crops.pools) == [48]


def test_varied_crops_are_reduced_and_recoloured_pictures(tmp_path, monkeypatch):
    """Stripes of red and green at the finest period: halved they are grey-brown, and no crop
    leaves the range of pixels."""
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, 0::2, 0] = stripes[:, 1::2, 1] = 200
    Image.fromarray(stripes).save(tmp_path / "a.png")
    train_data.build_cache([tmp_path], tmp_path / "cache")
    crops = train_data.Crops(tmp_path / "cache", torch.device("cpu"), False, 0)
    monkeypatch.setattr(train_data, "DRAWN", 0)
    contrast = [crops.varied(2, 64).std(-1).mean((1, 2)) for _ in range(12)]
    plain, reduced = torch.stack(contrast).T

    assert plain.min() > 0.25  # as stored, or with more colour
    assert reduced.min() < 0.1 < plain.min()


def test_a_share_of_the_varied_crops_is_drawn(tmp_path):
    """Of one grey picture, whatever is not grey is drawn: of 4 crops half a one, by chance."""
    Image.new("RGB", (128, 128), (99, 99, 99)).save(tmp_path / "a.png")
    train_data.build_cache([tmp_path], tmp_path / "cache")
    crops = train_data.Crops(tmp_path / "cache", torch.device("cpu"), False, 0)
    coloured = [
        int((crops.varied(count, 32).std((1, 2, 3)) > 0.01).sum())
        for count in (16, 4)
        for _ in range(20)
    ]

    assert crops.varied(1, 32).shape == (1, 3, 32, 32)
    assert set(coloured[:20]) == {2}
    assert 3 < sum(coloured[20:]) < 17
    assert set(coloured[20:]) == {0, 1}


def test_dead_leaves_are_even_surfaces_with_sharp_edges():
    """Most pixels are like their neighbours, and the steps between the others are steep."""
    generator = torch.Generator().manual_seed(1)
    photographs = torch.full((16, 3, 64, 64), 0.5)
    drawn = dead_leaves(photographs, generator)
    step = (drawn[..., 1:] - drawn[..., :-1]).abs().amax(1)

    assert drawn.shape == photographs.shape
    assert 0 <= drawn.min() < drawn.max() <= 1
    assert (step < 0.02).float().mean() > 0.5
    assert ((step > 0.1).flatten(1).sum(1) > 20).float().mean() > 0.7
    assert not torch.equal(drawn, dead_leaves(photographs, generator))


def test_crops_come_from_pictures_that_are_large_enough(tmp_path):
    Image.new("RGB", (300, 70), "red").save(tmp_path / "long.png")
    Image.new("RGB", (130, 130), "blue").save(tmp_path / "square.png")
    train_data.build_cache([tmp_path], tmp_path / "cache")
    crops = train_data.Crops(tmp_path / "cache", torch.device("cpu"), False, 0)

    assert crops.sample(20, 128)[:, 0].max() == 0
    assert crops.sample(20, 64)[:, 0].max() == 1


def test_held_out_pictures_are_never_trained_on(pictures, tmp_path):
    train_data.build_cache([pictures], tmp_path)
    rows = json.loads((tmp_path / "index.json").read_text())["pictures"]
    held = {row[1] for row in rows if train_data.is_held_out(row[0])}
    crops = train_data.Crops(tmp_path, torch.device("cpu"), False, 0)

    assert held.isdisjoint(crops.where[:, 0].tolist())


def test_levels_of_a_batch_are_spread_over_the_range():
    levels = train_data.spread_levels(8, 48, 0.6, torch.Generator().manual_seed(0))

    assert sorted(level // 6 for level in levels.tolist()) == list(range(8))


def test_low_levels_get_their_share_of_the_crops():
    levels = train_data.spread_levels(1000, 50, 0.75, torch.Generator().manual_seed(0))

    assert int((levels < 30).sum()) == 750
    assert {int(levels.min()), int(levels.max())} == {0, 49}


def test_soap_solves_an_ill_conditioned_problem_that_defeats_adam():
    """|A W B - Y|^2 with condition numbers of 1000: the eigenbasis makes it easy."""
    torch.manual_seed(0)

    def skewed(n):
        q = torch.linalg.qr(torch.randn(n, n)).Q
        return q * torch.logspace(0, -1.5, n) @ torch.linalg.qr(torch.randn(n, n)).Q

    a, b, goal = skewed(12), skewed(20), torch.randn(12, 20)

    def loss(w):
        return ((a @ (w - goal) @ b) ** 2).sum()

    ends = []
    for name in ("soap", "adam"):
        w = torch.nn.Parameter(torch.zeros(12, 20))
        soap, adam = Soap([w], every=5), torch.optim.Adam([w], 1e-2)
        for _ in range(400):
            w.grad = None
            loss(w).backward()
            soap.step(1e-2) if name == "soap" else adam.step()
        ends.append(float(loss(w).detach()))
    assert ends[0] < 0.7 * ends[1]


def test_soap_keeps_still_where_no_gradient_has_been_seen():
    w = torch.nn.Parameter(torch.ones(8, 16))
    soap = Soap([w], every=1)
    for _ in range(3):
        w.grad = torch.zeros_like(w)
        soap.step(0.1)

    assert torch.equal(w, torch.ones(8, 16))
    assert all(bool(torch.isfinite(side[1]).all()) for side in soap.stacks[0].sides)


def run_steps(trainer, count):
    for _ in range(count):
        trainer.train_step()
        trainer.step += 1


def losses_of(distortion: str) -> tuple[Losses, Network]:
    """Of a random network on one batch, with the same noise each time."""
    network = random_network()
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(4)
    objective = Objective(network, 1.8, True, distortion)
    losses = objective(x, torch.tensor([0, 3, 7]))
    losses.objective.backward()
    return losses, network


def test_the_objective_is_the_rate_and_lambda_times_the_distortion():
    """Of levels weighed by one over the root of lambda; both distortions see both errors."""
    (mse, network), (eyes, other) = losses_of("mse"), losses_of("eyes")
    lambdas = network.lambdas[[0, 3, 7]]
    weight = lambdas**-0.5 / (network.lambdas**-0.5).mean()
    for losses, distortion in ((mse, mse.mse), (eyes, 0.5 * eyes.mse + 1000 * eyes.unlike)):
        expected = (weight * (losses.proxy_bpp + lambdas * distortion)).mean()
        assert torch.equal(losses.objective.detach(), expected)
        assert torch.equal(losses.cost, losses.bpp + lambdas * distortion)

    assert torch.equal(mse.mse, eyes.mse)
    assert torch.equal(mse.unlike, eyes.unlike)
    assert bool((mse.unlike > 0).all())
    a, b = network.decoder.head.weight.grad, other.decoder.head.weight.grad
    assert not torch.allclose(a, b)


def test_a_model_says_what_it_was_trained_for(pictures, tmp_path):
    """Whatever it started from; and a run that starts from it is of the same network."""
    trainer = Trainer(config(distortion="eyes"), [pictures], tmp_path / "a", None)
    trainer.save()
    model = trainer.export(tmp_path / "model")
    init = Network(model.config)
    again = Trainer(config(model=model.config), [pictures], tmp_path / "b", init)

    assert model.config.distortion == "eyes"
    assert "valid_unlike" in trainer.log[-1]
    assert again.network is init
    assert again.export(tmp_path / "plain").config.distortion is None


@pytest.mark.parametrize("distortion", ["mse", "eyes"])
def test_the_cost_of_validation_is_that_of_the_distortion(pictures, tmp_path, distortion):
    trainer = Trainer(config(distortion=distortion), [pictures], tmp_path, None)
    trainer.validation.x = trainer.validation.degraded = trainer.validation.x[:1]
    row = trainer.validation.measure(trainer.averaged())
    lambdas = trainer.network.lambdas[trainer.validation.levels].tolist()
    for number, weight in enumerate(lambdas):
        mse, unlike = 255**2 / 10 ** (row["valid_psnr"][number] / 10), row["valid_unlike"][number]
        error = mse if distortion == "mse" else 0.5 * mse + 1000 * unlike
        expected = row["valid_bpp"][number] + weight * error
        assert row["valid_costs"][number] == pytest.approx(expected, rel=1e-4)


def test_training_lowers_the_cost(pictures, tmp_path):
    trainer = Trainer(config(), [pictures], tmp_path, None)
    before = trainer.validation.measure(trainer.averaged())["valid_cost"]
    run_steps(trainer, 40)
    after = trainer.validation.measure(trainer.averaged())["valid_cost"]

    assert after < before


def test_a_resumed_run_goes_on_exactly_where_it_was(pictures, tmp_path):
    endless = config(1e12)  # so that the time that has passed does not change the rates
    first = Trainer(endless, [pictures], tmp_path / "a", None)
    run_steps(first, 5)
    first.save()
    second = Trainer(endless, [pictures], tmp_path / "b", None)
    second.resume(tmp_path / "a" / "checkpoint.pt")
    for trainer in (first, second):  # the same crops and noise from here on
        trainer.crops.generator.manual_seed(7)
        trainer.generator.manual_seed(7)
        torch.manual_seed(7)
        run_steps(trainer, 2)

    assert second.step == first.step
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)


def modes_below(folder: Path) -> set[int]:
    """The permissions of all files in a folder and those below it."""
    return {path.stat().st_mode for path in folder.rglob("*") if path.is_file()}


def default_modes(folder: Path) -> set[int]:
    """The permissions that the process gives to new files."""
    (folder / "plain").touch()
    return {(folder / "plain").stat().st_mode}


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_files_of_a_model_are_readable_by_whom_the_umask_lets(model_folder, tmp_path):
    frozen = FrozenModel(build(weights.load_folder(model_folder)), torch.Generator())
    tensors = frozen.grained_decoder().state_dict()
    for mask in (0o022, 0o027, 0o077):
        before = os.umask(mask)
        try:
            network = random_network()
            plain = tmp_path / f"plain{mask}"
            export(network, gaussian_probabilities(network.config.quantizer), plain)
            export_realism(model_folder, tensors, tmp_path / f"realism{mask}")
        finally:
            os.umask(before)
        for name, count in ((f"plain{mask}", 4), (f"realism{mask}", 5)):
            assert len(list((tmp_path / name).iterdir())) == count
            assert {mode & 0o777 for mode in modes_below(tmp_path / name)} == {0o666 & ~mask}


def test_a_run_leaves_a_log_curves_and_a_model_that_codes(pictures, tmp_path):
    trainer = Trainer(config(0.03, save_minutes=0.01), [pictures], tmp_path, None)
    trainer.run()
    model = trainer.export(tmp_path / "model")
    codec = Codec(model, "cpu")
    rgb = smooth_picture(64, 64, 50)

    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert any("valid_cost" in row for row in rows)
    assert modes_below(tmp_path) == default_modes(tmp_path)
    assert (tmp_path / "curves.png").stat().st_size > 1000
    words = codec.encode_indices(rgb, 50).indices
    assert np.array_equal(codec.read_indices(codec.encode(rgb, 50)).indices, words)


def test_a_prior_at_its_bound_is_exported_as_it_was_trained(pictures, tmp_path):
    """Every row's sum of weights is driven to its bound, where rounding can lift it above."""
    trainer = Trainer(config(), [pictures], tmp_path, None)
    layers = [m for m in trainer.network.prior.modules() if isinstance(m, FixedConv)]
    with torch.no_grad():
        for layer in layers:
            layer.weight[:, 0] += 96.0
    run_steps(trainer, 1)
    trainer.ema = {k: p.detach().clone() for k, p in trainer.network.named_parameters()}
    model = trainer.export(tmp_path / "model")

    loaded = [m for m in build(model).prior.modules() if isinstance(m, FixedConv)]
    for layer, other in zip(layers, loaded, strict=True):
        assert torch.equal(layer.fixed_weight(), other.weight)


def test_a_network_that_cannot_be_exported_is_told_at_the_first_save(pictures, tmp_path):
    trainer = Trainer(config(), [pictures], tmp_path, None)
    trainer.ema["codebooks.scalar_words"] += 2.0**17

    with pytest.raises(ModelError, match="a codeword is above the limit"):
        trainer.save()
    assert (tmp_path / "checkpoint.pt").is_file()


def test_training_goes_on_from_an_exported_model(pictures, tmp_path, codec):
    network = build(codec.model).__class__(codec.model.config)
    network.load_state_dict(build(codec.model).state_dict())
    network.codebooks.bits.copy_(build(codec.model).codebooks.bits)
    trainer = Trainer(config(model=codec.model.config), [pictures], tmp_path, network)
    run_steps(trainer, 2)

    assert trainer.export(tmp_path / "model").id != codec.model.id


def test_a_grown_network_begins_as_the_small_one(pictures, tmp_path, codec):
    """More latents, blocks and channels: at levels without the new latents, nothing moves."""
    small = SimpleNamespace(config=codec.model.config, network=build(codec.model))
    passes = (*small.config.prior.passes, PassConfig(32, 40, blocks=1, min_level=5))
    passes = tuple(
        dataclasses.replace(p, blocks=p.blocks + 1) if i == 2 else p for i, p in enumerate(passes)
    )
    sizes = {"latents": 40, "coarse_blocks": 2, "fine_width": 32, "coarse_width": 40}
    transform = dataclasses.replace(small.config.transform, **sizes)
    larger = ModelConfig(
        "larger", transform, prior=dataclasses.replace(small.config.prior, passes=passes)
    )
    trainer = Trainer(config(model=larger), [pictures], tmp_path, small.network)
    x, levels = torch.rand(2, 3, 64, 64), torch.tensor([1, 4])
    with torch.no_grad():
        y, grown = small.network.analyse(x, levels), trainer.network.analyse(x, levels)
        latents = [
            list(n.quantise(v, levels, 3.0))[-1].latents
            for n, v in ((small.network, y), (trainer.network, grown))
        ]
        pixels = [
            n.synthesise(v, levels)
            for n, v in zip((small.network, trainer.network), latents, strict=True)
        ]

    torch.testing.assert_close(grown[:, :32], y, atol=1e-3, rtol=1e-3)
    assert (latents[1][:, :32] != latents[0]).float().mean() < 0.01  # a word at a tie
    assert (pixels[1] - pixels[0]).abs().mean() < 1e-3
    basis = trainer.network.linear.synthesis.detach()
    gram = basis[:, 32:].T @ basis
    torch.testing.assert_close(gram[:, 32:], torch.eye(8), atol=1e-3, rtol=0)
    assert gram[:, :32].abs().max() < 1e-3
    run_steps(trainer, 1)


def test_a_pass_can_be_split_in_two_that_begin_as_the_one(codec):
    """The second reads what the first has decoded, but expects at first what one pass would."""
    small = SimpleNamespace(config=codec.model.config, network=build(codec.model))
    first, rest, *others = small.config.prior.passes
    between = lattice((1, 1), (1, 3), (3, 1), (3, 3))
    halves = [
        dataclasses.replace(rest, lattice=part, blocks=2)
        for part in (between, rest.lattice & ~between)
    ]
    prior = dataclasses.replace(
        small.config.prior, passes=(first, *halves, *others), coarse_passes=3
    )
    larger = Network(dataclasses.replace(small.config, name="larger", prior=prior))
    grow(larger, small.network, None)
    x, levels = torch.rand(2, 3, 64, 64), torch.tensor([1, 4])
    with torch.no_grad():
        walks = [list(n.quantise(n.analyse(x, levels), levels, 3.0))
                 for n in (small.network, larger)]  # fmt: skip

    assert [len(walk) for walk in walks] == [4, 5]
    assert torch.equal(walks[0][-1].latents, walks[1][-1].latents)


def test_gaussian_bits_have_the_derivatives_of_their_definition():
    r = torch.linspace(-3, 3, 100, dtype=torch.float64).requires_grad_()
    log_scale = torch.linspace(2, -0.5, 100, dtype=torch.float64).roll(30).requires_grad_()

    assert torch.autograd.gradcheck(GaussianBits.apply, (r, log_scale, -9.0, 9.0))


def test_gaussian_bits_pull_scales_back_to_their_bounds():
    """Below the lowest scale the gradient passes only if it would raise the scale."""
    log_scale = torch.full((2,), -5.0, requires_grad=True)
    GaussianBits.apply(torch.tensor([0.0, 2.0]), log_scale, -3.0, 9.0).sum().backward()

    assert log_scale.grad[0] == 0
    assert log_scale.grad[1] < 0


STEP_SCRIPT = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from conftest import random_network
from test_train import config
from vqcodec.train import runner
from vqcodec.train.graph_trainer import GraphTrainer
from vqcodec.train.loop import Trainer

torch.rand_like = lambda t: torch.full_like(t, 0.5)  # no noise: both see the same
results = []
for kind in (Trainer, GraphTrainer):
    run = config(lambda_scale=2.0, half_turn=False)
    trainer = kind(run, [Path(sys.argv[2])], Path(sys.argv[3]), random_network())
    runner._join_processes = lambda: (trainer.rank, trainer.world)  # the second trainer has joined
    trainer.crops.generator.manual_seed(1)
    x, levels = trainer.crops.sample(4, 64), torch.tensor([0, 2, 4, 6])
    share = slice(trainer.rank, None, trainer.world)
    trainer.batch = lambda: (x[share], levels[share], x[share])
    if kind is GraphTrainer:
        trainer.batches.make = trainer.batch
    for _ in range(3):
        trainer.train_step()
        trainer.step += 1
    results.append([p.detach().clone() for p in trainer.network.parameters()])
if trainer.rank == 0:
    torch.save(results, sys.argv[4])
runner.finish_processes()
"""


def test_two_processes_take_the_steps_of_one_with_twice_the_batch(pictures, tmp_path):
    """torchrun with gloo, gradients averaged and SOAP's work shared; or all steps in each process,
    as GPUs take them."""
    (tmp_path / "steps.py").write_text(STEP_SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launches = {1: [sys.executable], 2: [*torchrun, "--nproc-per-node", "2"]}
    started = []
    for count, launch in launches.items():
        own = tmp_path / f"run{count}", tmp_path / f"{count}.pt"
        command = [*launch, tmp_path / "steps.py", Path(__file__).parent, pictures, *own]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    try:
        for process in started:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    finally:
        for process in started:
            process.kill()
    results = [torch.load(tmp_path / f"{count}.pt", weights_only=True) for count in launches]

    for kind in range(2):
        for one, two in zip(results[0][kind], results[1][kind], strict=True):
            assert torch.allclose(one, two, atol=2e-3)
