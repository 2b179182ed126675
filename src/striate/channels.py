"""An opened image brought to the channels that a network reads, where there is a fixed way."""

from dataclasses import replace

import numpy as np

from striate.datasets.listing import counted
from striate.errors import DataError
from striate.images import DecodedImage, to_channels
from striate.tile_input import full_scale
from striate.volumes import Source
from striate.volumes.sources import Region

_TO_WHAT = {1: " to grey", 3: " to red, green and blue"}


def with_channels(source: Source, channels: int) -> Source:
    """Bring an opened image to a number of channels; what was done is among its notes.

    A picture's opacity is laid on white, or on black where the visible part is white; grey
    becomes red, green and blue by repetition.

    Args:
        source: Opened.
        channels: What the network reads.

    Returns:
        The source itself, or one that reads ``(channels, *region)`` of it, in its type.

    Raises:
        DataError: It has another number of channels, with no fixed way between.
    """
    if source.shape[0] == channels:
        return source
    if source.opacity:
        source = _on_ground(source)
    given = source.shape[0]
    if given == channels:
        return source
    if (given, channels) != (1, 3):
        raise DataError(
            f"{source.path} has {counted(given, 'channel')}, the run reads {channels}; "
            f"convert it{_TO_WHAT.get(channels, '')}, or train on images like this one"
        )
    stored = source

    def repeated(region: Region) -> np.ndarray:
        return np.repeat(stored.read(region), 3, axis=0)

    return replace(
        source,
        shape=(3, *source.shape[1:]),
        reader=repeated,
        notes=(*source.notes, "grey repeated as red, green and blue"),
    )


def _on_ground(source: Source) -> Source:
    """Lay a picture, which is in memory, on its ground."""
    pixels = np.moveaxis(source.read(), 0, 2)
    image = DecodedImage(pixels, full_scale(source.dtype.name), (), has_alpha=True)
    laid, notes = to_channels(image, source.shape[0] - 1)
    if laid.dtype != source.dtype and source.dtype.kind in "iu":
        laid = np.rint(laid)
    values = np.moveaxis(laid, 2, 0).astype(source.dtype)
    return replace(
        source,
        shape=values.shape,
        reader=lambda region: values[(slice(None), *region)],
        notes=(*source.notes, *notes),
        opacity=False,
    )
