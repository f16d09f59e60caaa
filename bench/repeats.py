"""Patterns that a decoder repeats: a canvas woven over hair, seen in the spectrum.

A pattern of period p has its energy at the frequencies whose both numbers of cycles are multiples
of 1/p: a comb. Pictures have energy there as well, but no more than beside it. So each tooth of the
comb is taken against the frequencies around it, which what only blurs or sharpens changes alike.
"""

import math

import numpy as np

WINDOW = 128  # pixels a side; teeth of a period of 16 are 8 frequencies apart
STEP = 64  # from one window to the next
PERIODS = 8, 16
NEAR, FAR = 2, 3  # how far from a tooth, to either side, its surroundings are
# Energy that hides a tooth on flat ground, that of white grain with a deviation of 5 of 255: so a
# canvas with a deviation of 0.15 of 255, which nobody sees, stands out by a tenth.
FLOOR = 25.0


def repeats(before: np.ndarray, after: np.ndarray) -> tuple[float, ...]:
    """How much stands out at periods of 8 and of 16 pixels (8 left out) in what became of a
    picture, against the original: 1 as in the original, more for a pattern of its own.

    before, after: uint8 [H, W, 3]. nan for a side below 128.
    """
    if min(before.shape[:2]) < WINDOW:
        return (math.nan,) * len(PERIODS)
    one, other = (_prominences(_spectrum(rgb)) for rgb in (after, before))
    return tuple(a / b for a, b in zip(one, other, strict=True))


def _spectrum(rgb: np.ndarray) -> np.ndarray:
    """Mean energy of luma over windows, float64 [WINDOW, WINDOW], of white noise its variance:
    Welch 1967."""
    y = rgb @ np.array([0.299, 0.587, 0.114])
    hann = np.hanning(WINDOW + 1)[:-1]
    taper = np.outer(hann, hann)
    windows = np.lib.stride_tricks.sliding_window_view(y, (WINDOW, WINDOW))[::STEP, ::STEP]
    total, count = np.zeros((WINDOW, WINDOW)), 0
    for row in windows:
        part = (row - row.mean((1, 2), keepdims=True)) * taper
        total += (np.abs(np.fft.fft2(part)) ** 2).sum(0)
        count += len(part)
    return total / count / np.square(taper).sum()


def _prominences(energy: np.ndarray) -> list[float]:
    """For each of PERIODS the mean over its teeth of their energy over that around them. A tooth
    is a tooth of its largest period alone; the mean colour is none."""
    side = np.arange(WINDOW)
    ratio = (energy + FLOOR) / (_around(energy) + FLOOR)
    found, done = [], np.zeros(energy.shape, bool)
    done[0, 0] = True
    for period in PERIODS:
        comb = side % (WINDOW // period) == 0
        teeth = np.outer(comb, comb) & ~done
        done |= teeth
        found.append(float(ratio[teeth].mean()))
    return found


def _around(energy: np.ndarray) -> np.ndarray:
    """The mean of the frequencies at a distance of NEAR to FAR, in the larger of both directions:
    Hann's window spreads a tooth over its next neighbours alone."""
    steps = range(-FAR, FAR + 1)
    shifts = [(y, x) for y in steps for x in steps if max(abs(y), abs(x)) >= NEAR]
    return sum(np.roll(energy, shift, (0, 1)) for shift in shifts) / len(shifts)
