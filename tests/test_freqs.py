"""Probabilities -> integer frequencies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.entropy.freqs import bits, from_probabilities


@given(st.lists(st.floats(1e-9, 1), min_size=2, max_size=300))
def test_frequencies_sum_exactly(values):
    p = np.array(values) / np.sum(values)
    counts = from_probabilities(p)

    assert int(counts.sum(dtype=np.int64)) == 2**24 - len(p)


def test_largest_remainder_breaks_ties_to_the_lower_index():
    assert from_probabilities(np.full(3, 1 / 3)).tolist() == [5592405, 5592404, 5592404]


def test_bits_are_those_of_the_coder():
    counts = from_probabilities(np.array([0.75, 0.25]))

    assert bits(counts) == pytest.approx([-np.log2(0.75), 2], abs=1e-6)


def test_what_is_no_distribution_is_refused():
    with pytest.raises(ValueError, match="sum"):
        from_probabilities(np.array([0.5, 0.9]))
