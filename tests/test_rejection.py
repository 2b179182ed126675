"""Rejection against a plain loop over all thresholds."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from striate.rejection import curve, lead, least_threshold, reject

ANSWERS = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40)


@given(ANSWERS, st.sampled_from([0.0, 0.1, 0.34, 0.5]))
def test_the_threshold_gives_the_most_answers_that_the_error_allows(answers, most_error):
    confidence = torch.tensor([float(sure) for sure, _ in answers])
    correct = torch.tensor([right for _, right in answers])
    most_given = 0
    for threshold in range(7):
        given_answers = [right for sure, right in answers if sure >= threshold]
        wrong = sum(not right for right in given_answers)
        if given_answers and wrong <= most_error * len(given_answers):
            most_given = max(most_given, len(given_answers))
    found = reject(confidence, correct, least_threshold(confidence, correct, most_error))
    assert found.rejected == pytest.approx(1 - most_given / len(answers))
    assert found.error_rate is None if most_given == 0 else found.error_rate <= most_error


@given(ANSWERS, st.integers(-1, 7))
def test_rejection_counts_as_a_loop_does(answers, threshold):
    kept = [right for sure, right in answers if sure >= threshold]
    found = reject(
        torch.tensor([float(sure) for sure, _ in answers]),
        torch.tensor([right for _, right in answers]),
        threshold,
    )
    assert found.rejected == pytest.approx(1 - len(kept) / len(answers))
    if kept:
        assert found.error_rate == pytest.approx(kept.count(False) / len(kept))
    else:
        assert found.error_rate is None


def test_nothing_is_given_where_the_surest_answers_are_wrong():
    confidence, correct = torch.tensor([2.0, 1.0]), torch.tensor([False, True])
    assert least_threshold(confidence, correct, 0.01) == float("inf")


def test_the_lead_is_winner_minus_runner_up():
    scores = torch.tensor([[1.0, 4.0, 2.5], [3.0, 3.0, -1.0], [-5.0, -7.0, -6.5]])
    assert lead(scores).tolist() == [1.5, 0.0, 1.5]


def test_no_answers_and_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match=r"shape \(0,\) and correct \(0,\); needed are two of"):
        least_threshold(torch.zeros(0), torch.zeros(0, dtype=torch.bool), 0.01)
    with pytest.raises(ValueError, match=r"shape \(0,\) and correct \(0,\); needed are two of"):
        reject(torch.zeros(0), torch.zeros(0, dtype=torch.bool), 0.5)
    with pytest.raises(ValueError, match=r"shape \(3,\) and correct \(2,\)"):
        least_threshold(torch.zeros(3), torch.zeros(2, dtype=torch.bool), 0.01)


def test_a_single_class_has_no_runner_up():
    with pytest.raises(ValueError, match=r"scores have shape \(5, 1\); needed is \(N, K\) with K"):
        lead(torch.zeros(5, 1))


def test_the_curve_is_reject_at_every_confidence():
    generator = torch.Generator().manual_seed(3)
    confidence = torch.randint(0, 20, (70,), generator=generator) / 20
    correct = torch.rand(70, generator=generator) < confidence
    steps = curve(confidence, correct)
    expected = [reject(confidence, correct, float(c)) for c in confidence.unique()]
    assert [pytest.approx(step) for step in steps] == expected
    assert len(curve(torch.rand(999, generator=generator), torch.ones(999) > 0)) == 200
