"""What a model is: frozen dataclasses, to and from JSON. Sizes are channels, positions are latents.

A model's config and tensors together are its identity (FORMAT.md, "Model"): the model id is
a hash of both, so a field that changes here changes every id.
"""

import dataclasses
import json
from dataclasses import dataclass, field

from .errors import ModelError

STRIDE = 16  # pixels a latent, each way; part of the file format
GRAIN_CHANNELS = 16  # of the noise that a realism decoder takes
PIXEL_MEAN = 0.45  # of photographs, roughly: makes the DC latents small
# lambda * step^2, of the quantiser's steps: 18 / ln 2 = 26 is uniform quantisation at high rate,
# and in use a bit finer is best.
STEP_LAMBDA = 0.6 * 26
# On what goes into the convolutional path of the encoder and comes out of those of both
# transforms: weights of the usual size then begin as small corrections of the linear path.
STEM_GAIN, ENCODER_GAIN, DECODER_GAIN = 4, 0.2, 0.05
PRECISION = 24  # bits of a probability in the coder; part of the file format
ALL_POSITIONS = 0xFFFF
SIGMA_MAX = 100  # of a task's noise
FACTORS = 2, 4  # of a task's enlargement
DISTORTIONS = "mse", "eyes"  # the squared error; that and structural similarity
# Fields that are left out where there is none, as in models that are older than they are.
NEWER = "task", "distortion"
NEWER_TRANSFORM = "encoder_fine_blocks", "encoder_coarse_blocks"


