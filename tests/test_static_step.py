"""A training step without decisions by data: what it gives, and that a CUDA graph could hold it."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch

from conftest import Decisions, random_network, save_pictures
from vqcodec.errors import VqcodecError
from vqcodec.nn.prior import lattice_mask
from vqcodec.train.data import spread_levels
from vqcodec.train.frequency_counts import TableCounts
from vqcodec.train.objective import Losses, Objective
from vqcodec.train.presets import base, tiny
from vqcodec.train.soap import Soap, cholesky_qr, qr
from vqcodec.train.static_objective import StaticObjective, starts_of
from vqcodec.train.static_optimiser import StaticOptimiser
from vqcodec.train.weight_averages import start_averages

pytest.importorskip("matplotlib")
from vqcodec.train import graph_trainer, loop, static_optimiser
from vqcodec.train.graph_trainer import GraphTrainer
from vqcodec.train.loop import Trainer

LEVELS = torch.tensor([0, 3, 4, 7])  # the last pass codes levels of 4 and above
STARTS = [0, 0, 0, 1]  # and has crop 1 all the same, which is below them


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return save_pictures(tmp_path_factory.mktemp("pictures"), 6, 96, 128)


@pytest.fixture
def no_noise(monkeypatch):
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, 0.5))


def wild_network():
    """A random network with codewords off the grid and residuals of which some are escapes."""
    network = random_network()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in network.codebooks.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
        network.linear.analysis.mul_(30)
    return network


def results_of(make, distortion):
    network = wild_network()
    x = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(6))
    losses = make(network, distortion)(x, LEVELS)
    losses.objective.backward()
    return losses, {name: p.grad for name, p in network.named_parameters()}


@pytest.mark.parametrize("distortion", ["mse", "eyes"])
def test_both_objectives_have_the_same_losses_counts_and_gradients(no_noise, distortion):
    one, grads = results_of(lambda net, d: Objective(net, 1.8, True, d), distortion)
    other, found = results_of(lambda net, d: StaticObjective(net, 1.8, True, d, STARTS), distortion)
    sizes = wild_network().codebooks.sizes
    escapes = one.counts.gather(1, sizes[:, None] - 1)

    assert bool((escapes[:40] > 0).any() and (escapes[40:] > 0).any())
    assert torch.equal(one.counts, other.counts)
    for name in ("objective", "cost", "bpp", "proxy_bpp", "mse", "unlike", "pass_bpp"):
        torch.testing.assert_close(getattr(other, name), getattr(one, name), rtol=1e-4, atol=1e-6)
    for name, grad in grads.items():
        scale = float(grad.abs().max())
        assert scale > 0, name
        torch.testing.assert_close(found[name], grad, rtol=0, atol=2e-3 * scale)


def test_passes_have_all_crops_that_their_levels_can_have():
    """And at most one in addition, for whatever batch."""
    generator = torch.Generator().manual_seed(0)
    for config, count in ((tiny().model, 3), (base().model, 10), (base().model, 64)):
        for share in (0.25, 0.6):
            starts = starts_of(config, count, share)
            for _ in range(20):
                levels = config.transform.levels
                levels = spread_levels(count, levels, share, generator).sort().values
                for item, start in zip(config.prior.passes, starts, strict=True):
                    coded = int((levels >= item.min_level).sum())
                    assert coded <= count - start <= coded + 1


def test_a_sample_of_a_large_batch_is_counted(no_noise):
    """One crop in two of 16: about half of what there is, from each table as from the others."""
    network = wild_network()
    x = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(6))
    levels = torch.arange(16) // 2
    whole = Objective(network, 1.8, False)(x, levels).counts.sum(1)
    objective = StaticObjective(network, 1.8, False, "mse", [0, 0, 0, 7])
    torch.manual_seed(0)
    part = sum(objective(x, levels).counts.sum(1) for _ in range(8)) / 8

    assert float(part.sum() / whole.sum()) == pytest.approx(0.5, abs=0.02)
    often = whole > 300
    assert (part[often] / whole[often] - 0.5).abs().max() < 0.12


def trainer_of(kind, pictures, out, **changes):
    """Of the random network, without end, so that the time does not change the rates."""
    config = dataclasses.replace(tiny(), minutes=1e12, batch=4, **changes)
    return kind(config, [pictures], out, random_network())


def run_steps(trainer, count):
    losses = []
    for _ in range(count):
        losses.append(trainer.train_step())
        trainer.step += 1
    return losses


def test_nothing_in_a_step_depends_on_data_or_waits(pictures, tmp_path):
    trainer = trainer_of(GraphTrainer, pictures, tmp_path)
    run_steps(trainer, 2)
    batch = trainer.batches.take()
    for distortion in ("mse", "eyes"):
        trainer.gradients.objective.distortion = distortion
        with Decisions() as dense:
            trainer.gradients(batch)
            trainer.optimiser.prepare(0.5, 0.9, 3.0)
            trainer.update()
        assert dense.found == []
        assert dense.count > 1000

    with Decisions() as sparse:
        Trainer.train_step(trainer_of(Trainer, pictures, tmp_path))
    assert {"nonzero", "bincount", "_local_scalar_dense"} <= set(sparse.found)


def test_a_step_runs_where_there_are_shapes_but_no_numbers(monkeypatch):
    """On torch's meta device whatever asks for a number raises, and whatever meets a tensor of the
    CPU, which would have to be copied."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.empty_like(x))
    lattice_mask.cache_clear()
    network = random_network().to("meta")
    objective = StaticObjective(network, 1.8, False, "eyes", STARTS)
    x = torch.empty(4, 3, 64, 64, device="meta")
    with Decisions() as met:
        losses = objective(x, torch.empty(4, dtype=torch.long, device="meta"))
        losses.objective.backward()
    soap = Soap([network.encoder.down.weight, network.encoder.stem.weight])
    vectors = [network.encoder.stem.bias, network.encoder.down.bias]
    adam = torch.optim.Adam([{"params": vectors, "base": 1e-3}])
    names = {id(p): name for name, p in network.named_parameters()}
    optimiser = StaticOptimiser(soap, 3e-3, adam, start_averages(network), names)
    tables = TableCounts(network.codebooks)
    with met:
        optimiser.prepare(1.0, 0.9, 3.0)
        optimiser.step()
        tables.add(losses.counts * optimiser.ok)
    lattice_mask.cache_clear()

    assert all(p.grad.device.type == "meta" for p in network.parameters())
    assert met.found == []


