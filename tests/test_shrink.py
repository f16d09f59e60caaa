"""A smaller network from a larger one."""

import dataclasses

import pytest
import torch

from conftest import save_pictures
from vqcodec.config import ModelConfig, PassConfig
from vqcodec.engine.torch.network import build
from vqcodec.errors import ModelError
from vqcodec.nn.model import Network
from vqcodec.train import data as train_data
from vqcodec.train import shrink as shrinking
from vqcodec.train.grow import grow
from vqcodec.train.importance import ActivationStats, balanced, spread, strongest
from vqcodec.train.shrink import shrink

LAMBDA_SCALE = 1.8


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> train_data.Crops:
    folder = save_pictures(tmp_path_factory.mktemp("pictures"), 4, 160, 160)
    train_data.build_cache([folder], folder / "cache")
    return train_data.Crops(folder / "cache", torch.device("cpu"), False, 0)


@pytest.fixture(scope="module")
def trained(codec) -> Network:
    """The tests' network, as training starts from it."""
    network = Network(codec.model.config)
    network.load_state_dict(build(codec.model).state_dict())
    network.codebooks.bits.copy_(build(codec.model).codebooks.bits)
    return network


def larger(config: ModelConfig, **more: int) -> ModelConfig:
    passes = (*config.prior.passes, PassConfig(32, 40, blocks=1, min_level=5))
    sizes = {"latents": 40, "fine_width": 32, "coarse_width": 40} | more
    transform = dataclasses.replace(config.transform, **sizes)
    return ModelConfig("larger", transform, prior=dataclasses.replace(config.prior, passes=passes))


def resized(config: ModelConfig, **sizes) -> ModelConfig:
    return dataclasses.replace(config, transform=dataclasses.replace(config.transform, **sizes))


@torch.no_grad()
def passed(network: Network) -> tuple[torch.Tensor, ...]:
    """Latents, decoded latents and pixels of two crops at levels without the last pass."""
    x, levels = torch.rand(2, 3, 64, 64), torch.tensor([1, 4])
    y = network.analyse(x, levels)
    latents = list(network.quantise(y, levels, 3.0))[-1].latents
    return y, latents, network.synthesise(latents, levels)


def test_what_growing_added_without_effect_shrinking_takes_away(trained, crops):
    """Latents, and channels of all blocks."""
    grown, again = Network(larger(trained.config)), Network(trained.config)
    grow(grown, trained, crops)
    shrink(again, grown, crops, LAMBDA_SCALE)
    torch.manual_seed(1)
    before = passed(trained)
    torch.manual_seed(1)
    after = passed(again)

    assert (after[0] - before[0]).abs().mean() < 0.001 * before[0].abs().mean()
    assert ((after[1] - before[1]).abs() > 0.2).float().mean() < 0.02  # words at a tie
    assert (after[2] - before[2]).abs().mean() < 0.001


def test_blocks_that_do_harm_are_left_out(trained, crops):
    """Kernels of channels that nothing mixes tell which block stayed."""
    grown, again = Network(larger(trained.config, coarse_blocks=2)), Network(trained.config)
    grow(grown, trained, crops)
    torch.manual_seed(0)
    for row in (grown.encoder.coarse, grown.decoder.coarse):
        torch.nn.init.normal_(row[1].expand[2].weight[:32])
    shrink(again, grown, crops, LAMBDA_SCALE)

    for side in ("encoder", "decoder"):
        found, expected = (n.get_submodule(f"{side}.coarse.0.mix.2") for n in (again, trained))
        assert torch.equal(found.weight, expected.weight)


