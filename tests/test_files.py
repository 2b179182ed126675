"""Files are whole or absent."""

import errno
import os

import pytest

from striate.errors import RunError
from striate.files import replacing, write_file


def test_text_and_bytes_replace_what_was_there(tmp_path):
    file = tmp_path / "notes.txt"
    write_file(file, "first")
    write_file(file, "zweite Fassung, länger".encode())
    assert file.read_text("utf-8") == "zweite Fassung, länger"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, monkeypatch, call):
    file = tmp_path / "weights.bin"
    write_file(file, b"old")

    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace" if call == "rename" else call, full)
    with pytest.raises(RunError, match=r"could not write .*weights\.bin: No space left on device"):
        write_file(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_short_write_is_carried_on(tmp_path, monkeypatch):
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:3]))
    write_file(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RunError, match=r"could not write .*/absent/a: No such file or directory"):
        write_file(tmp_path / "absent" / "a", b"")


# ---------------------------------------------------------------- a place taken by what was written


def filled(path, text, *, folder):
    if folder:
        (path / "deep").mkdir(parents=True)
    (path / "deep" / "file" if folder else path).write_text(text)


def content(path):
    return (path / "deep" / "file" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("before", [None, "file", "folder"])
def test_a_file_or_folder_takes_the_place_of_either_at_the_end(tmp_path, folder, before):
    path = tmp_path / "labels.nii.gz"
    if before:
        filled(path, "old", folder=before == "folder")
    with replacing(path) as beside:
        assert beside.name.endswith(".labels.nii.gz")
        filled(beside, "new", folder=folder)
        assert not before or content(path) == "old"
    assert content(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


def fail_in(path, error, *, folder):
    with replacing(path) as beside:
        filled(beside, "new", folder=folder)
        raise error


@pytest.mark.parametrize("folder", [False, True])
def test_what_fails_leaves_nothing_and_takes_nothing(tmp_path, folder):
    path = tmp_path / "labels"
    filled(path, "old", folder=folder)
    for error in (ZeroDivisionError("by zero"), OSError(errno.ENOSPC, "No space left")):
        with pytest.raises((ZeroDivisionError, RunError), match=r"^by zero|labels: No space left"):
            fail_in(path, error, folder=folder)
    assert content(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("folder", [False, True])
def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path, folder):
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    path, alive = tmp_path / "labels", os.getppid()
    for process in (dead, alive):
        filled(tmp_path / f".{process}.part.labels", "half", folder=folder)
    filled(tmp_path / f".{dead}.old.labels", "old", folder=folder)
    with pytest.raises(ZeroDivisionError, match="by zero"), replacing(path):
        1 / 0  # noqa: B018
    assert content(path) == "old"  # put back, as its place was empty
    assert {file.name for file in tmp_path.iterdir()} == {"labels", f".{alive}.part.labels"}


def test_all_of_a_folder_is_synced_before_it_takes_its_place(tmp_path, monkeypatch):
    calls, sync, replace = [], os.fsync, os.replace
    names = {}
    monkeypatch.setattr(
        os, "fsync", lambda file: calls.append(names.get(os.fstat(file).st_ino)) or sync(file)
    )
    monkeypatch.setattr(os, "replace", lambda *paths: calls.append("take") or replace(*paths))
    with replacing(tmp_path / "labels") as beside:
        filled(beside, "new", folder=True)
        names |= {file.stat().st_ino: file.name for file in beside.rglob("*")}
        names |= {beside.stat().st_ino: "itself", tmp_path.stat().st_ino: "above"}
    assert sorted(calls[:3]) == ["deep", "file", "itself"]
    assert calls[3:] == ["take", "above"]
