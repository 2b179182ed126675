"""A list worked off in other processes: in order, begun, and said where one is killed."""

import os
import signal
from functools import partial

import pytest

from striate import worker_processes
from striate.errors import RunError
from striate.worker_processes import CHUNK, in_workers

_begun: list[int] = []


def _begin(number):
    _begun.append(number)


def _squares(items):
    return [(item**2, tuple(_begun), os.getpid()) for item in items]


def _fatal(items):
    if 40 in items:
        os.kill(os.getpid(), signal.SIGKILL)
    return list(items)


def test_results_come_in_order_from_processes_that_were_begun_once():
    work = in_workers(range(99), _squares, workers=2, remedy="", begin=partial(_begin, 7))
    squares, begun, processes = zip(*work, strict=True)
    assert list(squares) == [item**2 for item in range(99)]
    assert set(begun) == {(7,)}
    assert os.getpid() not in processes
    assert len(set(processes)) <= 2
    assert _begun == []


def test_no_more_processes_are_begun_than_there_are_chunks(monkeypatch):
    asked = []
    pool = worker_processes.ProcessPoolExecutor
    monkeypatch.setattr(
        worker_processes,
        "ProcessPoolExecutor",
        lambda count, *rest: asked.append(count) or pool(count, *rest),
    )
    for length in (0, CHUNK, CHUNK + 1):
        assert list(in_workers(range(length), list, workers=9, remedy="")) == [*range(length)]
    assert asked == [1, 1, 2]


def test_a_killed_process_ends_the_work_with_the_remedy():
    words = r"^a process that decodes images was killed, perhaps for want of memory; rest\Z"
    with pytest.raises(RunError, match=words):
        list(in_workers(range(99), _fatal, workers=2, remedy="rest"))
