"""MetaImage (``.mha``, ``.mhd``) and NRRD, read by SimpleITK."""

import math
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from striate.errors import DataError
from striate.volumes.nrrd import SUFFIXES, map_voxels, words_of_space
from striate.volumes.sources import Arrangement, Geometry, Region, Source, check_dtype, extra

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


class Place(NamedTuple):
    """Where voxels lie as ITK says it: axes x, y, z first, millimeters left, posterior, superior.

    ``direction`` holds rows; ``lines`` are the words of a NRRD header, kept as they are.
    """

    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    lines: tuple[tuple[str, str], ...] = ()


def open_itk(path: Path) -> Source:
    """Open a MetaImage or NRRD; regions are read alone where the file allows it.

    Axes x, y, z are given as depth z, height y, width x; the components of a voxel, or a fourth
    axis, as channels.

    Raises:
        DataError: SimpleITK is absent, or the values are no plain numbers, or there are both
            a fourth axis and several components.
        Exception: Whatever SimpleITK stumbles over in a damaged file.
    """
    sitk = extra("SimpleITK", f"{path}: reading it")
    if path.suffix.lower() in (".mha", ".mhd") and "ElementDataFile" not in _meta_header(path)[0]:
        raise ValueError("its header ends early")
    reader = file_reader(sitk, path)
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    dtype = pixel_dtype(sitk, path, reader.GetPixelID())
    if path.suffix.lower() == ".mha":
        _check_length(path, math.prod(size) * components * dtype.itemsize)
    arrangement, stored = _arrangement(path, size, components)
    streams = reader.CanStreamRead()
    opened: list[np.ndarray] = []

    def read(region: Region) -> np.ndarray:
        if not streams:
            if not opened:
                mapped = map_voxels(path, dtype, stored) if path.suffix.lower() == ".nrrd" else None
                opened.append(_whole(sitk, reader) if mapped is None else mapped)
            return arrangement.select(opened[0], region)
        return arrangement.select(_Streamed(sitk, reader, stored), region)

    words = words_of_space(path)
    place = Place(reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection(), words)
    spatial = len(arrangement.spatial)
    return Source(
        path,
        "NRRD" if path.suffix.lower() in SUFFIXES else "MetaImage",
        arrangement.shape(stored),
        dtype,
        read,
        geometry_of(place, spatial),
        (),
        opened.clear,
    )


def file_reader(sitk: Any, path: Path) -> Any:
    """Make a reader that has read the header."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with quiet(sitk):
        reader.ReadImageInformation()
    return reader


@contextmanager
def quiet(sitk: Any) -> Iterator[None]:
    """Keep ITK's own warnings from the terminal."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def pixel_dtype(sitk: Any, path: Path, pixel: int) -> np.dtype[Any]:
    """Tell numpy's type of one component of a voxel.

    Raises:
        DataError: The values are complex.
    """
    name = sitk.GetPixelIDValueAsString(pixel)
    if name.startswith("complex"):
        check_dtype(path, np.dtype("complex64"))
    words = re.search(r"(\d+)-bit (unsigned|signed|float)", name)
    if words is None:
        raise DataError(f"{path} holds {name} values; needed are whole numbers or floats")
    return np.dtype({"unsigned": "uint", "signed": "int", "float": "float"}[words[2]] + words[1])


def geometry_of(place: Place, spatial: int) -> Geometry:
    """Tell the spacing and, for a volume, the affine of NIfTI from ITK's words."""
    dims = len(place.spacing)
    affine = None
    if spatial == 3:
        direction = np.reshape(place.direction, (dims, dims))[:3, :3]
        affine = np.eye(4)
        affine[:3, :3] = LPS_TO_RAS @ (direction * place.spacing[:3])
        affine[:3, 3] = LPS_TO_RAS @ place.origin[:3]
    return Geometry(place.spacing[:spatial][::-1], "mm", affine, place)


def _arrangement(
    path: Path, size: tuple[int, ...], components: int
) -> tuple[Arrangement, tuple[int, ...]]:
    """Tell the axes apart, slowest first, and the shape of what SimpleITK gives to numpy."""
    stored = (*size[::-1], *((components,) if components > 1 else ()))
    last = len(size) - 1
    outer = [axis for axis in range(3, len(size)) if size[axis] > 1]
    if len(size) < 2 or len(outer) + (components > 1) > 1:
        raise DataError(
            f"{path} has the sizes {' × '.join(map(str, size))} of {components} components; "
            "needed is at most one axis of channels beyond x, y, z: save a single series of it"
        )
    channel = len(size) if components > 1 else last - outer[0] if outer else None
    spatial = tuple(last - axis for axis in range(min(3, len(size)) - 1, -1, -1))
    return Arrangement(len(stored), channel, spatial), stored


class _Streamed:
    """A file indexed as numpy is, of which SimpleITK reads only what is asked for."""

    def __init__(self, sitk: Any, reader: Any, shape: tuple[int, ...]) -> None:
        self.sitk, self.reader, self.shape = sitk, reader, shape

    def __getitem__(self, index: tuple[int | slice, ...]) -> np.ndarray:
        ranges = [
            range(size)[part] if isinstance(part, slice) else range(part, part + 1)
            for part, size in zip(index, self.shape, strict=True)
        ]
        kept = tuple(slice(None) if isinstance(part, slice) else 0 for part in index)
        if not all(ranges):
            return np.empty([len(part) for part in ranges])[kept]
        spatial = ranges[: len(self.reader.GetSize())][::-1]
        with quiet(self.sitk):
            self.reader.SetExtractIndex([part.start for part in spatial])
            self.reader.SetExtractSize([len(part) for part in spatial])
            array: np.ndarray = self.sitk.GetArrayFromImage(self.reader.Execute())
        return array[kept]


def _whole(sitk: Any, reader: Any) -> np.ndarray:
    """Read all and move it to a file without a name, so that memory is free again."""
    with quiet(sitk):
        image = reader.Execute()
    array = sitk.GetArrayViewFromImage(image)
    with tempfile.TemporaryFile() as file:
        array.tofile(file)
        file.flush()
        return np.memmap(file, array.dtype, "r", 0, array.shape)


def _meta_header(path: Path) -> tuple[dict[str, str], int]:
    """Read the fields of a MetaImage's header and its length; the last names the data."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while "ElementDataFile" not in fields and (line := file.readline(2**16)):
            name, _, value = line.decode("latin-1").partition("=")
            if line.endswith(b"\n"):
                fields[name.strip()] = value.strip()
        return fields, file.tell()


def _check_length(path: Path, size: int) -> None:
    """Refuse a MetaImage that is cut short before MetaIO complains of it on the terminal."""
    fields, start = _meta_header(path)
    if fields.get("CompressedData", "False").lower() == "true":
        size = int(fields.get("CompressedDataSize", 0))
    there = path.stat().st_size - start
    if there < size:
        raise ValueError(f"{there:,} bytes of data in place of {size:,}")
