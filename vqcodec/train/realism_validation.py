"""Validation of the realism stage on held-out pictures: which weights it keeps.

The guard against a discriminator that ruins pictures, drifting colours and patterns: weights
are kept only while PSNR and the mean colour stay near those of the fidelity decoder.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..metrics import kid
from ..nn.transforms import Decoder
from .data import Crops
from .perceptual import Perceptual
from .presets import RealismConfig
from .realism_loss import PERIOD, loss_of_psnr
from .realism_scene import FrozenModel

LEVEL_SHARES = (0.07, 0.22, 0.42)  # of all levels: about 0.1, 0.2 and 0.4 bits a pixel
SPARE = 0.5  # dB that PSNR may fall below the aim
COLOUR_LIMIT = 1.0  # of 255, by which a picture's mean colour may leave the fidelity decoder's
PATTERN_LIMIT = 0.4  # of 255, of the mean block's deviation: a pattern that comes back in each
PATCH = 64  # pixels a side, of the patches whose features are compared as distributions
SHOWN = 4  # pictures of the sheet of samples


class RealismValidation:
    """Measures on the same crops each time. best: the weights with the best score so far among
    those inside the limits, and before there are any, of the fidelity decoder."""

    def __init__(
        self,
        frozen: FrozenModel,
        decoder: Decoder,
        crops: Crops,
        config: RealismConfig,
        perceptual: Perceptual | None,
        sheet: Path,
    ):
        """decoder: as it starts. perceptual: None measures no ratios. sheet: a PNG file, where
        each measurement adds a column of pictures."""
        self.frozen, self.config, self.perceptual, self.sheet = frozen, config, perceptual, sheet
        x = crops.sample(config.valid_crops, config.valid_side)
        last = frozen.levels - 1
        self.scenes = [
            frozen.scene(part, torch.full((len(part),), round(share * last), device=x.device))
            for share in LEVEL_SHARES
            for part in x.split(4)
        ]
        self.score = float("inf")
        self.best = {k: v.clone() for k, v in decoder.state_dict().items()}
        self.best["grain.weight"].zero_()
        self._fidelity: list[list[float]] | None = None  # distances of the fidelity decoder
        self._has_sheet = False  # whether it is of this run

    def state(self) -> dict:
        """What a run needs to go on."""
        return {"best": self.best, "score": self.score}

    def load_state(self, state: dict) -> None:
        self.best, self.score = state["best"], state["score"]
        self._has_sheet = True

    @torch.no_grad()
    def measure(self, decoder: Decoder) -> dict:
        """A row of the log: for each of LEVEL_SHARES the fall of PSNR in dB, the largest change
        of a mean colour in 255 units, the strength of a pattern, and the ratios of LPIPS and of the
        kernel distance of patches to those of the fidelity decoder. Updates `best` and the sheet
        of samples."""
        decoded = [
            self.frozen.synthesise(decoder, s.latents, s.levels).clamp(0, 1) for s in self.scenes
        ]
        pairs = list(zip(self.scenes, decoded, strict=True))
        fallen = [loss_of_psnr(s, y) for s, y in pairs]
        colour = [((y - s.fidelity.clamp(0, 1)).mean((2, 3)) * 255).abs().amax(1) for s, y in pairs]
        changes = [y - s.fidelity for s, y in pairs]
        row = {
            "valid_fallen": [float(v.mean()) for v in self._by_level(fallen)],
            "valid_colour": [float(v.max()) for v in self._by_level(colour)],
            "valid_pattern": [pattern(v) for v in self._by_level(changes)],
        }
        if self.perceptual is not None:
            if self._fidelity is None:
                self._fidelity = self._distances([s.fidelity.clamp(0, 1) for s in self.scenes])
            found = self._distances(decoded)
            for name, a, b in zip(("lpips", "kernel"), found, self._fidelity, strict=True):
                row[f"valid_{name}"] = [one / other for one, other in zip(a, b, strict=True)]
        self._keep(row, decoder.state_dict())
        self._show(decoded[0])
        return row | {"best": self.score}

    def _keep(self, row: dict, weights: dict[str, Tensor]) -> None:
        """The rule: inside the limits, the lowest mean ratio; without ratios, the last."""
        if max(row["valid_fallen"]) > self.config.aim + SPARE:
            return
        if max(row["valid_colour"]) > COLOUR_LIMIT or max(row["valid_pattern"]) > PATTERN_LIMIT:
            return
        ratios = [*row.get("valid_lpips", []), *row.get("valid_kernel", [])]
        score = sum(ratios) / len(ratios) if ratios else 0.0
        if score < self.score or not ratios:
            self.score, self.best = score, {k: v.clone() for k, v in weights.items()}

    def _by_level(self, values: list[Tensor]) -> list[Tensor]:
        parts = len(values) // len(LEVEL_SHARES)
        return [torch.cat(values[i : i + parts]) for i in range(0, len(values), parts)]

    def _distances(self, decoded: list[Tensor]) -> list[list[float]]:
        """LPIPS and the kernel distance, at each of LEVEL_SHARES."""
        pairs = list(zip([s.x for s in self.scenes], decoded, strict=True))
        lpips = self._by_level([self.perceptual.distance(x, y) for x, y in pairs])
        real, fake = (
            self._by_level([self._patches(p) for p in ps]) for ps in zip(*pairs, strict=True)
        )
        kernel = [
            kid(a.double().cpu().numpy(), b.double().cpu().numpy())
            for a, b in zip(real, fake, strict=True)
        ]
        return [[float(v.mean()) for v in lpips], kernel]

    def _patches(self, x: Tensor) -> Tensor:
        """float [N, C]: mean features of the patches of [B, 3, H, W]."""
        x = x.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
        x = x.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, PATCH, PATCH)
        return self.perceptual.outputs(x)[-1].mean((2, 3))

    def _show(self, decoded: Tensor) -> None:
        """Add a column to the sheet: the lowest level's pictures as they are decoded now."""
        scene = self.scenes[0]
        columns = [_column(scene.x), _column(scene.fidelity)]
        if self._has_sheet and self.sheet.exists():
            with Image.open(self.sheet) as sheet:
                columns = [np.asarray(sheet)]
        Image.fromarray(np.concatenate([*columns, _column(decoded)], 1)).save(self.sheet)
        self._has_sheet = True


def pattern(change: Tensor) -> float:
    """Standard deviation in 255 units of the mean PERIOD x PERIOD block of [B, 3, H, W]."""
    return float((F.pixel_unshuffle(change, PERIOD).mean((0, 2, 3)) * 255).std())


def _column(x: Tensor) -> np.ndarray:
    """uint8 [n * H, W, 3] of the first pictures of [B, 3, H, W], one below the other."""
    rgb = (x[:SHOWN].clamp(0, 1) * 255 + 0.5).byte().permute(0, 2, 3, 1)
    return rgb.flatten(0, 1).cpu().numpy()
