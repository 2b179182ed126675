"""The search: validation alone, trials that are runs, going on after a stop, refusals."""

import json
import os
import signal

import pytest

import striate
from commanding import refused, said
from striate import tuning
from striate.display import Silent
from striate.errors import Interrupted, TrainingError, UsageError
from striate.models import with_defaults
from striate.runs import Run
from striate.tuning import read_space, tune

pytest.importorskip("optuna")

SPACE = {"learning_rate": {"low": 1e-7, "high": 0.1, "log": True}, "flip": [True, False]}


@pytest.fixture
def short(recipe):
    return recipe.replace(epochs=2)


def test_trials_are_runs_and_the_best_recipe_is_the_one_with_the_lowest_error(short, tmp_path):
    outcomes = tune(short, tmp_path / "search", trials=3, space=SPACE, num_threads=1)
    assert [each.run for each in outcomes] == ["trial-000", "trial-001", "trial-002"]
    for each in outcomes:
        run = Run(tmp_path / "search" / each.run)
        assert run.recipe.learning_rate == each.fields["learning_rate"]
        assert min(row["validation_error"] for row in run.progress()) == each.score
    best = min(outcomes, key=lambda each: each.score)
    recipe = striate.Recipe.from_yaml((tmp_path / "search" / "best.yaml").read_text())
    assert recipe == short.replace(**best.fields)
    more = tune(short, tmp_path / "search", trials=4, space=SPACE, num_threads=1)
    assert more[:3] == outcomes
    assert len(more) == 4
    assert more[3].fields not in [each.fields for each in outcomes]


def test_the_test_part_is_never_read(short, small_set, tmp_path):
    for file in small_set.glob("t10k-*"):
        file.write_bytes(b"not to be read")
    assert tune(short, tmp_path / "search", trials=1, space=SPACE, num_threads=1)


def test_ctrl_c_keeps_what_was_found_and_the_same_call_goes_on(short, tmp_path):
    class Stop(Silent):
        left = 14

        def step(self, epoch: int, images: int, loss: float) -> None:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGINT)

    options = {"trials": 3, "space": SPACE, "num_threads": 1}
    with pytest.raises(Interrupted, match="stopped in trial-001; the others are kept"):
        tune(short, tmp_path / "search", display=Stop(), **options)
    assert (tmp_path / "search" / "best.yaml").exists()
    states = [each.state for each in tune(short, tmp_path / "search", **options)]
    assert states == ["complete", "failed", "complete"]


def test_a_trial_above_the_median_is_stopped_early(short, tmp_path, monkeypatch):
    rate = with_defaults(short).learning_rate
    monkeypatch.setattr(
        tuning, "_draw", lambda trial, name, values: rate if trial.number < 4 else 1e-9
    )
    space = {"learning_rate": [rate, 1e-9]}
    outcomes = tune(
        short.replace(epochs=8), tmp_path / "search", trials=5, space=space, num_threads=1
    )
    assert [each.state for each in outcomes] == [*(4 * ["complete"]), "pruned"]
    run = Run(tmp_path / "search" / outcomes[4].run)  # which resumes, like any other
    assert len(run.progress()) < 8


def test_a_trial_whose_loss_explodes_is_as_bad_as_can_be(short, tmp_path, monkeypatch):
    def explode(*arguments, **options):
        raise TrainingError("the loss is nan")

    monkeypatch.setattr(tuning, "train", explode)
    (outcome,) = tune(short, tmp_path / "search", trials=1, space=SPACE)
    assert (outcome.state, outcome.score) == ("complete", 1.0)


def test_a_search_whose_time_is_over_begins_no_trial(short, tmp_path):
    assert tune(short, tmp_path / "search", trials=3, seconds=0, space=SPACE) == []


def test_without_validation_or_with_another_recipe_it_is_refused(short, tmp_path, capsys, bars):
    with pytest.raises(UsageError, match="has no validation part and --validation is 0"):
        tune(short.replace(validation=0), tmp_path / "none", trials=1)
    tune(short, tmp_path / "search", trials=1, space=SPACE, num_threads=1)
    with pytest.raises(UsageError, match="holds a search with another recipe or space"):
        tune(short.replace(epochs=9), tmp_path / "search", trials=1, space=SPACE)
    assert "--out is missing" in refused(capsys, 2, "tune", "lecun1990", bars)


def test_the_command_prints_a_table_and_takes_a_space(capsys, bars, tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text("learning_rate: {low: 0.001, high: 0.1, log: true}\nbatch_size: [9, 17]\n")
    out = str(tmp_path / "search")
    options = ("tune", "lecun1990", bars, "--epochs", "1", "--out", out, "--threads", "1")
    text = said(capsys, *options, "--trials", "2", "--space", str(space), "--time", "10min")
    assert "trial-000" in text
    assert "batch_size" in text
    found = json.loads(said(capsys, *options, "--trials", "2", "--space", str(space), "--json"))
    assert {each["fields"]["batch_size"] for each in found} <= {9, 17}
    space.write_text("learning: [1]\n")
    with pytest.raises(UsageError, match="names 'learning', which is no field to search"):
        read_space(space)
    space.write_text("learning_rate: 3\n")
    with pytest.raises(UsageError, match=r"write a list of values, or \{low"):
        read_space(space)
