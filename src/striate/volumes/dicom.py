"""A folder with the slices of one DICOM series, read by SimpleITK slice by slice."""

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from striate.errors import DataError
from striate.volumes.itk import Place, file_reader, geometry_of, open_itk, pixel_dtype, quiet
from striate.volumes.sources import Region, Source, extra

POSITION, ORIENTATION = "0020|0032", "0020|0037"
DESCRIPTION, SLOPE, INTERCEPT = "0008|103e", "0028|1053", "0028|1052"
CACHED = 2**26  # bytes of decoded slices that are kept
UNEVEN = 0.01  # of the spacing: what scanners round away


def is_dicom(path: Path) -> bool:
    """Tell by its content whether a file is DICOM, or the first files of a folder are."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        return any(is_dicom(file) for file in files[:8])
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def open_dicom(path: Path) -> Source:
    """Open a folder that holds one series, or one file of several frames.

    The slices are put in order by their positions, and rescaled as their headers say.

    Raises:
        DataError: SimpleITK is absent; the folder holds no series or several; the slices differ
            in size, or are not evenly spaced.
        Exception: Whatever SimpleITK stumbles over in a damaged file.
    """
    sitk = extra("SimpleITK", f"{path} is DICOM: reading it")
    if path.is_file():
        source = open_itk(path)
        source.format = "DICOM"
        return source
    files = _series(sitk, path)
    readers = [file_reader(sitk, Path(name)) for name in files]
    sizes = {reader.GetSize()[:2] for reader in readers}
    if len(sizes) > 1 or any(math.prod(reader.GetSize()[2:]) > 1 for reader in readers):
        raise DataError(
            f"{path} holds slices of different sizes ({sorted(sizes)}); needed is one series of "
            "equal slices: take the others out"
        )
    place = _place(path, readers)
    types = [pixel_dtype(sitk, path, reader.GetPixelID()) for reader in readers]
    dtype: np.dtype[Any] = np.dtype(np.result_type(*types))
    channels = int(readers[0].GetNumberOfComponents())
    width, height = readers[0].GetSize()[:2]
    bytes_of_slice = int(width * height * channels * dtype.itemsize)

    @lru_cache(maxsize=max(1, CACHED // bytes_of_slice))
    def decoded(number: int) -> np.ndarray:
        with quiet(sitk):
            pixels = sitk.GetArrayFromImage(readers[number].Execute())
        return np.moveaxis(pixels.reshape(height, width, channels), 2, 0)

    def read(region: Region) -> np.ndarray:
        depth, *inside = region
        numbers = range(len(files))[depth]
        sides = [len(range(size)[part]) for size, part in zip((height, width), inside, strict=True)]
        out = np.empty((channels, len(numbers), *sides), dtype)
        for at, number in enumerate(numbers):
            out[:, at] = decoded(number)[(slice(None), *inside)]
        return out

    def scaling(reader: Any, tag: str, none: float) -> float:
        return float(reader.GetMetaData(tag)) if reader.HasMetaDataKey(tag) else none

    scaled = any(scaling(r, SLOPE, 1) != 1 or scaling(r, INTERCEPT, 0) != 0 for r in readers)
    notes = ("rescaled by slope and intercept, as its headers say",) if scaled else ()
    shape = (channels, len(files), height, width)
    geometry = geometry_of(place, 3)
    return Source(path, "DICOM", shape, dtype, read, geometry, notes, decoded.cache_clear)


def _series(sitk: Any, path: Path) -> tuple[str, ...]:
    """Give the files of the only series in a folder, in the order of their positions."""
    with quiet(sitk):
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
        files = {
            name: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), name) for name in series
        }
    known = {Path(name).name for members in files.values() for name in members}
    others = [file for file in sorted(path.iterdir()) if file.is_file() and is_dicom(file)]
    lost = [file.name for file in others if file.name not in known and file.name != "DICOMDIR"]
    if lost:
        raise ValueError(f"{lost[0]} cannot be read")
    if len(files) == 1:
        return tuple(next(iter(files.values())))
    if not files:
        raise DataError(
            f"{path} is a folder without a DICOM series or a Zarr; name a file or one of these"
        )
    said = []
    for name, members in files.items():
        reader = file_reader(sitk, Path(members[0]))
        words = (
            reader.GetMetaData(DESCRIPTION).strip() if reader.HasMetaDataKey(DESCRIPTION) else ""
        )
        said.append(f"{words or name} of {len(members)}, first {Path(members[0]).name}")
    raise DataError(
        f"{path} holds {len(files)} DICOM series ({'; '.join(said)}); needed is one: "
        "move each into a folder of its own"
    )


def _place(path: Path, readers: list[Any]) -> Place:
    """Tell where the series lies from the positions of its slices."""
    first = readers[0]
    spacing, origin = first.GetSpacing(), first.GetOrigin()
    direction = np.reshape(first.GetDirection(), (3, 3)) if len(origin) == 3 else np.eye(3)
    if len(readers) == 1 or not all(reader.HasMetaDataKey(POSITION) for reader in readers):
        return Place((*spacing, 1.0)[:3], (*origin, 0.0)[:3], tuple(direction.ravel()))
    at = np.array([_floats(reader.GetMetaData(POSITION)) for reader in readers])
    rows, columns = np.reshape(_floats(first.GetMetaData(ORIENTATION)), (2, 3))
    along = at @ np.cross(rows, columns)
    gaps = np.diff(along)
    if np.ptp(gaps) > UNEVEN * abs(gaps).max() or not gaps.all():
        worst = int(np.argmax(abs(gaps - np.median(gaps))))
        raise DataError(
            f"{path} holds slices that are not evenly spaced ({gaps[worst]:g} mm after slice "
            f"{worst + 1}, {np.median(gaps):g} mm elsewhere); needed are all slices, each once"
        )
    step = (at[-1] - at[0]) / (len(at) - 1)
    depth = float(np.linalg.norm(step))
    direction = np.stack([rows, columns, step / depth], axis=1)
    return Place((*spacing[:2], depth), tuple(map(float, at[0])), tuple(direction.ravel()))


def _floats(text: str) -> list[float]:
    return [float(number) for number in text.split("\\")]
