"""2-D images of the formats that ``images`` knows, as volumes of no depth."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from striate.errors import DataError
from striate.images import read_image
from striate.volumes.sources import Geometry, Region, Source


def open_picture(path: Path, geometry: Geometry | None = None) -> Source:
    """Open a 2-D image, every bit depth kept; it is decoded here.

    Raises:
        DataError: As in ``images.read_image``.
    """
    image = read_image(path)
    pixels = np.moveaxis(image.pixels, 2, 0)

    def read(region: Region) -> np.ndarray:
        return pixels[(slice(None), *region)]

    return Source(
        path, "picture", pixels.shape, pixels.dtype, read, geometry or Geometry(), image.notes,
        opacity=image.has_alpha,
    )  # fmt: skip


def write_png(path: Path, labels: Any, channels: bool, geometry: Geometry) -> None:
    """Write labels as a grey PNG of 8 or 16 bits.

    Raises:
        DataError: They are a volume, have several channels, or are floats.
    """
    if channels or len(labels.shape) != 2 or np.dtype(labels.dtype).kind != "u":
        raise DataError(
            f"a PNG cannot hold {labels.dtype} of {tuple(labels.shape)}; needed is one slice of "
            "uint8 or uint16: write .tif, .npz or .zarr"
        )
    pixels = np.asarray(labels[:])
    Image.fromarray(pixels).save(path, "PNG")
