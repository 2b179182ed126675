"""Reading every image once: the sums of its values, and workers that come to grief."""

import os
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filing import listed, photographs
from striate.errors import RunError
from striate.image_store import Form, filling, open_store


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5)),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    seed=st.integers(0, 99),
)
def test_sums_are_those_of_whole_numbers(shape, dtype, seed):
    draw = np.random.default_rng(seed)
    values = draw.integers(0, 256 if dtype == "uint8" else 65536, shape).astype(dtype)
    sums, squares = filling.channel_sums(values)
    whole = values.astype(np.int64).reshape(-1, shape[2])
    assert sums == tuple(whole.sum(axis=0).tolist())
    assert squares == tuple((whole**2).sum(axis=0).tolist())


def test_a_killed_worker_is_said_and_what_was_read_is_kept(tmp_path, monkeypatch):
    photos = photographs(tmp_path / "photos", 60)
    read = filling.read_place

    def fatal(place, form, content=None):
        if place.name.startswith("warm/059"):
            os.kill(os.getpid(), signal.SIGKILL)
        return read(place, form, content)

    monkeypatch.setattr(filling, "read_place", fatal)
    monkeypatch.setattr(filling, "SECONDS_BETWEEN_COMMITS", 0.0)
    with pytest.raises(RunError, match=r"decodes images was killed.*fewer --workers"):
        open_store(listed(photos), Form(side=32), cache=tmp_path / "cache", workers=2)
    monkeypatch.undo()
    store, _ = open_store(listed(photos), Form(side=32), cache=tmp_path / "cache", workers=2)
    assert len(store) == 60


def test_progress_counts_to_the_end(tmp_path, monkeypatch):
    photos = photographs(tmp_path / "photos", 5)
    monkeypatch.setattr(filling, "SECONDS_BETWEEN_COMMITS", 0.0)
    told = []
    count = lambda done, whole: told.append((done, whole))  # noqa: E731
    open_store(listed(photos), Form(side=9), cache=None, progress=count)
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5), (5, 5)]
