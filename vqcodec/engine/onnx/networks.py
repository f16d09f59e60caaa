"""ONNX graphs of a model's encoder, decoder and prior, from the tensors of its files.

Maps are [h, w, C] outside, with channels last, and `level` is int64 [1]. The graphs are those of
`vqcodec.nn`: what it does with gains and fixed units outside of its layers is in their weights.
"""

from collections.abc import Mapping

import numpy as np

from ...config import (
    DECODER_GAIN,
    ENCODER_GAIN,
    GRAIN_CHANNELS,
    PIXEL_MEAN,
    STEM_GAIN,
    STEP_LAMBDA,
    STRIDE,
    ModelConfig,
    TransformConfig,
)
from ...entropy.fixed_point import RELU_MAX, STATE_MAX, WEIGHT_BITS
from .graph import Graph

Tensors = Mapping[str, np.ndarray]
LEVEL = "int64", (1,)
PLACE = "int64", (2,)  # a row and a column
PIXELS = "float32", ("16h", "16w", 3)
BLOCKS = "float32", ("h", "w", 3 * STRIDE**2)  # those of a latent, row by row
UNIT = 2.0**-WEIGHT_BITS  # of the prior's weights, so that sums are integers / 2**8


def encode_gains(config: TransformConfig, tensors: Tensors) -> np.ndarray:
    """Steps in a standard deviation, float32 [L, C]: of `nn.transforms.Gains`, of which an exported
    model has a knot for each level."""
    return tensors["gains.scale"] / _steps(config) * np.exp(tensors["gains.encode.knots"])


def decode_gains(config: TransformConfig, tensors: Tensors) -> np.ndarray:
    """Standard deviations in a step, likewise."""
    return _steps(config) / tensors["gains.scale"] * np.exp(tensors["gains.decode.knots"])


def _steps(config: TransformConfig) -> np.ndarray:
    return np.sqrt(STEP_LAMBDA / np.float32(config.lambdas()))[:, None]