@dataclass(frozen=True)
class TransformConfig:
    latents: int = 640  # C, latent channels at 1/16, sorted by energy
    fine_width: int = 192  # channels of the blocks at 1/8
    fine_blocks: int = 3
    coarse_width: int = 192  # channels of the blocks at 1/16
    coarse_blocks: int = 5
    levels: int = 48  # L, rate points of one network
    knots: int = 7  # per-level vectors are interpolated between this many in training
    lambda_min: float = 0.0005  # of level 0; the loss is bits/pixel + lambda * MSE in 255 units
    lambda_max: float = 0.17  # of level L - 1; between them geometric
    encoder_fine_blocks: int | None = None  # at 1/8 in the encoder; none: as many as the decoder's
    encoder_coarse_blocks: int | None = None  # and at 1/16

    def __post_init__(self):
        if not 2 <= self.knots <= self.levels <= 64:
            raise ModelError(f"expected 2 <= knots <= levels <= 64, found {self}")

    @property
    def decoder_blocks(self) -> tuple[int, int]:
        """At 1/8 and at 1/16."""
        return self.fine_blocks, self.coarse_blocks

    @property
    def fine_reach(self) -> int:
        """How many latents away what goes into the decoder's fine blocks matters to a pixel: their
        3x3 convolutions are at half a latent each."""
        return -(-self.fine_blocks // 2)

    @property
    def encoder_fine_reach(self) -> int:
        """The same of the encoder: how far away pixels matter to what its fine blocks give."""
        return -(-self.encoder_blocks[0] // 2)

    @property
    def encoder_blocks(self) -> tuple[int, int]:
        """At 1/8 and at 1/16."""
        fine, coarse = self.encoder_fine_blocks, self.encoder_coarse_blocks
        return (
            self.fine_blocks if fine is None else fine,
            self.coarse_blocks if coarse is None else coarse,
        )

    def lambdas(self) -> list[float]:
        """The weight of the squared error at each level."""
        ratio = (self.lambda_max / self.lambda_min) ** (1 / (self.levels - 1))
        return [self.lambda_min * ratio**level for level in range(self.levels)]


@dataclass(frozen=True)
class QuantizerConfig:
    """Conditional codebooks: one a class of scale (design: entropy-constrained VQ)."""

    classes: int = 40  # T, of scale; class t is 2**(log_sigma_min + t / per_octave) steps
    per_octave: int = 4
    log_sigma_min: float = -26087 / 8192  # 0.11 steps; a multiple of 2**-13
    pair_classes: int = (
        14  # neighbouring channels whose classes are both below this share a codeword
    )
    pair_merge: int = 2  # classes of scale that share one side of a pair codebook
    pair_range: int = 4  # a pair codebook starts as the integers -range..range, squared

    def __post_init__(self):
        if not (self.log_sigma_min * 8192).is_integer():
            raise ModelError(f"log_sigma_min is not a multiple of 2**-13: {self}")
        if not (abs(self.log_sigma_min) <= 64 and 1 <= self.per_octave <= 64):
            raise ModelError(f"scales are beyond what 32 bits hold: {self}")
        if self.pair_classes % self.pair_merge or self.pair_classes > self.classes:
            raise ModelError(f"pair_classes does not fit: {self}")


@dataclass(frozen=True)
class PassConfig:
    """One parallel pass of the prior: channels start..stop-1 at the positions of the lattice."""

    start: int
    stop: int
    lattice: int = ALL_POSITIONS  # bit 4 * (y % 4) + (x % 4) is set where the pass codes
    blocks: int = 1
    dilation: int = 1  # of the pass's convolutions
    min_level: int = 0  # below it the pass codes nothing: its latents are zero

    def __post_init__(self):
        if self.start % 2 or self.stop % 2 or not 0 <= self.start < self.stop:
            raise ModelError(f"expected even 0 <= start < stop, found {self.start}..{self.stop}")
        if not 0 < self.lattice <= ALL_POSITIONS:
            raise ModelError(f"expected a lattice of 16 bits, found {self.lattice}")


def lattice(*positions: tuple[int, int]) -> int:
    """The lattice that codes at these (y % 4, x % 4)."""
    return sum(1 << (4 * y + x) for y, x in positions)


def default_passes(latents: int) -> tuple[PassConfig, ...]:
    """Low frequencies first: a pyramid over the first 8 channels, then the rest by energy."""
    quarter = ((0, 2), (2, 0), (2, 2))
    between = ((1, 1), (1, 3), (3, 1), (3, 3))
    rest = tuple((y, x) for y in range(4) for x in range(4) if (y + x) % 2)
    return (
        PassConfig(0, 8, lattice((0, 0)), 0),
        PassConfig(0, 8, lattice(*quarter), 1, 2),
        PassConfig(0, 8, lattice(*between), 2),
        PassConfig(0, 8, lattice(*rest), 2),
        PassConfig(8, 40, ALL_POSITIONS, 4),
        PassConfig(40, 104, ALL_POSITIONS, 4),
        PassConfig(104, 256, ALL_POSITIONS, 4),
        PassConfig(256, 512, ALL_POSITIONS, 2, min_level=18),
        PassConfig(512, latents, ALL_POSITIONS, 1, min_level=28),
    )


@dataclass(frozen=True)
class PriorConfig:
    width: int = 128  # channels of the running state
    expand: int = 2  # of the blocks' inner layers
    passes: tuple[PassConfig, ...] = field(default_factory=lambda: default_passes(640))
    coarse_passes: int = 4  # passes in the coarse segment of a file


@dataclass(frozen=True)
class TaskConfig:
    """What a network of restoration was trained to undo; exactly one of the two."""

    sigma: float = 0.0  # standard deviation of Gaussian noise, in 255 units
    factor: int = 1  # of enlargement: it sees pictures reduced and enlarged again, bicubic

    def __post_init__(self):
        denoises = 0 < self.sigma <= SIGMA_MAX and self.factor == 1
        if not denoises and (self.sigma or self.factor not in FACTORS):
            raise ModelError(
                f"expected 0 < sigma <= {SIGMA_MAX} or a factor of {FACTORS}, found {self}"
            )


@dataclass(frozen=True)
class ModelConfig:
    name: str = "base"
    transform: TransformConfig = field(default_factory=TransformConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    task: TaskConfig | None = None  # none: to code pictures as they are
    distortion: str | None = None  # of DISTORTIONS, what training kept low; none: mse

    def __post_init__(self):
        if self.distortion not in (None, *DISTORTIONS[1:]):
            raise ModelError(f"expected distortion {DISTORTIONS[1:]}, found {self.distortion!r}")
        coded = [[0] * 16 for _ in range(self.transform.latents)]
        for item in self.prior.passes:
            for channel in range(item.start, min(item.stop, self.transform.latents + 1)):
                if channel == self.transform.latents:
                    raise ModelError(f"pass {item} codes channels that do not exist")
                for bit in range(16):
                    coded[channel][bit] += item.lattice >> bit & 1
        if any(count != 1 for row in coded for count in row):
            raise ModelError("the passes do not code each latent exactly once")
        if self.prior.passes[0].blocks:
            raise ModelError("the first pass has no context, so it takes no blocks")
        if not 0 < self.prior.coarse_passes < len(self.prior.passes):
            raise ModelError("coarse_passes must leave a pass for either segment")
        first = [item.min_level for item in self.prior.passes]
        if first != sorted(first) or first[self.prior.coarse_passes] or first[0] < 0:
            raise ModelError(f"min_level must rise, from 0 in the first fine pass, found {first}")
        if first[-1] >= self.transform.levels:
            raise ModelError(f"min_level must be below {self.transform.levels}, found {first[-1]}")

    def coded_channels(self, level: int) -> int:
        """How many latent channels a level codes, the first ones; the others are zero."""
        return max(item.stop for item in self.prior.passes if item.min_level <= level)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, so that equal configs have equal bytes."""
        fields = dataclasses.asdict(self)
        for item in fields["prior"]["passes"]:
            if not item["min_level"]:  # as models have it that are older than the field
                del item["min_level"]
        for part, names in ((fields, NEWER), (fields["transform"], NEWER_TRANSFORM)):
            for name in names:
                if part[name] is None:
                    del part[name]
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    def decoder_json(self) -> str:
        """`to_json` without what concerns the encoder alone, and is no part of a model's id."""
        fields = json.loads(self.to_json())
        fields.pop("distortion", None)
        for name in NEWER_TRANSFORM:
            fields["transform"].pop(name, None)
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "ModelConfig":
        """The config that `to_json` wrote. Raises ModelError for unknown or missing keys."""
        try:
            fields = json.loads(text)
            prior = fields["prior"]
            passes = tuple(PassConfig(**item) for item in prior["passes"])
            return cls(
                name=fields["name"],
                transform=TransformConfig(**fields["transform"]),
                quantizer=QuantizerConfig(**fields["quantizer"]),
                prior=PriorConfig(**{**prior, "passes": passes}),
                task=TaskConfig(**fields["task"]) if "task" in fields else None,
                distortion=fields.get("distortion"),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise ModelError(f"model config is not what this version reads: {exc}") from exc
