"""A network over a whole part of a data set, in order: its logits."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from striate.preparation import InputSpec, prepare

# Large enough to keep the processor busy, small enough that the maps stay in its cache.
BATCH_SIZE = 250


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode inside the block; each layer then gets its mode back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


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
        for batch in torch.split(images, BATCH_SIZE):
            prepared = prepare(batch, value_range, spec)
            if channels_last:
                prepared = prepared.contiguous(memory_format=torch.channels_last)
            answers.append(network(prepared).float())
        return torch.cat(answers)
