"""Expected tensors of a model: names, shapes and units for a config. FORMAT.md, "Model"."""

from collections.abc import Iterator

from ..config import GRAIN_CHANNELS, STRIDE, ModelConfig
from ..entropy.fixed_point import (
    CODEWORD_BITS,
    RELU_MAX,
    STATE_MAX,
    SUM_BITS,
    TABLE_BITS,
    UNITS_MAX,
    WEIGHT_BITS,
    scalar_range,
    table_sizes,
)

Shape = tuple[int, ...]

# Binary places of the integer tensors of the prior, by the end of their names.
UNITS = {
    "weight": WEIGHT_BITS,
    "bias": SUM_BITS,
    "knots": SUM_BITS,
    "scalar_words": CODEWORD_BITS,
    "pair_words": CODEWORD_BITS,
    "to_steps": TABLE_BITS,
    "to_units": TABLE_BITS,
    "log_steps": SUM_BITS,
}
LEVEL_TABLES = "to_steps", "to_units", "log_steps"
# Largest |input| of a convolution of the prior, by the end of its name.
INPUT_MAX = {
    "read": UNITS_MAX,
    "spread": STATE_MAX,
    "expand": STATE_MAX,
    "project": RELU_MAX,
    "head": STATE_MAX,
}


def part_of(name: str) -> str:
    """Which file a tensor belongs to: prior, encoder or decoder."""
    if name.startswith(("prior.", "codebooks.")) or name in (*LEVEL_TABLES, "freqs"):
        return "prior"
    if name.startswith(("encoder.", "gains.encode.")) or name == "linear.analysis":
        return "encoder"
    return "decoder"


def shapes(config: ModelConfig) -> dict[str, Shape]:
    """Name and shape of each tensor of the three files."""
    latents, levels = config.transform.latents, config.transform.levels
    knots = config.transform.knots
    linear = {f"linear.{way}": (3 * STRIDE**2, latents) for way in ("analysis", "synthesis")}
    gains = {f"gains.{way}.knots": (knots, latents) for way in ("encode", "decode")}
    tables = dict.fromkeys(LEVEL_TABLES, (levels, latents))
    return {
        "gains.scale": (latents,),
        **linear,
        **gains,
        **tables,
        **dict(_encoder(config)),
        **decoder_shapes(config),
        **dict(_prior(config)),
        **dict(_codebooks(config)),
    }


def decoder_shapes(config: ModelConfig, grained: bool = False) -> dict[str, Shape]:
    """Of the decoder's convolutional path. grained: of the realism decoder, which takes grain."""
    transform = config.transform
    fine, coarse = transform.fine_width, transform.coarse_width
    found = {
        **_conv("decoder.stem", transform.latents, coarse),
        **_conv("decoder.up", coarse, 4 * fine),
        **_conv("decoder.head", fine, 3 * 64),
        **dict(_blocks("decoder", config, transform.decoder_blocks)),
    }
    if grained:
        found["decoder.grain.weight"] = fine, GRAIN_CHANNELS, 1, 1
    return found


def _conv(name: str, inputs: int, outputs: int, side: int = 1) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}


def _encoder(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    transform = config.transform
    fine, coarse = transform.fine_width, transform.coarse_width
    yield from _conv("encoder.stem", 3 * 64, fine).items()
    yield from _conv("encoder.down", fine, coarse, 2).items()
    yield from _conv("encoder.head", coarse, transform.latents).items()
    yield from _blocks("encoder", config, transform.encoder_blocks)


def _blocks(path: str, config: ModelConfig, counts: tuple[int, int]) -> Iterator[tuple[str, Shape]]:
    """Residual blocks, so many fine and coarse, and the level's biases in front of them."""
    transform = config.transform
    for kind, count in zip(("fine", "coarse"), counts, strict=True):
        width = getattr(transform, f"{kind}_width")
        yield f"{path}.{kind}_level.knots", (transform.knots, width)
        for number in range(count):
            name = f"{path}.{kind}.{number}"
            yield from _conv(f"{name}.mix.0", width, width).items()
            yield from _conv(f"{name}.mix.2", 1, width, 3).items()  # depthwise
            yield from _conv(f"{name}.mix.3", width, width).items()
            yield from _conv(f"{name}.expand.0", width, 2 * width).items()
            yield from _conv(f"{name}.expand.2", 2 * width, width).items()


def _prior(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    width, inner = config.prior.width, config.prior.width * config.prior.expand
    knots = config.transform.knots
    for index, item in enumerate(config.prior.passes):
        name, count = f"prior.passes.{index}", item.stop - item.start
        yield f"{name}.level.knots", (knots, 2 * count)
        if not index:
            continue
        source = config.prior.passes[index - 1]
        yield from _conv(f"{name}.read", source.stop - source.start + 1, width, 3).items()
        for block in (f"{name}.blocks.{number}" for number in range(item.blocks)):
            yield from _conv(f"{block}.spread", 1, width, 5).items()  # depthwise
            yield from _conv(f"{block}.expand", width, inner).items()
            yield from _conv(f"{block}.project", inner, width).items()
            yield f"{block}.level.knots", (knots, inner)
        yield from _conv(f"{name}.head", width, 2 * count).items()


def _codebooks(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    quantizer = config.quantizer
    widest = 2 * max(scalar_range(quantizer)) + 1
    pairs = (quantizer.pair_classes // quantizer.pair_merge) ** 2
    codewords = (2 * quantizer.pair_range + 1) ** 2
    yield "codebooks.scalar_words", (quantizer.classes, widest)
    yield "codebooks.pair_words", (pairs, codewords, 2)
    yield "freqs", (sum(table_sizes(quantizer)),)
