"""A label for every pixel of an image of any size: in one piece, or tile by tile, equally."""

import ctypes
import itertools
from collections.abc import Callable
from functools import cache
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from striate.dense_form import DenseForm
from striate.display import Progress
from striate.errors import DataError, UsageError
from striate.mirroring import Read, Region, read_mirrored
from striate.modes import evaluating
from striate.strips import can_strip, evaluate_in_strips
from striate.tiling import Tile, TilePlan, dimensions, memory_bytes, plan_tiles
from striate.tiling.blending import weight_of
from striate.tiling.checking import first_tensor

Write = Callable[[Region, Tensor], None]  # pixels of the image, logits ``(K, *region)``

_MUCH = 16_000_000  # bytes of a tile, from which on memory is given back after each


class Done(Protocol):
    """Which tiles are finished: a set of their numbers, or something that outlasts the program."""

    def __contains__(self, number: object, /) -> bool:
        """Tell whether a tile is finished."""

    def add(self, number: int, /) -> None:
        """Note that a tile is finished."""


def whole(network: nn.Module, image: Tensor) -> Tensor:
    """Give the logits of every pixel, of one run over the whole image.

    At its borders the image is mirrored, without repeating the edge pixel, as far as an unpadded
    network needs to answer every pixel, and behind its end up to the next size that the network
    accepts. A size at which the network would leave rows out or resize its maps unevenly
    counts as not accepted, if another is near.

    Args:
        network: Labels pixels. One in two dimensions sees a volume slice by slice.
        image: ``(C, *spatial)``, as the network takes it.

    Returns:
        ``(K, *spatial)``, on the CPU.

    Raises:
        UsageError: The network takes no such image, or does not answer by pixels.
        DataError: The image is no tensor, or has other channels than the network reads.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
        >>> whole(net, torch.rand(1, 9, 7)).shape
        torch.Size([2, 9, 7])
    """
    return _logits(network, image, _plan(network, image))


def predict_tiled(
    network: nn.Module,
    image: Tensor,
    *,
    memory: int | str = "1GB",
    return_logits: bool = False,
    blend: bool = False,
    progress: Progress | None = None,
) -> Tensor:
    """Label every pixel in little memory; the answer is that of ``whole``.

    Where the network allows it, layer by layer in strips, which does nothing twice; else tile by
    tile.

    Args:
        network: Labels pixels. One in two dimensions sees a volume slice by slice.
        image: ``(C, *spatial)``, as the network takes it.
        memory: What input, maps and answer of a tile, or all strips, may take, in bytes or as
            ``"500MB"``; the weights, the image and the result come on top.
        return_logits: Give the logits of all classes instead, ``(K, *spatial)``.
        blend: Where tiles cannot equal the whole, let them overlap and blend their logits; without
            it, that is refused.
        progress: Called after each tile with the number of tiles done and of all; after each
            strip with rows.

    Returns:
        ``(*spatial)``, uint8: the class with the largest logit; with one class alone, whether
        its logit is positive.

    Raises:
        UsageError: As of ``plan_tiles``.
        DataError: The image is no tensor, or has other channels than the network reads.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3))
        >>> image = torch.rand(1, 61, 37)
        >>> labels = predict_tiled(net, image, memory="50KB")
        >>> torch.equal(labels, whole(net, image).argmax(0))
        True
    """
    plan = _plan(network, image, memory=memory, blend=blend)
    limit = memory_bytes(memory)
    if return_logits:
        return _logits(network, image, plan, progress, limit)
    if plan.classes > 255:
        raise UsageError(
            f"{plan.classes} classes do not fit labels of 8 bits, of which 255 is for pixels left "
            "out; take the logits"
        )
    labels = torch.empty(plan.shape[1:], dtype=torch.uint8)

    def write(region: Region, logits: Tensor) -> None:
        labels[region] = labels_of(logits)

    read = _reader(image)
    if not run_in_strips(network, plan, read, write, limit, progress):
        run_plan(network, plan, read, write, progress=progress)
    return labels


