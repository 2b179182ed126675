"""Images and volumes in the formats people have them: read by regions, written in their geometry.

Arrays are ``(C, H, W)`` or ``(C, D, H, W)``, in stored units. What a file says of spacing,
orientation and place is carried over to what is written beside it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from striate.errors import DataError, UsageError
from striate.files import replacing
from striate.images import require
from striate.volumes.sources import Geometry, Source, damaged

__all__ = [
    "FORMATS", "WRITABLE", "Geometry", "Source", "is_volume", "open_volume", "suffix_of",
    "write_volume",
]  # fmt: skip

Reader = Callable[[Path], Source]
Writer = Callable[[Path, Any, bool, Geometry], None]

# Each suffix and its format in words; pictures have those of ``images`` besides.
FORMATS = {
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ome.tif": "OME-TIFF",
    ".ome.tiff": "OME-TIFF",
    ".nii": "NIfTI",
    ".nii.gz": "NIfTI",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".zarr": "OME-Zarr",
    ".npz": "NPZ",
    ".npy": "NPY",
    ".dcm": "DICOM",
}
WRITABLE = (*(suffix for suffix in FORMATS if suffix not in (".mhd", ".nhdr", ".dcm")), ".png")
LABEL_TYPES = ("uint8", "uint16", "float32")


def open_volume(path: Path) -> Source:
    """Open an image or volume; shape, type and spacing are known without decoding all of it.

    The format is told by the suffix; a file of another suffix is taken for a picture and told
    by its content.

    Args:
        path: A file, or the folder of a Zarr or of a DICOM series.

    Returns:
        What the file says, and a way to read regions of it; close it, or use it as a context
        manager.

    Raises:
        DataError: The file is missing, damaged, cut short, or needs a package that is not
            installed; its axes can be read in several ways; its values are no plain numbers.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "stack.tif"
        >>> write_volume(path, np.zeros((5, 7, 11), np.uint8), like=None)
        >>> with open_volume(path) as source:
        ...     source.shape, source.read((slice(1, 3), slice(7), slice(4, 6))).shape
        ((1, 5, 7, 11), (1, 2, 7, 2))
    """
    suffix = suffix_of(path)
    require(path)
    reader = _reader(path, suffix)
    try:
        return reader(path)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever a damaged file makes them stumble over
        raise damaged(path, FORMATS.get(suffix, "DICOM"), error) from error


def write_volume(path: Path, labels: Any, *, like: Source | None) -> None:
    """Write labels or probabilities in the format of the path's suffix, slab by slab.

    The file is written beside its place, synced and renamed.

    Args:
        path: Where to write; its suffix is one of ``WRITABLE``.
        labels: ``(*spatial)``, or ``(C, *spatial)``; uint8, uint16 or float32. Anything with
            a shape, a dtype and numpy's slicing, for example a memory map. Without ``like``,
            three axes are depth, height and width, and four begin with the channels.
        like: The opened image that was labeled; its spacing, orientation, place and units are
            carried over.

    Raises:
        UsageError: The suffix names no format that can be written, or a folder is in the way.
        DataError: The labels have another size than ``like``, or a type or number of axes that
            the format cannot hold.
        RunError: The disk is full or the folder cannot be written.
    """
    suffix = suffix_of(path)
    if suffix not in WRITABLE:
        raise UsageError(
            f"cannot write {path}: no format has the suffix {suffix!r}; known: {' '.join(WRITABLE)}"
        )
    if path.is_dir() and not (suffix == ".zarr" and (is_volume(path) or not any(path.iterdir()))):
        raise UsageError(f"{path} is a folder, which would be replaced; choose another name")
    dtype = np.dtype(labels.dtype)
    if dtype.name not in LABEL_TYPES:
        raise DataError(
            f"{path}: labels of {dtype} cannot be written; needed is {', '.join(LABEL_TYPES)}: "
            "convert them first"
        )
    shape = tuple(labels.shape)
    spatial = like.shape[1:] if like is not None else shape[-3:]
    if shape not in (spatial, (*shape[:1], *spatial)) or len(spatial) < 2 or 0 in shape:
        raise DataError(
            f"{path}: labels of {shape} do not fit the image, whose size is {spatial}; "
            "needed is that size, or that size behind an axis of channels"
        )
    geometry = Geometry() if like is None else like.geometry
    with replacing(path) as beside:
        _writer(suffix)(beside, labels, len(shape) > len(spatial), geometry)


def suffix_of(path: Path) -> str:
    """Give a path's suffix in lower case, of two parts where two name the format.

    Example:
        >>> suffix_of(Path("scan.1.NII.gz")), suffix_of(Path("cells.ome.tif")), suffix_of(Path("a"))
        ('.nii.gz', '.ome.tif', '')
    """
    name = path.name.lower()
    double = [suffix for suffix in FORMATS if suffix.count(".") == 2 and name.endswith(suffix)]
    return double[0] if double else Path(name).suffix


def is_volume(path: Path) -> bool:
    """Tell whether a path's format can hold volumes: all but those of pictures; TIFF can.

    Files are told by their suffix, folders by what is in them: a Zarr or DICOM.

    Example:
        >>> is_volume(Path("scan.nii.gz")), is_volume(Path("photo.jpg"))
        (True, False)
    """
    if path.is_dir():
        from striate.volumes.dicom import is_dicom
        from striate.volumes.ome_zarr import is_zarr

        return is_zarr(path) or is_dicom(path)
    return suffix_of(path) in FORMATS


def _reader(path: Path, suffix: str) -> Reader:
    from striate.volumes import arrays, dicom, itk, nifti, ome_zarr, pictures, tiff

    if path.is_dir():
        return ome_zarr.open_zarr if ome_zarr.is_zarr(path) else dicom.open_dicom
    if FORMATS.get(suffix) in ("OME-Zarr", "DICOM") or (not suffix and dicom.is_dicom(path)):
        return dicom.open_dicom
    readers: dict[str, Reader] = {
        "TIFF": tiff.open_tiff,
        "OME-TIFF": tiff.open_tiff,
        "NIfTI": nifti.open_nifti,
        "MetaImage": itk.open_itk,
        "NRRD": itk.open_itk,
        "NPZ": arrays.open_npz,
        "NPY": arrays.open_npy,
    }
    return readers.get(FORMATS.get(suffix, ""), pictures.open_picture)


def _writer(suffix: str) -> Writer:
    from striate.volumes import arrays, itk_writing, nifti, ome_zarr, pictures, tiff_writing

    writers: dict[str, Writer] = {
        "TIFF": tiff_writing.write_tiff,
        "OME-TIFF": tiff_writing.write_tiff,
        "NIfTI": nifti.write_nifti,
        "MetaImage": itk_writing.write_mha,
        "NRRD": itk_writing.write_nrrd,
        "OME-Zarr": ome_zarr.write_zarr,
        "NPZ": arrays.write_npz,
        "NPY": arrays.write_npy,
    }
    return writers.get(FORMATS.get(suffix, ""), pictures.write_png)
