"""Pairs of pictures -> what programs and networks say of how far they are apart."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqcodec import metrics
from vqcodec.metrics import looks, stand_ins
from vqcodec.train.perceptual import MIN_SIDE

from .lpips import Lpips
from .repeats import repeats as repeats_of

GRID = 16  # pixels between the borders that `squares` looks at


class Pair:
    """An original and what became of it, uint8 [H, W, 3] each."""

    def __init__(self, before: np.ndarray, after: np.ndarray):
        self.before, self.after = map(np.ascontiguousarray, (before, after))


def psnr(pair: Pair) -> tuple[float]:
    """dB."""
    return (metrics.psnr(pair.before, pair.after),)


def ms_ssim(pair: Pair) -> tuple[float]:
    """nan for sides below 161 pixels."""
    if min(pair.before.shape[:2]) < metrics.MS_SSIM_MIN_SIDE:
        return (math.nan,)
    return (metrics.ms_ssim(pair.before, pair.after),)


def ssimulacra2(pair: Pair) -> tuple[float]:
    """See `vqcodec.metrics.looks`."""
    return (looks.ssimulacra2(pair.before, pair.after),)


def butteraugli(pair: Pair) -> tuple[float, float]:
    """The maximum norm and the 3-norm."""
    return looks.butteraugli(pair.before, pair.after)


class Cvvdp:
    """See `vqcodec.metrics.looks`."""

    def __init__(self):
        self._measure = looks.Cvvdp()

    def __call__(self, pair: Pair) -> tuple[float]:
        return (self._measure(pair.before, pair.after),)


class StLpips:
    """Shift-tolerant LPIPS, Ghildyal and Liu 2022, arXiv:2207.13686, by AlexNet; 0 for equal
    pictures. The network of the package `stlpips-pytorch`, whose weights come with it."""

    def __init__(self):
        with stand_ins.provided():
            from stlpips_pytorch import stlpips, utils

        self._network = stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)
        self._normalised = utils.normalize_tensor
        self._last: tuple[np.ndarray | None, list[Tensor]] = None, []

    def __call__(self, pair: Pair) -> tuple[float]:
        """nan for sides below 32 pixels."""
        if min(pair.before.shape[:2]) < MIN_SIDE:
            return (math.nan,)
        with torch.inference_mode():
            if self._last[0] is not pair.before:
                self._last = pair.before, self._outputs(pair.before)
            both = zip(self._last[1], self._outputs(pair.after), self._network.lins, strict=True)
            return (sum(float(lin((a - b) ** 2).mean()) for a, b, lin in both),)

    def _outputs(self, rgb: np.ndarray) -> list[Tensor]:
        x = torch.tensor(rgb).permute(2, 0, 1)[None].float() / 127.5 - 1
        outputs = self._network.net(self._network.scaling_layer(x))
        return [self._normalised(output) for output in outputs]


class LpipsOf:
    """LPIPS with the weights of a file, see `lpips.Lpips`; nan for sides below 32 pixels."""

    def __init__(self, path: str):
        self._network = Lpips(Path(path))

    def __call__(self, pair: Pair) -> tuple[float]:
        return (self._network.distance(pair.before, pair.after),)


def repeats(pair: Pair) -> tuple[float, ...]:
    """See `repeats.repeats`."""
    return repeats_of(pair.before, pair.after)


def squares(pair: Pair) -> tuple[float]:
    """How much squares of colour show: the mean absolute step of Cb and Cr over the borders of the
    16-pixel grid against that elsewhere, in what became of the picture. About 1 for photographs;
    nan where there is no step elsewhere."""
    rgb = pair.after.astype(np.float32)
    y = rgb @ np.float32([0.299, 0.587, 0.114])
    colour = np.stack([(rgb[..., 2] - y) / 1.772, (rgb[..., 0] - y) / 1.402])
    sums = np.zeros((2, 2))  # elsewhere and on borders: of steps, and of their number
    for axis in (1, 2):
        steps = np.abs(np.diff(colour, axis=axis))
        border = np.arange(1, colour.shape[axis]) % GRID == 0
        for kind in (0, 1):
            own = np.compress(border == kind, steps, axis)
            sums[kind] += own.sum(dtype=np.float64), own.size
    (elsewhere, places), (on, borders) = sums
    if not elsewhere or not borders:
        return (math.nan,)
    return (float((on / borders) / (elsewhere / places)),)
