"""Encoding to a size, a rate or a PSNR."""

import numpy as np
import pytest

from conftest import smooth_picture
from vqcodec import targets
from vqcodec.bitstream import container
from vqcodec.errors import OutOfReachError
from vqcodec.image import pixels
from vqcodec.metrics import psnr
from vqcodec.rate_control import operating_point


@pytest.fixture(scope="module")
def picture():
    return pixels.load(smooth_picture(160, 192))


def test_a_target_size_is_met_from_below(codec, picture):
    smallest, largest = (len(codec.encode(picture, quality)) for quality in (0, 100))
    for share in (0.2, 0.5, 0.9):
        most = smallest + share * (largest - smallest)
        reached = targets.to_size(codec, picture, most)

        # The tests' model has 8 levels and one more pass from level 4 on: its sizes have gaps.
        assert 0.85 * most <= len(reached.data) <= most
        # The file of that quality, or one of its level that comes nearer to the target.
        of_quality = codec.encode(picture, reached.quality)
        levels = [container.unpack(data).header.level for data in (reached.data, of_quality)]
        assert reached.data == of_quality or len(reached.data) > len(of_quality)
        assert levels[0] == levels[1]


def test_a_size_between_two_levels_is_met_by_the_fidelity_of_the_lower(codec, picture):
    levels = codec.model.config.transform.levels
    place = next(q / 10 for q in range(1, 1000) if operating_point(q / 10, levels).level == 4)
    below, above = (len(codec.encode(picture, q)) for q in (place - 0.1, place))
    assert above > 1.05 * below, "there is no gap to fill"
    most = (below + above) / 2

    reached = targets.to_size(codec, picture, most)

    assert 1.02 * below < len(reached.data) <= most
    assert (
        container.unpack(reached.data).header.level
        == operating_point(reached.quality, levels).level
    )


def test_a_target_rate_is_the_size_over_the_pixels(codec, picture):
    by_size = targets.to_size(codec, picture, 2600)
    by_rate = targets.to_bpp(codec, picture, 2600 * 8 / (160 * 192))

    assert by_rate.data == by_size.data
    assert by_rate.value == len(by_size.data) * 8 / (160 * 192)


def test_a_target_psnr_is_met_from_above(codec, picture):
    def measured(data):
        return psnr(np.asarray(codec.decode(data)), picture.rgb)

    ends = [measured(codec.encode(picture, quality)) for quality in (0, 100)]
    least = sum(ends) / 2
    reached = targets.to_psnr(codec, picture, least)

    assert least <= reached.value == measured(reached.data)
    assert len(reached.data) < len(codec.encode(picture, 100))


def test_a_generous_target_gives_the_best_and_a_modest_one_the_smallest(codec, picture):
    assert targets.to_size(codec, picture, 10**6).quality == 100
    assert targets.to_psnr(codec, picture, 1).quality == 0


def test_what_is_out_of_reach_says_so(codec, picture):
    with pytest.raises(OutOfReachError, match=r"50 bytes is out of reach: quality 0 has"):
        targets.to_size(codec, picture, 50)
    with pytest.raises(OutOfReachError, match=r"90 dB is out of reach: quality 100 has"):
        targets.to_psnr(codec, picture, 90)
