"""Integer layers in float arithmetic, exact to the bit: what the prior is made of.

Activations are integers (FORMAT.md: in units of 2**-5) and weights integers times 2**-8. Every
sum of a layer stays below 2**24 units, so that a float32 (or float64) engine computes it
exactly, whatever the order of summation, the thread count or the device (Balle et al. 2019,
"Integer networks for data compression with latent-variable models"). Training runs the very
same code; only there do the rounded parameters have a straight-through gradient.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..engine.torch.runtime import point_conv
from ..entropy.fixed_point import ACT_BITS, BIAS_MAX, RELU_MAX, STATE_MAX, SUM_BITS, WEIGHT_BITS
from .blocks import LevelEmbedding, as_map

WEIGHT_SUM = 3 * 2**22  # bound of sum |weight| * max |input|, in sum units


class RoundTo(torch.autograd.Function):
    """Round half up to a multiple of 2**-bits; the gradient passes straight through."""

    @staticmethod
    def forward(ctx, x: Tensor, bits: int) -> Tensor:
        return (x * 2.0**bits).add_(0.5).floor_().mul_(2.0**-bits)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return grad, None


def round_to(x: Tensor, bits: int) -> Tensor:
    return RoundTo.apply(x, bits)


class BoundedRows(torch.autograd.Function):
    """Scale rows whose sum of |weight| is above `limit` down to it, and round to multiples of
    2**-bits: halves up, or toward zero in a row that this lifts above `limit` again.

    So the result keeps the bound, and is what the function makes of it once more. The gradient
    is that of the scale alone. No step depends on values, so that a CUDA graph can hold it.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, limit: float, bits: int) -> Tensor:
        total = weight.abs().sum((1, 2, 3), keepdim=True)
        scale = limit / total.clamp_(min=limit)
        ctx.save_for_backward(scale)
        units = (weight * scale).mul_(2.0**bits)
        rounded = (units + 0.5).floor_()
        above = rounded.abs().sum((1, 2, 3), keepdim=True) > limit * 2.0**bits
        return torch.where(above, units.trunc_(), rounded).mul_(2.0**-bits)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (scale,) = ctx.saved_tensors
        return grad * scale, None, None


class RoundClip(torch.autograd.Function):
    """Round half up to an integer and clip; the gradient passes where nothing was clipped."""

    @staticmethod
    def forward(ctx, x: Tensor, low: float, high: float) -> Tensor:
        rounded = (x + 0.5).floor_()
        ctx.save_for_backward((rounded >= low) & (rounded <= high))
        return rounded.clamp_(low, high)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None


def activation(x: Tensor, low: float, high: float) -> Tensor:
    """Integers in low..high from a sum that nothing else needs: it may be overwritten."""
    if torch.is_grad_enabled() and x.requires_grad:
        return RoundClip.apply(x, low, high)
    return x.add_(0.5).floor_().clamp_(low, high)


def bias_grid(bias: Tensor) -> Tensor:
    """Biases on the grid of 2**-13."""
    limit = BIAS_MAX * 2.0**-SUM_BITS
    return round_to(bias, SUM_BITS).clamp(-limit, limit)


class FixedConv(nn.Module):
    """A convolution with integer weights / 2**8 on integers of at most `input_max`.

    The sum of |weight| of every output row is scaled down to its bound in the forward pass,
    so that training cannot leave the exact range.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, input_max: int, *, depthwise=False, dilation=1
    ):
        super().__init__()
        self.input_max, self.dilation = input_max, dilation
        self.groups = inputs if depthwise else 1
        self.padding = kernel // 2 * dilation
        self.frozen = False
        self.register_buffer("biases", None, persistent=False)  # [L, C], of a frozen level vector
        shape = (outputs, inputs // self.groups, kernel, kernel)
        weight = torch.randn(shape, dtype=torch.float32)
        self.weight = nn.Parameter(weight / (shape[1] * kernel * kernel) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs, dtype=torch.float32))

    def fixed_weight(self) -> Tensor:
        """The weights that the forward pass makes of the trained ones."""
        limit = WEIGHT_SUM / self.input_max * 2.0**-WEIGHT_BITS
        return BoundedRows.apply(self.weight, limit, WEIGHT_BITS)

    def freeze(self, frozen: bool, level: LevelEmbedding | None = None) -> None:
        """Take weight, bias and level vector for what they are: those of an exported model are
        rounded already."""
        self.frozen, self.biases = frozen, None
        if frozen and level is not None:
            self.biases = (self.bias + level.table()).detach() * 2.0**ACT_BITS

    def forward(
        self, x: Tensor, level: LevelEmbedding | None = None, levels: Tensor | None = None
    ) -> Tensor:
        """Integers -> sums: integers / 2**8. level: further biases, of each item's of `levels`."""
        weight = self._weight()
        bias, more = self._biases(level, levels)
        if not self.padding:
            out = point_conv(x, weight, bias)
        else:
            out = F.conv2d(x, weight, bias, 1, self.padding, self.dilation, self.groups)
        return out if more is None else out + as_map(more)

    def _weight(self) -> Tensor:
        return self.weight if self.frozen else self.fixed_weight()

    def _biases(
        self, level: LevelEmbedding | None, levels: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Those of all items [C], and those of each [B, C]."""
        if level is not None and self.biases is not None:
            biases = self.biases[levels]
        else:
            biases = (self.bias if self.frozen else bias_grid(self.bias)) * 2.0**ACT_BITS
            if level is not None:
                biases = biases + bias_grid(level(levels)) * 2.0**ACT_BITS
        if biases.ndim == 1:
            return biases, None
        return (biases[0], None) if len(biases) == 1 else (None, biases)

    def rounded(
        self,
        x: Tensor,
        low: float = -STATE_MAX,
        high: float = STATE_MAX,
        *,
        level: LevelEmbedding | None = None,
        levels: Tensor | None = None,
        plus: Tensor | None = None,
    ) -> Tensor:
        """Integers -> integers in low..high; plus: a map that is added to the sums."""
        sums = self(x, level, levels)
        return activation(sums if plus is None else sums.add_(plus), low, high)

    def bound(self) -> int:
        """The largest |sum| that any input in range can give, in units of 2**-8, biases
        of the level (at most 2 * BIAS_MAX) left out."""
        rows = (self._weight().double() * 2**WEIGHT_BITS).abs().sum((1, 2, 3))
        return int(rows.max()) * self.input_max + BIAS_MAX


class FixedBlock(nn.Module):
    """Depthwise 5x5, expand with the level's bias, ReLU, project; added to the state."""

    def __init__(self, width: int, expand: int, levels: int, knots: int, dilation: int):
        super().__init__()
        inner = width * expand
        self.spread = FixedConv(width, width, 5, STATE_MAX, depthwise=True, dilation=dilation)
        self.expand = FixedConv(width, inner, 1, STATE_MAX)
        self.project = FixedConv(inner, width, 1, RELU_MAX)
        self.level = LevelEmbedding(inner, levels, knots)
        nn.init.normal_(self.project.weight, std=0.02)

    def forward(self, h: Tensor, levels: Tensor) -> Tensor:
        x = self.expand.rounded(
            self.spread.rounded(h), 0, RELU_MAX, level=self.level, levels=levels
        )
        return self.project.rounded(x, plus=h)

    def freeze(self, frozen: bool) -> None:
        for conv in (self.spread, self.project):
            conv.freeze(frozen)
        self.expand.freeze(frozen, self.level)
