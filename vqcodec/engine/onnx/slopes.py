"""The decoder and the prior backwards as ONNX graphs: slopes along what they give -> along what
they take.

ONNX Runtime has no gradients. But these networks are affine where their ReLUs stay as they are, so
that slopes need no more than the same weights transposed, last layer first, and where each ReLU let
something through: the graphs of `networks` say that with `signs`, a bit for each number. This is
the reverse mode of Linnainmaa 1970, with what it has to remember at an eighth of a float's size.
Roundings count for nothing, and the bounds of the prior's integers are hardly ever met.
"""

import numpy as np

from ...config import DECODER_GAIN, STRIDE, ModelConfig, TransformConfig
from .graph import Shape
from .networks import UNIT, Layers, Tensors, decode_gains


class Transposed(Layers):
    """Adds transposed layers, which take slopes."""

    def __init__(self, tensors: Tensors, signs: list[tuple[str, Shape]], **inputs):
        """signs: shapes of those of the ReLUs, in order: inputs `sign_0` and so on."""
        names = [f"sign_{number}" for number in range(len(signs))]
        kinds = (("bool", (1, *shape)) for shape in signs)
        super().__init__(tensors, **inputs, **dict(zip(names, kinds, strict=True)))
        self.signs = names

    def conv(self, name: str, x: str, unit: float = 1.0, dilation: int = 1, side: int = 1) -> str:
        """A convolution, transposed. side: its outputs are blocks of so many positions, as
        DepthToSpace has them, and x as SpaceToDepth has them."""
        weight = np.float32(self.tensors[f"{name}.weight"]) * np.float32(unit)
        groups = len(weight) if weight.shape[1] == 1 else 1
        if groups == 1:
            weight = transposed(weight, side)
        pads = [weight.shape[2] // 2 * dilation] * 4
        flipped = weight[..., ::-1, ::-1]
        return self("Conv", x, flipped, group=groups, dilations=[dilation] * 2, pads=pads)

    def residual(self, name: str, x: str) -> str:
        y = self.relu(self.conv(f"{name}.expand.2", x))
        x = self("Add", x, self.conv(f"{name}.expand.0", y))
        y = self.conv(f"{name}.mix.2", self.conv(f"{name}.mix.3", x))
        return self("Add", x, self.conv(f"{name}.mix.0", self.relu(y)))

    def residuals(self, name: str, count: int, x: str) -> str:
        """Some blocks."""
        for number in reversed(range(count)):
            x = self.residual(f"{name}.{number}", x)
        return x

    def relu(self, x: str) -> str:
        """A slope where a ReLU lets something through; they are met last first."""
        return self("Where", self.signs.pop(), x, 0)


def transposed(weight: np.ndarray, side: int = 1) -> np.ndarray:
    """[side^2 n, m, k, k], outputs as DepthToSpace takes them -> [m, side^2 n, k, k], inputs as
    SpaceToDepth gives them."""
    blocks = weight.reshape(-1, side * side, *weight.shape[1:])  # [n, side^2, m, k, k]
    return blocks.transpose(2, 1, 0, 3, 4).reshape(weight.shape[1], -1, *weight.shape[2:])


def synthesis(config: TransformConfig, tensors: Tensors) -> bytes:
    """`slope` float32 [16h, 16w, 3] along the pixels of the decoder, signs as of
    `networks.synthesis`, `level` -> slope float32 [h, w, C] along its latents in steps."""
    coarse, fine = config.coarse_width, config.fine_width
    signs = [(width, "h", "w") for width in (coarse, 2 * coarse)] * config.coarse_blocks
    signs += [(width, "2h", "2w") for width in (fine, 2 * fine)] * config.fine_blocks
    net = Transposed(tensors, signs, slope=("float32", ("16h", "16w", 3)))
    x = net.to_front("slope")
    h = net.conv("decoder.head", net("SpaceToDepth", x, blocksize=8), DECODER_GAIN, side=8)
    h = net.residuals("decoder.fine", config.fine_blocks, h)
    h = net.conv("decoder.up", net("SpaceToDepth", h, blocksize=2), side=2)
    h = net.residuals("decoder.coarse", config.coarse_blocks, h)
    basis = np.float32(tensors["linear.synthesis"]) * (tensors["gains.scale"] / 255)
    linear = transposed(basis[:, :, None, None], STRIDE)
    y = net("Conv", net("SpaceToDepth", x, blocksize=STRIDE), linear)
    y = net("Add", y, net.conv("decoder.stem", h))
    return net.graph.model(net.to_back(net("Mul", y, net.level(decode_gains(config, tensors)))))


def prior_pass(config: ModelConfig, index: int, tensors: Tensors) -> bytes:
    """`state_slope` float32 [1, W, h, w] along the state that a pass gives, `slope` float32
    [h, w, 2 n] along its sums, signs as of `networks.prior_pass` -> slopes along the state that it
    takes, and along its context, float32 [h, w, c + 1]."""
    prior, item = config.prior, config.prior.passes[index]
    name, width = f"prior.passes.{index}", prior.width
    net = Transposed(
        tensors,
        [(prior.expand * width, "h", "w")] * item.blocks,
        state_slope=("float32", (1, width, "h", "w")),
        slope=("float32", ("h", "w", 2 * (item.stop - item.start))),
    )
    h = net("Add", net.conv(f"{name}.head", net.to_front("slope")), "state_slope")
    for number in reversed(range(item.blocks)):
        block = f"{name}.blocks.{number}"
        x = net.conv(f"{block}.expand", net.relu(net.conv(f"{block}.project", h, UNIT)), UNIT)
        h = net("Add", h, net.conv(f"{block}.spread", x, UNIT, item.dilation))
    context = net.conv(f"{name}.read", h, UNIT, item.dilation)
    return net.graph.model(h, net.to_back(context))
