"""Files that are whole or absent: written beside their final name, synced, renamed."""

import os
from contextlib import suppress
from pathlib import Path

from striate.errors import RunError


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


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
