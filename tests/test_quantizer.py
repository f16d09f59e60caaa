"""Conditional codebooks: assignment, lookup and tables."""

import math

import pytest
import torch

from vqcodec.config import QuantizerConfig
from vqcodec.nn.fast_assign import FastCodebooks
from vqcodec.nn.quantizer import Codebooks, gaussian_probabilities, table_sizes, unzigzag, zigzag

CONFIG = QuantizerConfig()


@pytest.fixture(scope="module", params=[Codebooks, FastCodebooks])
def codebooks(request):
    return request.param(CONFIG).requires_grad_(False)


def residuals(classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    log_scale = CONFIG.log_sigma_min + classes / CONFIG.per_octave
    return log_scale, torch.randn(classes.shape, generator=generator) * 2.0**log_scale


def mixed(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, CONFIG.classes, (2, 8, 5, 6), generator=generator).float()


def test_probabilities_sum_to_one_and_sizes_agree():
    rows = gaussian_probabilities(CONFIG)

    assert [len(p) for p in rows] == table_sizes(CONFIG)
    assert all(abs(float(p.sum()) - 1) < 1e-9 for p in rows)


def test_classes_follow_the_scale(codebooks):
    log_scale, _ = residuals(mixed())
    classes = codebooks.classify(log_scale)

    assert torch.equal(classes.scalar, mixed().int())


def test_pairs_are_used_exactly_where_both_scales_are_small(codebooks):
    t = mixed().long()
    classes = codebooks.classify(residuals(t.float())[0])

    small = t < CONFIG.pair_classes
    assert torch.equal(classes.row[:, 1::2] < 0, small[:, 0::2] & small[:, 1::2])


@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_lookup_returns_the_value_that_was_assigned(codebooks, spread):
    """Also far outside the codebooks, where escapes spell integers."""
    log_scale, r = residuals(mixed(3), 3)
    classes = codebooks.classify(log_scale)
    chosen = codebooks.assign(r * spread, classes, torch.ones(2, 8, 1, 1))

    assert torch.equal(codebooks.lookup(chosen.index, classes), chosen.value)


def test_escapes_are_within_half_a_step(codebooks):
    classes = codebooks.classify(torch.full((1, 2, 1, 1), -3.0))
    r = torch.tensor([100.3, -7.6]).view(1, 2, 1, 1)
    chosen = codebooks.assign(r, classes, torch.ones(1, 2, 1, 1))

    assert chosen.value.flatten().tolist() == [100, -8]


def test_assignment_is_the_optimum_over_the_whole_codebook(codebooks):
    """Against a search of every codeword; those left out hardly matter."""
    t = torch.randint(0, CONFIG.pair_classes, (1, 2, 40, 40)).float()
    log_scale, r = residuals(t, 1)
    classes = codebooks.classify(log_scale)
    kappa = torch.full((1, 2, 1, 1), 3.0)
    chosen = codebooks.assign(r, classes, kappa)

    def cost(value, bits):
        return (3 * (r - value) ** 2).sum(1) + bits

    got = cost(chosen.value, codebooks.bits_of(chosen.index, chosen.row).sum(1))
    best = torch.full_like(got, math.inf)
    for k in range(codebooks.pair_words.shape[1]):
        index = torch.full_like(chosen.index, -1)
        index[:, 0] = k
        value = codebooks.lookup(index, classes)
        best = torch.minimum(best, cost(value, codebooks.bits_of(index, chosen.row).sum(1)))
    assert bool((got >= best - 1e-5).all())
    assert float((got - best).mean()) < 0.001 * float(best.mean())


def test_a_larger_lambda_scale_is_closer_and_costs_more_bits(codebooks):
    log_scale, r = residuals(torch.full((1, 8, 40, 40), 9.0))
    classes = codebooks.classify(log_scale)
    results = []
    for kappa in (0.5, 4.0, 40.0):
        chosen = codebooks.assign(r, classes, torch.full((1, 8, 1, 1), kappa))
        bits = codebooks.bits_of(chosen.index, chosen.row).sum()
        results.append((float(((r - chosen.value) ** 2).mean()), float(bits)))

    errors, bits = zip(*results, strict=True)
    assert errors[0] > errors[1] >= errors[2]
    assert bits[0] < bits[1] <= bits[2]


def test_zigzag_is_a_bijection():
    n = torch.arange(-300, 300)

    assert torch.equal(unzigzag(zigzag(n)), n)
    assert sorted(zigzag(n).tolist()) == list(range(600))


@pytest.mark.parametrize("kind", [Codebooks, FastCodebooks])
def test_codewords_have_a_gradient_through_their_value(kind):
    codebooks = kind(CONFIG)
    classes = codebooks.classify(torch.full((1, 4, 3, 3), -1.0))
    chosen = codebooks.assign(torch.full((1, 4, 3, 3), 1.2), classes, torch.ones(1, 4, 1, 1))
    chosen.value.sum().backward()

    assert float(codebooks.pair_words.grad.sum()) == 4 * 9


@pytest.mark.parametrize("spread", [0.5, 1.0, 4.0, 100.0])
def test_the_fast_assignment_is_the_plain_one(spread):
    """In float64, in which costs hardly ever tie; moved codewords, both items' own kappa."""
    plain, fast = (
        kind(CONFIG).double().requires_grad_(False) for kind in (Codebooks, FastCodebooks)
    )
    generator = torch.Generator().manual_seed(8)
    for name, codewords in plain.named_parameters():
        codewords += 0.2 * torch.randn(codewords.shape, generator=generator)
        fast.get_parameter(name).copy_(codewords)
    t = torch.randint(0, CONFIG.classes, (2, 12, 24, 30), generator=generator)
    t[:, :6] %= CONFIG.pair_classes  # as many pairs as others
    log_scale, r = residuals(t.float(), 8)
    r = spread * r.double()
    kappa = 8 * torch.rand(2, 12, 1, 1, generator=generator).double()
    expected_classes, classes = plain.classify(log_scale), fast.classify(log_scale)
    expected = plain.assign(r, expected_classes, kappa)
    found = fast.assign(r, classes, kappa)

    for name in ("scalar", "row"):
        assert torch.equal(getattr(classes, name), getattr(expected_classes, name))
    for name in ("index", "row", "value"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    assert torch.equal(fast.lookup(found.index, classes), expected.value)
    bits = (books.bits_of(found.index, found.row) for books in (plain, fast))
    assert torch.equal(*bits)


def test_both_kinds_of_codebooks_have_the_same_state():
    assert list(Codebooks(CONFIG).state_dict()) == list(FastCodebooks(CONFIG).state_dict())


def test_frozen_codewords_stay_until_they_are_trained_on():
    codebooks = FastCodebooks(CONFIG).requires_grad_(False)
    classes = codebooks.classify(torch.full((1, 4, 3, 3), -1.0))
    index = codebooks.assign(torch.full((1, 4, 3, 3), 1.2), classes, torch.ones(1, 4, 1, 1)).index
    before = codebooks.lookup(index, classes)
    codebooks.freeze()
    codebooks.pair_words += 1

    assert torch.equal(codebooks.lookup(index, classes), before)
    codebooks.freeze(False)
    assert torch.equal(codebooks.lookup(index, classes), before + 1)
