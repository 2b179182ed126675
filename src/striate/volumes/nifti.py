"""NIfTI-1 and NIfTI-2, plain and gzipped."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from striate.errors import DataError
from striate.volumes.sources import (
    METERS,
    Arrangement,
    Geometry,
    Region,
    Source,
    check_dtype,
    extra,
    mapped_copy,
    slabs,
)

UNITS = {"meter": "m", "mm": "mm", "micron": "µm", "unknown": ""}
LARGEST_OF_NIFTI1 = 32767


def open_nifti(path: Path) -> Source:
    """Open a NIfTI file; one that is gzipped is unpacked into a temporary file when first read.

    Its axes x, y, z are given as depth z, height y, width x; a fourth or fifth of more than one
    entry as channels. ``scl_slope`` and ``scl_inter`` are applied, as float64, and said.

    Raises:
        DataError: nibabel is absent, or the values are no plain numbers, or there are both
            several times and several channels.
        Exception: Whatever nibabel stumbles over in a damaged file.
    """
    nibabel = extra("nibabel", f"{path} is a NIfTI file: reading it")
    image = nibabel.load(path)
    header, proxy = image.header, image.dataobj
    stored = tuple(int(size) for size in proxy.shape)
    dtype, slope, inter = np.dtype(proxy.dtype), proxy.slope, proxy.inter
    check_dtype(path, dtype)
    arrangement = _arrangement(path, stored)
    scaled = (slope, inter) != (1, 0)
    opened: list[np.ndarray] = []

    def voxels() -> np.ndarray:
        if not opened:
            opened.append(_mapped(path, dtype, proxy.offset, stored[::-1]))
        return opened[0]

    if path.suffix.lower() != ".gz":
        voxels()  # a file that is cut short is refused here

    def read(region: Region) -> np.ndarray:
        part = arrangement.select(voxels(), region)
        return part.astype(np.float64) * slope + inter if scaled else part

    notes = (f"scaled by slope {slope:g} and intercept {inter:g}, as its header says",)
    unit = UNITS.get(header.get_xyzt_units()[0], "")
    affine = header.get_best_affine()
    affine[:3] *= METERS[unit or "mm"] / METERS["mm"]
    zooms = [float(str(step)) for step in header.get_zooms()]
    spatial = len(arrangement.spatial)
    spacing = tuple([*zooms, 1.0][:spatial][::-1])
    return Source(
        path,
        "NIfTI",
        arrangement.shape(stored[::-1]),
        np.dtype(np.float64) if scaled else dtype.newbyteorder("="),
        read,
        Geometry(
            spacing if all(spacing) else None,
            unit,
            affine,
            header,
        ),
        notes if scaled else (),
        opened.clear,
    )


def _arrangement(path: Path, stored: tuple[int, ...]) -> Arrangement:
    """Tell the axes apart, slowest first."""
    if len(stored) < 2:
        raise DataError(f"{path} has {len(stored)} axes; needed are at least two")
    outer = [axis for axis, size in enumerate(stored) if axis >= 3 and size > 1]
    if len(outer) > 1:
        raise DataError(
            f"{path} has the sizes {' × '.join(map(str, stored))}, several beyond x, y, z; "
            "needed is at most one, of channels: save a single series of it"
        )
    last = len(stored) - 1
    spatial = tuple(last - axis for axis in range(min(3, len(stored)) - 1, -1, -1))
    return Arrangement(len(stored), last - outer[0] if outer else None, spatial)


def _mapped(path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]) -> np.ndarray:
    """Map the voxels, unpacked into a file without a name that goes with the mapping."""
    if path.suffix.lower() != ".gz":
        return np.memmap(path, dtype, "r", offset, shape)
    with gzip.open(path) as packed:
        return mapped_copy(packed, dtype, shape, offset)


def write_nifti(path: Path, labels: Any, channels: bool, geometry: Geometry) -> None:
    """Write labels slab by slab as NIfTI, gzipped where the name ends in ``.gz``.

    Args:
        path: The new file, not yet under its name.
        labels: ``(*spatial)``, or ``(C, *spatial)`` with ``channels``, which are the fourth axis.
        channels: Whether the first axis counts channels.
        geometry: With a NIfTI header of its own, every field of place is kept as it is.
    """
    nibabel = extra("nibabel", "writing NIfTI")
    spatial = labels.shape[channels:]
    sizes = [*spatial[::-1], *([1] * (3 - len(spatial)) if channels else [])]
    sizes += [labels.shape[0]] if channels else []
    header = _header(nibabel, sizes, geometry)
    header.set_data_shape(sizes)
    header.set_data_dtype(np.dtype(labels.dtype))
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    header.extensions.clear()
    header["vox_offset"] = header.single_vox_offset
    stored = np.dtype(labels.dtype).newbyteorder(header.endianness)
    with path.open("wb") as file:
        packed = gzip.GzipFile("", "wb", 6, file, mtime=0) if path.suffix == ".gz" else file
        with packed:
            header.write_to(packed)
            packed.write(bytes(int(header.single_vox_offset) - packed.tell()))
            for slab in slabs(labels):
                packed.write(np.ascontiguousarray(slab, stored).data)


def _header(nibabel: Any, sizes: list[int], geometry: Geometry) -> Any:
    """Make a header that says where the voxels lie, as far as that is known."""
    kind = nibabel.Nifti1Header if max(sizes) <= LARGEST_OF_NIFTI1 else nibabel.Nifti2Header
    given = geometry.native
    if hasattr(given, "get_best_affine"):
        return given.copy()
    header = kind()
    header.set_data_shape(sizes)
    spacing = geometry.spacing_in("mm")
    if spacing is not None:
        header.set_zooms([*spacing[::-1], *[1.0] * (len(sizes) - len(spacing))])
    if geometry.affine is not None:
        header.set_qform(geometry.affine, 1)
        header.set_sform(geometry.affine, 1)
    if geometry.unit:
        header.set_xyzt_units("mm")
    return header
