"""OME-Zarr 0.4 and 0.5, and plain Zarr arrays."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from striate.errors import DataError
from striate.volumes.sources import SLAB, Geometry, Region, Source, arrange, check_dtype, extra

UNITS = {"meter": "m", "centimeter": "cm", "millimeter": "mm", "micrometer": "µm",
         "nanometer": "nm"}  # fmt: skip
DEEPEST, VOXELS = 64, 2**20  # of a chunk
PLAIN_AXES = {2: "YX", 3: "ZYX", 4: "CZYX"}
MARKS = (".zarray", ".zgroup", "zarr.json")


class Stated(NamedTuple):
    """What an OME-Zarr says besides spacing: its version, and where voxel 0 lies."""

    version: str
    translation: tuple[float, ...] | None


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a Zarr."""
    return any((path / mark).is_file() for mark in MARKS)


def open_zarr(path: Path) -> Source:
    """Open an OME-Zarr at its full resolution, or a plain Zarr array.

    A plain array without names of axes is read as ``.npy`` is: depth first of three axes,
    channels first of four.

    Raises:
        DataError: zarr is absent; it is neither a picture of OME-Zarr nor an array; its axes can
            be read in several ways.
        Exception: Whatever zarr stumbles over in damaged metadata.
    """
    zarr = extra("zarr", f"{path} is a Zarr: reading it")
    node = zarr.open(str(path), mode="r")
    if isinstance(node, zarr.Array):
        told = getattr(node.metadata, "dimension_names", None) or (None,)
        initials = "".join(str(name)[:1].upper() for name in told) if all(told) else ""
        if not initials and len(node.shape) not in PLAIN_AXES:
            raise DataError(f"{path} holds an array of {node.shape}; needed are two to four axes")
        return _source(path, "Zarr", node, initials or PLAIN_AXES[len(node.shape)], Geometry())
    said = node.attrs.get("ome", node.attrs)
    if "bioformats2raw.layout" in said and "0" in node:
        node = node["0"]
        said = node.attrs.get("ome", node.attrs)
    pictures = said.get("multiscales")
    if not pictures:
        inside = ", ".join(sorted(node.keys())[:5]) or "nothing"
        raise DataError(
            f"{path} is a Zarr group without an OME picture (multiscales); it holds {inside}: "
            "name one array inside it"
        )
    picture = pictures[0]
    version = str(said.get("version", picture.get("version", "0.4")))
    largest = picture["datasets"][0]
    array = node[largest["path"]]
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in
            picture.get("axes", "tczyx"[5 - len(array.shape):])]  # fmt: skip
    names = "".join(axis["name"][:1].upper() for axis in axes)
    scale, translation = np.ones(len(axes)), np.zeros(len(axes))
    changes = [*largest.get("coordinateTransformations", ()),
               *picture.get("coordinateTransformations", ())]  # fmt: skip
    for change in changes:
        factor = np.array(change.get("scale", 1.0))
        scale, translation = scale * factor, translation * factor + change.get("translation", 0)
    arrangement, _ = arrange(path, names, array.shape)
    units = {UNITS.get(axes[axis].get("unit", ""), "") for axis in arrangement.spatial}
    moved = tuple(float(translation[axis]) for axis in arrangement.spatial)
    geometry = Geometry(
        tuple(float(scale[axis]) for axis in arrangement.spatial)
        if any("scale" in change for change in changes)
        else None,
        units.pop() if len(units) == 1 else "",
        native=Stated(version, moved if any(moved) else None),
    )
    return _source(path, f"OME-Zarr {version}", array, names, geometry)


def _source(path: Path, kind: str, array: Any, axes: str, geometry: Geometry) -> Source:
    dtype = np.dtype(array.dtype)
    check_dtype(path, dtype)
    arrangement, notes = arrange(path, axes, array.shape)

    def read(region: Region) -> np.ndarray:
        return arrangement.select(array, region)

    return Source(path, kind, arrangement.shape(array.shape), dtype, read, geometry, notes)


def write_zarr(path: Path, labels: Any, channels: bool, geometry: Geometry) -> None:
    """Write labels as an OME-Zarr, block by block.

    Args:
        path: The new folder, not yet under its name.
        labels: ``(*spatial)``, or ``(C, *spatial)`` with ``channels``.
        channels: Whether the first axis counts channels.
        geometry: Spacing, unit and translation; of an OME-Zarr also the version, else 0.4.
    """
    array = create_zarr(path, tuple(labels.shape), np.dtype(labels.dtype), channels, geometry)
    steps = list(array.chunks)
    while steps[-1] < labels.shape[-1] and 2 * math.prod(steps) * array.dtype.itemsize <= SLAB:
        steps[-1] *= 2
    for corner in itertools.product(
        *(range(0, size, step) for size, step in zip(labels.shape, steps, strict=True))
    ):
        block = tuple(
            slice(first, min(first + step, size))
            for first, step, size in zip(corner, steps, labels.shape, strict=True)
        )
        array[block] = np.asarray(labels[block])


def blocks_of(size: Sequence[int]) -> tuple[int, ...]:
    """Say in blocks of what size an array is stored [voxels]."""
    depth = min(DEEPEST, size[-3]) if len(size) == 3 else 1
    side = 2 ** (int(math.log2(VOXELS / depth)) // 2)
    return tuple(map(min, (depth, side, side)[3 - len(size) :], size))


def create_zarr(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    channels: bool,
    geometry: Geometry,
    blocks: Sequence[int] | None = None,
) -> Any:
    """Make an OME-Zarr whose blocks are still to be written; those that never are read as 0.

    Args:
        path: The new folder.
        shape: ``(*spatial)``, or ``(C, *spatial)`` with ``channels``.
        dtype: Of the voxels.
        channels: Whether the first axis counts channels.
        geometry: As in ``write_zarr``.
        blocks: In which it is stored, along each spatial axis; ``blocks_of`` by default.

    Returns:
        The array; blocks that are aligned with its ``chunks`` may be written at the same time.
    """
    zarr = extra("zarr", "writing Zarr")
    spatial = len(shape) - channels
    stated = geometry.native if isinstance(geometry.native, Stated) else Stated("0.4", None)
    modern = stated.version >= "0.5"
    names = "c" * channels + "zyx"[3 - spatial :]
    words = {unit: word for word, unit in UNITS.items()}
    unit = {"unit": words[geometry.unit]} if geometry.unit else {}
    axes = [
        {"name": name, "type": "channel"}
        if name == "c"
        else {"name": name, "type": "space", **unit}
        for name in names
    ]
    scale = [*([1.0] * channels), *(geometry.spacing or [1.0] * spatial)]
    changes: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if stated.translation is not None and len(stated.translation) == spatial:
        moved = [*([0.0] * channels), *stated.translation]
        changes.append({"type": "translation", "translation": moved})
    picture = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": changes}]}
    group = zarr.create_group(str(path), zarr_format=3 if modern else 2)
    if modern:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [picture]}
    else:
        group.attrs["multiscales"] = [{"version": "0.4", **picture}]
    chunks = blocks or blocks_of(shape[channels:])
    separator = {"name": "default" if modern else "v2", "separator": "/"}
    return group.create_array(
        "0",
        shape=shape,
        dtype=dtype,
        chunks=(*([1] * channels), *chunks),
        fill_value=0,
        chunk_key_encoding=separator,
        dimension_names=list(names) if modern else None,
    )
