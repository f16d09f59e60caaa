"""Grain: noise by place, and the decoder that takes it."""

import numpy as np
import torch

from vqcodec.config import GRAIN_CHANNELS
from vqcodec.engine.onnx import grain as in_numpy
from vqcodec.nn.grain import grain
from vqcodec.nn.transforms import Decoder, LinearPath
from vqcodec.train.presets import tiny

CPU = torch.device("cpu")


def test_grain_is_that_of_the_place():
    whole = grain(0, 0, 40, 30, CPU)
    assert whole.shape == (1, GRAIN_CHANNELS, 80, 60)
    assert torch.equal(grain(7, 11, 6, 5, CPU), whole[:, :, 14:26, 22:32])
    assert np.array_equal(in_numpy.grain(7, 11, 6, 5), whole[0].permute(1, 2, 0)[14:26, 22:32])


def test_grain_is_white_with_a_variance_of_one():
    noise = grain(3000, 90000, 64, 64, CPU)[0]
    flat = noise.flatten(1)
    assert bool((flat.mean(1).abs() < 0.04).all())
    assert bool((flat @ flat.T / flat.shape[1] - torch.eye(GRAIN_CHANNELS)).abs().max() < 0.05)
    for neighbour in (noise[:, 1:] * noise[:, :-1], noise[..., 1:] * noise[..., :-1]):
        assert bool((neighbour.mean((1, 2)).abs() < 0.05).all())


def test_a_decoder_without_grain_is_one_that_does_not_hear_it():
    config = tiny().model.transform
    plain, grained = Decoder(config), Decoder(config, grained=True)
    missing = grained.load_state_dict(plain.state_dict(), strict=False)
    assert missing.missing_keys == ["grain.weight"]
    assert (plain.is_grained, grained.is_grained) == (False, True)
    y = torch.randn(1, config.latents, 3, 4, generator=torch.Generator().manual_seed(0))
    levels = torch.zeros(1, dtype=torch.long)
    args = LinearPath(config.latents), torch.ones(config.latents), levels
    grained.grain.weight.data.zero_()
    noise = grain(0, 0, 3, 4, CPU)
    assert torch.equal(plain(y, *args), grained(y, *args, noise))
    grained.grain.weight.data.fill_(0.1)
    assert not torch.equal(plain(y, *args), grained(y, *args, noise))
