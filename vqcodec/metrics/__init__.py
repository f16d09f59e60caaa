"""Quality and rate metrics: PSNR, MS-SSIM, bits per pixel, Bjontegaard rate difference; in `looks`
what was made after people's eyes.

Pictures are RGB of 8 to 16 bits as a viewer shows them, never float reconstructions. Importing this
module costs numpy only; what a figure needs besides (the `bench` extra) is imported where it is
used.
"""

import math
from typing import NamedTuple

import numpy as np

MIN_POINTS = 4  # of a curve
MS_SSIM_MIN_SIDE = 161  # the smallest picture that has five scales under a window of 11
KERNEL_ROWS = 1024  # of the matrix of `kid` at once
CUT_POINTS = 65  # of a curve that is cut to an interval


class RateChange(NamedTuple):
    """percent: mean change of the rate at equal PSNR, negative is a saving. low, high: the
    interval in dB over which it was taken."""

    percent: float
    low: float
    high: float


def psnr(a: np.ndarray, b: np.ndarray, depth: int = 8) -> float:
    """Peak signal to noise ratio in dB over all pixels and channels; inf for equal pictures.

    a, b: [H, W, 3], uint8, or uint16 of levels of `depth` bits. Raises ValueError for anything
    else.
    """
    check_pair(a, b, depth)
    difference = a.astype(np.int32) - b
    if depth > 8:
        difference = difference.astype(np.float64)  # squares have 32 bits
    error = np.mean(difference * difference)
    return math.inf if error == 0 else float(10 * np.log10((2**depth - 1) ** 2 / error))


def ms_ssim(a: np.ndarray, b: np.ndarray, depth: int = 8) -> float:
    """Multi-scale structural similarity, mean over R, G and B; 1 for equal pictures.

    a, b, depth: as of `psnr`, sides of 161 at least. Raises ValueError for anything else.
    Wang et al. 2003, as pytorch-msssim computes it.
    """
    import torch
    from pytorch_msssim import ms_ssim as measure

    check_pair(a, b, depth)
    if min(a.shape[:2]) < MS_SSIM_MIN_SIDE:
        raise ValueError(f"picture is {list(a.shape)}, expected sides of {MS_SSIM_MIN_SIDE}")
    pair = [torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1)[None] for rgb in (a, b)]
    with torch.inference_mode():
        return float(measure(*pair, data_range=2**depth - 1))


def bits_per_pixel(size: int, width: int, height: int) -> float:
    """Bits per pixel of a file of `size` bytes."""
    return 8 * size / (width * height)


def rate_at(rate: np.ndarray, psnr: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Rates at the PSNRs `wanted`: PCHIP of the log rate; nan outside the curve.

    rate, psnr: [N], the points of a curve. Raises ValueError if it is no curve.
    """
    from scipy.interpolate import PchipInterpolator

    rate, psnr = _curve(rate, psnr)
    return np.exp(PchipInterpolator(psnr, np.log(rate), extrapolate=False)(wanted))


def bd_rate(
    rate_anchor: np.ndarray,
    psnr_anchor: np.ndarray,
    rate_test: np.ndarray,
    psnr_test: np.ndarray,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> RateChange:
    """Bjontegaard's rate difference of `test` against `anchor`, by PCHIP.

    rate_*, psnr_*: [N], the points of each curve, in any order. within: dB; the interval is
    what both curves cover of it.

    Raises ValueError for fewer than 4 points, for a PSNR that does not grow with the rate, and
    for curves without a common interval. Bjontegaard 2001, VCEG-M33.
    """
    import bjontegaard

    curves = [_curve(rate_anchor, psnr_anchor), _curve(rate_test, psnr_test)]
    low = max(within[0], *(psnrs[0] for _, psnrs in curves))
    high = min(within[1], *(psnrs[-1] for _, psnrs in curves))
    if low >= high:
        raise ValueError(f"no common interval: curves begin at {low:.2f} and end at {high:.2f} dB")
    grid = np.linspace(low, high, CUT_POINTS)
    anchor, test = (rate_at(*curve, grid) for curve in curves)
    percent = bjontegaard.bd_rate(anchor, grid, test, grid, method="pchip", min_overlap=0)
    return RateChange(float(percent), float(low), float(high))


def kid(x: np.ndarray, y: np.ndarray) -> float:
    """Kernel distance of two sets of features, float64 [N, d], row by row of the same patches;
    nan for less than 2. x: of the originals, not all 0.

    Binkowski et al. 2018, arXiv:1801.01401: the unbiased squared maximum mean discrepancy with
    the kernel (x.y / d + 1)^3. A patch is no independent sample beside its original, so the
    form for pairs is taken, which leaves their kernel out: Gretton et al. 2012, JMLR 13, lemma 6.
    It is 0 for equal sets. Features are divided by the root of the originals' mean square, since
    the kernel depends on their scale.
    """
    count = len(x)
    if count < 2:
        return math.nan
    scale = np.sqrt(np.square(x).mean())
    x, y = x / scale, y / scale
    total = _unpaired(x, x) + _unpaired(y, y) - 2 * _unpaired(x, y)
    return total / (count * (count - 1))


def _unpaired(x: np.ndarray, y: np.ndarray) -> float:
    """The sum of the kernel over all pairs of rows but those of equal number."""
    total = 0.0
    for start in range(0, len(x), KERNEL_ROWS):
        part = x[start : start + KERNEL_ROWS]
        total += ((part @ y.T / x.shape[1] + 1) ** 3).sum()
    return float(total - (((x * y).mean(1) + 1) ** 3).sum())


def check_pair(a: np.ndarray, b: np.ndarray, depth: int = 8) -> None:
    """Raise ValueError unless both are [H, W, 3], of one size: uint8, or uint16 above 8 bits."""
    kind = "uint8" if depth == 8 else "uint16"
    for rgb in (a, b):
        if rgb.dtype.name != kind or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
            raise ValueError(f"picture is {rgb.dtype} {list(rgb.shape)}, expected {kind} [H, W, 3]")
    if a.shape != b.shape:
        raise ValueError(f"pictures are {list(a.shape)} and {list(b.shape)}, expected the same")


def _curve(rate: np.ndarray, psnr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points in order of PSNR, float64 [N] each. Raises ValueError if they are no curve."""
    rate, psnr = np.asarray(rate, dtype=np.float64), np.asarray(psnr, dtype=np.float64)
    if rate.ndim != 1 or rate.shape != psnr.shape or len(rate) < MIN_POINTS:
        shapes = f"{list(rate.shape)} rates and {list(psnr.shape)} PSNRs"
        raise ValueError(f"{shapes}, expected [N] of both, N >= {MIN_POINTS}")
    order = np.argsort(psnr)
    rate, psnr = rate[order], psnr[order]
    if not (np.isfinite(rate).all() and np.isfinite(psnr).all() and rate[0] > 0):
        raise ValueError("a rate or a PSNR is not finite, or a rate is not above 0")
    if not ((np.diff(rate) > 0).all() and (np.diff(psnr) > 0).all()):
        raise ValueError("PSNR does not grow with the rate")
    return rate, psnr
