"""Reduced images on disk: each decoded once, found again by the content of its file.

A folder for each form holds segments, plain files of pixels one after the other, each begun by one
process; ``index.db`` says where each image lies. Pixels are on the disk before the index names
them, so a kill loses at most what was not yet named, and a reader never sees a part of an image.
One process at a time fills a form; others wait for it and then find its images.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from striate.datasets.listing import Place
from striate.files import locked
from striate.image_store.forms import Form

VERSION = 1  # of what is kept; another version is another folder
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


class Stamp(NamedTuple):
    """By what an unchanged file is known without reading it."""

    path: str
    offset: int
    size: int
    modified: int


def stamp(place: Place) -> Stamp:
    """Look at a file's size and time of change.

    Raises:
        OSError: The file cannot be reached.
    """
    found = Path(place.path).stat()
    size = found.st_size if place.size is None else place.size
    return Stamp(place.path, place.offset, size, found.st_mtime_ns)


class Cache:
    """Reduced images of one form under a folder.

    Args:
        root: The folder of all forms.
        form: Which images are reduced to.
    """

    def __init__(self, root: Path, form: Form) -> None:
        self.form = form
        self.folder = root / f"images-{VERSION}" / form.name
        self.folder.mkdir(parents=True, exist_ok=True)
        with closing(self.connect()) as index, index:
            index.execute(
                "CREATE TABLE IF NOT EXISTS images (content TEXT PRIMARY KEY, segment TEXT, "
                "start INTEGER, height INTEGER, width INTEGER, channels INTEGER, "
                "own_height INTEGER, own_width INTEGER, dtype TEXT, full_scale REAL, "
                "sums TEXT, squares TEXT, notes TEXT)"
            )
            index.execute(
                "CREATE TABLE IF NOT EXISTS files (path BLOB, start INTEGER, size INTEGER, "
                "modified INTEGER, content TEXT, PRIMARY KEY (path, start))"
            )

    def connect(self) -> sqlite3.Connection:
        """Open the index; a connection belongs to one process."""
        return sqlite3.connect(self.folder / "index.db", timeout=120)

    @contextmanager
    def filling(self) -> Iterator[bool]:
        """Keep other processes from filling this form; give whether one had to be waited for."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        with locked(descriptor, wait=True) as waited:
            self._drop_unnamed()
            yield waited

    def known(self, stamps: Sequence[Stamp | None]) -> list[Record | None]:
        """Look up images whose files are unchanged since they were read."""
        with closing(self.connect()) as index:
            if index.execute("SELECT 1 FROM files LIMIT 1").fetchone() is None:
                return [None] * len(stamps)
            found = []
            for each in stamps:
                row = (
                    each
                    and index.execute(
                        "SELECT images.* FROM files JOIN images USING (content) WHERE path = ? AND "
                        "files.start = ? AND size = ? AND modified = ?",
                        (os.fsencode(each.path), *each[1:]),
                    ).fetchone()
                )
                found.append(_record(row) if row else None)
            return found

    def add(self, records: Sequence[tuple[Stamp, Record]]) -> None:
        """Name images in the index, their pixels being written; on the disk when this returns."""
        for segment in {record.segment for _, record in records}:
            descriptor = os.open(self.folder / segment, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        with closing(self.connect()) as index, index:
            index.executemany(
                f"INSERT OR IGNORE INTO images VALUES ({', '.join('?' * 13)})",
                [_row(record) for _, record in records],
            )
            index.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)",
                [(os.fsencode(each.path), *each[1:], record.content) for each, record in records],
            )

    def _drop_unnamed(self) -> None:
        """Give back the disk that killed processes filled without naming it."""
        with closing(self.connect()) as index:
            named = dict(
                index.execute(
                    "SELECT segment, MAX(start + height * width * channels * "
                    "CASE dtype WHEN 'uint8' THEN 1 WHEN 'uint16' THEN 2 ELSE 4 END) "
                    "FROM images GROUP BY segment"
                ).fetchall()
            )
        for file in self.folder.glob("*.pixels"):
            if file.name not in named:
                file.unlink()
            elif file.stat().st_size > named[file.name]:
                os.truncate(file, named[file.name])


def by_content(index: sqlite3.Connection, contents: Sequence[str]) -> dict[str, Record]:
    """Look up images by the SHA-256 of their files: of files that were moved or copied, say."""
    marks = ", ".join("?" * len(contents))
    rows = index.execute(f"SELECT * FROM images WHERE content IN ({marks})", contents)
    return {record.content: record for record in map(_record, rows)}


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
        view = memoryview(np.ascontiguousarray(pixels).tobytes())
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
