"""TIFF and OME-TIFF: stacks of pages, mapped where uncompressed, else decoded strip by strip."""

import struct
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import tifffile

from striate.errors import DataError
from striate.images.pillow import ORIENTATION, quiet
from striate.volumes.pictures import open_picture
from striate.volumes.sources import (
    METERS,
    Geometry,
    Region,
    Source,
    arrange,
    check_dtype,
)
from striate.volumes.tiff_pages import Pages

RESOLUTIONS = (282, 283, 296)  # tags: pixels per unit along x and y, and the unit
UNITS = {
    "reference frame": "",
    "micron": "µm",
    "um": "µm",
    "\\u00B5m": "µm",
    "\u03bcm": "µm",
    "mm": "mm",
    "nm": "nm",
}


class Tags(NamedTuple):
    """What a TIFF says besides spacing: whether ImageJ wrote it, and its resolution tags."""

    imagej: bool
    resolution: dict[int, Any]


def open_tiff(path: Path) -> Source:
    """Open a TIFF: one picture, or a stack of pages as a volume.

    A single picture whose colors need a conversion goes through ``images.read_image``.

    Raises:
        DataError: Axes that can be read in several ways, or values that are no plain numbers.
        Exception: Whatever the decoder stumbles over in a damaged file.
    """
    with quiet():
        tiff = tifffile.TiffFile(path)
        try:
            source = _open(path, tiff)
        except BaseException:
            tiff.close()
            raise
    if isinstance(source, Source):
        return source
    tiff.close()
    return open_picture(path, source)


def _open(path: Path, tiff: Any) -> Source | Geometry:
    """Open a stack; of a picture that ``images`` has to convert, tell the geometry only."""
    _check_chain(tiff)
    if not tiff.series:
        raise ValueError("it holds no page")
    series, page = tiff.series[0], tiff.series[0].keyframe
    if page.dtype is None or series.dtype is None:
        raise DataError(f"{path} holds {page.bitspersample}-bit values that cannot be read")
    check_dtype(path, series.dtype)
    if series.is_multifile or any(p is None for p in series.pages):
        raise DataError(f"{path} is spread over several files or lacks pages; save it as one file")
    meaning = str(getattr(page.photometric, "name", page.photometric))
    turned = ORIENTATION in page.tags and int(page.tags[ORIENTATION].value) != 1
    arrangement, notes = arrange(path, series.axes, series.shape)
    if len(tiff.series) > 1:
        notes = (*notes, f"first of {len(tiff.series)} pictures of different kinds in the file")
    geometry = _geometry(tiff, arrangement.spatial, series.axes)
    kind = "OME-TIFF" if tiff.is_ome else "TIFF"
    known = meaning in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE") and not turned
    if len(arrangement.spatial) == 2 and (meaning == "PALETTE" or not known):
        return geometry
    if not known or (meaning == "MINISWHITE" and series.dtype.kind not in "ub"):
        what = "turned pages" if turned else f"{series.dtype} values of kind {meaning}"
        raise DataError(f"{path} is a TIFF of {what}; export it as grey or RGB")
    array = _mapped(path, tiff, series) if series.dataoffset is not None else None
    pages = Pages(path, tiff, series) if array is None else array
    white = 255 if series.dtype == bool else 2**page.bitspersample - 1
    if series.dtype == bool:
        notes = (*notes, "black and white read as 0 and 255")
    if meaning == "PALETTE":
        notes = (*notes, "palette left out: its indices are read")
    if meaning == "MINISWHITE":
        notes = (*notes, "scale turned, as the file means white by 0")
    dtype = np.dtype(np.uint8) if series.dtype == bool else series.dtype

    def read(region: Region) -> np.ndarray:
        part = arrangement.select(pages, region)
        part = part.astype(np.uint8) * np.uint8(255) if series.dtype == bool else part
        return (white - part).astype(part.dtype) if meaning == "MINISWHITE" else part

    shape = arrangement.shape(series.shape)
    return Source(path, kind, shape, np.dtype(dtype), read, geometry, notes, tiff.close)


def _check_chain(tiff: Any) -> None:
    """Follow the pages to the last; tifffile takes a chain that breaks for a shorter one."""
    file, form = tiff.filehandle, tiff.tiff
    file.seek(form.offsetsize if form.offsetsize == 8 else 4)
    seen: set[int] = set()
    while offset := struct.unpack(form.offsetformat, file.read(form.offsetsize))[0]:
        if offset in seen:
            raise ValueError("its pages run in a circle")
        seen.add(offset)
        file.seek(offset)
        entries = struct.unpack(form.tagnoformat, file.read(form.tagnosize))[0]
        file.seek(offset + form.tagnosize + entries * form.tagsize)


def _mapped(path: Path, tiff: Any, series: Any) -> np.ndarray:
    dtype = series.dtype.newbyteorder(tiff.byteorder)
    return np.memmap(path, dtype, "r", series.dataoffset, series.shape)


def _geometry(tiff: Any, spatial: tuple[int, ...], axes: str) -> Geometry:
    """Take physical sizes from OME or ImageJ; plain resolution tags are only carried on."""
    tags = tiff.pages.first.tags
    native = {tag: tags[tag].value for tag in RESOLUTIONS if tag in tags}
    names = ["Z" if axes[axis] not in "YX" else axes[axis] for axis in spatial]
    if tiff.is_ome:
        return _ome_geometry(tiff.ome_metadata, names)
    if tiff.is_imagej and tiff.imagej_metadata is not None:
        metadata = tiff.imagej_metadata
        unit = UNITS.get(str(metadata.get("unit", "")), str(metadata.get("unit", "")))
        unit = unit if unit in METERS else ""
        steps = {"Z": metadata.get("spacing")}
        for name, tag in (("X", RESOLUTIONS[0]), ("Y", RESOLUTIONS[1])):
            count, length = tags[tag].value if tag in tags else (0, 1)
            steps[name] = length / count if count and unit else None
        spacing = tuple(steps[name] for name in names)
        if all(spacing):
            return Geometry(tuple(map(float, spacing)), unit, native=Tags(True, native))
        return Geometry(native=Tags(True, native))
    ours: dict[str, Any] = (tiff.shaped_metadata or ({},))[0]
    told = ours.get("spacing")
    if isinstance(told, list) and len(told) == len(names):
        unit = UNITS.get(str(ours.get("unit", "")), str(ours.get("unit", "")))
        return Geometry(tuple(map(float, told)), unit, native=Tags(False, native))
    return Geometry(native=Tags(False, native))


def _ome_geometry(text: str, names: list[str]) -> Geometry:
    pixels = ElementTree.fromstring(text).find(".//{*}Pixels")
    if pixels is None:
        return Geometry()
    sizes = [pixels.get(f"PhysicalSize{name}") for name in names]
    units = {pixels.get(f"PhysicalSize{name}Unit", "µm") for name in names}
    units = {UNITS.get(unit, unit) for unit in units}
    if any(size is None for size in sizes) or len(units) > 1 or not units <= {*METERS, ""}:
        return Geometry()
    return Geometry(tuple(float(size or 0) for size in sizes), units.pop())
