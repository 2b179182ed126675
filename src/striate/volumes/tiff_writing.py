"""Labels to TIFF, OME-TIFF or ImageJ's TIFF, strip by strip."""

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from striate.volumes.sources import Geometry
from striate.volumes.tiff import RESOLUTIONS, Tags

STRIP = 2**18  # bytes of a strip that is written, before it is packed
STRIPS_AT_ONCE = 64
CLASSIC_LIMIT = 2**32 - 2**25  # bytes of pixels, with room for the headers


def write_tiff(path: Path, labels: Any, channels: bool, geometry: Geometry) -> None:
    """Write labels strip by strip as a TIFF with deflate compression.

    Args:
        path: The new file, not yet under its name; ``.ome.tif`` gives an OME-TIFF.
        labels: ``(*spatial)``, or ``(C, *spatial)`` with ``channels``.
        channels: Whether the first axis counts channels.
        geometry: Physical sizes and resolution tags to carry over.
    """
    dtype, shape = np.dtype(labels.dtype), labels.shape
    large = math.prod(shape) * dtype.itemsize > CLASSIC_LIMIT
    ome = ".ome." in path.name
    tags = geometry.native if isinstance(geometry.native, Tags) else Tags(False, {})
    imagej = tags.imagej and not ome and not large
    names = "ZYX"[3 - len(shape[channels:]) :]
    order: list[tuple[int, ...]] = list(np.ndindex(shape[:-2]))
    axes = "C" + names if channels else names
    if imagej and axes == "CZYX":  # ImageJ knows one order: the channels of a slice together
        order = [(channel, z) for z in range(shape[1]) for channel in range(shape[0])]
        axes, shape = "ZCYX", (shape[1], shape[0], *shape[2:])
    rows = max(1, min(shape[-2], STRIP // (shape[-1] * dtype.itemsize)))
    with tifffile.TiffWriter(path, bigtiff=large, byteorder="<", ome=ome, imagej=imagej) as writer:
        writer.write(
            _strips(labels, order, rows),
            shape=shape,
            dtype=dtype,
            photometric="minisblack",
            compression="zlib",
            rowsperstrip=rows,
            metadata={"axes": axes, **_sizes(geometry, names, "ome" if ome else imagej)},
            **_resolution(tags.resolution),
        )


def _strips(labels: Any, order: list[tuple[int, ...]], rows: int) -> Iterator[bytes]:
    """Pack strips of some rows, page after page."""
    stored = np.dtype(labels.dtype).newbyteorder("<")
    for page in order:
        for block in range(0, labels.shape[-2], rows * STRIPS_AT_ONCE):
            rows_of_block = slice(block, block + rows * STRIPS_AT_ONCE)
            part = np.asarray(labels[(*page, rows_of_block)]).astype(stored, copy=False)
            for first in range(0, len(part), rows):
                yield zlib.compress(part[first : first + rows].tobytes())


def _sizes(geometry: Geometry, names: str, form: str | bool) -> dict[str, Any]:
    """Tell the spacing in OME's words, in ImageJ's, or in ours."""
    if geometry.spacing is None:
        return {}
    if form == "ome":
        sizes = zip(names, geometry.spacing, strict=True)
        told: dict[str, Any] = {f"PhysicalSize{name}": step for name, step in sizes}
        unit = geometry.unit or "reference frame"  # without one, OME means micrometers
        return told | {f"PhysicalSize{name}Unit": unit for name in names}
    unit = "um" if geometry.unit == "µm" else geometry.unit  # the text is ASCII
    if form:
        return {"unit": unit} | ({"spacing": geometry.spacing[0]} if len(names) == 3 else {})
    return {"spacing": list(geometry.spacing), "unit": unit}


def _resolution(tags: dict[int, Any]) -> dict[str, Any]:
    if not {*RESOLUTIONS[:2]} <= set(tags):
        return {}
    x, y = (tags[tag] for tag in RESOLUTIONS[:2])
    return {"resolution": (x, y), "resolutionunit": tags.get(RESOLUTIONS[2], 2)}
