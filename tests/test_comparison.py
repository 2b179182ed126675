"""Two runs compared: the figures by hand, the refusals."""

import csv
import json

import pytest

from commanding import refused, said
from striate.comparison import compare
from striate.errors import RunError, UsageError
from striate.evaluation import evaluate
from striate.runs import Run
from striate.training import train


@pytest.fixture
def two(recipe, tmp_path):
    runs = [train(recipe.replace(epochs=n, seed=n), tmp_path / f"run{n}") for n in (1, 6)]
    for run in runs:
        evaluate(run)
    return runs


def rows(run: Run) -> list[dict[str, str]]:
    with (run.path / "answers.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_figures_are_those_of_the_answers(two, capsys):
    result = compare(*two)
    pairs = list(zip(rows(two[0]), rows(two[1]), strict=True))
    differ = [
        a["image"] for a, b in pairs
        if (a["predicted"] == a["target"]) != (b["predicted"] == b["target"])
    ]  # fmt: skip
    assert [entry["image"] for entry in result["differ"]] == differ
    assert differ
    accuracies = [run.evaluation()["accuracy"] for run in two]
    assert [entry["accuracy"] for entry in result["runs"]] == accuracies
    assert result["difference"] == pytest.approx(accuracies[1] - accuracies[0])
    low, high = result["difference_interval_95"]
    assert low < result["difference"] < high
    assert result["first_alone"] + result["second_alone"] == len(differ)
    for name, entry in result["per_class"].items():
        recalls = [run.evaluation()["per_class"][name]["recall"] for run in two]
        assert [entry["first_recall"], entry["second_recall"]] == recalls
    places = [str(run.path) for run in two]
    assert json.loads(said(capsys, "compare", *places, "--json")) == result
    text = said(capsys, "compare", *places)
    assert "paired 95 % interval" in text
    assert "McNemar's exact test p =" in text
    back = compare(two[1], two[0])
    assert back["difference_interval_95"] == pytest.approx([-high, -low])


def test_runs_without_answers_or_on_other_images_are_refused(two, capsys):
    first, second = two
    with pytest.raises(UsageError, match="run1 is named twice; give another run to compare it"):
        compare(first, Run(first.path))
    file = second.path / "evaluation.json"
    report = json.loads(file.read_bytes())
    file.write_text(json.dumps({**report, "fingerprint": "other"}))
    with pytest.raises(UsageError, match="were evaluated on other images; evaluate one on the"):
        compare(first, second)
    file.write_text(json.dumps(report))
    table = second.path / "answers.csv"
    table.write_text(table.read_text().replace("image,", "picture,"))
    with pytest.raises(RunError, match=r"answers.csv is damaged \('image'\); `striate evaluate"):
        compare(first, second)
    table.write_text("image,target,predicted,probability\n")
    with pytest.raises(RunError, match="do not name the same images; evaluate both again"):
        compare(first, second)
    table.unlink()
    line = refused(capsys, 2, "compare", str(first.path), str(second.path))
    assert f"`striate evaluate {second.path}` makes it" in line
