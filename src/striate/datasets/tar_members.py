"""What a tar archive holds and where each file's bytes begin; nothing is unpacked."""

import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from striate.errors import DataError


class Member(NamedTuple):
    """A file in an archive: its sample's name, its ending, and where its bytes are.

    Of a link, ``target`` is the name of the file in the archive whose bytes it stands for; it has
    none itself.
    """

    key: str
    ending: str
    name: str
    offset: int
    size: int
    target: str | None = None


def members_of(path: Path) -> Iterator[Member]:
    """Go through an archive's files and links, by their headers alone.

    Raises:
        DataError: It is packed, cut short or no archive.
    """
    with path.open("rb") as file:
        start = file.read(6)
    if (
        start[:2] == b"\x1f\x8b"
        or start[:3] == b"BZh"
        or start in (b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
    ):
        raise DataError(
            f"{path} is a packed archive, in which no image can be found without unpacking all "
            f"before it; unpack it once (gunzip, say), or give pipe:gunzip -c {path.name}"
        )
    end, size = 0, path.stat().st_size
    try:
        with tarfile.open(path, "r:") as archive:
            for info in archive:
                archive.members = []  # type: ignore[attr-defined]  # kept else, 1 kB each
                if info.issparse():
                    raise DataError(f"{path} keeps {info.name} with holes; pack it plainly")
                if info.isfile() or info.islnk() or info.issym():
                    folder, slash, base = info.name.removeprefix("./").rpartition("/")
                    stem, _, ending = base.partition(".")
                    if stem:
                        yield Member(
                            folder + slash + stem,
                            ending.lower(),
                            folder + slash + base,
                            info.offset_data,
                            info.size,
                            None if info.isfile() else _target(info),
                        )
                end = info.offset_data + (info.size if info.isfile() else 0)
            after = archive.offset
    except tarfile.TarError as error:
        raise DataError(
            f"{path} is no tar archive or is cut short ({error}); fetch or write it again"
        ) from error
    if -(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE + tarfile.BLOCKSIZE > size:
        raise DataError(f"{path} is cut short at {size:,} bytes; fetch or write it again")
    with path.open("rb") as file:
        file.seek(after)
        if file.read(tarfile.RECORDSIZE).strip(b"\0"):
            raise DataError(
                f"{path} goes on after the end of its archive, as where several are joined; give "
                "each as a file of its own"
            )


def _target(info: tarfile.TarInfo) -> str:
    """Name the member that a link leads to: hard links say it whole, others from their folder."""
    folder = posixpath.dirname(info.name) if info.issym() else ""
    return posixpath.normpath(posixpath.join(folder, info.linkname))
