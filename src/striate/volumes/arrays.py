"""NumPy's own files: ``.npy``, mapped, and ``.npz``, unpacked into a temporary file."""

import math
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from striate.errors import DataError
from striate.volumes.sources import (
    METERS,
    Geometry,
    Region,
    Source,
    arrange,
    check_dtype,
    mapped_copy,
    slabs,
)

AXES = {2: "YX", 3: "ZYX", 4: "CZYX"}
ABOUT = ("axes", "spacing", "unit", "affine")  # arrays of a .npz that describe the other one


def open_npy(path: Path) -> Source:
    """Open a ``.npy``: two axes are height and width, three begin with depth, four with channels.

    Raises:
        DataError: Another number of axes, or values that are no plain numbers.
        Exception: Whatever numpy stumbles over in a damaged file.
    """
    with path.open("rb") as file:
        dtype, shape, fortran, offset = _header(path, file)
    order = shape[::-1] if fortran else shape
    mapped: np.ndarray = np.memmap(path, dtype, "r", offset, order)
    mapped = mapped.T if fortran else mapped
    arrangement, notes = arrange(path, _axes(path, shape), shape)

    def read(region: Region) -> np.ndarray:
        return arrangement.select(mapped, region)

    return Source(path, "NPY", arrangement.shape(shape), dtype, read, Geometry(), notes)


def open_npz(path: Path) -> Source:
    """Open a ``.npz`` of one array; ``axes``, ``spacing``, ``unit`` and ``affine`` may describe it.

    Raises:
        DataError: It holds several arrays, or axes that can be read in several ways.
        Exception: Whatever numpy stumbles over in a damaged file.
    """
    with zipfile.ZipFile(path) as archive:
        members = [name.removesuffix(".npy") for name in archive.namelist()]
        names = [name for name in members if name not in ABOUT]
        if len(names) != 1:
            raise DataError(
                f"{path} holds {len(names)} arrays ({', '.join(names) or 'none'}), and one is "
                f"needed: save it on its own (beside it only {', '.join(ABOUT)}, which describe it)"
            )
        about: dict[str, Any] = {}
        for name in set(members) & set(ABOUT):
            with archive.open(f"{name}.npy") as file:
                about[name] = np.lib.format.read_array(file)
        member = f"{names[0]}.npy"
        with archive.open(member) as file:
            dtype, shape, fortran, _ = _header(path, file)
    axes = str(about["axes"]) if "axes" in about else _axes(path, shape)
    if len(axes) != len(shape):
        raise DataError(f"{path} names the axes {axes!r} of an array of {shape}")
    arrangement, notes = arrange(path, axes, shape)
    spacing = tuple(float(step) for step in about["spacing"]) if "spacing" in about else None
    unit = str(about.get("unit", ""))
    opened: list[np.ndarray] = []

    def read(region: Region) -> np.ndarray:
        if not opened:
            with zipfile.ZipFile(path) as archive, archive.open(member) as file:
                _header(path, file)
                mapped = mapped_copy(file, dtype, shape[::-1] if fortran else shape)
            opened.append(mapped.T if fortran else mapped)
        return arrangement.select(opened[0], region)

    return Source(
        path,
        "NPZ",
        arrangement.shape(shape),
        dtype,
        read,
        Geometry(spacing, unit if unit in METERS else "", about.get("affine")),
        notes,
        opened.clear,
    )


def _header(path: Path, file: Any) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Read the type, shape, order and length of a header."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise DataError(f"{path} is of version {version} of NPY; needed is 1.0 or 2.0")
    check_dtype(path, dtype)
    return dtype, shape, fortran, file.tell()


def _axes(path: Path, shape: tuple[int, ...]) -> str:
    if len(shape) not in AXES:
        raise DataError(
            f"{path} holds an array of {shape}; needed are two axes (height, width), "
            "three (depth first) or four (channels first)"
        )
    return AXES[len(shape)]


def write_npy(path: Path, labels: Any, channels: bool, geometry: Geometry) -> None:
    """Write labels as a ``.npy``, slab by slab; nothing is said of their place."""
    with path.open("wb") as file:
        _write_array(file, labels)


def write_npz(path: Path, labels: Any, channels: bool, geometry: Geometry) -> None:
    """Write labels as a packed ``.npz``, slab by slab, with axes, spacing, unit and affine."""
    spatial = "ZYX"[3 - len(labels.shape[channels:]) :]
    about: dict[str, Any] = {"axes": np.array("C" * channels + spatial)}
    if geometry.spacing is not None:
        about |= {"spacing": np.array(geometry.spacing), "unit": np.array(geometry.unit)}
    if geometry.affine is not None:
        about["affine"] = geometry.affine
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in {"labels": labels, **about}.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, so that bytes repeat
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                _write_array(file, array)


def _write_array(file: BinaryIO | Any, array: Any) -> None:
    dtype = np.dtype(array.dtype).newbyteorder("<")
    header = {"descr": dtype.str, "fortran_order": False, "shape": tuple(array.shape)}
    np.lib.format.write_array_header_1_0(file, header)
    if math.prod(array.shape) and array.shape:
        for slab in slabs(array):
            file.write(np.ascontiguousarray(slab, dtype).data)
    elif not array.shape:
        file.write(np.asarray(array, dtype).tobytes())
