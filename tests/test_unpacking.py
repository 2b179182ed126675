"""Packed files: what comes out, and what does not get out."""

import gzip
import hashlib
import io
import tarfile

import pytest

from striate.datasets.catalogue import Member
from striate.datasets.unpacking import read_unpacked, unpack_members
from striate.errors import DataError

CONTENT = b"seven by five by three"
MEMBER = Member("batches/one.bin", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


def make_archive(path, entries):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            else:
                entry.type, entry.linkname = content
                tar.addfile(entry)
    return path


def test_packed_and_plain_files_give_the_same_bytes(tmp_path):
    (tmp_path / "plain").write_bytes(CONTENT)
    (tmp_path / "packed").write_bytes(gzip.compress(CONTENT))
    (tmp_path / "twice").write_bytes(gzip.compress(CONTENT[:9]) + gzip.compress(CONTENT[9:]))
    assert {read_unpacked(path) for path in tmp_path.iterdir()} == {CONTENT}


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"could not read .*: Is a directory"):
        read_unpacked(tmp_path)


def test_only_the_expected_members_leave_the_archive(tmp_path):
    entries = [
        ("../escaped", b"no"),
        ("/absolute", b"no"),
        ("batches/other.bin", b"no"),
        (MEMBER.path, CONTENT),
        ("batches/link", (tarfile.SYMTYPE, "/")),
    ]
    archive = make_archive(tmp_path / "set.tar.gz", entries)
    (tmp_path / "deep").mkdir()
    unpack_members(archive, tmp_path / "deep", [MEMBER])
    assert (tmp_path / "deep" / MEMBER.path).read_bytes() == CONTENT
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"set.tar.gz", "deep/batches/one.bin"}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "lacks batches/one.bin"),
        ([(MEMBER.path, CONTENT[::-1])], r"one.bin has SHA-256 \w{12}\.\.\., not \w{12}\.\.\.;"),
        ([(MEMBER.path, CONTENT + b"!")], "is a file of 23 bytes, not a file of 22 bytes"),
        ([(MEMBER.path, (tarfile.SYMTYPE, "/etc/hostname"))], "one.bin is not a file, not a file"),
        ([("x", CONTENT), (MEMBER.path, (tarfile.LNKTYPE, "x"))], "is not a file, not a file of"),
    ],
)
def test_an_archive_that_holds_something_else_is_refused(tmp_path, entries, words):
    archive = make_archive(tmp_path / "set.tar.gz", entries)
    with pytest.raises(DataError, match=words):
        unpack_members(archive, tmp_path, [MEMBER])
    assert not (tmp_path / MEMBER.path).exists()


def test_an_archive_cut_short_is_refused(tmp_path):
    archive = make_archive(
        tmp_path / "set.tar.gz", [("noise", bytes(99_991)), (MEMBER.path, CONTENT)]
    )
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"could not unpack .*set.tar.gz: .*; fetch it again"):
        unpack_members(archive, tmp_path, [MEMBER])


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "set.tar.gz").write_bytes(b"<!doctype html>")
    with pytest.raises(DataError, match="could not unpack"):
        unpack_members(tmp_path / "set.tar.gz", tmp_path, [MEMBER])
