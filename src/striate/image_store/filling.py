"""Every image read once, in worker processes: checked, reduced, measured, and kept."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from striate.datasets.listing import Place
from striate.devices import keep_memory
from striate.display import Progress
from striate.errors import DataError, RunError
from striate.image_store.forms import Form, Kept, keep
from striate.image_store.keeping import Cache, Record, Segment, stamps, unusable
from striate.images import open_file, read_image
from striate.worker_processes import CHUNK, in_workers

SECONDS_BETWEEN_COMMITS = 0.5
AT_ONCE = 256  # squares of bytes whose sum a float32 holds exactly
MOST_IN_A_SEGMENT = 2**30  # [bytes], more or less: what is mapped at once


class Refused(NamedTuple):
    """An image that cannot be read, and why."""

    place: Place
    reason: str


def read_content(place: Place) -> bytes:
    """Read the bytes of the image at a place.

    Raises:
        DataError: They cannot be read; the message names the place.
    """
    try:
        return place.read()
    except OSError as error:
        raise DataError(_why_unreadable(place, error)) from error


def _why_unreadable(place: Place, error: OSError) -> str:
    path = Path(place.path)
    if isinstance(error, FileNotFoundError) and not path.is_symlink():
        return f"{place.name} is gone since the images were listed; bring it back"
    try:
        open_file(path).close()
    except DataError as refused:
        return str(refused).replace(str(path), place.name)
    return f"{place.name} cannot be read ({error.strerror}); look at its permissions and its disk"


def read_place(place: Place, form: Form, content: bytes) -> Kept:
    """Decode an image and reduce it.

    Args:
        place: Where it is from.
        form: What it is reduced to.
        content: Its bytes.

    Raises:
        DataError: It cannot be decoded; the message names the place.
    """
    return keep(read_image(Path(place.name), content=content, at_least=form.least), form)


def fill(
    places: Sequence[Place],
    form: Form,
    cache: Cache | None,
    *,
    workers: int,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> list[Record | Refused]:
    """Look at every image, decoding those that the cache does not hold.

    Args:
        places: Where the images are.
        form: What they are reduced to.
        cache: Where they are kept; None keeps nothing.
        workers: Processes that decode; 0 decodes in this one.
        progress: Called with the images done and the number of all.
        note: Told when another process has to be waited for.

    Returns:
        For each place what is known of its image, or why it cannot be read.

    Raises:
        RunError: A worker was killed, or the disk is full.
    """
    marks = stamps(places)
    if cache is None:
        return _fill(places, marks, [None] * len(places), form, None, workers, progress)
    known = cache.known(places, marks)
    if None not in known:
        return [record for record in known if record is not None]
    with cache.filling(note) as waited:
        known = cache.known(places, marks) if waited else known
        return _fill(places, marks, known, form, cache, workers, progress)


def _fill(
    places: Sequence[Place],
    marks: np.ndarray,
    known: Sequence[Record | None],
    form: Form,
    cache: Cache | None,
    workers: int,
    progress: Progress | None,
) -> list[Record | Refused]:
    results: list[Record | Refused | None] = list(known)
    missing = [index for index, record in enumerate(known) if record is None]
    fresh: list[int] = []
    seen: dict[object, Any] = {}

    def commit() -> None:
        records = [(places[i], marks[i], r) for i in fresh if isinstance(r := results[i], Record)]
        if cache is not None:
            named = cache.add(records)
            for i in fresh:  # of equal files read at once the index names one alone
                if isinstance(r := results[i], Record):
                    results[i] = named[r.content].sharing(seen)
        fresh.clear()

    last = time.monotonic()
    try:
        found = _read_all([places[i] for i in missing], form, cache, workers)
        for done, (index, result) in enumerate(zip(missing, found, strict=True), start=1):
            results[index] = result.sharing(seen) if isinstance(result, Record) else result
            fresh.append(index)
            if time.monotonic() - last >= SECONDS_BETWEEN_COMMITS:
                commit()
                last = time.monotonic()
                if progress is not None:
                    progress(len(places) - len(missing) + done, len(places))
        commit()
    except BaseException:
        with suppress(RunError):  # what went wrong is told, not that keeping the rest did too
            commit()
        raise
    if progress is not None and missing:
        progress(len(places), len(places))
    return [result for result in results if result is not None]


def _read_all(
    places: Sequence[Place], form: Form, cache: Cache | None, workers: int
) -> Iterator[Record | Refused]:
    if workers == 0 or len(places) <= CHUNK:
        try:
            with closing(_Reader(form, cache)) as reader:
                for start in range(0, len(places), CHUNK):
                    yield from reader.read(places[start : start + CHUNK])
        except OSError as error:
            raise unusable(cache.folder if cache else Path(), error) from error
        return
    try:
        yield from in_workers(
            range(len(places)),
            _read_chunk,
            workers=workers,
            remedy="what was read is kept: give the command again, with fewer --workers",
            begin=partial(_begin_worker, places, form, cache),
        )
    except OSError as error:
        raise unusable(cache.folder if cache else Path(), error) from error


class _Reader:
    """Reads images in one process, into a segment of its own."""

    def __init__(self, form: Form, cache: Cache | None) -> None:
        self.form, self.cache = form, cache
        self.segment: Segment | None = None

    def close(self) -> None:
        """Close its files."""
        if self.segment is not None:
            self.segment.file.close()

    def read(self, places: Sequence[Place]) -> list[Record | Refused]:
        """Read some images, asking the index once for all that other files hold too."""
        contents = [_content(place) for place in places]
        digests = [hashlib.sha256(c).hexdigest() if isinstance(c, bytes) else "" for c in contents]
        known = {} if self.cache is None else self.cache.by_content(digests)
        return [
            content
            if isinstance(content, Refused)
            else known.get(digest) or self._read(place, content, digest)
            for place, content, digest in zip(places, contents, digests, strict=True)
        ]

    def _read(self, place: Place, content: bytes, digest: str) -> Record | Refused:
        try:
            return self._record(digest, read_place(place, self.form, content))
        except DataError as error:
            return Refused(place, str(error))

    def _record(self, digest: str, kept: Kept) -> Record:
        segment, start = "", 0
        if self.cache is not None:
            if self.segment is None or self.segment.file.tell() >= MOST_IN_A_SEGMENT:
                if self.segment is not None:
                    self.segment.file.close()
                self.segment = Segment(self.cache.folder)
            segment, start = self.segment.name, self.segment.append(kept.pixels)
        sums, squares = channel_sums(kept.pixels)
        return Record(
            *(digest, segment, start, kept.pixels.shape, kept.own_size, str(kept.pixels.dtype)),
            *(kept.full_scale, sums, squares, kept.notes),
        )


def _content(place: Place) -> bytes | Refused:
    try:
        return read_content(place)
    except DataError as error:
        return Refused(place, str(error))


def channel_sums(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Add up the values of each channel, and their squares; of bytes exactly.

    Args:
        pixels: ``(H, W, C)``, of any type.

    Returns:
        sums: One for each channel.
        squares: One for each channel.

    Example:
        >>> channel_sums(np.array([[[3], [4]]], np.uint8))
        ((7.0,), (25.0,))
    """
    values, channels = torch.from_numpy(pixels.reshape(-1)), pixels.shape[2]
    whole = 0
    if pixels.dtype == np.uint8:
        values = values.float()
        whole = len(values) // (AT_ONCE * channels) * (AT_ONCE * channels)
    rows, rest = values[:whole].view(AT_ONCE, -1), values[whole:].double()
    sums = torch.cat([rows.sum(dim=0).double(), rest])
    squares = torch.cat([(rows * rows).sum(dim=0).double(), rest * rest])
    totals = torch.stack([sums, squares]).view(2, -1, channels).sum(dim=1)
    first, second = map(tuple, totals.tolist())
    return first, second


# What a worker works on: it was forked from the process that has the places.
_in_worker: tuple[Sequence[Place], _Reader] | None = None


def _begin_worker(places: Sequence[Place], form: Form, cache: Cache | None) -> None:
    global _in_worker
    keep_memory()
    _in_worker = places, _Reader(form, cache)


def _read_chunk(chunk: Sequence[int]) -> list[Record | Refused]:
    if _in_worker is None:
        raise RuntimeError("a worker was not begun")
    places, reader = _in_worker
    return reader.read([places[index] for index in chunk])
