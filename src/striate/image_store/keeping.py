"""Reduced images on disk: each decoded once, found again by the content of its file.

A folder for each form holds segments, plain files of pixels one after the other, each begun by one
process; ``index.db`` says where each image lies. Pixels are on the disk before the index names
them, so a kill loses at most what was not yet named, and a reader never sees a part of an image.
One process at a time fills a form; others wait for it and then find its images.
"""

import errno
import json
import math
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from striate.datasets.listing import Place
from striate.errors import RunError
from striate.files import locked
from striate.image_store.forms import Form

VERSION = 2  # of what is kept; another version is another folder
MOST_ASKED = 500  # images in one question to the index
END = (  # where an image ends in its segment [bytes]
    "start + height * width * channels * "
    "CASE dtype WHEN 'uint8' THEN 1 WHEN 'uint16' THEN 2 ELSE 4 END"
)
NO_PLACE = (errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS)
LARGEST = 2**63 - 1  # whole number that the index takes
ALIGNMENT = 8  # [bytes], so that values of any type can be read in place


class Record(NamedTuple):
    """Where a reduced image lies, and what is known of it.

    Attributes:
        content: SHA-256 of the image's file.
        segment: The file's name in the folder of the form; empty where nothing is kept.
        offset: [bytes].
        shape: Height, width and channels.
        own_size: Height and width before it was reduced.
        dtype: uint8, uint16 or float32.
        full_scale: The value that means white.
        sums: Of each channel's values.
        squares: Of each channel's squared values.
        notes: What was done to the image.
    """

    content: str
    segment: str
    offset: int
    shape: tuple[int, int, int]
    own_size: tuple[int, int]
    dtype: str
    full_scale: float
    sums: tuple[float, ...]
    squares: tuple[float, ...]
    notes: tuple[str, ...]

    @property
    def end(self) -> int:
        """Where it ends in its segment [bytes]."""
        return self.offset + math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def sharing(self, seen: dict[object, Any]) -> "Record":
        """Hold but one copy of what many images have alike: there may be very many.

        Args:
            seen: What was met so far.
        """
        fields = ("segment", "shape", "own_size", "dtype", "notes")
        alike = {
            name: seen.setdefault(value, value)
            for name in fields
            if (value := getattr(self, name)) is not None
        }
        return self._replace(**alike)


def stamps(places: Sequence[Place]) -> np.ndarray:
    """Look at that by which unchanged files are known without being read.

    Args:
        places: Where images are.

    Returns:
        ``(N, 4)``, int64: size, times of the last change of content and of anything, and number;
        so that also a file put back with its old time is known. Size -1 where there is no file.
    """
    return np.fromiter(map(_stamp, places), np.dtype((np.int64, 4)), len(places))


def _stamp(place: Place) -> tuple[int, int, int, int]:
    try:
        found = os.stat(place.path)  # noqa: PTH116 - twice as fast
    except OSError:
        return -1, 0, 0, 0  # reading it says why
    size = found.st_size if place.size is None else place.size
    return size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino & LARGEST


