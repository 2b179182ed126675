"""Labels to MetaImage (``.mha``) and NRRD, slab by slab; the headers are written here."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from striate.volumes.itk import LPS_TO_RAS, Place
from striate.volumes.sources import Geometry, slabs

META_TYPES = {"uint8": "MET_UCHAR", "uint16": "MET_USHORT", "float32": "MET_FLOAT"}
NRRD_TYPES = {"uint8": "uint8", "uint16": "uint16", "float32": "float"}


def write_mha(path: Path, labels: Any, channels: bool, geometry: Geometry) -> None:
    """Write labels as a packed MetaImage; channels are the components of a voxel.

    Args:
        path: The new file, not yet under its name.
        labels: ``(*spatial)``, or ``(C, *spatial)`` with ``channels``.
        channels: Whether the first axis counts channels.
        geometry: ITK's spacing, origin and direction are kept as they are; those of other
            formats are computed from the affine.
    """
    sizes = labels.shape[channels:][::-1]
    dims, place = len(sizes), place_of(geometry, len(sizes))
    columns = np.reshape(place.direction, (dims, dims)).T.ravel()
    fields = {
        "ObjectType": "Image",
        "NDims": dims,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "CompressedData": True,
        "CompressedDataSize": f"{0:020d}",
        "TransformMatrix": _numbers(columns),
        "Offset": _numbers(place.origin),
        "ElementSpacing": _numbers(place.spacing),
        "DimSize": " ".join(map(str, sizes)),
        **({"ElementNumberOfChannels": labels.shape[0]} if channels else {}),
        "ElementType": META_TYPES[np.dtype(labels.dtype).name],
        "ElementDataFile": "LOCAL",
    }
    header = "".join(f"{name} = {value}\n" for name, value in fields.items()).encode()
    with path.open("wb") as file:
        file.write(header)
        packer = zlib.compressobj()
        for slab in _voxels(labels, channels):
            file.write(packer.compress(slab.data))
        file.write(packer.flush())
        size = file.tell() - len(header)
        file.seek(header.index(b"CompressedDataSize = ") + len(b"CompressedDataSize = "))
        file.write(f"{size:020d}".encode())


def write_nrrd(path: Path, labels: Any, channels: bool, geometry: Geometry) -> None:
    """Write labels as a packed NRRD; channels are its first axis, a vector.

    Args:
        path: The new file, not yet under its name.
        labels: ``(*spatial)``, or ``(C, *spatial)`` with ``channels``.
        channels: Whether the first axis counts channels.
        geometry: What a NRRD said of space is kept in its words; ITK's spacing, origin and
            direction and those of other formats are said in NRRD's.
    """
    sizes = labels.shape[channels:][::-1]
    dims, place = len(sizes), place_of(geometry, len(sizes))
    vector = "none " if channels else ""
    lines = dict(place.lines)
    if "space directions" in lines:
        given = lines["space directions"].replace("none", "").split()
        lines["space directions"] = vector + " ".join(given)
        lines.pop("spacings", None)
        lines.pop("units", None)
    else:
        axes = np.reshape(place.direction, (dims, dims)).T * np.array(place.spacing)[:, None]
        space = {"space": "left-posterior-superior"} if dims == 3 else {"space dimension": "2"}
        lines = space | {
            "space directions": vector + " ".join(_vector(axis) for axis in axes),
            "space origin": _vector(place.origin),
        }
    first = {"space": 0, "space dimension": 0}
    fields = {
        "type": NRRD_TYPES[np.dtype(labels.dtype).name],
        "dimension": dims + channels,
        **{name: lines[name] for name in lines if name in first},
        "sizes": " ".join(map(str, (*labels.shape[:channels], *sizes))),
        **{name: lines[name] for name in lines if name not in first},
        "kinds": "vector " * channels + " ".join(["domain"] * dims),
        "endian": "little",
        "encoding": "gzip",
    }
    header = "NRRD0004\n" + "".join(f"{name}: {value}\n" for name, value in fields.items()) + "\n"
    with path.open("wb") as file:
        file.write(header.encode())
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            for slab in _voxels(labels, channels):
                packed.write(slab.data)


def place_of(geometry: Geometry, dims: int) -> Place:
    """Say a geometry in ITK's words; without an affine, voxel 0 is the origin."""
    if isinstance(geometry.native, Place):
        given, used = geometry.native, len(geometry.native.spacing)
        direction = np.reshape(given.direction, (used, used))[:dims, :dims]
        return Place(
            given.spacing[:dims], given.origin[:dims], tuple(direction.ravel()), given.lines
        )
    if geometry.affine is not None and dims == 3:
        axes = LPS_TO_RAS @ geometry.affine[:3, :3]
        spacing = np.linalg.norm(axes, axis=0)
        origin = LPS_TO_RAS @ geometry.affine[:3, 3]
        return Place(tuple(spacing), tuple(origin), tuple((axes / spacing).ravel()))
    steps = geometry.spacing_in("mm") or (1.0,) * dims
    return Place(steps[::-1], (0.0,) * dims, tuple(np.eye(dims).ravel()))


def _voxels(labels: Any, channels: bool) -> Iterator[np.ndarray]:
    """Read slab by slab, the channels of a voxel together, in little-endian order."""
    dtype = np.dtype(labels.dtype).newbyteorder("<")
    if not channels:
        for slab in slabs(labels):
            yield np.ascontiguousarray(slab, dtype)
        return
    for rows in slabs(_Rows(labels)):
        yield np.ascontiguousarray(rows, dtype)


class _Rows:
    """Labels indexed with their channels last."""

    def __init__(self, labels: Any) -> None:
        self.labels, self.dtype = labels, labels.dtype
        self.shape = (*labels.shape[1:], labels.shape[0])

    def __getitem__(self, index: tuple[int | slice, ...]) -> np.ndarray:
        return np.moveaxis(np.asarray(self.labels[(slice(None), *index)]), 0, -1)


def _numbers(values: Any) -> str:
    return " ".join(repr(float(value)) for value in values)


def _vector(values: Any) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"
