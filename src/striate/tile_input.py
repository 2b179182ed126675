"""What a network that labels pixels expects of an image, and how its values are standardised."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from striate.errors import DataError

# Values that intensity ct keeps of those inside the masks [percent].
CT_PERCENTILES = (0.5, 99.5)


class TileSpec(BaseModel):
    """What a trained network expects of an image of any size; kept in the run folder.

    Attributes:
        channels: Number of channels.
        tile: What the network was shown at once in training, a number for each spatial axis
            [pixels].
        intensity: ``"set"``: standardised by ``mean`` and ``std``; ``"image"``: each image by its
            own; ``"ct"``: cut to ``low`` and ``high``, then by ``mean`` and ``std``.
        mean: For each channel, of the training images, in stored units.
        std: For each channel.
        low: For each channel, where intensity is ct.
        high: For each channel, where intensity is ct.
        dtype: How the training images stored their values, as NumPy names it.
        modalities: For each channel what made it, ``""`` where that is not known.
        spacing: Median size of the training images' pixels along each axis, where known [mm].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int
    tile: tuple[int, ...]
    intensity: Literal["set", "image", "ct"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    dtype: str
    modalities: tuple[str, ...]
    spacing: tuple[float, ...] | None = None


class Statistics(NamedTuple):
    """Mean and deviation of each channel, in stored units; a constant channel has deviation 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def statistics(pieces: Iterable[Tensor]) -> Statistics:
    """Measure the channels over pieces of images, in two sums that pieces of any size add to.

    Args:
        pieces: Each ``(C, *spatial)``, as stored.

    Example:
        >>> statistics([torch.tensor([[1.0, 3.0]]), torch.tensor([[5.0, 7.0]])]).mean
        (4.0,)
    """
    count = 0
    mean = squares = torch.zeros(0)
    for piece in pieces:
        values = piece.flatten(1).double()
        number = values.shape[1]
        if not number:
            continue
        variance, own = torch.var_mean(values, dim=1, correction=0)
        if not count:
            count, mean, squares = number, own, variance * number
            continue
        whole = count + number
        apart = own - mean
        squares = squares + variance * number + apart**2 * (count * number / whole)
        mean = mean + apart * (number / whole)
        count = whole
    std = (squares / max(count, 1)).sqrt()
    return Statistics(tuple(mean.tolist()), tuple(value or 1.0 for value in std.tolist()))


def standardize(image: Tensor, spec: TileSpec, own: Statistics | None = None) -> Tensor:
    """Bring stored values to what the network reads.

    Args:
        image: ``(C, *spatial)``, as stored, of the training images' type or brought to it by
            ``as_trained``.
        spec: The network's input.
        own: The statistics of the whole image, needed where ``spec.intensity`` is ``"image"``.

    Returns:
        float32, the same shape.

    Example:
        >>> spec = TileSpec(channels=1, tile=(4, 4), intensity="set", mean=(10,), std=(2,),
        ...                 dtype="uint8", modalities=("",))
        >>> standardize(torch.tensor([[10, 14]], dtype=torch.uint8), spec)
        tensor([[0., 2.]])
    """
    mean, std = (spec.mean, spec.std) if spec.intensity != "image" or own is None else own
    shape = (-1, *(1,) * (image.dim() - 1))

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=image.device).view(shape)

    values = image.to(torch.float32)
    if spec.low is not None and spec.high is not None:
        values = torch.minimum(torch.maximum(values, column(spec.low)), column(spec.high))
    return (values - column(mean)) / column(std)


def as_tensor(values: NDArray[np.generic]) -> Tensor:
    """Give an array as a tensor of a type that torch computes with; no value changes.

    Example:
        >>> as_tensor(np.array([1, 65535], np.uint16))
        tensor([    1, 65535], dtype=torch.int32)
    """
    kinds = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    wide = native.astype(kinds.get(native.dtype.name, native.dtype), copy=False)
    return torch.from_numpy(np.ascontiguousarray(wide))


def full_scale(dtype: str) -> float:
    """Say which stored value is white: the largest of an integer type, 1 of others."""
    kind = np.dtype(dtype)
    return float(np.iinfo(kind).max) if kind.kind in "iu" else 1.0


def as_trained(image: Tensor, dtype: str, spec: TileSpec, name: str) -> tuple[Tensor, str | None]:
    """Bring an image of another depth to the units of the training images.

    Bytes and 16-bit values are brought to one another by their white, where images are not
    standardised one by one; other differences of type have no fixed way between.

    Args:
        image: ``(C, *spatial)``, as stored.
        dtype: How its file stores it, as NumPy names it.
        spec: The network's input.
        name: For the message.

    Returns:
        The image, and a note of what was done.

    Raises:
        DataError: Integers against fractions, or another number of channels.
    """
    if image.shape[0] != spec.channels:
        raise DataError(
            f"{name} has {image.shape[0]} channels, the run reads {spec.channels}; choose or mix "
            "channels yourself and save the result"
        )
    if dtype == spec.dtype or spec.intensity != "set":
        return image, None
    kinds = {np.dtype(each).kind for each in (dtype, spec.dtype)}
    if kinds != {"u"}:
        raise DataError(
            f"{name} stores {dtype}, the training images {spec.dtype}, and what their values mean "
            "to each other is not known; convert the file, or train with --intensity image"
        )
    factor = full_scale(spec.dtype) / full_scale(dtype)
    return image.to(torch.float32) * factor, f"{dtype} brought to the range of {spec.dtype}"
