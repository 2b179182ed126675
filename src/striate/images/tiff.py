"""TIFF images: every kind of sample that has a known white."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from PIL.TiffImagePlugin import COMPRESSION_INFO

from striate.errors import DataError
from striate.images.pillow import ORIENTATION, open_picture, quiet, take
from striate.images.stored import Stored, check_size, unit_floats

COLOUR_PROFILE = 34675  # tag of TIFF


def read_tiff(file: BinaryIO, path: Path, max_pixels: int) -> Stored:
    """Decode the first page of a TIFF; of ImageJ's and OME's, all pages that are its channels.

    Args:
        file: Open at its first byte.
        path: What to call it.
        max_pixels: Larger images are refused before they are decoded.

    Raises:
        DataError: Too many pixels, a volume, or values whose white is not known.
        Exception: Whatever the decoders stumble over in a damaged file.
    """
    with quiet():
        tiff = tifffile.TiffFile(file)
        pages = len(tiff.pages)
        page = tiff.pages.first
        channels = _pages_of_channels(tiff, path)
    if not page.imagewidth * page.imagelength:
        raise ValueError("it holds no page")
    check_size(path, page.imagewidth, page.imagelength * (pages if channels else 1), max_pixels)
    if page.axes not in ("YX", "YXS", "SYX"):
        raise DataError(f"{path} is a volume (axes {page.axes}), not an image; export its slices")
    meaning = _name(page.photometric)
    if meaning not in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE", "SEPARATED", "YCBCR"):
        raise DataError(f"{path} is a TIFF of colours {meaning}; export it as RGB or grey")
    bits, samples = page.bitspersample, page.samplesperpixel
    try:
        pixels = None
        if channels:
            pixels, pages = np.moveaxis(tiff.series[0].asarray(), 0, 2), 1
        elif meaning not in ("SEPARATED", "YCBCR"):
            pixels = page.asarray()
    except (ValueError, NotImplementedError) as error:
        if "imagecodecs" not in str(error):
            raise
        pixels = None
    orientation = int(page.tags[ORIENTATION].value) if ORIENTATION in page.tags else 1
    if pixels is None:
        pillow_drops = bits > 16 or (bits > 8 and (samples > 1 or meaning == "MINISWHITE"))
        if pillow_drops or page.compression not in COMPRESSION_INFO:
            raise DataError(
                f"{path} is a TIFF of {samples} × {bits} bits, {_name(page.compression)} "
                f"compressed, {meaning}; save it as RGB or grey, uncompressed or deflate (zip)"
            )
        file.seek(0)
        stored = take(open_picture(file, "TIFF", max_pixels, path), path)
        if stored.pixels.dtype == np.uint16:
            stored = stored._replace(full_scale=2.0**bits - 1)
        if orientation != 1:  # Pillow turns a TIFF, and only a TIFF, while it loads
            note = f"turned upright by EXIF orientation {orientation}"
            stored = stored._replace(notes=(*stored.notes, note))
        return stored
    stored = _from_tifffile(page, pixels, meaning, path)
    several = (f"first of {pages} pages in the file",) if pages > 1 else ()
    profile = ("colour profile not applied",) if COLOUR_PROFILE in page.tags else ()
    notes = (*stored.notes, *several, *profile)
    return stored._replace(notes=notes, orientation=orientation)


def _pages_of_channels(tiff: tifffile.TiffFile, path: Path) -> bool:
    """Tell whether the pages are said to be the channels of one image, and are all in this file.

    Raises:
        DataError: Some channels are in other files.
    """
    if not (tiff.is_imagej or tiff.is_ome) or len(tiff.series) != 1:
        return False
    series = tiff.series[0]
    if series.axes != "CYX" or _name(tiff.pages.first.photometric) != "MINISBLACK":
        return False
    if len(tiff.pages) != series.shape[0]:
        raise DataError(
            f"{path} has {len(tiff.pages)} of the {series.shape[0]} channels that it names; save "
            "all channels in one file"
        )
    return True


def _from_tifffile(page: tifffile.TiffPage, pixels: np.ndarray, meaning: str, path: Path) -> Stored:
    """Tell what the values of a TIFF mean."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    pixels = pixels if page.axes != "SYX" else np.moveaxis(pixels, 0, 2)
    notes: list[str] = []
    white = 2.0**page.bitspersample - 1
    if pixels.dtype == bool:
        notes.append("black and white read as 0 and 255")
        pixels, white = pixels.astype(np.uint8) * 255, 255.0
    elif pixels.dtype.kind == "f":
        pixels, rounded = unit_floats(pixels, path)
        notes += rounded
        white = 1.0
    elif pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"{path} holds {pixels.dtype} values from {pixels.min()} to {pixels.max()}, whose "
            "white is not known; save 8 or 16 bits without sign, or floats in [0, 1]"
        )
    if meaning == "MINISWHITE":
        notes.append("scale turned, as the file means white by 0")
        pixels = (white - pixels).astype(pixels.dtype)
    if meaning == "PALETTE" and page.colormap is not None:
        notes.append("palette expanded to RGB")
        pixels, white = np.moveaxis(page.colormap[:, pixels[..., 0]], 0, 2), 65535.0
    extra = [_name(sample) for sample in page.extrasamples]
    has_alpha = extra in (["ASSOCALPHA"], ["UNASSALPHA"])
    if extra == ["ASSOCALPHA"]:
        notes.append("colours divided by the opacity they were multiplied with")
        alpha = np.maximum(pixels[..., -1:].astype(np.float64), 1e-9)
        colours = np.minimum(pixels[..., :-1] * white / alpha, white)
        colours = colours if white == 1 else colours.round()
        pixels = np.concatenate([colours.astype(pixels.dtype), pixels[..., -1:]], axis=2)
    return Stored(np.ascontiguousarray(pixels), white, tuple(notes), has_alpha)


def _name(tag: int | None) -> str:
    """Name the value of a TIFF tag; a plain number where tifffile knows no name."""
    return str(getattr(tag, "name", tag))
