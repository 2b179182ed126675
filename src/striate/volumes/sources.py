"""An opened image or volume: what is known before a voxel is decoded, and reading of regions."""

import importlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

import numpy as np

from striate.errors import DataError

Region = tuple[slice, ...]
SLAB = 32 * 2**20  # bytes in memory while labels are written
METERS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "µm": 1e-6, "nm": 1e-9}


class Geometry(NamedTuple):
    """Where voxels lie.

    Attributes:
        spacing: Distance between voxel centers along each spatial axis, slowest axis first, or
            None where the file does not say.
        unit: Of the spacing: a key of ``METERS``, or "" where the file does not say.
        affine: ``(4, 4)``, from voxel indices (x, y, z, 1) to millimeters right, anterior and
            superior of the scanner's center, as in NIfTI; None where the file does not say.
        native: What else the format says, for a writer of the same format.
    """

    spacing: tuple[float, ...] | None = None
    unit: str = ""
    affine: np.ndarray | None = None
    native: Any = None

    def spacing_in(self, unit: str) -> tuple[float, ...] | None:
        """Give the spacing in another unit; unchanged where its own is not known.

        Example:
            >>> Geometry((0.05, 0.004, 0.004), "µm").spacing_in("nm")
            (50.0, 4.0, 4.0)
        """
        if self.spacing is None or self.unit in ("", unit):
            return self.spacing
        ratio = METERS[self.unit] / METERS[unit]
        return tuple(float(f"{step * ratio:.15g}") for step in self.spacing)


@dataclass(eq=False)
class Source:
    """An opened image or volume, nothing of it decoded yet; a context manager.

    Attributes:
        path: The file or folder.
        format: Its format, in words.
        shape: ``(C, H, W)`` or ``(C, D, H, W)``.
        dtype: Of what ``read`` returns.
        geometry: Spacing, affine and what else a writer carries over.
        notes: What was done or left out on the way, in words for the user.
        opacity: Whether the last channel is a picture's opacity.
    """

    path: Path
    format: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    reader: Callable[[Region], np.ndarray] = field(repr=False)
    geometry: Geometry = field(default=Geometry(), repr=False)
    notes: tuple[str, ...] = ()
    closer: Callable[[], None] = field(default=lambda: None, repr=False)
    opacity: bool = False

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Distance between voxel centers along each spatial axis; None where not said."""
        return self.geometry.spacing

    def read(self, region: Region | None = None) -> np.ndarray:
        """Read a region of all channels, in stored units.

        Args:
            region: A slice without step for each spatial axis, as in numpy; the whole by default.

        Returns:
            ``(C, *region)``, a copy in the machine's byte order.

        Raises:
            ValueError: The region has another number of axes, or steps.
            DataError: The file is damaged, cut short or cannot be decoded.
        """
        spatial = self.shape[1:]
        if region is None:
            region = (slice(None),) * len(spatial)
        if len(region) != len(spatial) or any(part.step not in (None, 1) for part in region):
            raise ValueError(
                f"region {region} does not fit the spatial axes {spatial} of {self.path}; "
                "needed is a slice without step for each"
            )
        bounds = [part.indices(size) for part, size in zip(region, spatial, strict=True)]
        region = tuple(slice(first, max(first, last)) for first, last, _ in bounds)
        try:
            return np.array(self.reader(region), self.dtype.newbyteorder("="), order="C")
        except (DataError, MemoryError):
            raise
        except Exception as error:  # decoders raise whatever a damaged file makes them stumble over
            raise damaged(self.path, self.format, error) from error

    def close(self) -> None:
        """Close the file; reading is not possible any more."""
        self.closer()

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def damaged(path: Path, kind: str, error: Exception) -> DataError:
    """Say in one line that a file cannot be decoded."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"{path} is a {kind} file that is damaged or cut short ({reason}); "
        "none of it is used: copy or export it again"
    )


