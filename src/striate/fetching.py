"""Published files to this machine: resumed when broken off, checked by SHA-256, whole or absent."""

import contextlib
import fcntl
import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from striate.errors import DataError
from striate.files import sync_folder

TIMEOUT = 30.0  # to connect, and between two pieces [seconds]
ATTEMPTS = 5  # at one address, each going on where the last broke off
PIECE = 1 << 16  # [bytes]
KEPT = "what came is kept, and the same command goes on from there"

Report = Callable[[int, int | None], None]


class _Failed(Exception):
    """An address cannot give the file; the message says why."""


class _BrokenOff(Exception):
    """The connection ended too early; what came is kept."""


class _Stale(Exception):
    """More was kept from before than the file at the address has."""


@contextlib.contextmanager
def locked_folder(folder: Path, what: str) -> Iterator[None]:
    """Make a folder to fetch into; of several processes in it, one fetches and the others wait.

    Args:
        folder: Where the files are to lie.
        what: What is fetched, for the message.

    Raises:
        DataError: The folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise DataError(
            f"could not make the folder {folder} to fetch {what} into: "
            f"{error.strerror or error}; name one that can be written with --data-dir"
        ) from error
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def fetch(
    url: str, path: Path, *, sha256: str, size: int | None = None, mirrors: Sequence[str] = ()
) -> None:
    """Fetch one file, unless it is already there.

    It grows in a neighbour ``<name>.part`` and is renamed when its SHA-256 is right. What a
    broken connection leaves there is kept, and the next call goes on from it. Progress goes
    to stderr: a bar on a terminal, otherwise one line.

    Args:
        url: Where the file lies.
        path: Where to put it; the folder must exist.
        sha256: Of the whole file, in hexadecimal; its first digits, where no more are published.
        size: Of the whole file, if known [bytes]; an address that sends more is cut off.
        mirrors: Further addresses of the same file, tried in this order.

    Raises:
        DataError: No address gave the right file. The message names each with the reason,
            and the remedy.

    Example:
        A file that is already there needs no network:

        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "letter")
        >>> _ = path.write_bytes(b"a")
        >>> fetch("http://127.0.0.1:9/letter", path, sha256=hashlib.sha256(b"a").hexdigest())
    """
    if is_whole(path, sha256):
        return
    part = path.with_name(f"{path.name}.part")
    reasons = []
    try:
        with _progress(url, path, size) as report:
            for address in (url, *mirrors):
                try:
                    _download(address, part, sha256, size, report)
                except _Failed as failure:
                    reasons.append(f"{address} {failure}")
                else:
                    part.replace(path)
                    sync_folder(path.parent)
                    return
    except OSError as error:
        raise DataError(
            f"could not write {part}: {error.strerror or error}; make room, or name another "
            "folder with --data-dir"
        ) from error
    raise DataError(
        f"could not fetch {path.name}: {'; '.join(reasons)}; download it in a browser into "
        f"{path.parent}, or name a folder that has {path.parent.name}/{path.name} with --data-dir"
    )


def _download(address: str, part: Path, sha256: str, size: int | None, report: Report) -> None:
    """Complete the part file from one address, or raise _Failed."""
    reason = ""
    for _ in range(ATTEMPTS):
        start = part.stat().st_size if part.exists() else 0
        try:
            if not start or start != size:
                start = _receive(address, part, start, size, report)
        except _Stale:
            part.unlink()
            continue
        except _BrokenOff as broken:
            reason = str(broken)
            continue
        found = sha256_of(part)
        if found.startswith(sha256):
            return
        part.unlink()
        if not start:
            raise _Failed(f"sent a file with SHA-256 {_begin(found)}, not {_begin(sha256)}")
        # A file joined from two downloads: the first may have been of another file.
    raise _Failed(reason)


def _receive(address: str, part: Path, start: int, size: int | None, report: Report) -> int:
    """Append to the part file what it lacks; return how much of it was kept."""
    response = _open(address, start)
    with response:
        if response.status != 206:
            start = 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else size
        received = start
        with part.open("ab" if start else "wb") as file:
            while piece := _read_piece(response, received):
                received += len(piece)
                if size is not None and received > size:
                    part.unlink()
                    raise _Failed(f"sends more than the {size:,} bytes of the published file")
                file.write(piece)
                report(received, total)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and received < total:
        raise _BrokenOff(f"broke off after {received:,} of {total:,} bytes; {KEPT}")
    return start


def _open(address: str, start: int) -> http.client.HTTPResponse:
    headers = {"User-Agent": "striate"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(address, headers=headers)
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            raise _Stale from error
        raise _Failed(f"answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Failed(f"cannot be reached ({getattr(error, 'reason', error)})") from error
    return response


def _read_piece(response: http.client.HTTPResponse, received: int) -> bytes:
    try:
        return response.read(PIECE)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOff(f"broke off after {received:,} bytes ({error}); {KEPT}") from error


def _begin(sha256: str) -> str:
    return f"{sha256[:12]}..."


def is_whole(path: Path, sha256: str) -> bool:
    """Tell whether a file is there and its SHA-256 begins with these digits."""
    return path.is_file() and sha256_of(path).startswith(sha256)


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _progress(url: str, path: Path, size: int | None) -> Iterator[Report]:
    if not sys.stderr.isatty():
        length = f" ({size:,} bytes)" if size else ""
        print(f"fetching {url}{length} into {path.parent}", file=sys.stderr)
        yield lambda received, total: None
        return
    from rich.console import Console  # a terminal only: it takes 0.1 s to import
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    rates = (TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, *rates, console=Console(stderr=True)) as bar:
        task = bar.add_task(path.name, total=size)
        yield lambda received, total: bar.update(task, completed=received, total=total)
