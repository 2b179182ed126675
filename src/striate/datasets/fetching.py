"""The files of a named set, fetched into a folder and unpacked."""

from collections.abc import Sequence
from pathlib import Path

from striate.datasets.catalogue import NamedSet, PublishedFile
from striate.datasets.unpacking import unpack_members
from striate.fetching import fetch, is_whole, locked_folder


def fetch_set(named: NamedSet, folder: Path) -> None:
    """Fetch all files of a named set into a folder, and unpack archives.

    Files that are there and whole are kept. Of several processes that do this at the same
    time, one fetches and the others wait for it.

    Raises:
        DataError: The folder cannot be written, no address gives a file, or an archive is
            not what it should be.
    """
    with locked_folder(folder, named.name):
        for file in named.files:
            _fetch_file(file, named.addresses, folder)


def _fetch_file(file: PublishedFile, addresses: Sequence[str], folder: Path) -> None:
    if file.members and all(is_whole(folder / each.path, each.sha256) for each in file.members):
        return
    url, *mirrors = (address + file.name for address in addresses)
    path = folder / file.name
    fetch(url, path, sha256=file.sha256, size=file.size, mirrors=mirrors)
    if file.members:
        unpack_members(path, folder, file.members)
        path.unlink()
