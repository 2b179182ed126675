"""Calibration against a plain loop over the bins, and against answers that keep their word."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from striate.calibration import calibration


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_a_loop_over_the_bins_of_the_paper_agrees(answers):
    measured = calibration(
        torch.tensor([p for p, _ in answers], dtype=torch.float64),
        torch.tensor([right for _, right in answers]),
    )
    error = 0.0
    for number, entry in enumerate(measured["bins"]):
        inside = [
            (p, right)
            for p, right in answers
            if number < p * 15 <= number + 1 or (number == 0 and p == 0)
        ]
        assert entry["examples"] == len(inside)
        if inside:
            confidence = sum(p for p, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            assert entry["confidence"] == pytest.approx(confidence)
            assert entry["accuracy"] == pytest.approx(accuracy)
            error += len(inside) / len(answers) * abs(confidence - accuracy)
        else:
            assert entry["confidence"] is entry["accuracy"] is None
    assert measured["expected_calibration_error"] == pytest.approx(error)


def test_answers_that_are_right_as_often_as_they_say_have_a_small_error():
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(40_000, generator=generator)
    kept = torch.rand(40_000, generator=generator) < confidence
    assert calibration(confidence, kept)["expected_calibration_error"] < 0.01
    boast = calibration(confidence, torch.zeros(40_000, dtype=torch.bool))
    assert boast["expected_calibration_error"] == pytest.approx(0.5, abs=0.01)


def test_what_is_no_probability_or_no_pair_is_refused():
    with pytest.raises(ValueError, match=r"outside \[0, 1\]; give probabilities"):
        calibration(torch.tensor([1.5]), torch.tensor([True]))
    with pytest.raises(ValueError, match=r"shape \(2,\) and correct \(1,\)"):
        calibration(torch.tensor([0.5, 0.5]), torch.tensor([True]))
