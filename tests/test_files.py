"""Files are whole or absent."""

import errno
import os

import pytest

from striate.errors import RunError
from striate.files import write_file


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
