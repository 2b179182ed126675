"""Thresholds for an error rate: chosen on validation, measured on test, kept for predictions."""

import csv
import io
import json

import pytest
import torch

from commanding import refused, said
from striate.batches import load_training_data
from striate.errors import UsageError
from striate.evaluation import evaluate
from striate.file_data import Reading
from striate.runs import Run
from striate.scoring import logits_of
from striate.training import train
from striate.understanding import Answers, thresholds, validation_answers


@pytest.fixture(scope="module")
def answers():
    """Answers that are surer where they are right, by halves."""
    generator = torch.Generator().manual_seed(2)
    targets = torch.randint(0, 5, (400,), generator=generator)
    logits = torch.randn(400, 5, generator=generator)
    logits[torch.arange(400), targets] += 3 * torch.rand(400, generator=generator)
    return Answers(logits, targets)


@pytest.mark.parametrize("rule", ["margin", "probability"])
@pytest.mark.parametrize("wanted", [0.0, 0.05, 0.3])
def test_a_loop_over_all_thresholds_agrees(answers, rule, wanted):
    other = Answers(answers.logits.flip(0)[:150], answers.targets.flip(0)[:150])
    found = thresholds(other, wanted, answers)
    sure, right = answers.confidence(rule).tolist(), answers.correct.tolist()
    best = None
    for threshold in sorted(sure):
        given = [r for s, r in zip(sure, right, strict=True) if s >= threshold]
        if given.count(False) <= wanted * len(given):
            best = threshold
            break
    assert found["chosen_on"] == "validation"
    assert found["chosen_among"] == 400
    assert found[rule]["threshold"] == best
    pairs = zip(other.confidence(rule).tolist(), other.correct.tolist(), strict=True)
    given = [r for s, r in pairs if s >= best]
    assert found[rule]["answered"] == len(given)
    assert found[rule]["rejected"] == pytest.approx(1 - len(given) / 150)
    assert found[rule]["error_rate"] == pytest.approx(given.count(False) / len(given))


def test_without_a_validation_part_the_threshold_is_said_to_be_optimistic(answers):
    found = thresholds(answers, 0.1)
    assert found["chosen_on"] == "test"
    assert found["margin"]["error_rate"] <= 0.1
    with pytest.raises(UsageError, match=r"the error rate is 1.5; give a share from 0 to 1"):
        thresholds(answers, 1.5)


def test_where_no_threshold_does_it_all_is_withheld():
    wrong = Answers(torch.eye(3), torch.tensor([1, 2, 0]))
    entry = thresholds(wrong, 0.01)["probability"]
    assert (entry["threshold"], entry["rejected"], entry["error_rate"]) == (None, 1.0, None)


def test_the_validation_part_is_the_one_that_training_held_out(recipe, tmp_path):
    run = train(recipe, tmp_path / "run")
    found = validation_answers(run, None, None, torch.device("cpu"), Reading(None, 0))
    part = load_training_data(run.recipe, None).validation
    expected = logits_of(run.network(), part.images, (0, 255), run.spec)
    assert torch.equal(found.targets, part.targets)
    assert torch.allclose(found.logits.softmax(1), expected.softmax(1), atol=1e-5)
    without = train(recipe.replace(validation=0), tmp_path / "without")
    assert validation_answers(without, None, None, torch.device("cpu"), Reading(None, 0)) is None
    assert evaluate(without, error_rate=0.2)["rejection"]["chosen_on"] == "test"


def test_the_command_keeps_the_threshold_and_predict_withholds_by_it(
    capsys, tmp_path, recipe, small_set
):
    run = train(recipe, tmp_path / "run")
    place = str(run.path)
    picture = tmp_path / "one.png"
    from PIL import Image

    Image.new("L", (16, 16), 99).save(picture)
    line = refused(capsys, 2, "predict", place, str(picture), "--error-rate", "0.02")
    assert f"make it first: `striate evaluate {place} --error-rate 0.02`" in line
    assert "For an error rate of 2 %, chosen on" in said(
        capsys, "evaluate", place, "--error-rate", "0.02"
    )
    file = run.path / "evaluation.json"
    report = json.loads(file.read_bytes())
    with (run.path / "answers.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == report["examples"] == 12
    assert sum(r["target"] == r["predicted"] for r in rows) == sum(
        entry["correct"] for entry in report["per_class"].values()
    )
    assert "<h2>Calibration</h2>" in (run.path / "mistakes.html").read_text()
    for threshold, label in ((0.0, True), (1.1, False), (None, False)):
        report["rejection"]["probability"]["threshold"] = threshold
        file.write_text(json.dumps(report))
        options = ("--error-rate", "0.02", "-o", str(tmp_path / "out.csv"))
        said(capsys, "predict", place, str(picture), *options)
        (row,) = csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))
        assert bool(row["label"]) == label
        assert ("withheld" in row["notes"]) != label
        assert float(row["probability"]) > 0
    assert "but one for 0.02" in refused(
        capsys, 2, "predict", place, str(picture), "--error-rate", "0.5"
    )
    assert Run(place).evaluation()["calibration"]["bins"]