def two_trainers(pictures, tmp_path, **options):
    """Of either kind, with the same crops to come."""
    made = []
    for kind in (Trainer, GraphTrainer):
        made.append(trainer_of(kind, pictures, tmp_path / kind.__name__, **options))
        made[-1].crops.generator.manual_seed(7)
        made[-1].generator.manual_seed(7)
    return made


def assert_same_state(one, other, rtol):
    for name, p in one.network.named_parameters():
        start = random_network().get_parameter(name)
        tolerance = rtol * float((p - start).detach().abs().max()) + 1e-7
        for a, b in ((p, other.network.get_parameter(name)), (one.ema[name], other.ema[name])):
            torch.testing.assert_close(b, a, rtol=1e-6, atol=tolerance, msg=name)
    other.state()  # stores its norm
    assert other.norm == pytest.approx(one.norm, rel=1e-4)


def test_both_trainers_give_the_same_losses_tables_and_averages(pictures, tmp_path, no_noise):
    """With SOAP standing still: where no gradient was yet, the directions that it takes are those
    of the rounding."""
    one, other = two_trainers(pictures, tmp_path, soap_rate=0.0)
    for _ in range(6):
        (a,), (b,) = run_steps(one, 1), run_steps(other, 1)
        for name in ("cost", "bpp", "proxy_bpp", "mse", "unlike"):  # the crops are sorted in one
            x, y = (getattr(losses, name).sort().values for losses in (a, b))
            torch.testing.assert_close(y, x, rtol=1e-4, atol=1e-6)
    assert_same_state(one, other, 0.02)
    torch.testing.assert_close(other.tables.counts, one.tables.counts, rtol=1e-4, atol=1.0)


