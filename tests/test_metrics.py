"""metrics: figures of pictures and of curves."""

import math
import subprocess
import sys

import numpy as np
import pytest

from conftest import smooth_picture
from vqcodec.metrics import bd_rate, bits_per_pixel, ms_ssim, psnr, rate_at

RATE = np.array([0.1, 0.2, 0.4, 0.8, 1.6])
PSNR = np.array([26.0, 28.5, 31.0, 33.0, 36.0])


def test_psnr_of_an_error_of_one_level_everywhere():
    a = np.full((4, 5, 3), 7, dtype=np.uint8)

    assert psnr(a, a + 1) == pytest.approx(20 * math.log10(255))


def test_psnr_does_not_wrap_around():
    black, white = (np.full((2, 2, 3), level, dtype=np.uint8) for level in (0, 255))

    assert psnr(black, white) == 0
    assert psnr(white, black) == 0


def test_psnr_of_equal_pictures_is_infinite(picture):
    assert psnr(picture, picture.copy()) == math.inf


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 5, 3), dtype=np.float32),
        np.zeros((4, 5), dtype=np.uint8),
        np.zeros((5, 4, 3), dtype=np.uint8),
        np.zeros((4, 5, 4), dtype=np.uint8),
    ],
)
def test_psnr_refuses_what_is_not_two_pictures_of_one_size(wrong):
    with pytest.raises(ValueError, match="expected"):
        psnr(np.zeros((4, 5, 3), dtype=np.uint8), wrong)


def test_ms_ssim_is_one_for_equal_pictures_and_falls_with_noise():
    pytest.importorskip("pytorch_msssim")
    rgb = smooth_picture(161, 176)
    rng = np.random.default_rng(0)
    little, much = (
        (rgb + rng.normal(scale=scale, size=rgb.shape)).clip(0, 255).astype(np.uint8)
        for scale in (4, 30)
    )

    assert ms_ssim(rgb, rgb) == pytest.approx(1)
    assert ms_ssim(rgb, much) < ms_ssim(rgb, little) < 1


def test_ms_ssim_refuses_small_pictures(picture):
    pytest.importorskip("pytorch_msssim")

    with pytest.raises(ValueError, match="sides of 161"):
        ms_ssim(picture, picture)


def test_bits_per_pixel_counts_the_bits_of_all_bytes():
    assert bits_per_pixel(3000, 100, 80) == 3.0


def test_rate_at_gives_the_points_back_and_nan_outside():
    pytest.importorskip("scipy")

    found = rate_at(RATE, PSNR, [26.0, 31.0, 36.0, 25.9, 36.1])

    assert found[:3] == pytest.approx([0.1, 0.4, 1.6])
    assert np.isnan(found[3:]).all()


def test_bd_rate_of_a_curve_of_half_the_rate_is_minus_50_percent():
    pytest.importorskip("bjontegaard")

    assert bd_rate(RATE, PSNR, RATE / 2, PSNR) == pytest.approx((-50.0, 26.0, 36.0))


def test_bd_rate_is_that_of_the_bjontegaard_package():
    bjontegaard = pytest.importorskip("bjontegaard")
    other = RATE * [0.8, 0.9, 0.7, 0.8, 0.95], PSNR + np.array([0.3, 0.1, 0.4, 0.2, 0.5])

    expected = bjontegaard.bd_rate(RATE, PSNR, *other, method="pchip")

    assert bd_rate(RATE, PSNR, *other).percent == pytest.approx(expected, abs=0.02)


def test_bd_rate_takes_points_in_any_order_and_curves_of_other_lengths():
    pytest.importorskip("bjontegaard")

    change = bd_rate(RATE, PSNR, RATE[3::-1] * 2, PSNR[3::-1])

    assert change == pytest.approx((100.0, 26.0, 33.0), abs=1)


def test_bd_rate_is_taken_over_the_interval_asked_for_as_far_as_both_curves_go():
    pytest.importorskip("bjontegaard")

    change = bd_rate(RATE, PSNR, RATE * 2, PSNR + 1, within=(20, 30))

    assert change[1:] == (27.0, 30.0)


@pytest.mark.parametrize(
    ("rate", "dB", "message"),
    [
        (RATE[:3], PSNR[:3], "N >= 4"),
        (RATE, PSNR[:4], "N >= 4"),
        (RATE, PSNR + 20, "no common interval"),
        (RATE[::-1], PSNR, "does not grow"),
        (RATE, np.append(PSNR[:4], PSNR[3]), "does not grow"),
        (RATE - 0.1, PSNR, "not above 0"),
        (RATE, np.append(PSNR[:4], math.inf), "not finite"),
    ],
)
def test_bd_rate_refuses_what_is_no_curve_and_curves_without_overlap(rate, dB, message):
    pytest.importorskip("bjontegaard")

    with pytest.raises(ValueError, match=message):
        bd_rate(RATE, PSNR, rate, dB)


def test_importing_metrics_costs_numpy_only():
    heavy = "{'torch', 'scipy', 'pytorch_msssim', 'bjontegaard'}"
    code = f"import sys, vqcodec.metrics; sys.exit(bool({heavy} & sys.modules.keys()))"

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
