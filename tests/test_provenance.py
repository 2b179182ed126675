"""What environment.json says is what was there."""

import datetime
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import striate
from striate.batches import load_training_data
from striate.provenance import environment, processor
from striate.recipes import Recipe


@pytest.fixture
def recipe(small_set):
    return Recipe(network="lecun1990", data=str(small_set), seed=11, validation=0.2)


def facts(recipe: Recipe) -> dict:
    return environment(recipe, load_training_data(recipe), torch.device("cpu"))


def git(folder: Path, *arguments: str) -> str:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    given = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER")
           for what in ("NAME", "EMAIL")},
    }  # fmt: skip
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**os.environ, **given},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_versions_device_seed_and_data_are_named(recipe, small_set):
    said = facts(recipe)
    assert (said["striate"], said["torch"], said["numpy"]) == (
        striate.__version__, torch.__version__, np.__version__,
    )  # fmt: skip
    assert said["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (said["device"], said["threads"], said["seed"]) == ("cpu", 1, 11)
    assert said["command"] == sys.argv
    assert said["data_source"] == str(small_set)
    assert said["data_fingerprint"] == load_training_data(recipe).fingerprint
    assert (said["training_images"], said["validation_images"]) == (42, 9)


def test_without_a_validation_part_its_images_are_zero(recipe):
    said = facts(recipe.replace(validation=0))
    assert (said["training_images"], said["validation_images"]) == (51, 0)


def test_all_of_it_is_json(recipe):
    said = facts(recipe)
    assert json.loads(json.dumps(said)) == said


def test_the_time_is_that_of_now_in_utc(recipe):
    began = datetime.datetime.strptime(facts(recipe)["began"], "%Y-%m-%dT%H:%M:%S%z")
    assert abs(datetime.datetime.now(datetime.UTC) - began) < datetime.timedelta(minutes=1)


def test_the_processor_has_a_name_where_linux_gives_one():
    lines = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "model name" in lines:
        assert f": {processor()}\n" in lines
    assert isinstance(processor(), str)


def test_the_commit_is_that_of_the_folder_one_works_in(recipe, tmp_path, monkeypatch):
    folder = tmp_path / "work"
    (folder / "below").mkdir(parents=True)
    git(folder, "init", "--quiet")
    monkeypatch.chdir(folder / "below")
    assert facts(recipe)["commit"] is None  # nothing is committed yet
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "first")
    commit = facts(recipe)["commit"]
    assert commit == git(folder, "rev-parse", "HEAD")
    assert len(commit) == 40


def test_outside_a_repository_there_is_no_commit(recipe, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert facts(recipe)["commit"] is None
    assert capfd.readouterr() == ("", "")


def test_without_git_there_is_no_commit(recipe, tmp_path, monkeypatch):
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "first")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert facts(recipe)["commit"] is None
