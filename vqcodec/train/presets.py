"""Settings of a training run; each preset is a function."""

from dataclasses import dataclass, field, replace

from ..config import ModelConfig, PassConfig, PriorConfig, QuantizerConfig, TransformConfig, lattice


@dataclass(frozen=True)
class TrainConfig:
    model: ModelConfig = field(default_factory=ModelConfig)
    minutes: float = 120.0  # length of the schedule
    batch: int = 16  # crops a step and process
    crop: int = 128  # pixels a side
    late_crop: int = 256  # in the last part of the schedule, with as many pixels a step
    late_share: float = 0.4  # that part
    soap_rate: float = 3e-3  # weight matrices
    adam_rate: float = 1e-3  # vectors, gains, codewords, depthwise kernels
    linear_rate: float = 3e-5  # the PCA path
    final_rate: float = 0.02  # of each rate, at the end of the cosine
    refresh: int = 10  # steps between refreshes of SOAP's bases
    half_turn: bool = True  # SOAP turns gradients in bfloat16, where the device multiplies it
    ema: float = 0.9995
    distortion: str = "mse"  # one of config.DISTORTIONS: what the model is trained to keep low
    lambda_scale: float = 1.8  # of the assignment; 1 is the optimum of rate + lambda * distortion
    scalar: bool = False  # the scalar control: codewords stay integers, tables the Gaussian's
    low_share: float = 0.6  # of the crops are coded at the lower 60 % of the levels
    save_minutes: float = 6.0
    seed: int = 0


@dataclass(frozen=True)
class RealismConfig:
    """Settings of the realism stage."""

    minutes: float = 60.0  # length of the schedule
    batch: int = 8  # crops a step and process
    crop: int = 128  # pixels a side
    rate: float = 6e-4  # of the decoder; falls linearly to nearly zero
    discriminator_rate: float = 4e-4
    alone: int = 200  # steps of the discriminator before the decoder's; then as many of warm-up
    strength: float = 0.5  # of the perceptual and the adversarial gradient, at the start
    aim: float = 0.8  # dB of PSNR that realism may cost; sets the strengths
    low_share: float = 0.85  # of the crops are coded at the lower 60 % of the levels
    ema: float = 0.998
    valid_crops: int = 16  # held-out ones that are measured every few minutes
    valid_side: int = 256  # pixels
    save_minutes: float = 5.0
    seed: int = 0


def _coarse(channels: int) -> tuple[PassConfig, PassConfig]:
    """The passes of the first channels: at a quarter of the positions, then at the rest."""
    rest = tuple((y, x) for y in range(4) for x in range(4) if y % 2 or x % 2)
    quarter = lattice((0, 0), (0, 2), (2, 0), (2, 2))
    return PassConfig(0, channels, quarter, 0), PassConfig(0, channels, lattice(*rest), 1)


def base() -> TrainConfig:
    """Trains the default model."""
    return TrainConfig()


def fast() -> TrainConfig:
    """Trains the model for speed: a quarter of the base's multiplications. Sized with `shrink`,
    which says at once what a size costs: a third block at 1/8 is worth more than width at 1/16."""
    first, rest = _coarse(8)
    passes = (
        first,
        replace(rest, blocks=2),
        PassConfig(8, 40, blocks=2),
        PassConfig(40, 96, blocks=2),
        PassConfig(96, 208, blocks=2, min_level=12),
        PassConfig(208, 400, blocks=2, min_level=24),
    )
    model = ModelConfig(
        name="fast",
        transform=TransformConfig(400, 96, 3, 96, 4),
        prior=PriorConfig(width=80, passes=passes, coarse_passes=2),
    )
    return TrainConfig(model=model)


def control() -> TrainConfig:
    """The scalar-quantised control of `fast`: the same network, to compare equal times."""
    quantizer = QuantizerConfig(pair_classes=0)
    model = replace(fast().model, name="control", quantizer=quantizer)
    return TrainConfig(model=model, scalar=True, lambda_scale=1e6)


def tiny() -> TrainConfig:
    """A minute on one core, for tests and as a first look: real in every part, but small."""
    passes = (
        *_coarse(4),
        PassConfig(4, 20, blocks=1),
        PassConfig(20, 32, blocks=1, min_level=4),
    )
    model = ModelConfig(
        name="tiny",
        transform=TransformConfig(32, 24, 1, 32, 1, 8, 3, lambda_max=0.01),
        quantizer=QuantizerConfig(),
        prior=PriorConfig(width=32, passes=passes, coarse_passes=2),
    )
    return TrainConfig(model=model, minutes=1.0, batch=4, crop=64, late_crop=64, save_minutes=0.5)


def small() -> TrainConfig:
    """Ten minutes on one core: for restoration, where the error counts and not the rate."""
    passes = (
        *_coarse(8),
        PassConfig(8, 64, blocks=1),
        PassConfig(64, 512, blocks=1),
    )
    model = ModelConfig(
        name="small",
        transform=TransformConfig(512, 64, 2, 128, 2, 16, 4, 0.01, 1.0),
        prior=PriorConfig(width=64, passes=passes, coarse_passes=2),
    )
    return TrainConfig(model=model, minutes=10.0, batch=8, late_crop=128, low_share=0.25)


def for_gpu(config: TrainConfig) -> TrainConfig:
    """With steps that fill a GPU, sixteen times the pixels of those for two cores, but for a trial.
    Where memory is short fewer crops do."""
    if config.crop < 128:
        return config
    return replace(config, batch=64, crop=256, late_crop=384, late_share=0.35, refresh=30)


PRESETS = {"base": base, "fast": fast, "small": small, "control": control, "tiny": tiny}
REALISM_PRESETS = {
    "base": RealismConfig(),
    "tiny": RealismConfig(
        minutes=0.3, batch=2, crop=64, alone=10, valid_crops=4, valid_side=64, save_minutes=0.2
    ),
}
