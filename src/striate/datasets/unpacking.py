"""Packed files: gzip known by its content, and single members out of a tar archive."""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from striate.datasets.catalogue import Member
from striate.errors import DataError
from striate.files import write_file

GZIP_MAGIC = b"\x1f\x8b"


def read_unpacked(path: Path) -> bytes:
    """Read a file whole, unpacked if its content is gzip, whatever its name says.

    Raises:
        DataError: The file cannot be read, or its gzip stream is damaged or cut short.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "packed")
        >>> _ = path.write_bytes(gzip.compress(b"39 mistakes"))
        >>> read_unpacked(path)
        b'39 mistakes'
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"could not read {path}: {error.strerror or error}") from error
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path} is a damaged gzip file of {len(content):,} bytes: {error}; fetch it again"
        ) from error


def unpack_members(archive: Path, folder: Path, members: Sequence[Member]) -> None:
    """Take the expected files out of a tar archive, each checked and written whole.

    Nothing else in the archive is unpacked, and its entries choose no path: a file is
    written to ``folder / member.path`` and nowhere else.

    Args:
        archive: A tar file, packed or not.
        folder: Where the members go, under their own paths.
        members: What to take.

    Raises:
        DataError: The archive is missing or damaged, lacks a member, or holds something else
            under its name. Members that came before it are on disk, whole.
    """
    missing = {member.path: member for member in members}
    try:
        with tarfile.open(archive) as tar:
            for entry in tar:
                if entry.name not in missing:
                    continue
                member = missing.pop(entry.name)
                file = tar.extractfile(entry) if entry.isfile() else None
                if file is None or entry.size != member.size:
                    kind = f"a file of {entry.size:,} bytes" if file else "not a file"
                    raise DataError(
                        f"{archive}: {member.path} is {kind}, not a file of {member.size:,} "
                        "bytes; fetch the archive again"
                    )
                _write_member(archive, folder, member, file.read())
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"could not unpack {archive}: {error}; fetch it again") from error
    if missing:
        raise DataError(f"{archive} lacks {', '.join(sorted(missing))}; fetch it again")


def _write_member(archive: Path, folder: Path, member: Member, content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != member.sha256:
        raise DataError(
            f"{archive}: {member.path} has SHA-256 {found[:12]}..., not {member.sha256[:12]}...; "
            "fetch the archive again"
        )
    path = folder / member.path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, content)
