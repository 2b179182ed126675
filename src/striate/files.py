"""Files that are whole or absent: written beside their final name, synced, renamed."""

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from striate.errors import RunError


def cache_root() -> Path | None:
    """Find the folder in which what can be made again is kept.

    Returns:
        The environment variable ``STRIATE_CACHE``, or the user's cache folder; None where the
        variable is ``off``.
    """
    given = os.environ.get("STRIATE_CACHE")
    if given == "off":
        return None
    return Path(given).expanduser() if given else user_cache()


def user_cache() -> Path:
    """Find the user's own cache folder, which no variable of ours moves."""
    import platformdirs

    return platformdirs.user_cache_path("striate")


def identity(path: Path) -> tuple[int, int]:
    """Tell a file or folder by what it is, whatever names lead to it."""
    found = path.stat()
    return found.st_dev, found.st_ino


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file so that a kill at any instant leaves the old content or the new, never a part.

    The content goes to a hidden neighbour, is synced to the disk and renamed over
    ``path``; then the folder is synced, so that the rename itself survives a power cut.

    Args:
        path: Where to write; the folder must exist.
        content: Bytes, or text to be written as UTF-8.

    Raises:
        RunError: The disk is full or the folder cannot be written; the old file is untouched.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_file(folder / "notes.txt", "39 mistakes")
        >>> [file.name for file in folder.iterdir()]
        ['notes.txt']
    """
    data = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise RunError(
            f"could not write {path}: {error.strerror or error}; what was there before is untouched"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a hidden neighbour to write, a file or a folder, that then takes the path's place.

    When the block ends well, all that was written is synced and renamed over ``path``; when it
    fails, it is removed. What a killed process left beside the path is removed at the start.

    Args:
        path: The place; the folder above must exist. The neighbour ends in the same suffixes.

    Raises:
        RunError: The disk is full or the folder cannot be written; what was there is untouched.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with replacing(folder / "labels.nii.gz") as beside:
        ...     _ = beside.write_bytes(b"39 mistakes")
        >>> [file.name for file in folder.iterdir()]
        ['labels.nii.gz']
    """
    _clear_leftovers(path)
    beside = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        yield beside
        for file in [*beside.rglob("*"), beside] if beside.is_dir() else [beside]:
            sync_folder(file)
        if path.is_dir() or (beside.is_dir() and path.exists()):
            replaced = path.with_name(f".{os.getpid()}.old.{path.name}")
            path.rename(replaced)
            try:
                beside.rename(path)
            except OSError:
                replaced.rename(path)
                raise
            _remove(replaced)
        else:
            beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise RunError(
            f"could not write {path}: {error.strerror or error}; what was there before is untouched"
        ) from error
    finally:
        _remove(beside)


def _clear_leftovers(path: Path) -> None:
    """Remove what killed processes left beside a path; put back what they had moved away."""
    leftover = re.compile(rf"\.(\d+)\.(part|old)\.{re.escape(path.name)}")
    for file in sorted(path.parent.iterdir()) if path.parent.is_dir() else []:
        match = leftover.fullmatch(file.name)
        if match is None or is_alive(int(match[1])):
            continue
        if match[2] == "old" and not path.exists():
            file.rename(path)
        else:
            _remove(file)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def is_alive(process: int) -> bool:
    """Tell whether another process of this number is running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


_held: set[int] = set()


def _let_go() -> None:
    """In a forked child, close what is locked: it must not outlive the parent, who has the lock."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def locked(
    descriptor: int, *, wait: bool = False, waiting: Callable[[], None] | None = None
) -> Iterator[bool]:
    """Keep an open file or folder from other processes, until the block ends or this one dies.

    Args:
        descriptor: Open; it is closed at the end.
        wait: For whoever has it; otherwise that is an error.
        waiting: Called before a wait.

    Yields:
        Whether it had to be waited for.

    Raises:
        BlockingIOError: Another process has it.
    """
    _held.add(descriptor)
    try:
        waited = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise
            waited = True
            if waiting is not None:
                waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield waited
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