def _plan(
    network: nn.Module, image: Tensor, *, memory: int | str | None = None, blend: bool = False
) -> TilePlan:
    """Plan an image; what is none for this network is refused in words about the image."""
    if not isinstance(image, Tensor):
        raise DataError(
            f"the image is {type(image).__name__}; needed is a torch tensor (C, *spatial): "
            "torch.from_numpy makes one"
        )
    try:
        if isinstance(network, DenseForm):
            network.require_channels(image.shape[0], dimensions(network, image.shape))
        return plan_tiles(network, tuple(image.shape), memory=memory, blend=blend)
    except UsageError as error:
        reads = next((m.in_channels for m in network.modules() if isinstance(m, _ConvNd)), None)
        if image.dim() < 3 or reads in (None, image.shape[0]):
            raise
        raise DataError(
            f"the image has {image.shape[0]} channels, the network reads {reads}; give it "
            "(C, *spatial) with as many"
        ) from error


def labels_of(logits: Tensor) -> Tensor:
    """Reduce logits ``(K, *spatial)`` to labels ``(*spatial)``, uint8; of equal ones the first.

    Example:
        >>> labels_of(torch.tensor([[0.5, 1.0], [0.6, 1.0]]))
        tensor([1, 0], dtype=torch.uint8)
    """
    if len(logits) == 1:
        return (logits[0] > 0).to(torch.uint8)
    if len(logits) == 2:
        return (logits[1] > logits[0]).to(torch.uint8)
    return logits.argmax(dim=0).to(torch.uint8)


def shares_of(logits: Tensor) -> Tensor:
    """Turn logits ``(K, *spatial)`` into probabilities that add up to 1 at each pixel.

    A single class counts against nothing: the answer is that of two.

    Example:
        >>> shares_of(torch.tensor([[0.0]]))
        tensor([[0.5000],
                [0.5000]])
    """
    logits = logits.float()
    if len(logits) == 1:
        logits = torch.cat([torch.zeros_like(logits), logits])
    return torch.softmax(logits, dim=0)


def run_plan(
    network: nn.Module,
    plan: TilePlan,
    read: Read,
    write: Write,
    *,
    done: Done | None = None,
    progress: Progress | None = None,
) -> None:
    """Run the tiles of a plan in their order, reading and writing as they go.

    Args:
        network: The one that the plan was made for; its mode is put back at the end.
        plan: Of ``plan_tiles``.
        read: Gives ``(C, *region)`` for a region of the image [pixels].
        write: Takes a region and its logits ``(K, *region)``, valid during the call alone. Regions
            do not overlap, and together cover the image.
        done: Numbers of tiles that were finished before and are left out; those that are
            finished now are added.
        progress: Called after each tile with the number of tiles done and of all.
    """
    done = set[int]() if done is None else done
    with evaluating(network), torch.inference_mode():
        if plan.blending:
            _run_blended(network, plan, read, write, done, progress)
            return
        for number, tile in enumerate(plan.tiles):
            if number not in done:
                write(tile.output, answer(network, plan, tile, read))
                done.add(number)
                if plan.peak_bytes >= _MUCH:
                    give_back_memory()
            if progress is not None:
                progress(number + 1, len(plan.tiles))


def run_in_strips(
    network: nn.Module,
    plan: TilePlan,
    read: Read,
    write: Write,
    limit: int,
    progress: Progress | None = None,
) -> bool:
    """Answer an image layer by layer in strips, if it needs cutting and the network allows it.

    Args:
        network: The one that the plan was made for.
        plan: Its tiles are not used, its whole input is.
        read: As for ``run_plan``.
        write: As for ``run_plan``; regions are rows of the image, in order.
        limit: Memory for the strips [bytes].
        progress: Called with the rows done and all.

    Returns:
        Whether it was done; if not, nothing was written.
    """
    sizes = plan.shape[1:]
    if len(plan.tiles) == 1 or plan.blending or len(plan.axes) < len(sizes):
        return False
    shape = (plan.shape[0], *(axis.size for axis in plan.axes))
    first_axis, *rest = plan.axes
    beside = tuple(slice(-axis.before, axis.size - axis.before) for axis in rest)
    columns = tuple(slice(0, size) for size in sizes[1:])

    def rows(first: int, last: int) -> Tensor:
        region = (slice(first - first_axis.before, last - first_axis.before), *beside)
        return read_mirrored(read, region, sizes)

    def answered(first: int, last: int, logits: Tensor) -> None:
        last = min(last, sizes[0])
        if first < last:
            write(
                (slice(first, last), *columns), logits[(slice(None), slice(last - first), *columns)]
            )
            if progress is not None:
                progress(last, sizes[0])

    if can_strip(network, shape) is not None:
        return False
    try:
        evaluate_in_strips(network, shape, rows, answered, memory=limit)
    except UsageError:
        return False  # one row at a time takes more memory than a tile
    return True


