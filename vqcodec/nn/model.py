"""The whole network: transforms, codebooks and prior, and the loop over the prior's passes.

    pixels [B, 3, H, W]
       |  Encoder: PCA of 16x16 blocks plus a convolutional path. Gains: steps of the level.
       v
    latents y [B, C, H/16, W/16], in steps of the quantiser
       |
       |  for each pass of the prior, coarse to fine: some channels at some positions
       |   +----------------------------------------------------------------------+
       |   |  decoded latents --> Prior.step --> mean, scale                      |
       |   |                                      |      |                        |
       |   |                                      v      v                        |
       +---+--> y ------------------------> r = y - mean, classify --> assign ----+--> indices and
           |                                      |                      |        |    their tables:
           |  decoded latents <--- mean + codeword, by index <-----------+        |    to the coder
           +----------------------------------------------------------------------+
           |
           v
    decoded latents [B, C, H/16, W/16], in steps
       |  Gains. Decoder: the inverse PCA plus a convolutional path.
       v
    pixels [B, 3, H, W]

To decode a file is to walk the same passes with indices from the coder instead of `assign`.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ALL_POSITIONS, ModelConfig
from ..geometry import Rectangle
from .blocks import as_map
from .fast_assign import FastCodebooks, JointClasses
from .grain import grain
from .prior import Expectation, LevelTables, Prior, lattice_mask, level_tables
from .quantizer import Assignment
from .transforms import Decoder, Encoder, Gains, LinearPath


class PassStep(NamedTuple):
    """What is known when a pass chooses its indices."""

    index: int
    items: Tensor  # int64 [b]: items of the batch that it codes; what follows has only them
    channels: slice
    mask: Tensor  # bool [h, w]: the positions that it codes
    everywhere: bool  # whether these are all
    expected: Expectation
    classes: JointClasses


class PassResult(NamedTuple):
    """What a pass chose, and what is decoded after it."""

    step: PassStep
    chosen: Assignment
    latents: Tensor  # [B, C, h, w] in steps, of all items; without gradients one and the same


Choose = Callable[[PassStep], Assignment]


class Network(nn.Module):
    """pixels <-> latents <-> codebook indices, at every level of the rate."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.linear = LinearPath(config.transform.latents)
        self.encoder = Encoder(config.transform)
        self.decoder = Decoder(config.transform)
        self.gains = Gains(config.transform)
        self.codebooks = FastCodebooks(config.quantizer)
        self.prior = Prior(config)
        self.fixed_tables: LevelTables | None = None  # [L, C] each, of an exported model
        lambdas = torch.tensor(config.transform.lambdas(), dtype=torch.float32)
        self.register_buffer("lambdas", lambdas, persistent=False)

    def analyse(self, x: Tensor, levels: Tensor, count: int | None = None) -> Tensor:
        """Pixels float [B, 3, H, W] in 0..1 -> latents float32 [B, C, H/16, W/16] in steps.

        count: of latents to compute, the first ones, where others are left out as zeros. By
        default those that any of the levels codes: to find that waits for the levels.
        """
        used = self._used(levels) if count is None else count
        y = self.encoder(x, self.linear, self.gains.scale[:used], levels)
        y = y * as_map(self.gains.to_steps()[levels, :used])
        left = self.config.transform.latents - used
        return F.pad(y.movedim(1, -1), (0, left)).movedim(-1, 1) if left else y

    def synthesise(
        self,
        latents: Tensor,
        levels: Tensor,
        origin: tuple[int, int] = (0, 0),
        decoder: Decoder | None = None,
        affine: bool = False,
        part: Rectangle | None = None,
        count: int | None = None,
    ) -> Tensor:
        """Latents in steps [B, C, h, w] -> pixels float32 [B, 3, 16h, 16w], not clipped.

        origin: row and column of the first latent in the picture; grain depends on the position.
        decoder: another than the network's. affine: without residual blocks. part: the latents
        whose pixels are wanted, and come; None: all. count: of the latents that are not all zero,
        as of `analyse`.
        """
        decoder = self.decoder if decoder is None else decoder
        used = self._used(levels) if count is None else count
        y = latents[:, :used] * as_map(self.gains.to_units()[levels, :used])
        noise = grain(*origin, *y.shape[2:], y.device) if decoder.is_grained else None
        return decoder(y, self.linear, self.gains.scale[:used], levels, noise, affine, part)

    def _used(self, levels: Tensor) -> int:
        """The channels that any of these levels codes: transforms leave out the others."""
        return self.config.coded_channels(int(levels.max()))

    def kappa(self, levels: Tensor, lambda_scale: float | Tensor) -> Tensor:
        """Bits that a squared error of one step is worth, [B, C, 1, 1].

        lambda_scale: a number, or one of each channel [C]. 1 is the plain optimum of bits +
        lambda * squared error; more is finer.
        """
        energy = self.gains.step_energy()[levels].detach()
        return as_map(lambda_scale * self.lambdas[levels][:, None] / 3 * energy)

    def tables(self, levels: Tensor) -> LevelTables:
        """Fixed-point tables [B, C] of `levels` [B]: those of an exported model, else anew."""
        if self.fixed_tables is not None:
            return LevelTables(*(table[levels] for table in self.fixed_tables))
        return level_tables(self.gains.to_steps(), self.gains.to_units(), levels)

    def passes(
        self, like: Tensor, levels: Tensor, choose: Choose, checkpointing: bool = False
    ) -> Iterator[PassResult]:
        """Walk the prior's passes; `choose` gives each pass its indices.

        like: any tensor [B, C, h, w] of the shape, type and device of the latents.
        checkpointing: a gradient takes less memory and more time.
        """
        latents = torch.zeros_like(like)
        tables = self.tables(levels)
        h = self.prior.begin(latents)
        items = torch.arange(len(levels), device=levels.device)
        for index, item in enumerate(self.config.prior.passes):
            keep = levels[items] >= item.min_level
            if item.min_level and not bool(keep.all()):
                if not bool(keep.any()):
                    return
                items, h = items[keep], h[keep]
                tables = LevelTables(*(table[keep] for table in tables))
            channels = slice(item.start, item.stop)
            known = latents[items] if len(items) < len(levels) else latents
            h, expected = self.prior.step(index, h, known, levels[items], tables, checkpointing)
            classes = self.codebooks.classify(expected.log_scale.detach())
            mask = lattice_mask(item.lattice, *like.shape[-2:], like.device)
            everywhere = item.lattice == ALL_POSITIONS
            step = PassStep(index, items, channels, mask, everywhere, expected, classes)
            chosen = choose(step)
            new = expected.mean.detach() + chosen.value
            if not everywhere:
                new = torch.where(mask, new, known[:, channels])
            if torch.is_grad_enabled():
                new = torch.cat([known[:, : item.start], new, known[:, item.stop :]], 1)
                latents = new if len(items) == len(levels) else latents.index_copy(0, items, new)
            else:
                latents[items if len(items) < len(levels) else slice(None), channels] = new
            yield PassResult(step, chosen, latents)

    def quantise(
        self, y: Tensor, levels: Tensor, lambda_scale: float | Tensor, checkpointing: bool = False
    ) -> Iterator[PassResult]:
        """Walk the passes, choosing codewords for the latents y [B, C, h, w] in steps.

        The decoded latents are exactly mean + codeword, with a straight-through gradient to y
        and the codewords' gradient. lambda_scale: as of `kappa`; checkpointing: as of `passes`.
        """
        kappa = self.kappa(levels, lambda_scale)

        def choose(step: PassStep) -> Assignment:
            target = (y if len(step.items) == len(y) else y[step.items])[:, step.channels]
            r = (target - step.expected.mean).detach()
            chosen = self.codebooks.assign(r, step.classes, kappa[step.items, step.channels])
            if not target.requires_grad:
                return chosen
            return chosen._replace(value=chosen.value + (target - target.detach()))

        return self.passes(y, levels, choose, checkpointing)