def test_an_encoder_can_be_larger_than_the_decoder_and_become_as_small_again(
    trained, crops, monkeypatch
):
    """Grown it begins with the same latents; shrunk it loses the blocks that did nothing. (By what
    they do: of random networks some blocks do harm, and would go first.)"""

    def deeds(objective, block, batch) -> float:
        last = block.mix[3].weight, block.expand[2].weight
        return sum(float(weight.detach().abs().sum()) for weight in last)

    monkeypatch.setattr(shrinking, "cost_without", deeds)
    sizes = {"encoder_fine_blocks": 2, "encoder_coarse_blocks": 3}
    grown, again = Network(resized(trained.config, **sizes)), Network(trained.config)
    grow(grown, trained, crops)
    shrink(again, grown, crops, LAMBDA_SCALE)
    torch.manual_seed(1)
    latents, _, pixels = passed(trained)
    for network in (grown, again):
        torch.manual_seed(1)
        other, _, others = passed(network)
        assert (other - latents).abs().mean() < 0.001 * latents.abs().mean()
        assert (others - pixels).abs().mean() < 0.001

    assert [len(grown.encoder.fine), len(grown.encoder.coarse)] == [2, 3]
    assert [len(grown.decoder.fine), len(grown.decoder.coarse)] == [1, 1]
    with pytest.raises(ModelError, match="expected at most"):
        shrink(grown, trained, crops, LAMBDA_SCALE)


def test_a_shrunk_network_is_closer_than_the_larger_ones_first_channels(trained, crops):
    """Half the channels at 1/8, by what matters: in latents, and in pixels of the same latents."""
    small = resized(trained.config, fine_width=12)
    shrunk, cut = Network(small), Network(small)
    shrink(shrunk, trained, crops, LAMBDA_SCALE)
    theirs = trained.state_dict()
    first = {k: theirs[k][tuple(map(slice, t.shape))] for k, t in shrunk.state_dict().items()}
    cut.load_state_dict(first)
    x, levels = crops.sample(8, 64), torch.arange(8)
    with torch.no_grad():
        y = trained.analyse(x, levels)
        decoded = trained.synthesise(y, levels)
        errors = [
            [
                float((n.analyse(x, levels) - y).square().mean()),
                float((n.synthesise(y, levels) - decoded).square().mean()),
            ]
            for n in (shrunk, cut)
        ]

    assert errors[0][0] < 0.7 * errors[1][0]
    assert errors[0][1] < 0.7 * errors[1][1]


def test_what_matters_to_eyes_is_not_what_matters_to_the_squared_error(trained, crops):
    found = []
    for distortion in ("mse", "eyes"):
        crops.generator.manual_seed(0)
        torch.manual_seed(0)
        found.append(Network(resized(trained.config, fine_width=12)))
        shrink(found[-1], trained, crops, LAMBDA_SCALE, distortion)
    a, b = (network.decoder.head.weight for network in found)

    assert not torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("sizes", [{"fine_width": 32}, {"coarse_blocks": 2}, {"lambda_max": 0.02}])
def test_a_network_that_does_not_fit_is_refused(trained, crops, sizes):
    other = Network(resized(trained.config, **sizes))
    with pytest.raises(ModelError, match=r"expected at most|same levels"):
        shrink(other, trained, crops, LAMBDA_SCALE)


def test_the_directions_that_are_both_used_and_felt_are_kept():
    """Of four directions one is loud but felt by nobody, one felt but silent."""
    loud, felt = torch.tensor([9.0, 0, 1, 1]), torch.tensor([0.0, 9, 1, 2])
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0))).Q.double()
    seen = ActivationStats(turn * loud @ turn.T, turn * felt @ turn.T)
    cut = balanced([seen], 2)
    through = cut.read @ cut.write.T

    kept = turn[:, 2:].float()
    torch.testing.assert_close(through @ kept, kept, atol=1e-3, rtol=0)
    torch.testing.assert_close(cut.write.T @ cut.read, torch.eye(2), atol=1e-3, rtol=0)
    assert strongest([ActivationStats(loud.diag(), felt.diag())], 2).tolist() == [2, 3]


def test_channels_that_go_are_predicted_from_those_that_stay():
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 2] = 2 * x[:, 0] - x[:, 1]
    kept = torch.tensor([0, 2])

    back = x[:, kept].float() @ spread(x.T @ x, kept).T
    torch.testing.assert_close(back, x.float(), atol=1e-3, rtol=0)
