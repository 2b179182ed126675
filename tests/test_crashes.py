"""Killed at any moment, a run resumes to the bits of the unbroken one."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crashing import digest
from striate.datasets.idx import write_idx
from striate.recipes import Recipe
from striate.training import resume, train


def test_dying_at_any_write_sync_or_rename_loses_nothing(small_set, tmp_path):
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("crashing.py"), small_set, tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    everything = [json.loads(line) for line in done.stdout.splitlines()]
    overwriting = [result for result in everything if "overwrite" in result]
    results = [result for result in everything if "overwrite" not in result]
    calls = {"write", "fsync", "replace", "rename", "unlink"}
    assert {result["died_at"] for result in results} == calls
    assert {result["died_at"] for result in overwriting} == calls | {"rmdir"}
    assert [result for result in overwriting if not result["same"] or result["litter"]] == []
    assert len(results) > 70  # files written × 4 calls, with the first state and two epochs
    assert [result for result in results if not result["same"]] == []
    assert [result for result in results if result["litter"]] == []
    first = [result["folder"] for result in results].index(True)
    assert all(result["folder"] for result in results[first:])
    assert not any(result["folder"] for result in results[:first])


@pytest.mark.parametrize("moment", [0.05, 0.4, 0.9])
def test_a_run_killed_by_sigkill_resumes_to_the_same_bits(tmp_path, part, moment):
    """The moment is a share of the training time of the unbroken run."""
    data = tmp_path / "bars"
    data.mkdir()
    images = part.images.repeat(9, 1, 1, 1)
    for name in ("train", "t10k"):
        write_idx(data / f"{name}-images-idx3-ubyte", images[:, 0])
        write_idx(data / f"{name}-labels-idx1-ubyte", part.targets.repeat(9).byte())
    recipe = Recipe(network="lecun1990", data=str(data), epochs=12, batch_size=9, elastic=1)
    started = time.monotonic()
    whole = train(recipe, tmp_path / "whole")
    seconds = time.monotonic() - started
    (tmp_path / "recipe.yaml").write_text(whole.recipe.to_yaml())
    process = subprocess.Popen(
        [sys.executable, "-c",
         "import torch; torch.set_num_threads(1); from striate.cli import main; main()",
         "train", "--recipe", tmp_path / "recipe.yaml", "--out", tmp_path / "cut"],
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while not (tmp_path / "cut").exists():
        assert process.poll() is None
        time.sleep(0.002)
    time.sleep(moment * seconds)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert digest(resume(tmp_path / "cut").path) == digest(whole.path)
