"""The figure for patterns that a decoder repeats."""

import math

import numpy as np
import pytest
from PIL import Image

from bench.repeats import repeats
from conftest import smooth_picture


@pytest.fixture(scope="module")
def scene():
    """Soft shapes under grain, 288x256."""
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(40, 216, (18, 16, 3), np.uint8)).resize((256, 288))
    return np.asarray(soft) + rng.normal(0, 3, (288, 256, 3))


def rounded(picture):
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def canvas(scene, period, deviation):
    tile = np.random.default_rng(1).normal(0, deviation, (period, period, 1))
    return np.tile(tile, (288 // period, 256 // period, 1)) + scene


def test_a_canvas_is_found_at_its_period_and_what_does_not_repeat_at_none(scene):
    before = rounded(scene)
    grain = rounded(scene + np.random.default_rng(2).normal(0, 3, scene.shape))
    blurred = np.asarray(Image.fromarray(before).resize((128, 144)).resize((256, 288)))

    assert repeats(before, before) == (1, 1)
    assert repeats(before, rounded(canvas(scene, 8, 1)))[0] > 1.5
    assert repeats(before, rounded(canvas(scene, 8, 1)))[1] == pytest.approx(1, abs=0.05)
    assert repeats(before, rounded(canvas(scene, 16, 1.5)))[1] > 1.5
    for other in (grain, blurred):
        assert repeats(before, other) == pytest.approx((1, 1), abs=0.1)


def test_a_pattern_is_found_wherever_the_picture_is_cut(scene):
    woven = rounded(canvas(scene, 8, 1))
    whole, cut = (repeats(rounded(scene)[at:, at:], woven[at:, at:])[0] for at in (0, 5))

    assert cut == pytest.approx(whole, rel=0.15)


def test_flat_pictures_have_a_figure_and_small_ones_none():
    flat = np.full((160, 160, 3), 90, np.uint8)
    steps = rounded(np.tile(np.eye(8)[..., None], (20, 20, 3)) * 4 + flat)

    assert repeats(flat, flat) == (1, 1)
    assert repeats(flat, flat + np.uint8(1)) == (1, 1)
    assert repeats(flat, steps)[0] > 5
    assert all(map(math.isnan, repeats(*[smooth_picture(127, 300)] * 2)))
