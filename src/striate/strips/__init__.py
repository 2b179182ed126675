"""A network over an image larger than memory: layer by layer, in strips that keep their borders.

Rows of the image come in, rows of the answer go out. In between every layer makes as many rows as
it can from those that are there, and keeps of each map the rows that windows and skip connections
still wait for. No multiply-add is done twice, and the answer is that of the whole image.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn

from striate.errors import UsageError
from striate.strips.fusing import fused
from striate.strips.maps import Map
from striate.strips.recording import record
from striate.strips.running import Read, Write, run
from striate.strips.scheduling import memory_needed

__all__ = ["can_strip", "evaluate_in_strips"]

# Strips of about this size fit the processor's caches, and are long enough for its threads.
_PLACES_A_STRIP = 131_072


def can_strip(network: nn.Module, input_shape: Sequence[int]) -> str | None:
    """Say why a network cannot be evaluated in strips over images of a shape.

    Args:
        network: Any module whose ``forward`` takes one tensor and gives one.
        input_shape: ``(C, H, W)`` or ``(C, D, H, W)``.

    Returns:
        None if it can; else the layer and the reason, in one line.

    Raises:
        ValueError: Or whatever else the network itself answers to a size that it does not take.

    Example:
        >>> can_strip(nn.Sequential(nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4)), (1, 9, 7))
        '1 (instance_norm): needs the whole map at once'
    """
    try:
        _maps(network, input_shape)
    except UsageError as error:
        return str(error)
    return None


@torch.inference_mode()
def evaluate_in_strips(
    network: nn.Module, shape: Sequence[int], read: Read, write: Write, *, memory: int
) -> None:
    """Evaluate a network over one image, strip by strip along its first spatial axis.

    The network runs as in evaluation, and is left as it was.

    Args:
        network: Any module whose ``forward`` takes one tensor and gives one.
        shape: Of the image: ``(C, H, W)`` or ``(C, D, H, W)``, of a size that the network takes.
        read: Of rows first to last, the last one not included, gives the image as the network
            shall see it: ``(C, rows, *rest)``, float32. Asked for once a row, in order.
        write: Takes rows first to last of the answer, ``(K, rows, *rest)``, once a row, in order;
            they must not be kept.
        memory: Most that maps may take [bytes]; weights are not counted.

    Raises:
        UsageError: A layer needs more than a strip at a time, or one row at a time takes more
            memory.

    Example:
        >>> image, rows = torch.zeros(1, 40, 30), []
        >>> evaluate_in_strips(
        ...     nn.Conv2d(1, 2, 5, stride=2),
        ...     image.shape,
        ...     lambda first, last: image[:, first:last],
        ...     lambda first, last, logits: rows.append(logits.clone()),
        ...     memory=10**6,
        ... )
        >>> torch.cat(rows, 1).shape
        torch.Size([2, 18, 13])
    """
    maps = _maps(network, shape)
    weight = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
    like = torch.empty(0, device=weight.device)
    run(maps, rows_a_step(maps, memory), like, read, write)


def rows_a_step(maps: Sequence[Map], memory: int) -> int:
    """Choose how many rows of the image are read at once: as many as are fast, if memory allows.

    Raises:
        UsageError: One row takes more memory.
    """
    image = maps[0]
    step = min(image.rows, -(-_PLACES_A_STRIP // math.prod(image.shape[1:])))
    grid = max(-(-image.rows // one.rows) for one in maps)
    step = -(-step // grid) * grid
    while True:
        needed = memory_needed(maps, step)[1]
        if needed <= memory:
            return step
        if step == 1:
            raise UsageError(
                f"strips of one row take {needed / 2**20:.0f} MiB, more than the "
                f"{memory / 2**20:.0f} MiB of memory allowed; allow {needed / 2**20:.0f} MiB"
            )
        step = max(grid * (step // grid // 2), 1) if step > grid else step // 2


def _maps(network: nn.Module, shape: Sequence[int]) -> list[Map]:
    if len(shape) not in (3, 4):
        raise UsageError(f"shape {tuple(shape)}: (C, H, W) or (C, D, H, W) is needed")
    return fused(*record(network, shape))
