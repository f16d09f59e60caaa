"""Quality -> level and scale of lambda."""

import itertools

import pytest

from vqcodec.rate_control import BELOW, LAMBDA_SCALE, SCALE_PER_LEVEL, operating_point


def test_the_ends_are_the_first_and_last_level():
    assert operating_point(0, 48) == (0, LAMBDA_SCALE / SCALE_PER_LEVEL**BELOW, -BELOW)
    assert operating_point(100, 48) == (47, LAMBDA_SCALE, 0)


def test_within_a_level_quality_raises_the_scale():
    points = [operating_point(quality / 10, 8) for quality in range(1001)]

    for before, after in itertools.pairwise(points):
        assert after.level > before.level or after.lambda_scale > before.lambda_scale
        assert after.level + after.level_offset > before.level + before.level_offset
    assert {item.level for item in points} == set(range(8))


@pytest.mark.parametrize("quality", [-0.1, 101, float("inf"), float("nan")])
def test_a_quality_out_of_range_is_refused(quality):
    with pytest.raises(ValueError, match=r"0\.\.100"):
        operating_point(quality, 8)
