"""Reading an image past its borders, where it is mirrored without repeating the edge pixel."""

from collections.abc import Callable

import torch
from torch import Tensor

Region = tuple[slice, ...]
Read = Callable[[Region], Tensor]  # pixels of the image to ``(C, *region)``


def mirrored_places(start: int, stop: int, size: int) -> Tensor:
    """Say which pixel of an axis stands at each place of a range, mirrored as often as needed.

    Args:
        start: First place; negative before the image.
        stop: The first place after the last.
        size: Of the image along this axis [pixels].

    Returns:
        ``(stop - start,)``, int64.

    Example:
        >>> mirrored_places(-4, 6, 3).tolist()
        [0, 1, 2, 1, 0, 1, 2, 1, 0, 1]
    """
    turn = max(2 * size - 2, 1)  # forth and back without the ends
    places = torch.arange(start, stop) % turn
    return torch.minimum(places, -places % turn)


def read_mirrored(read: Read, region: Region, sizes: tuple[int, ...]) -> Tensor:
    """Read a region that may leave the image on any side.

    Only pixels that are needed are asked for, each once.

    Args:
        read: Answers regions inside the image.
        region: With its own start and stop along each axis; a start may be negative.
        sizes: Of the image [pixels].

    Returns:
        ``(C, *region)``.
    """
    inside: list[slice] = []
    moved: list[tuple[int, Tensor]] = []
    for axis, (part, size) in enumerate(zip(region, sizes, strict=True)):
        if part.start >= 0 and part.stop <= size:
            inside.append(part)
            continue
        places = mirrored_places(part.start, part.stop, size)
        first = int(places.min())
        inside.append(slice(first, int(places.max()) + 1))
        moved.append((axis + 1, places - first))
    block = read(tuple(inside))
    for axis, places in moved:
        block = block.index_select(axis, places.to(block.device))
    return block
