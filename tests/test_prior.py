"""The prior: causal, integer, the same on every engine."""

import pytest
import torch

from conftest import random_network
from vqcodec.config import ALL_POSITIONS, lattice
from vqcodec.nn.prior import is_exact, lattice_mask


@pytest.fixture(scope="module")
def network():
    return random_network().eval().requires_grad_(False)


def walk(network, y, level=3):
    return list(network.quantise(y, torch.full((len(y),), level), 1.0))


def test_lattice_mask_marks_its_places():
    mask = lattice_mask(lattice((0, 0), (1, 2)), 5, 7, torch.device("cpu"))

    assert mask.nonzero().tolist() == [[0, 0], [0, 4], [1, 2], [1, 6], [4, 0], [4, 4]]


def test_decoded_latents_are_mean_plus_word_exactly(network):
    y = torch.randn(2, 32, 7, 9) * 4
    for result in walk(network, y):
        step = result.step
        expected = step.expected.mean + result.chosen.value
        got = result.latents[:, step.channels]
        assert torch.equal(got[..., step.mask], expected[..., step.mask])


def test_a_pass_depends_on_nothing_that_is_decoded_later(network):
    """Changing the latents of a pass leaves what all passes up to it expect."""
    y = torch.randn(1, 32, 8, 8) * 4
    before = walk(network, y)
    for number, result in enumerate(before):
        changed = y.clone()
        own = changed[:, result.step.channels]
        own[..., result.step.mask] += 9.0
        after = walk(network, changed)
        for a, b in zip(before[: number + 1], after, strict=False):
            assert torch.equal(a.step.expected.mean, b.step.expected.mean)
            assert torch.equal(a.step.expected.log_scale, b.step.expected.log_scale)


def test_expectations_are_on_their_grids(network):
    for result in walk(network, torch.randn(1, 32, 8, 8) * 4):
        mean = result.step.expected.mean * 2**6
        assert torch.equal(mean, mean.round())


def test_float32_and_float64_engines_agree(network):
    y = torch.randn(1, 32, 13, 9) * 30
    double = random_network().eval().requires_grad_(False)
    tables = double.tables(torch.arange(8))
    double.double()
    network.fixed_tables = tables
    double.fixed_tables = type(tables)(*(table.double() for table in tables))
    for a, b in zip(walk(network, y), walk(double, y.double()), strict=True):
        assert torch.equal(a.step.expected.mean.double(), b.step.expected.mean)
        assert torch.equal(a.step.expected.log_scale.double(), b.step.expected.log_scale)
        assert torch.equal(a.latents.double(), b.latents)
    network.fixed_tables = None


def test_batch_size_does_not_change_what_is_expected(network):
    y = torch.randn(3, 32, 6, 5) * 4
    together = walk(network, y)
    for number in range(3):
        alone = walk(network, y[number : number + 1])
        for a, b in zip(together, alone, strict=True):
            assert torch.equal(a.latents[number], b.latents[0])


def test_every_network_of_the_preset_is_exact():
    network = random_network(1)
    with torch.no_grad():
        for p in network.prior.parameters():
            p.mul_(1000)

    assert is_exact(network.prior)


def test_all_positions_of_all_channels_are_coded_once(network):
    coded = torch.zeros(32, 4, 4)
    for item in network.config.prior.passes:
        mask = lattice_mask(item.lattice, 4, 4, torch.device("cpu"))
        coded[item.start : item.stop] += mask

    assert bool((coded == 1).all())
    assert lattice_mask(ALL_POSITIONS, 3, 3, torch.device("cpu")).all()


def test_a_level_codes_only_its_passes(network):
    """The last pass of the tiny preset begins at level 4: an item below has zeros there, and
    each item is coded as it is alone."""
    torch.manual_seed(0)
    y = torch.randn(3, 32, 6, 5) * 3
    levels = torch.tensor([4, 3, 7])
    results = list(network.quantise(y, levels, 3.0))

    assert results[-1].step.items.tolist() == [0, 2]
    assert not results[-1].latents[1, 20:].any()
    assert results[-1].latents[0, 20:].any()
    for i in range(3):
        alone = list(network.quantise(y[i : i + 1], levels[i : i + 1], 3.0))
        assert len(alone) == (3 if i == 1 else 4)
        assert torch.equal(alone[-1].latents[0], results[-1].latents[i])