class Layers:
    """Adds the layers that `tensors` have by name to a graph."""

    def __init__(self, tensors: Tensors, **inputs):
        self.tensors, self.inputs = tensors, inputs
        self.graph = Graph(level=LEVEL, **inputs)
        self.rectified: list[str] = []  # the outputs of the residual blocks' ReLUs, in order

    def __call__(self, operator: str, *inputs: str | float, **attributes) -> str:
        """An operator, numbers among whose inputs are made constants."""
        constant = self.graph.constant
        names = (x if isinstance(x, str) else constant(x) for x in inputs)
        return self.graph.node(operator, *names, **attributes)

    def to_front(self, x: str) -> str:
        """[h, w, C] -> [1, C, h, w]"""
        axes = self.graph.node("Constant", value_ints=[0])
        return self("Transpose", self("Unsqueeze", x, axes), perm=[0, 3, 1, 2])

    def to_back(self, x: str) -> str:
        """[1, C, h, w] -> [h, w, C]"""
        axes = self.graph.node("Constant", value_ints=[0])
        return self("Squeeze", self("Transpose", x, perm=[0, 2, 3, 1]), axes)

    def cut(self, x: str, part: str) -> str:
        """What lies between two inputs, `{part}_start` and `{part}_end`, of [1, C, h, w]; all of
        it if there are none."""
        if f"{part}_start" not in self.inputs:
            return x
        axes = self.graph.node("Constant", value_ints=[2, 3])
        return self("Slice", x, f"{part}_start", f"{part}_end", axes)

    def conv(self, name: str, x: str, unit: float = 1.0, dilation: int = 1, stride: int = 1) -> str:
        """A convolution with zeros around its input, depthwise if the weights are."""
        weight, bias = (np.float32(self.tensors[f"{name}.{end}"]) for end in ("weight", "bias"))
        pad = 0 if stride > 1 else weight.shape[2] // 2 * dilation
        groups = len(weight) if weight.shape[1] == 1 else 1
        sides = {"dilations": [dilation] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        if unit != 1:
            weight, bias = weight * unit, bias * unit
        return self("Conv", x, weight, bias, group=groups, **sides)

    def level(self, table: np.ndarray) -> str:
        """The row of a table [L, C] as [1, C, 1, 1]."""
        return self("Gather", np.float32(table)[:, :, None, None], "level")

    def residual(self, name: str, x: str) -> str:
        y = self.relu(self.conv(f"{name}.mix.0", x))
        x = self("Add", x, self.conv(f"{name}.mix.3", self.conv(f"{name}.mix.2", y)))
        y = self.relu(self.conv(f"{name}.expand.0", x))
        return self("Add", x, self.conv(f"{name}.expand.2", y))

    def relu(self, x: str) -> str:
        self.rectified.append(self("Relu", x))
        return self.rectified[-1]

    def residuals(self, name: str, count: int, x: str) -> str:
        """Some blocks, behind the level's bias."""
        x = self("Add", x, self.level(self.tensors[f"{name}_level.knots"]))
        for number in range(count):
            x = self.residual(f"{name}.{number}", x)
        return x

    def state(self, x: str) -> str:
        """Half up to an integer, and clipped."""
        return self("Clip", self("Floor", self("Add", x, 0.5)), -STATE_MAX, STATE_MAX)


def analysis(config: TransformConfig, tensors: Tensors) -> bytes:
    """`pixels` float32 [16h, 16w, 3] in 0..1, the same as `blocks`, `level` -> latents float32
    [h, w, C] in steps."""
    net = Layers(tensors, pixels=PIXELS, blocks=BLOCKS)
    return net.graph.model(_latents(net, config, _fine_analysis(net, config)))


def fine_analysis(config: TransformConfig, tensors: Tensors) -> bytes:
    """Half of `analysis`: `pixels`, `level` -> what the coarse blocks take, float32 [1, W, h, w],
    of a part: int64 [2], `fine_start` and `fine_end` at 1/8."""
    net = Layers(tensors, pixels=PIXELS, fine_start=PLACE, fine_end=PLACE)
    return net.graph.model(_fine_analysis(net, config))


def coarse_analysis(config: TransformConfig, tensors: Tensors) -> bytes:
    """The other half: `blocks`, `features` as of `fine_analysis`, `level` -> latents."""
    features = "float32", (1, config.coarse_width, "h", "w")
    net = Layers(tensors, blocks=BLOCKS, features=features)
    return net.graph.model(_latents(net, config, "features"))


def _fine_analysis(net: Layers, config: TransformConfig) -> str:
    x = net("Sub", net.to_front("pixels"), PIXEL_MEAN)
    stem = STEM_GAIN * np.float32(net.tensors["encoder.stem.weight"]).reshape(-1, 3, 8, 8)
    h = net("Conv", x, stem, net.tensors["encoder.stem.bias"], strides=[8] * 2)
    h = net.cut(net.residuals("encoder.fine", config.encoder_blocks[0], h), "fine")
    return net.conv("encoder.down", h, stride=2)


def _latents(net: Layers, config: TransformConfig, h: str) -> str:
    """h: what the coarse blocks take. The linear path is a product of matrices, which takes less
    than half of the time of a convolution."""
    basis = np.float32(net.tensors["linear.analysis"]) * (255 / net.tensors["gains.scale"])
    basis = basis.reshape(3, STRIDE, STRIDE, -1).transpose(1, 2, 0, 3).reshape(basis.shape)
    y = net("Add", net("MatMul", "blocks", basis), -PIXEL_MEAN * basis.sum(0))
    h = net.residuals("encoder.coarse", config.encoder_blocks[1], h)
    y = net("Add", y, net.to_back(net.conv("encoder.head", h, ENCODER_GAIN)))
    return net("Mul", y, net("Gather", encode_gains(config, net.tensors), "level"))


def synthesis(
    config: TransformConfig,
    tensors: Tensors,
    affine: bool = False,
    parts: bool = False,
    signs: bool = False,
) -> bytes:
    """`latents` float32 [h, w, C] in steps, `level` -> pixels float32 [16h, 16w, 3].

    With the tensors of a realism decoder there is an input `grain`, float32 [2h, 2w, 16].
    affine: without residual blocks. parts: only of a part of the latents, which is int64 [2], the
    row and the column where it begins and ends: `part_start` and `part_end` in latents,
    `near_start` and `near_end` around it as far as the fine blocks see, which grain is of, and
    `fine_start` and `fine_end` at 1/8 in what these give. signs: as well, behind the pixels, where
    each ReLU of the residual blocks lets something through, bool [1, C, h, w] or [1, C, 2h, 2w].
    """
    ends = (f"{name}_{end}" for name in ("part", "near", "fine") for end in ("start", "end"))
    ends = dict.fromkeys(ends, PLACE) if parts else {}
    net = Layers(tensors, latents=_latents_of(config), **ends, **_grain_of(tensors))
    y = _in_deviations(net, config)
    coarse, fine = (0, 0) if affine else (config.coarse_blocks, config.fine_blocks)
    h = net.cut(_coarse_synthesis(net, y, coarse), "near")
    x = _pixels(net, net.cut(y, "part"), h, fine)
    flags = [net("Greater", x, 0) for x in net.rectified] if signs else []
    return net.graph.model(x, flags=flags)


def coarse_synthesis(config: TransformConfig, tensors: Tensors) -> bytes:
    """Half of `synthesis`: `latents`, `level` -> what the fine blocks take, float32
    [1, W, h, w]."""
    net = Layers(tensors, latents=_latents_of(config))
    y = _in_deviations(net, config)
    return net.graph.model(_coarse_synthesis(net, y, config.coarse_blocks))


def fine_synthesis(config: TransformConfig, tensors: Tensors) -> bytes:
    """The other half: `latents` of a part, `features` as of `coarse_synthesis` and `grain` around
    it, `fine_start` and `fine_end` at 1/8 of it in these, `level` -> the part's pixels."""
    features = "float32", (1, config.coarse_width, "near h", "near w")
    more = {"features": features, "fine_start": PLACE, "fine_end": PLACE}
    net = Layers(tensors, latents=_latents_of(config), **more, **_grain_of(tensors))
    y = _in_deviations(net, config)
    return net.graph.model(_pixels(net, y, "features", config.fine_blocks))


def _latents_of(config: TransformConfig) -> tuple[str, tuple[int | str, ...]]:
    return "float32", ("h", "w", config.latents)


def _grain_of(tensors: Tensors) -> dict[str, tuple[str, tuple[int | str, ...]]]:
    """The input that a realism decoder has besides."""
    is_grained = "decoder.grain.weight" in tensors
    return {"grain": ("float32", ("2h", "2w", GRAIN_CHANNELS))} if is_grained else {}


def _in_deviations(net: Layers, config: TransformConfig) -> str:
    """The input `latents`, steps -> standard deviations."""
    gains = net.level(decode_gains(config, net.tensors))
    return net("Mul", net.to_front("latents"), gains)


def _coarse_synthesis(net: Layers, y: str, count: int) -> str:
    return net.residuals("decoder.coarse", count, net.conv("decoder.stem", y))


def _pixels(net: Layers, y: str, h: str, count: int) -> str:
    """y: latents in standard deviations. h: what so many fine blocks take."""
    basis = np.float32(net.tensors["linear.synthesis"]) * (net.tensors["gains.scale"] / 255)
    linear = net("Conv", y, basis[:, :, None, None])
    h = net("DepthToSpace", net.conv("decoder.up", h), blocksize=2, mode="CRD")
    if "grain" in net.inputs:
        weight = np.float32(net.tensors["decoder.grain.weight"])
        h = net("Add", h, net("Conv", net.to_front("grain"), weight))
    h = net.cut(net.residuals("decoder.fine", count, h), "fine")
    x = net("DepthToSpace", net.conv("decoder.head", h, DECODER_GAIN), blocksize=8, mode="CRD")
    x = net("Add", net("DepthToSpace", linear, blocksize=STRIDE, mode="CRD"), x)
    return net.to_back(net("Add", x, PIXEL_MEAN))


def prior_pass(config: ModelConfig, index: int, tensors: Tensors, signs: bool = False) -> bytes:
    """A pass of the prior, not the first: `state` float32 [1, W, h, w], `context` float32
    [h, w, c + 1], `level` -> state, and sums [h, w, 2 n]: FORMAT.md's H, X and O, integers all.
    signs: as well, where the inner layer of each block is not below 0, bool [1, C, h, w]."""
    item, source = config.prior.passes[index], config.prior.passes[index - 1]
    name, dilation = f"prior.passes.{index}", item.dilation
    net = Layers(
        tensors,
        state=("float32", (1, config.prior.width, "h", "w")),
        context=("float32", ("h", "w", source.stop - source.start + 1)),
    )
    h = net.conv(f"{name}.read", net.to_front("context"), UNIT, dilation)
    h, inner = net.state(net("Add", h, "state")), []
    for number in range(item.blocks):
        block = f"{name}.blocks.{number}"
        x = net.state(net.conv(f"{block}.spread", h, UNIT, dilation))
        level = net.level(tensors[f"{block}.level.knots"] * UNIT + 0.5)
        inner.append(net("Floor", net("Add", net.conv(f"{block}.expand", x, UNIT), level)))
        x = net.conv(f"{block}.project", net("Clip", inner[-1], 0, RELU_MAX), UNIT)
        h = net.state(net("Add", x, h))
    out = net("Add", net.conv(f"{name}.head", h), net.level(tensors[f"{name}.level.knots"]))
    flags = [net("GreaterOrEqual", x, 0) for x in inner] if signs else []
    return net.graph.model(h, net.to_back(out), flags=flags)
