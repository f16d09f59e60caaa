"""Search without torch: ONNX Runtime's slopes against torch's gradients, and what they buy."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import smooth_picture
from vqcodec.codec import Codec
from vqcodec.config import DISTORTIONS, QuantizerConfig
from vqcodec.engine import tiling
from vqcodec.engine.base import REFINEMENT_HALO, Maps
from vqcodec.engine.onnx import refinement as without_torch
from vqcodec.engine.onnx.context_bits import bit_slopes
from vqcodec.engine.onnx.distortion import Judge
from vqcodec.engine.search_steps import Descent
from vqcodec.engine.torch import refinement as with_torch
from vqcodec.engine.torch.distortion import judge
from vqcodec.engine.torch.tensors import to_array, to_map
from vqcodec.entropy.fixed_point import SUM_BITS
from vqcodec.geometry import Rectangle, pixels_of, widened, within
from vqcodec.nn.rate_proxy import scale_bounds
from vqcodec.rate_control import operating_point

GRID = Rectangle(0, 0, 12, 10)
INNER = Rectangle(5, 0, 4, 3)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def strong(strong_folder) -> tuple[Codec, Codec]:
    """Both engines."""
    return Codec.load(strong_folder, "cpu", precise=True), Codec.load(strong_folder, "onnx")


@pytest.fixture(scope="module")
def onnx(model_folder) -> Codec:
    return Codec.load(model_folder, "onnx")


def begin(codec: Codec, quality: float, distortion: str, tile: Rectangle = GRID) -> Descent:
    """The search of one engine for a tile, whose last pixels are outside of the picture."""
    rgb = smooth_picture(16 * GRID.height - 5, 16 * GRID.width - 3)
    point = operating_point(quality, codec.model.config.transform.levels)
    around = widened(tile, REFINEMENT_HALO, GRID)
    y = Maps(tiling.analyse(codec.engine, rgb, point.level, around), around)
    rest = rgb[within(pixels_of(tile))], y, tile, point, distortion
    engine = codec.engine
    if hasattr(engine, "network"):
        return with_torch.Refinement(engine.tiles, engine.network.decoder, *rest)
    return without_torch.Refinement(engine.tiles, engine.both_ways, *rest)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() < 2e-4 * np.abs(expected).max()


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("tile", [GRID, INNER])
def test_slopes_through_the_decoder_are_the_gradients_of_torch(strong, distortion, tile):
    codec, onnx = strong
    expected, found = (begin(each, 60, distortion, tile) for each in (codec, onnx))
    noise = np.random.default_rng(0).standard_normal(expected.start.shape, np.float32)
    coded = codec.model.config.coded_channels(expected.level)
    latents = np.where(np.arange(noise.shape[2]) < coded, expected.start + noise, 0)

    expected, found = (each._judged(latents, differentiate=True) for each in (expected, found))
    assert found.error == pytest.approx(expected.error, rel=1e-5)
    assert_close(found.slope[..., :coded], expected.slope[..., :coded])


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (61, 33), (128, 113)])
def test_pixels_are_judged_as_by_torch(distortion, shape):
    """Pictures of all scales and of few, pixels outside of the range."""
    x = np.float32(smooth_picture(*shape)) / 255
    out = x + 0.1 * np.random.default_rng(0).standard_normal(x.shape, np.float32)
    assert out.max() > 1 or out.size < 100
    expected, found = judge(distortion, to_map(out, CPU), to_map(x, CPU)), Judge(distortion, x)(out)

    assert found.error == pytest.approx(expected.error, rel=1e-4)
    assert_close(found.slope, to_array(expected.slope))


class Bounded(torch.autograd.Function):
    """A scale within its bounds, whose gradient passes as that of `GaussianBits`."""

    @staticmethod
    def forward(ctx, log_scale, low, high):
        bounded = log_scale.clamp(low, high)
        ctx.save_for_backward(log_scale < low, bounded == log_scale)
        return bounded

    @staticmethod
    def backward(ctx, grad):
        below, inside = ctx.saved_tensors
        return grad * (inside | below & (grad < 0)), None, None


def logistic_bits(r, log_scale, low, high):
    """As `GaussianBits`, of the logistic distribution of the same variance; torch differentiates
    it."""
    scale = 3**0.5 / math.pi * 2 ** Bounded.apply(log_scale.double(), low, high)
    near, far = ((r.double().abs() + half) / scale for half in (-0.5, 0.5))
    inside = torch.log(-torch.expm1(-1 / scale))
    return ((F.softplus(near) + F.softplus(-far) - inside) / math.log(2)).float()


def test_slopes_of_bits_are_the_gradients_of_torch():
    config, rng = QuantizerConfig(), np.random.default_rng(0)
    r = np.float32(rng.standard_normal((1000, 4)) * 2.0 ** rng.integers(-3, 8, (1000, 1)))
    scales = rng.integers(-20000, 100000, r.shape).astype(np.int32)
    low, high = scale_bounds(config)
    inputs = torch.from_numpy(r), low + torch.from_numpy(scales) / 2**SUM_BITS
    inputs = [each.requires_grad_() for each in inputs]
    expected = torch.autograd.grad(logistic_bits(*inputs, low, high).sum(), inputs)

    for found, slope in zip(bit_slopes(r, scales, config), expected, strict=True):
        assert found.dtype == np.float32
        assert np.allclose(found, slope.numpy(), rtol=1e-4, atol=1e-4)


def test_slopes_through_the_prior_are_the_gradients_of_torch(codec, onnx, monkeypatch):
    """Of the same bits, with noise that is its mean."""
    monkeypatch.setattr(with_torch, "GaussianBits", SimpleNamespace(apply=logistic_bits))
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 0.5))
    expected, found = (begin(each, 80, "mse") for each in (codec, onnx))
    silence = SimpleNamespace(random=lambda shape, dtype: np.full(shape, 0.5, dtype))
    monkeypatch.setattr(found.bits, "_noise", silence)
    target = expected._target(expected.start)

    expected, found = (each._assigned(target, differentiate=True) for each in (expected, found))
    assert np.array_equal(found.coded.latents, expected.coded.latents)
    assert found.bits == pytest.approx(expected.bits, rel=1e-6)
    assert np.abs(expected.slope).max() > 0
    assert_close(found.slope, expected.slope)


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("quality", [10, 47, 90])
def test_more_rounds_are_never_worse(onnx, codec, quality, distortion):
    costs = [begin(onnx, quality, distortion).run(rounds).cost for rounds in (0, 1, 2, 5)]
    gains = [1 - begin(each, quality, distortion).run(5).cost / costs[0] for each in (onnx, codec)]

    assert costs == sorted(costs, reverse=True)
    assert gains[0] > 0.4 * gains[1] > 0.002


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_the_cost_is_that_of_the_file(onnx, codec, distortion):
    """By the other engine: the bits of the indices that are written, and the distortion."""
    search = begin(onnx, 60, distortion)
    coded, cost = search.run(3)
    segments = onnx.engine.tiles.packed(coded).segments
    read = codec.engine.tiles.decode(segments, *coded.latents.shape[:2], search.level)
    assert np.array_equal(read.indices, coded.indices)
    error = begin(codec, 60, distortion)._judged(coded.latents, differentiate=False).error

    assert cost == pytest.approx(codec.engine.tiles.bits(coded) + search.weight * error, rel=1e-4)


def test_files_of_a_search_decode_to_the_same_indices_with_both(onnx, codec):
    rgb = smooth_picture(81, 112)
    files = [onnx.encode(rgb, 60, effort=effort) for effort in (1, 2, 4)]

    assert len(set(files)) == 3
    assert onnx.encode(rgb, 60, effort=4) == files[2]
    for effort, data in zip((1, 2, 4), files, strict=True):
        found = onnx.encode_indices(rgb, 60, effort=effort).indices
        assert np.array_equal(found, codec.read_indices(data).indices)
        assert np.array_equal(found, onnx.read_indices(data).indices)
