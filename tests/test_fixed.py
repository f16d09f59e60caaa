"""The integer prior's arithmetic is exact, bounded, and the same on every engine."""

import pytest
import torch

from vqcodec.entropy.fixed_point import EXACT_SUM
from vqcodec.nn.fixed import (
    RELU_MAX,
    STATE_MAX,
    WEIGHT_SUM,
    FixedConv,
    activation,
    round_to,
)


def integer_input(shape, limit, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-limit, limit + 1, shape, generator=generator).float()


def test_round_to_rounds_halves_up():
    x = torch.tensor([-1.5, -0.5, 0.5, 1.5, 0.49]) / 32

    assert (round_to(x, 5) * 32).tolist() == [-1, 0, 1, 2, 0]


def test_round_to_passes_the_gradient_straight_through():
    x = torch.tensor([0.3, -0.7], requires_grad=True)

    round_to(x, 5).sum().backward()

    assert x.grad.tolist() == [1, 1]


def test_activation_clips_to_its_range():
    x = torch.tensor([-3.0, 95.49, 95.5, 3000.0])

    assert activation(x, 0, RELU_MAX).tolist() == [0, 95, 96, RELU_MAX]


def test_activation_passes_the_gradient_where_it_does_not_clip():
    x = torch.tensor([-3.0, 95.49, 3000.0], requires_grad=True)
    got = activation(x, 0, RELU_MAX)
    got.sum().backward()

    assert got.tolist() == [0, 95, RELU_MAX]
    assert x.grad.tolist() == [0, 1, 0]


@pytest.mark.parametrize(("kernel", "depthwise"), [(1, False), (3, False), (5, True)])
def test_a_layer_is_exact_integer_arithmetic(kernel, depthwise):
    """Against a convolution of int64 tensors written with shifts and sums."""
    torch.manual_seed(kernel)
    conv = FixedConv(6, 6, kernel, STATE_MAX, depthwise=depthwise)
    x = integer_input((1, 6, 9, 7), STATE_MAX)
    got = conv(x)

    weight = (conv.fixed_weight() * 2**8).long()
    padded = torch.nn.functional.pad(x.long(), [kernel // 2] * 4)
    expected = torch.zeros(6, 9, 7, dtype=torch.int64)
    for out in range(6):
        for into in range(6) if not depthwise else [out]:
            for dy in range(kernel):
                for dx in range(kernel):
                    w = weight[out, 0 if depthwise else into, dy, dx]
                    expected[out] += w * padded[0, into, dy : dy + 9, dx : dx + 7]
    assert torch.equal((got[0] * 2**8).long(), expected)


def test_no_weights_can_leave_the_exact_range():
    """Huge trained weights are scaled down, so the worst input still sums below 2**24."""
    conv = FixedConv(64, 8, 3, STATE_MAX).requires_grad_(False)
    with torch.no_grad():
        conv.weight.mul_(1e4)
        conv.bias.fill_(1e9)

    assert conv.bound() < EXACT_SUM
    worst = conv.fixed_weight().sign()[0][None, :, :3, :3] * STATE_MAX
    assert float(conv(worst)[0, 0, 1, 1]) * 2**8 < EXACT_SUM


def test_scaling_down_is_idempotent():
    """What export writes is what inference computes with."""
    conv = FixedConv(64, 8, 3, STATE_MAX)
    with torch.no_grad():
        conv.weight.mul_(1e3)
        once = conv.fixed_weight()
        conv.weight.copy_(once)

    assert torch.equal(conv.fixed_weight(), once)


def at_its_bound(conv: FixedConv, fill: float = 24.0) -> FixedConv:
    """With one weight that nearly fills each row's bound, and others that rounding lifts."""
    with torch.no_grad():
        conv.weight[:, 0] += fill
    return conv


@pytest.mark.parametrize(("inputs", "kernel", "depthwise"), [(80, 1, False), (8, 5, True)])
@pytest.mark.parametrize("input_max", [STATE_MAX, RELU_MAX])
def test_rounding_never_lifts_a_row_above_its_bound(inputs, kernel, depthwise, input_max):
    """Few weights fill a row: to round them to the nearest would lift the sum of some rows."""
    torch.manual_seed(0)
    conv = FixedConv(inputs, 160 if not depthwise else 8, kernel, input_max, depthwise=depthwise)
    at_its_bound(conv, 96.0 if input_max == RELU_MAX else 24.0)
    once = conv.fixed_weight().detach()
    rows = (once.double() * 2**8).abs().sum((1, 2, 3)) * input_max
    with torch.no_grad():
        conv.weight.copy_(once)

    assert 0.99 * WEIGHT_SUM < float(rows.min()) <= float(rows.max()) <= WEIGHT_SUM
    assert torch.equal(conv.fixed_weight(), once)


def test_rows_within_their_bound_are_rounded_to_the_nearest():
    conv = FixedConv(64, 8, 3, STATE_MAX)
    weight = conv.weight.detach()
    with torch.no_grad():
        conv.weight[0] *= 1e3  # one row above it does not change the others

    assert torch.equal(conv.fixed_weight()[1:], round_to(weight, 8)[1:])


def test_the_gradient_of_a_row_at_its_bound_is_scaled_as_its_weights():
    conv = at_its_bound(FixedConv(80, 4, 1, STATE_MAX))
    grad = torch.randn_like(conv.weight)
    conv.fixed_weight().backward(grad)
    scale = WEIGHT_SUM / STATE_MAX / 2**8 / conv.weight.detach().abs().sum(1, keepdim=True)

    torch.testing.assert_close(conv.weight.grad, grad * scale)


def test_bounding_needs_no_values_to_know_what_to_do():
    """Nothing is read back from a device: a CUDA graph can hold it."""
    conv = FixedConv(8, 8, 3, STATE_MAX).to("meta")
    conv.fixed_weight().sum().backward()

    assert conv.weight.grad.shape == conv.weight.shape
