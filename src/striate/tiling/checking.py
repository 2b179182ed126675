"""Tiles against a larger context, on a small image, before a plan is trusted.

A trace sees what torch functions do. What a network does by other means, the size of its input
in a factor for example, shows only in its answers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.modes import evaluating
from striate.tiling.cutting import cut
from striate.tiling.fitting import Axis
from striate.tracing import trace

TOLERANCE = 1e-5  # of the largest logit


def check_tiles(network: nn.Module, channels: int, axes: Sequence[Axis], place: int) -> None:
    """Compare three small tiles along one axis, one of them inside, with one run over all three.

    Across, the image is as small as the network allows, so that this takes little time.

    Args:
        network: As ``axes`` were found for.
        channels: Of the image.
        axes: Of the image.
        place: Which of them the tiles follow.

    Raises:
        UsageError: They differ.
    """
    lengths = [axis.size for axis in axes]
    lengths[place] = axes[place].overlap + 3 * axes[place].step
    for across, axis in enumerate(axes):
        if across != place and axis.step:
            lengths[across] = _shortest(network, channels, lengths, across, axis)
    sides = zip(axes, lengths, strict=True)
    small = [a._replace(size=n, outputs=a.outputs + n - a.size, image=n) for a, n in sides]
    axis = small[place]._replace(image=small[place].outputs, before=0)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, channels, *lengths, generator=generator)
    shown = next((p for p in network.parameters() if p.is_floating_point()), image)
    image = image.to(shown)
    with evaluating(network), torch.inference_mode():
        whole = first_tensor(network(image))
        bound = max(TOLERANCE, 16 * torch.finfo(whole.dtype).eps) * float(whole.abs().max())
        for piece in cut(axis, axis.overlap + axis.step):
            part = image.narrow(2 + place, piece.source.start, _length(piece.source))
            answer = first_tensor(network(part)).narrow(
                2 + place, piece.inner.start, _length(piece.inner)
            )
            expected = whole.narrow(2 + place, piece.output.start, _length(piece.output))
            worst = float((answer - expected).abs().max())
            if not worst <= bound:
                raise UsageError(
                    f"tiles of this network do not equal the whole: tried on {axis.size} pixels, "
                    f"they differ by {worst / bound * TOLERANCE:.1g} of the largest logit; "
                    "something in it depends on more than a trace sees"
                )


def _length(part: slice) -> int:
    return int(part.stop - part.start)


def _shortest(
    network: nn.Module, channels: int, lengths: Sequence[int], across: int, axis: Axis
) -> int:
    """Find the shortest length that the network accepts and that ends as the whole input does."""
    lost = axis.size - axis.outputs
    first = lost + 1 + (axis.size - lost - 1) % axis.step
    for length in range(first, axis.size, axis.step):
        shape = [channels, *lengths]
        shape[1 + across] = length
        try:
            trace(network, shape)
        except (ValueError, RuntimeError, AssertionError):
            continue
        return length
    return axis.size


def first_tensor(output: object) -> Tensor:
    """Take a network's answer, the first of several."""
    while not isinstance(output, Tensor):
        output = next(iter(output.values() if isinstance(output, dict) else output))  # type: ignore[call-overload]
    return output
