"""Lengthened runs: refused below what is done, killed at every write, repeated from the recipe."""

import os
import shutil
import signal

import pytest
import torch

from crashing import CALLS, digest
from striate.display import Silent
from striate.errors import Interrupted, UsageError
from striate.runs import Run
from striate.training import resume, train


class StopAfter(Silent):
    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, epoch: int, images: int, loss: float) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


class Dies(BaseException):
    """Stands for a kill: nothing in striate catches it."""


@pytest.fixture
def short(recipe, tmp_path):
    return train(recipe.replace(epochs=2), tmp_path / "short").path


def test_a_finished_run_goes_on_from_its_last_rate(short):
    before = Run(short).progress()
    run = resume(short, epochs=5)
    rows = run.progress()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[:2] == before
    assert run.recipe.epochs == 5
    assert [(seam.epochs, seam.steps) for seam in run.recipe.lengthened] == [(2, 10)]
    peak = max(row["learning_rate"] for row in rows)
    assert rows[1]["learning_rate"] < 0.1 * peak
    assert rows[2]["learning_rate"] > 2 * rows[1]["learning_rate"]
    assert rows[4]["learning_rate"] < 0.1 * peak


def test_the_recipe_of_a_lengthened_run_repeats_it(short, tmp_path):
    run = resume(short, epochs=4)
    again = train(run.recipe, tmp_path / "again")
    assert digest(again.path) == digest(run.path)


@pytest.mark.parametrize("steps", [1, 5, 7])
def test_cut_after_a_lengthening_it_ends_in_the_same_bits(short, tmp_path, steps):
    other = shutil.copytree(short, tmp_path / "other")
    with pytest.raises(Interrupted, match="all is saved"):
        resume(other, epochs=4, display=StopAfter(steps))
    resume(short, epochs=4)
    assert digest(resume(other).path) == digest(short)


def test_an_unfinished_run_is_lengthened_where_it_stands(recipe, tmp_path):
    out = tmp_path / "cut"
    with pytest.raises(Interrupted, match="all is saved"):
        train(recipe.replace(epochs=2), out, display=StopAfter(7))
    run = resume(out, epochs=3)
    assert [(seam.epochs, seam.steps) for seam in run.recipe.lengthened] == [(2, 7)]
    assert len(run.progress()) == 3


def test_a_run_that_patience_stopped_gets_its_patience_again(recipe, tmp_path):
    changes = {"patience": 2, "learning_rate": 1e-7, "epochs": 9}
    run = train(recipe.replace(**changes), tmp_path / "run")
    done = len(run.progress())
    assert done < 9
    assert len(resume(run.path, epochs=10).progress()) == done + 2


def test_a_run_that_time_stopped_takes_more_time(recipe, tmp_path):
    run = train(recipe.replace(time=0.001, epochs=5), tmp_path / "run")
    with pytest.raises(UsageError, match=r"has trained for 0 of 0 s; .*give --time too"):
        resume(run.path, epochs=9)
    assert len(resume(run.path, time=600).progress()) == 5


@pytest.mark.parametrize("epochs", [1])
def test_fewer_epochs_than_are_done_are_refused(short, epochs):
    before = digest(short)
    with pytest.raises(UsageError, match=r"has done 2 epochs, and 1 are asked for; .*give more"):
        resume(short, epochs=epochs)
    assert digest(short) == before


def test_what_is_planned_already_changes_nothing(short):
    assert resume(short, epochs=2).recipe.lengthened == ()


def test_dying_at_any_write_of_a_lengthening_loses_nothing(short, tmp_path, monkeypatch):
    """The run then has the old plan or the new one; the same command ends in the same bits."""
    whole = shutil.copytree(short, tmp_path / "whole")
    resume(whole, epochs=3, save_seconds=0)
    expected = digest(whole)
    plans = set()
    for n in range(1, 200):
        path = shutil.copytree(short, tmp_path / f"run{n}")
        calls = 0
        with monkeypatch.context() as patch:
            for name in CALLS:
                real = getattr(os, name)

                def counted(*arguments, real=real, n=n, **keywords):
                    nonlocal calls
                    calls += 1
                    if calls >= n:
                        raise Dies
                    return real(*arguments, **keywords)

                patch.setattr(os, name, counted)
            try:
                resume(path, epochs=3, save_seconds=0)
            except Dies:
                died = True
            else:
                died = False
        if not died:
            break
        state = Run(path).load_state()[0]
        plans.add((state["plan"]["epochs"], Run(path).recipe.epochs))
        if state["plan"]["epochs"] == 3:  # the state is the truth: no option is needed
            resume(path)
        else:
            resume(path, epochs=3)
        assert digest(path) == expected, n
    assert n > 20
    assert plans == {(2, 2), (3, 2), (3, 3)}


def test_a_damaged_newest_state_falls_back_to_the_plan_before(short):
    with pytest.raises(Interrupted, match="all is saved"):
        resume(short, epochs=4, display=StopAfter(1))
    for file in sorted((short / "state").iterdir())[-1:]:
        file.write_bytes(b"damaged")
    run = resume(short)
    assert len(run.progress()) == run.recipe.epochs == Run(short).recipe.epochs
    assert torch.isfinite(next(iter(run.load_state()[0]["weights"].values()))).all()
