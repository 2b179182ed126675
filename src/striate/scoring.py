"""A network over a whole part of a data set, in order: its logits."""

import math

import torch
from torch import Tensor, nn

from striate.modes import evaluating
from striate.preparation import InputSpec, prepare

# Large enough to keep the processor busy, small enough that the maps stay in its cache; of
# images larger than this side there are fewer at once, for the sake of memory.
BATCH_SIZE = 250
FULL_BATCH_SIDE = 64


def batch_size_for(spec: InputSpec) -> int:
    """Say how many images a network is shown at once.

    Example:
        >>> spec = InputSpec(channels=3, image_size=(256, 256), input_size=(224, 224),
        ...                  mean=(0,) * 3, std=(1,) * 3, background=(0,) * 3)
        >>> batch_size_for(spec)
        20
    """
    pixels = math.prod(spec.input_size)
    return max(1, min(BATCH_SIZE, BATCH_SIZE * FULL_BATCH_SIDE**2 // pixels))


@torch.inference_mode()
def logits_of(
    network: nn.Module,
    images: Tensor,
    value_range: tuple[float, float],
    spec: InputSpec,
    *,
    channels_last: bool = False,
) -> Tensor:
    """Score every image once, in evaluation mode; the mode of each layer is left as it was.

    Args:
        network: Images to logits.
        images: ``(N, C, *spatial)`` as stored, on the network's device.
        value_range: Stored values that mean black and white.
        spec: The network's input.
        channels_last: Memory format of the maps.

    Returns:
        ``(N, classes)``, float32.
    """
    with evaluating(network):
        answers = []
        for batch in torch.split(images, batch_size_for(spec)):
            prepared = prepare(batch, value_range, spec)
            if channels_last:
                prepared = prepared.contiguous(memory_format=torch.channels_last)
            answers.append(network(prepared).float())
        return torch.cat(answers)
