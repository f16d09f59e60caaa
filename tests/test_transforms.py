"""The transforms: local, sized right, conditioned on the level."""

import pytest
import torch
from torch.nn import functional as F

from conftest import random_network
from vqcodec.engine.torch import runtime
from vqcodec.nn import blocks
from vqcodec.nn.blocks import LevelEmbedding, PointConv, in_raster
from vqcodec.nn.transforms import from_blocks, to_blocks
from vqcodec.train.precision import half_precision

REACH = 48  # pixels that the tiny preset's receptive fields reach, rounded up to latents


@pytest.fixture(scope="module")
def network():
    return random_network().eval().requires_grad_(False)


def test_shapes_follow_the_stride(network):
    x = torch.rand(2, 3, 48, 80)
    levels = torch.tensor([0, 7])
    y = network.analyse(x, levels)

    assert y.shape == (2, 32, 3, 5)
    assert network.synthesise(y, levels).shape == x.shape


def test_a_cut_with_a_halo_gives_exactly_the_latents_of_the_whole(network):
    """No global statistics: what tiling of large pictures will rest on."""
    x = torch.rand(1, 3, 160, 160)
    whole = network.analyse(x, torch.tensor([3]))
    part = network.analyse(
        x[..., 64 - REACH : 96 + REACH, 64 - REACH : 96 + REACH], torch.tensor([3])
    )

    inner = slice(REACH // 16, REACH // 16 + 2)
    assert torch.allclose(part[..., inner, inner], whole[..., 4:6, 4:6], atol=1e-4)


def test_decoding_a_cut_with_a_halo_gives_the_pixels_of_the_whole(network):
    y = torch.randn(1, 32, 10, 10)
    whole = network.synthesise(y, torch.tensor([3]))
    part = network.synthesise(y[..., 1:9, 1:9], torch.tensor([3]))

    inner = slice(REACH, REACH + 32)
    assert torch.allclose(part[..., inner, inner], whole[..., 64:96, 64:96], atol=1e-5)


def test_channels_that_no_level_of_the_batch_codes_are_left_out(network, monkeypatch):
    """The last 12 of the tiny preset's 32 are coded from level 4 on."""
    x, low, mixed = torch.rand(1, 3, 48, 80), torch.tensor([3]), torch.tensor([3, 4])
    y = network.analyse(x, low)
    decoded = network.synthesise(y, low)
    assert not y[:, 20:].any()
    assert network.analyse(x.expand(2, -1, -1, -1), mixed)[0, 20:].any()

    monkeypatch.setattr(type(network.config), "coded_channels", lambda *_: 32)
    assert torch.allclose(network.analyse(x, low)[:, :20], y[:, :20], atol=1e-5)
    assert torch.allclose(network.synthesise(y, low), decoded, atol=1e-5)


def test_blocks_are_those_of_pixel_unshuffle_in_another_order():
    x = torch.rand(2, 3, 32, 48)
    blocks = to_blocks(x, 8)
    order = in_raster(torch.arange(3 * 64), 8)

    assert torch.equal(blocks, F.pixel_unshuffle(x, 8)[:, order])
    assert torch.equal(from_blocks(blocks, 8), x)


@pytest.mark.parametrize("size", [4, 40])
def test_a_point_convolution_is_that_of_torch(size):
    """In either way to compute it, and with blocks on either side of it."""
    x = torch.rand(1, 3, 8 * size, 8 * size)
    plain, enter, leave = PointConv(192, 64), PointConv(192, 64, side_in=8), PointConv(64, 192)
    enter.load_state_dict(plain.state_dict())
    inner = F.conv2d(F.pixel_unshuffle(x, 8), plain.weight, plain.bias)
    outer = PointConv(64, 192, side_out=8)
    outer.load_state_dict(leave.state_dict())
    expected = F.pixel_shuffle(F.conv2d(inner, leave.weight, leave.bias), 8)

    assert torch.allclose(enter(to_blocks(x, 8)), inner, atol=1e-5)
    assert torch.allclose(from_blocks(outer(inner), 8), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_residual_blocks_give_the_same_in_fewer_steps(monkeypatch, dtype):
    block = blocks.Residual(16).to(dtype).requires_grad_(False)
    torch.nn.init.normal_(block.mix[3].weight, std=0.2)
    x = torch.randn(1, 16, 12, 20).to(dtype).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    with torch.no_grad():
        few = block(x)
        monkeypatch.setattr(blocks, "can_fuse", lambda *_: False)
        many = block(x)

    assert torch.equal(x, before)
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(few, many, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("failure", [AttributeError, TypeError, RuntimeError, None])
def test_blocks_take_their_steps_where_torch_has_no_fused_ones(monkeypatch, failure):
    """Torch's function may go, or change its arguments or what it does."""

    def other(x, *arguments):
        if failure:
            raise failure
        return torch.zeros_like(x)

    monkeypatch.setattr(runtime, "fused", other)
    runtime._fused_is_right.cache_clear()
    assert not runtime.can_fuse(torch.device("cpu"), torch.float32)

    monkeypatch.undo()
    runtime._fused_is_right.cache_clear()


def test_onednn_that_is_off_is_not_asked(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)

    assert not runtime.can_fuse(torch.device("cpu"), torch.float32)


def trained_in(device: torch.device, wanted: bool = True) -> torch.dtype:
    with half_precision(device, wanted):
        return F.linear(torch.ones(1, 1), torch.ones(1, 1)).dtype


def test_only_cpus_that_have_bfloat16_compute_in_it(monkeypatch):
    cpu, flags = torch.device("cpu"), {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert runtime.fast_type(cpu) == torch.bfloat16
    assert runtime.fast_type(torch.device("cuda")) == torch.float32
    assert trained_in(cpu) == torch.bfloat16
    assert trained_in(cpu, wanted=False) == torch.float32

    flags["avx512_bf16"] = False
    assert runtime.fast_type(cpu) == torch.float32
    assert trained_in(cpu) == torch.float32

    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert runtime.fast_type(cpu) == torch.float32


def test_level_vectors_are_interpolated_between_knots():
    vector = LevelEmbedding(2, levels=9, knots=3)
    with torch.no_grad():
        vector.knots.copy_(torch.tensor([[0.0, 0], [1, 10], [2, 0]]))

    assert vector.table()[:, 0].tolist() == [i / 4 for i in range(9)]
    assert vector.table()[:, 1].tolist() == [0, 2.5, 5, 7.5, 10, 7.5, 5, 2.5, 0]


def test_as_many_knots_as_levels_are_the_table_itself():
    """What an exported model has: the table must not be changed by interpolation."""
    vector = LevelEmbedding(3, levels=48, knots=48)
    with torch.no_grad():
        vector.knots.normal_()

    assert torch.equal(vector.table(), vector.knots)


def test_finer_levels_have_finer_steps(network):
    steps = network.gains.to_steps()

    assert bool((steps.diff(dim=0) > 0).all())