def extra(package: str, what: str) -> ModuleType:
    """Import a package of the extra ``volumes``, or say in one line how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise DataError(
            f"{what} needs {package}, which is not installed: pip install 'striate[volumes]'"
        ) from error


def check_dtype(path: Path, dtype: np.dtype[Any]) -> None:
    """Refuse values that are no plain numbers.

    Raises:
        DataError: Complex or structured values.
    """
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        kind = "complex" if dtype.kind == "c" else "structured" if dtype.names else str(dtype)
        raise DataError(
            f"{path} holds {kind} values ({dtype}); needed are whole numbers or floats: "
            "split them into channels, or save their magnitude"
        )


class Arrangement(NamedTuple):
    """Which axis of a stored array is which; axes of one entry may be left out."""

    ndim: int
    channel: int | None
    spatial: tuple[int, ...]

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """Give ``(C, *spatial)``."""
        channels = 1 if self.channel is None else stored[self.channel]
        return (channels, *(stored[axis] for axis in self.spatial))

    def select(self, array: Any, region: Region) -> np.ndarray:
        """Read a region of anything that is indexed as numpy is, as ``(C, *region)``."""
        index: list[int | slice] = [0] * self.ndim
        for axis, part in zip(self.spatial, region, strict=True):
            index[axis] = part
        if self.channel is not None:
            index[self.channel] = slice(None)
        selected = np.asarray(array[tuple(index)])
        kept = [axis for axis in range(self.ndim) if isinstance(index[axis], slice)]
        order = (*(() if self.channel is None else (self.channel,)), *self.spatial)
        selected = selected.transpose([kept.index(axis) for axis in order])
        return selected if self.channel is not None else selected[None]


def arrange(path: Path, axes: str, shape: tuple[int, ...]) -> tuple[Arrangement, tuple[str, ...]]:
    """Tell channels, depth, height and width apart by the names of the axes.

    Args:
        path: For the message.
        axes: A letter an axis: X, Y, Z; C or S for channels; T, I, Q or any other for an axis
            that is taken as depth where there is no other.
        shape: Sizes in the same order.

    Returns:
        The arrangement, and what was assumed, in words for the user.

    Raises:
        DataError: Several axes could be the channels or the depth, or X or Y is missing.

    Example:
        >>> arrange(Path("a.tif"), "TCYX", (1, 3, 5, 7))[0].shape((1, 3, 5, 7))
        (3, 5, 7)
    """
    channels = [axis for axis, name in enumerate(axes) if name in "CS" and shape[axis] > 1]
    depths = [axis for axis, name in enumerate(axes) if name not in "CSYX" and shape[axis] > 1]
    if axes.count("Y") != 1 or axes.count("X") != 1 or len(channels) > 1 or len(depths) > 1:
        sizes = " × ".join(f"{name} {size}" for name, size in zip(axes, shape, strict=True))
        raise DataError(
            f"{path} has the axes {sizes}, which can be read in several ways; needed are "
            "height (Y) and width (X), at most one depth (Z) and one of channels (C): "
            "save a single series of it"
        )
    notes: tuple[str, ...] = ()
    if depths and axes[depths[0]] != "Z":
        notes = (f"axis {axes[depths[0]]} of {shape[depths[0]]} read as depth",)
    spatial = (*depths, axes.index("Y"), axes.index("X"))
    return Arrangement(len(axes), channels[0] if channels else None, spatial), notes


def mapped_copy(
    stream: Any, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int = 0
) -> np.ndarray:
    """Copy a stream to a file without a name and map it; the file goes with the mapping."""
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(stream, file, 2**20)
        file.flush()
        return np.memmap(file, dtype, "r", offset, shape)


def slabs(labels: Any, limit: int = SLAB) -> Iterator[np.ndarray]:
    """Read an array-like in C order, in contiguous pieces of at most about ``limit`` bytes.

    Example:
        >>> [slab.shape for slab in slabs(np.zeros((5, 2, 3), np.uint8), 12)]
        [(2, 2, 3), (2, 2, 3), (1, 2, 3)]
    """
    shape, itemsize = tuple(labels.shape), np.dtype(labels.dtype).itemsize

    def cut(prefix: tuple[int, ...]) -> Iterator[np.ndarray]:
        size, *inner = shape[len(prefix) :]
        row = itemsize * int(np.prod(inner))
        if row <= limit or not inner:
            step = max(1, limit // max(1, row))
            for first in range(0, size, step):
                yield np.asarray(labels[(*prefix, slice(first, min(first + step, size)))])
        else:
            for index in range(size):
                yield from cut((*prefix, index))

    return cut(())
