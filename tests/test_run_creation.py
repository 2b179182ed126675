"""Places for runs: what is taken is refused, what is replaced is a run and nothing else."""

import os
import subprocess
import sys

import pytest

from striate.errors import RunError, UsageError
from striate.recipes import Recipe
from striate.run_creation import check_free, clear_leftovers
from striate.runs import Run
from striate.training import resume, train
from test_runs import FILES, names


@pytest.fixture
def recipe(small_set):
    return Recipe(network="lecun1990", data=str(small_set), epochs=1, batch_size=9)


@pytest.fixture
def run(recipe, tmp_path):
    return train(recipe, tmp_path / "run")


@pytest.fixture
def dead():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_taken_place_is_refused_with_the_ways_out(run, tmp_path):
    with pytest.raises(UsageError, match=r"holds a run; go on with `striate train --resume .*"):
        check_free(run.path, overwrite=False)
    check_free(run.path, overwrite=True)
    (tmp_path / "photos").mkdir()
    check_free(tmp_path / "photos", overwrite=False)  # an empty folder may become the run
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(UsageError, match="exists and is not a run; choose another --out"):
        check_free(tmp_path / "photos", overwrite=True)
    with pytest.raises(UsageError, match="exists and is not a run"):
        check_free(tmp_path / "photos" / "cat.jpg", overwrite=True)


def test_overwriting_leaves_only_the_new_run(run, tmp_path, small_set):
    recipe = Recipe(network="lecun1989", data=str(small_set), epochs=1, batch_size=9)
    assert train(recipe, run.path, overwrite=True).recipe.network == "lecun1989"
    assert names(run.path) == FILES
    assert names(tmp_path) == {"bars", "run"}


def test_overwriting_never_deletes_what_is_no_part_of_a_run(run, recipe, tmp_path):
    (run.path / "thesis.tex").write_text("years")
    with pytest.raises(UsageError, match=r"run holds thesis\.tex, which is no file of a run"):
        train(recipe, run.path, overwrite=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "recipe.yaml").write_text(recipe.to_yaml())
    with pytest.raises(UsageError, match="exists and is not a run"):
        train(recipe, tmp_path / "notes", overwrite=True)
    assert (run.path / "thesis.tex").read_text() == "years"


def test_a_run_that_is_being_trained_is_not_overwritten(run, recipe):
    with run.locked(), pytest.raises(RunError, match="another process is training"):
        train(recipe.replace(seed=9), run.path, overwrite=True)
    assert Run(run.path).recipe.seed == 0


def test_a_link_to_a_run_stays_a_link(run, recipe, tmp_path):
    (tmp_path / "link").symlink_to(run.path)
    train(recipe.replace(seed=9), tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert Run(run.path).recipe.seed == 9
    assert names(tmp_path) == {"bars", "run", "link"}


def test_the_folder_one_stands_in_may_become_the_run(recipe, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    train(recipe, ".")
    assert names(tmp_path / "empty") == FILES


def test_a_run_that_came_first_is_not_replaced(recipe, tmp_path):
    from striate import run_creation

    real = run_creation.Run

    class Late(real):
        def save(self, state):
            super().save(state)
            (tmp_path / "run" / "state").mkdir(parents=True)
            for name in ("recipe.yaml", "environment.json"):
                (tmp_path / "run" / name).write_text("theirs")

    run_creation.Run = Late
    try:
        with pytest.raises(UsageError, match="holds a run; go on with"):
            train(recipe, tmp_path / "run")
    finally:
        run_creation.Run = real
    assert (tmp_path / "run" / "recipe.yaml").read_text() == "theirs"
    assert names(tmp_path) == {"bars", "run"}


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path, dead):
    for name in (f".run.{dead}.part", ".run.1.part", f".run.x.{dead}.part", f".other.{dead}.part"):
        (tmp_path / name).mkdir()
    clear_leftovers(tmp_path / "run")
    assert names(tmp_path) == {".run.1.part", f".run.x.{dead}.part", f".other.{dead}.part"}


def test_a_run_moved_aside_by_a_killed_overwrite_comes_back(run, dead):
    run.path.rename(run.path.with_name(f".run.{dead}.old"))
    assert resume(run.path).recipe == run.recipe
    assert names(run.path) == FILES


def test_starting_several_at_once_gives_each_a_folder_of_its_own(tmp_path, small_set):
    command = [
        sys.executable,
        "-m",
        "striate",
        "train",
        "lecun1990",
        str(small_set),
        "--epochs",
        "1",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [*command, "--seed", str(seed)], cwd=tmp_path, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for seed in range(3)
    ]  # fmt: skip
    assert [process.communicate() and process.returncode for process in processes] == [0, 0, 0]
    folders = {tmp_path / "runs" / f"lecun1990-bars{end}" for end in ("", "-2", "-3")}
    assert {Run(folder).recipe.seed for folder in folders} == {0, 1, 2}
