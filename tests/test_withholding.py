"""A threshold is used only by the predictions that it was found for."""

import json

import pytest

from striate.errors import UsageError
from striate.runs import Run
from striate.withholding import least_probability


def test_a_threshold_of_other_views_is_refused(run):
    report = {
        "protocol": "ten-crop",
        "rejection": {"wanted_error_rate": 0.01, "probability": {"threshold": 0.7}},
    }
    file = Run(run).path / "evaluation.json"
    file.write_text(json.dumps(report))
    with pytest.raises(UsageError, match="is for protocol ten-crop, and a prediction is of a sin"):
        least_probability(Run(run), 0.01)
    file.write_text(json.dumps({**report, "protocol": "single"}))
    assert least_probability(Run(run), 0.01) == 0.7
