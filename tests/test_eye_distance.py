"""The distance of pictures that eyes see: what it is 0 for, what it grows with, its gradient."""

import pytest
import torch
from torch.nn import functional as F

from conftest import smooth_picture
from vqcodec.nn.eye_distance import BIAS, eye_distance, linear_light, xyb


def pictures(*seeds: int, side: int = 128) -> torch.Tensor:
    """float32 [B, 3, side, side] in 0..1."""
    stack = [torch.from_numpy(smooth_picture(side, side, seed)) for seed in seeds]
    return torch.stack(stack).permute(0, 3, 1, 2).float() / 255


def blurred(x: torch.Tensor, size: int) -> torch.Tensor:
    return F.avg_pool2d(F.pad(x, [size // 2] * 4, "replicate"), size, 1)


def noisy(x: torch.Tensor, strength: float) -> torch.Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return (x + strength * noise).clamp(0, 1)


@pytest.mark.parametrize("side", [1, 5, 16, 64, 113, 128])
def test_equal_pictures_of_any_size_have_no_distance(side):
    x = pictures(0, 1, side=side)

    assert torch.equal(eye_distance(x, x), torch.zeros(2))


@pytest.mark.parametrize("side", [4, 16, 128])
def test_it_grows_with_blur_and_with_noise(side):
    x = pictures(0, 1, 2, side=side)
    by_blur = torch.stack([eye_distance(x, blurred(x, size)) for size in (1, 3, 5, 9)])
    by_noise = torch.stack([eye_distance(x, noisy(x, s)) for s in (0.0, 0.01, 0.04, 0.2)])

    for distances in (by_blur, by_noise):
        assert bool((distances.diff(dim=0) > 0).all())
        assert bool((distances < 2.3).all())


def test_coarse_structure_counts_where_the_mean_error_is_the_same():
    """A pattern of long waves is seen more than white noise of the same squared error, which the
    texture of the picture hides."""
    x = pictures(0)
    wave = torch.sin(torch.arange(128) * (2 * torch.pi / 32)).expand_as(x)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    textured = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    of_noise, of_wave = (
        eye_distance(textured, textured + 0.02 * change / change.square().mean().sqrt())
        for change in (noise, wave)
    )

    assert float(of_wave) > 1.1 * float(of_noise)


def test_it_is_the_same_both_ways():
    x, y = pictures(0, 1), pictures(2, 3)

    torch.testing.assert_close(eye_distance(x, y), eye_distance(y, x))


def test_a_picture_is_compared_by_itself_whatever_else_is_in_the_batch():
    x = pictures(0, 1, 2, 3)
    y = noisy(x, 0.05)
    together = eye_distance(x, y)
    order = torch.tensor([2, 0, 3, 1])

    torch.testing.assert_close(eye_distance(x[order], y[order]), together[order])
    for number in range(4):
        alone = eye_distance(x[number : number + 1], y[number : number + 1])
        torch.testing.assert_close(alone, together[number : number + 1])


@pytest.mark.parametrize("level", [0.0, 0.04045, 0.5, 1.0])
@pytest.mark.parametrize("change", [0.0, 0.1])
def test_the_gradient_is_finite_for_even_and_for_equal_pictures(level, change):
    x = torch.full((2, 3, 64, 64), level)
    y = (x + change * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    y.requires_grad_()
    eye_distance(x, y).sum().backward()

    assert bool(y.grad.isfinite().all())
    assert bool(y.grad.abs().max() > 1e-6) == bool(change)


def test_steps_along_the_gradient_bring_a_picture_back():
    x = pictures(0)
    y = blurred(x, 5).requires_grad_()
    before = eye_distance(x, y)
    for _ in range(20):
        (grad,) = torch.autograd.grad(eye_distance(x, y).sum(), y)
        y = (y - 0.2 * grad / grad.square().sum().sqrt()).detach().requires_grad_()

    assert bool(eye_distance(x, y) < 0.7 * before)


def test_what_is_out_of_range_counts_as_clipped():
    x = pictures(0)
    far = torch.where(x > 0.5, torch.full_like(x, 1.7), torch.full_like(x, -0.4))

    assert torch.equal(eye_distance(x, far), eye_distance(x, far.clamp(0, 1)))


def test_black_and_white_are_where_xyb_has_them():
    """JPEG XL's XYB, shifted: black is 0, and of white, as of any grey, X and B less Y are 0."""
    x = xyb(linear_light(torch.stack([torch.zeros(3, 1, 1), torch.ones(3, 1, 1)])))
    white = (1 + BIAS) ** (1 / 3) - BIAS ** (1 / 3)
    expected = torch.tensor([[0.42, 0.01, 0.55], [0.42, white + 0.01, 0.55]])

    torch.testing.assert_close(x[..., 0, 0], expected, atol=1e-6, rtol=0)


def test_it_needs_no_values_to_know_what_to_do():
    """Tensors without values pass through, so nothing is read back from a device: a CUDA graph
    can hold it."""
    x = torch.empty(2, 3, 128, 128, device="meta", requires_grad=True)
    eye_distance(x, torch.empty_like(x)).sum().backward()

    assert x.grad.shape == x.shape
