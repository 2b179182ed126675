"""What torchrun sets, and what others set of it."""

import subprocess
import sys

import pytest

from striate.launching import attempt, is_launched, local_rank, speaks

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "10.77.0.1",
    "TORCHELASTIC_RESTART_COUNT": "2",
}


def test_a_process_that_torchrun_did_not_start_speaks_for_itself(monkeypatch):
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    assert (is_launched(), speaks(), local_rank()) == (False, True, 0)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (is_launched(), speaks(), local_rank()) == (False, True, 0)


@pytest.mark.parametrize(("rank", "first"), [("0", True), ("3", False)])
def test_of_those_that_it_started_the_first_speaks(monkeypatch, rank, first):
    for name, value in {**TORCHRUN, "RANK": rank}.items():
        monkeypatch.setenv(name, value)
    assert (is_launched(), speaks(), local_rank()) == (True, first, 1)
    assert attempt() == "2 of 4"


def test_leaving_says_what_was_printed_and_gives_the_code():
    code = "from striate.launching import leave; print('said', end=''); leave(5)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (5, "said")
