"""The paired interval covers what it promises; McNemar's test is scipy's binomial test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from striate.paired_rates import difference_interval, mcnemar

COUNTS = st.integers(0, 60)


@given(COUNTS, COUNTS)
def test_the_test_is_the_binomial_test(first, second):
    if first + second == 0:
        assert mcnemar(0, 0) == 1
        return
    assert mcnemar(first, second) == pytest.approx(binomtest(first, first + second).pvalue)


@given(st.tuples(COUNTS, COUNTS, COUNTS, COUNTS).filter(any))
def test_the_interval_holds_the_difference_and_turns_with_the_pair(counts):
    both, first, second, neither = counts
    low, high = difference_interval(*counts)
    difference = (first - second) / sum(counts)
    assert -1 <= low <= difference + 1e-12
    assert difference - 1e-12 <= high <= 1
    turned = difference_interval(both, second, first, neither)
    assert turned == pytest.approx((-high, -low))


@pytest.mark.parametrize("shares", [(0.9, 0.04, 0.02, 0.04), (0.5, 0.2, 0.1, 0.2)])
def test_of_a_hundred_intervals_ninety_five_hold_the_truth(shares):
    truth = shares[1] - shares[2]
    drawn = np.random.default_rng(6).multinomial(300, shares, size=4000).tolist()
    ends = [difference_interval(*counts) for counts in drawn]
    assert np.mean([low <= truth <= high for low, high in ends]) == pytest.approx(0.95, abs=0.015)


def test_pairs_that_are_none_are_refused():
    with pytest.raises(ValueError, match="needed are four numbers from 0 up, not all 0"):
        difference_interval(0, 0, 0, 0)
