"""Places of latents and pixels: what covers a crop, what lies around it, what two share."""

import numpy as np
import pytest

from vqcodec.geometry import Rectangle, cover, grid_of, meet, pixels_of, widened, windows, within

GRID = Rectangle(0, 0, 12, 10)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (64, 64), (65, 3), (130, 191)])
def test_windows_are_even_and_cover_each_latent_once(width, height):
    covered = np.zeros((height, width), dtype=int)
    for x, y, w, h in windows(Rectangle(7, 5, width, height), 64):
        covered[y - 5 : y - 5 + h, x - 7 : x - 7 + w] += 1
        assert 1 <= w <= 64
        assert 1 <= h <= 64
        assert w >= min(width, 32)

    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("crop", "expected"),
    [
        ((0, 0, 1, 1), (0, 0, 1, 1)),
        ((15, 15, 2, 2), (0, 0, 2, 2)),
        ((16, 32, 16, 48), (1, 2, 1, 3)),
        ((31, 47, 1, 17), (1, 2, 1, 2)),
    ],
)
def test_a_crop_is_covered_by_the_fewest_latents(crop, expected):
    assert cover(Rectangle(*crop)) == expected


def test_a_picture_is_covered_by_its_grid():
    assert grid_of(177, 160) == cover(Rectangle(0, 0, 177, 160)) == GRID
    assert pixels_of(GRID) == (0, 0, 192, 160)


def test_a_halo_ends_where_the_grid_ends():
    assert widened(Rectangle(4, 5, 2, 1), 3, GRID) == (1, 2, 8, 7)
    assert widened(Rectangle(1, 8, 2, 1), 3, GRID) == (0, 5, 6, 5)
    assert widened(GRID, 3, GRID) == GRID


def test_places_meet_in_what_both_have():
    assert meet(Rectangle(0, 0, 4, 4), Rectangle(2, 3, 9, 9)) == (2, 3, 2, 1)
    assert meet(Rectangle(0, 0, 4, 4), Rectangle(4, 0, 4, 4)) is None


def test_a_part_is_found_in_an_array_of_its_place():
    numbers = np.arange(120).reshape(10, 12)
    place = Rectangle(20, 30, 12, 10)

    assert np.array_equal(numbers[within(Rectangle(23, 32, 2, 1), place)], [[27, 28]])