def give_back_memory() -> None:
    """Hand what was freed back to the system; glibc keeps maps of up to 32 MB for itself."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        return cast("Callable[[int], int]", ctypes.CDLL(None).malloc_trim)
    except (OSError, TypeError, AttributeError):  # another C library
        return None


def _run_blended(
    network: nn.Module,
    plan: TilePlan,
    read: Read,
    write: Write,
    done: Done,
    progress: Progress | None,
) -> None:
    """Run rows of overlapping tiles; write what no later row changes, a band for each row."""
    first = len(plan.shape) - 1 - len(plan.axes)  # the axis along which rows follow one another
    rows = [
        list(row)
        for _, row in itertools.groupby(
            plan.tiles, lambda tile: [part.start for part in tile.output[: first + 1]]
        )
    ]
    spans = [row[0].output[: first + 1] for row in rows]
    sums = torch.zeros(0)
    for number, row in enumerate(rows):
        *stack, span = spans[number]
        begin, end = span.start, span.stop
        later = [n for n in range(number, len(rows)) if [*spans[n][:first]] == stack]
        touched = [n for n in later if spans[n][first].start < end]
        stop = spans[later[1]][first].start if len(later) > 1 else end
        room = torch.zeros(plan.classes, end - begin, *plan.shape[2 + first :])
        if begin > 0:
            room[:, : sums.shape[1]] = sums  # what earlier rows left
        sums = room
        if any(n not in done for n in touched):
            for tile in row:
                _add(sums, answer(network, plan, tile, read), plan, tile, begin)
        if number not in done:
            everywhere = (slice(0, size) for size in plan.shape[2 + first :])
            band = sums[:, : stop - begin]
            if first:
                band = band[:, None]
            write((*stack, slice(begin, stop), *everywhere), band)
            done.add(number)
        sums = sums[:, stop - begin :]
        if progress is not None:
            progress(number + 1, len(rows))


def _add(sums: Tensor, logits: Tensor, plan: TilePlan, tile: Tile, begin: int) -> None:
    """Add a tile's logits, weighed, to the sums of its row, which begins at ``begin``."""
    dims = len(plan.axes)
    output = tile.output[-dims:]
    weight = torch.from_numpy(weight_of(plan.blending, output))
    rows = slice(output[0].start - begin, output[0].stop - begin)
    place = (slice(None), rows, *output[1:])
    sums[place] += logits.reshape(len(logits), *weight.shape) * weight


def answer(network: nn.Module, plan: TilePlan, tile: Tile, read: Read) -> Tensor:
    """Give the logits of one tile's output, from a network in evaluation."""
    block = read_mirrored(read, tile.source, plan.shape[1:])
    stacked = len(plan.axes) < len(plan.shape) - 1
    if stacked:
        block = block[:, 0]
    shown = next((p for p in network.parameters() if p.is_floating_point()), block)
    memory_format = {2: torch.channels_last, 3: torch.channels_last_3d}.get(len(plan.axes))
    batch = torch.empty(
        (1, *block.shape),
        dtype=shown.dtype,
        device=shown.device,
        memory_format=memory_format or torch.contiguous_format,
    )
    batch[0].copy_(block)
    del block
    logits = first_tensor(network(batch))[0]
    if stacked:
        logits = logits[:, None]
    return logits[(slice(None), *tile.inner)].to(device="cpu")


def _reader(image: Tensor) -> Read:
    return lambda region: image[(slice(None), *region)]


def _logits(
    network: nn.Module,
    image: Tensor,
    plan: TilePlan,
    progress: Progress | None = None,
    limit: int = 0,
) -> Tensor:
    answers: list[Tensor] = []

    def write(region: Region, logits: Tensor) -> None:
        if not answers:
            answers.append(torch.empty((plan.classes, *plan.shape[1:]), dtype=logits.dtype))
        answers[0][(slice(None), *region)] = logits

    read = _reader(image)
    if not run_in_strips(network, plan, read, write, limit, progress):
        run_plan(network, plan, read, write, progress=progress)
    return answers[0]
