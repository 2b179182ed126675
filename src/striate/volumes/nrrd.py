"""The header of a NRRD, and its voxels where they can be mapped without SimpleITK."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from striate.volumes.sources import mapped_copy

SUFFIXES = (".nrrd", ".nhdr")
OF_SPACE = ("space", "space dimension", "space units", "space directions", "space origin",
            "measurement frame", "spacings", "units")  # fmt: skip
ELSEWHERE = ("data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip")


def read_header(path: Path) -> tuple[dict[str, str], int]:
    """Read the fields of a NRRD's header, names in lower case, and where the header ends."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while words := file.readline(2**16).decode("latin-1").rstrip("\r\n"):
            name, separator, value = words.partition(":")
            if separator and not value.startswith("=") and not words.startswith("#"):
                fields[name.strip().lower()] = value.strip()
        return fields, file.tell()


def words_of_space(path: Path) -> tuple[tuple[str, str], ...]:
    """Take what a NRRD says of where its voxels lie, as it says it; nothing of other files."""
    fields = read_header(path)[0] if path.suffix.lower() in SUFFIXES else {}
    return tuple((name, value) for name, value in fields.items() if name in OF_SPACE)


def map_voxels(path: Path, dtype: np.dtype[Any], stored: tuple[int, ...]) -> np.ndarray | None:
    """Map the voxels of a NRRD that is one file, raw or gzipped; None of any other.

    SimpleITK reads a NRRD whole, and takes a gzipped one that is cut short for a complete one.

    Args:
        path: The file.
        dtype: Of the voxels, as SimpleITK tells it.
        stored: Sizes as SimpleITK gives them to numpy; voxels that are stored in another order
            are not mapped.
    """
    fields, start = read_header(path)
    sizes = tuple(int(size) for size in fields.get("sizes", "").split())[::-1]
    encoding = fields.get("encoding", "")
    if sizes != stored or encoding not in ("raw", "gzip", "gz") or set(fields) & set(ELSEWHERE):
        return None
    dtype = dtype.newbyteorder(">" if fields.get("endian") == "big" else "<")
    if encoding == "raw":
        return np.memmap(path, dtype, "r", start, stored)
    with path.open("rb") as file:
        file.seek(start)
        with gzip.open(file) as packed:
            return mapped_copy(packed, dtype, stored)
