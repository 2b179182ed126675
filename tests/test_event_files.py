"""Event files read back by their protocol: every epoch once, also after kills and resumes."""

import importlib.util
import os
import signal
import struct
from pathlib import Path

import pytest

from commanding import refused, said
from striate.display import Silent
from striate.errors import Interrupted, UsageError
from striate.event_files import require_event_files
from striate.runs import Run
from striate.training import resume, train

event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")


def scalars(run: Path) -> list[tuple[str, int, float]]:
    """Read every scalar of all event files, by the framing of records: length, crc, data, crc."""
    found = []
    for file in sorted((run / "tensorboard").iterdir()):
        content = file.read_bytes()
        place = 0
        while place < len(content):
            (length,) = struct.unpack("<Q", content[place : place + 8])
            event = event_pb2.Event()
            event.ParseFromString(content[place + 12 : place + 12 + length])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            place += 16 + length
    return found


def age(run: Path) -> None:
    """Give the file an earlier second in its name, which a resume within one would share."""
    (file,) = (run / "tensorboard").iterdir()
    file.rename(file.with_name("events.out.tfevents.0000000001.here"))


def check(run: Path) -> None:
    """Every figure of the run's progress is there once, and nothing else."""
    expected = {
        (tag, int(row["epoch"])): row[key]
        for row in Run(run).progress()
        for key, tag in (
            ("learning_rate", "learning_rate"),
            ("train_loss", "loss/train"),
            ("train_error", "error/train"),
            ("validation_loss", "loss/validation"),
            ("validation_error", "error/validation"),
            ("seconds", "seconds"),
        )
    }
    found = scalars(run)
    assert len(found) == len(expected)
    for tag, step, value in found:
        assert value == pytest.approx(expected[tag, step])


class StopAfter(Silent):
    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, epoch: int, images: int, loss: float) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def test_every_epoch_is_there_once_after_stops_and_lengthening(recipe, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(Interrupted, match="all is saved"):
        train(recipe, out, tensorboard=True, display=StopAfter(12))
    with pytest.raises(Interrupted, match="all is saved"):
        resume(out, display=StopAfter(1))
    resume(out)  # which goes on with the files that are there
    check(out)
    age(out)
    resume(out, epochs=6)
    check(out)
    before = scalars(out)
    resume(out)
    assert scalars(out) == before


def test_an_epoch_that_was_lost_in_a_kill_is_not_there_twice(recipe, tmp_path):
    class Killed(Silent):
        def end_epoch(self, row) -> None:
            if row["epoch"] == 3:
                raise BaseException("killed before the save")

    out = tmp_path / "run"
    with pytest.raises(BaseException, match="killed before"):
        train(recipe, out, tensorboard=True, save_seconds=0, display=Killed())
    assert max(step for _, step, _ in scalars(out)) == 3
    assert len(Run(out).progress()) == 2
    age(out)
    resume(out)
    check(out)


def test_the_command_writes_them_and_overwrite_replaces_them(capsys, bars, tmp_path):
    out = str(tmp_path / "run")
    options = ("train", "lecun1990", bars, "--epochs", "1", "--out", out)
    said(capsys, *options, "--tensorboard")
    check(Path(out))
    said(capsys, *options, "--overwrite")
    assert not (Path(out) / "tensorboard").exists()
    said(capsys, "train", "--resume", out, "--epochs", "2", "--tensorboard")
    check(Path(out))


def test_without_the_package_one_line_says_what_to_install(capsys, bars, monkeypatch, tmp_path):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboardX" else real(name)
    )
    with pytest.raises(UsageError, match=r'pip install "striate\[track\]"'):
        require_event_files()
    out = str(tmp_path / "run")
    line = refused(capsys, 2, "train", "lecun1990", bars, "--out", out, "--tensorboard")
    assert "event files need tensorboardX" in line
    assert not Path(out).exists()