class Slope(torch.nn.Module):
    """An objective whose gradients are drawn, the same for all: of one step not finite."""

    def __init__(self, network):
        super().__init__()
        self.network, self.calls = network, 0
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, x, levels, degraded):
        self.calls += 1
        total = torch.zeros(())
        for p in self.network.parameters():
            slope = torch.randn(p.shape, generator=self.generator)
            slope.view(-1)[:1] *= {7: 1e4, 9: float("nan")}.get(self.calls, 1.0)
            total = total + (p * slope).sum()
        zeros = torch.zeros(len(x))
        counts = torch.ones_like(self.network.codebooks.bits)
        return Losses(total, zeros, zeros, zeros, zeros, zeros, zeros[:1], counts)


def run_slopes(trainer, count):
    """Steps by drawn gradients, the same each time."""
    batch = trainer.batch()
    trainer.objective = Slope(trainer.network)
    if isinstance(trainer, GraphTrainer):
        trainer._capture(batch)
        trainer.gradients.objective = trainer.objective
        trainer.batches.make = lambda: batch
    else:
        trainer.batch = lambda: batch
    run_steps(trainer, count)


def test_the_optimiser_steps_as_on_a_cpu(pictures, tmp_path, monkeypatch):
    """Clipping, SOAP with refreshed bases, Adam and averages; a gradient that is not finite changes
    nothing. Both find bases by QR here: see below."""
    monkeypatch.setattr(static_optimiser, "cholesky_qr", qr)
    monkeypatch.setattr(loop, "WARM_UP", 4)
    monkeypatch.setattr(graph_trainer, "WARM_UP", 4)
    one, other = two_trainers(pictures, tmp_path, refresh=4, half_turn=False)
    for trainer in (one, other):
        run_slopes(trainer, 10)
    assert_same_state(one, other, 0.02)
    torch.testing.assert_close(other.tables.counts, one.tables.counts)


def test_a_step_that_does_not_fit_the_memory_is_one_line(pictures, tmp_path, monkeypatch):
    def full(*args):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(graph_trainer, "GradientStep", full)
    with pytest.raises(VqcodecError, match=r"^a step of 4 crops of 64x64 .* --batch takes fewer$"):
        trainer_of(GraphTrainer, pictures, tmp_path).train_step()


@pytest.mark.parametrize("kind", [Trainer, GraphTrainer])
def test_a_run_goes_on_on_the_other_kind_of_device(pictures, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(static_optimiser, "cholesky_qr", qr)
    first = trainer_of(kind, pictures, tmp_path / "first", half_turn=False)
    run_slopes(first, 4)
    first.measure, first.checked = dict, True  # not what this is about
    first.save()
    one, other = two_trainers(pictures, tmp_path, half_turn=False)
    for trainer in (one, other):
        trainer.resume(first.out / "checkpoint.pt")
        assert trainer.step == 4
        for name, average in first.ema.items():
            assert torch.equal(trainer.ema[name], average)
        run_slopes(trainer, 3)
        assert trainer.process_state()["count"] == 7
    assert_same_state(one, other, 0.02)


def test_cholesky_gives_the_bases_of_qr():
    torch.manual_seed(0)
    x = torch.randn(3, 40, 40) * torch.logspace(0, -6, 40)
    dependent = x.clone()
    dependent[1, :, 7] = 0
    a, b = cholesky_qr(x), qr(x)

    torch.testing.assert_close((a * b).sum(1).abs(), torch.ones(3, 40), rtol=0, atol=1e-4)
    torch.testing.assert_close(a.mT @ a, torch.eye(40).expand(3, 40, 40), rtol=0, atol=1e-5)
    assert torch.equal(cholesky_qr(dependent), qr(dependent))