class Cache:
    """Reduced images of one form under a folder.

    Args:
        root: The folder of all forms.
        form: Which images are reduced to.
    """

    def __init__(self, root: Path, form: Form) -> None:
        self.form = form
        self.folder = root / f"images-{VERSION}" / form.name
        with self._asking() as index:
            index.execute(
                "CREATE TABLE IF NOT EXISTS images (content TEXT PRIMARY KEY, segment TEXT, "
                "start INTEGER, height INTEGER, width INTEGER, channels INTEGER, "
                "own_height INTEGER, own_width INTEGER, dtype TEXT, full_scale REAL, "
                "sums TEXT, squares TEXT, notes TEXT)"
            )
            index.execute(
                "CREATE TABLE IF NOT EXISTS files (path BLOB, start INTEGER, size INTEGER, "
                "modified INTEGER, changed INTEGER, inode INTEGER, content TEXT, "
                "PRIMARY KEY (path, start))"
            )

    @contextmanager
    def _asking(self) -> Iterator[sqlite3.Connection]:
        """Open the index for some questions or one change.

        Raises:
            RunError: The folder cannot be used: it is full, damaged or not to be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            index = sqlite3.connect(self.folder / "index.db", timeout=120)
            with closing(index), index:
                yield index
        except (sqlite3.Error, OSError) as error:
            raise unusable(self.folder, error) from error

    @contextmanager
    def filling(self, note: Callable[[str], None] | None = None) -> Iterator[bool]:
        """Keep other processes from filling this form; give whether one had to be waited for.

        Args:
            note: Told before a wait.

        Raises:
            RunError: The folder cannot be used.
        """
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise unusable(self.folder, error) from error
        words = f"another run is reading images into {self.folder}; waiting for it"
        waiting = None if note is None else partial(note, words)
        with locked(descriptor, wait=True, waiting=waiting) as waited:
            self._mend()
            yield waited

    def known(self, places: Sequence[Place], marks: np.ndarray) -> list[Record | None]:
        """Look up images whose files are unchanged since they were read, and that are there.

        Args:
            places: Where the images are.
            marks: Of each, from ``stamps``.
        """
        lengths, seen = self._lengths(), dict[object, Any]()
        with self._asking() as index:
            if index.execute("SELECT 1 FROM files LIMIT 1").fetchone() is None:
                return [None] * len(places)
            found = []
            for place, mark in zip(places, marks, strict=True):
                row = index.execute(
                    "SELECT images.* FROM files JOIN images USING (content) WHERE path = ? AND "
                    "files.start = ? AND size = ? AND modified = ? AND changed = ? AND inode = ?",
                    (os.fsencode(place.path), place.offset, *mark.tolist()),
                ).fetchone()
                record = _record(row) if row else None
                is_there = record is not None and record.end <= lengths.get(record.segment, 0)
                found.append(record.sharing(seen) if record is not None and is_there else None)
            return found

    def by_content(self, contents: Sequence[str]) -> dict[str, Record]:
        """Look up images by the SHA-256 of their files: of files that were moved, say."""
        with self._asking() as index:
            return _of_contents(index, contents)

    def add(self, records: Sequence[tuple[Place, np.ndarray, Record]]) -> dict[str, Record]:
        """Name images in the index, their pixels being written; on the disk when this returns.

        Args:
            records: For each image where it is, its row of ``stamps``, and what is known of it.

        Returns:
            What the index has by content: of equal files the one that was named first.
        """
        with self._asking() as index:
            for segment in {record.segment for *_, record in records}:
                descriptor = os.open(self.folder / segment, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            index.executemany(
                f"INSERT OR IGNORE INTO images VALUES ({', '.join('?' * 13)})",
                [_row(record) for *_, record in records],
            )
            index.executemany(
                f"INSERT OR REPLACE INTO files VALUES ({', '.join('?' * 7)})",
                [
                    (os.fsencode(place.path), place.offset, *mark.tolist(), record.content)
                    for place, mark, record in records
                ],
            )
            return _of_contents(index, [record.content for *_, record in records])

    def _lengths(self) -> dict[str, int]:
        return {file.name: file.stat().st_size for file in self.folder.glob("*.pixels")}

    def _mend(self) -> None:
        """Forget images that are gone; give back what killed processes did not come to name."""
        lengths, named = self._lengths(), dict[str, int]()
        with self._asking() as index:
            for segment, end in index.execute(f"SELECT segment, {END} FROM images").fetchall():
                if end <= lengths.get(segment, 0):
                    named[segment] = max(end, named.get(segment, 0))
                else:
                    index.execute(
                        f"DELETE FROM images WHERE segment = ? AND {END} = ?", (segment, end)
                    )
            for name, length in lengths.items():
                if name not in named:
                    (self.folder / name).unlink()
                elif length > named[name]:
                    os.truncate(self.folder / name, named[name])


def unusable(folder: Path, error: Exception) -> RunError:
    """Say that a cache cannot be used, and what can be done."""
    reason = getattr(error, "strerror", None) or error
    mend = (
        ""
        if getattr(error, "errno", None) in NO_PLACE
        else "free the disk, delete that folder, or "
    )
    return RunError(
        f"images cannot be kept in {folder} ({reason}); {mend}give another place with --cache DIR, "
        "or --cache off"
    )


def _of_contents(index: sqlite3.Connection, contents: Sequence[str]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for start in range(0, len(contents), MOST_ASKED):
        asked = contents[start : start + MOST_ASKED]
        marks = ", ".join("?" * len(asked))
        rows = index.execute(f"SELECT * FROM images WHERE content IN ({marks})", asked)
        found |= {record.content: record for record in map(_record, rows)}
    return found


class Segment:
    """A new file of pixels, written by one process.

    Args:
        folder: Of the form.
    """

    def __init__(self, folder: Path) -> None:
        number = 0
        while True:
            self.name = f"{os.getpid()}-{number}.pixels"
            try:
                self.file = (folder / self.name).open("xb", buffering=0)
            except FileExistsError:
                number += 1
            else:
                return

    def append(self, pixels: np.ndarray) -> int:
        """Write an image at the end; give where it begins [bytes]."""
        start = -(-self.file.tell() // ALIGNMENT) * ALIGNMENT
        self.file.seek(start)
        view = np.ascontiguousarray(pixels).data.cast("B")
        while view:
            view = view[self.file.write(view) :]
        return start


def _row(record: Record) -> tuple[object, ...]:
    return (
        *(record.content, record.segment, record.offset, *record.shape, *record.own_size),
        *(record.dtype, record.full_scale, json.dumps(record.sums), json.dumps(record.squares)),
        json.dumps(record.notes),
    )


def _record(row: tuple[object, ...]) -> Record:
    content, segment, start, height, width, channels, rows, columns, *values = row
    dtype, full_scale, *lists = values
    sums, squares, notes = (tuple(json.loads(str(each))) for each in lists)
    shape = (height, width, channels)
    own = rows, columns
    return Record(content, segment, start, shape, own, dtype, full_scale, sums, squares, notes)  # type: ignore[arg-type]
