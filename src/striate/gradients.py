"""One batch through the network and back: its loss, its mistakes, its gradients."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from striate.batches import Batch
from striate.layers import Dropout, WithAuxiliary, tell_dropout
from striate.recipes import Recipe
from striate.tasks import Task


class Outcome(NamedTuple):
    """What a batch came to.

    Attributes:
        loss: What was minimised, a mean over the batch.
        wrong: Images, or pixels, that were answered wrongly.
        judged: Images, or pixels, that could be right or wrong.
    """

    loss: float
    wrong: int
    judged: int


class Gradients:
    """Computes the gradients of a batch's loss and leaves them with the parameters.

    Args:
        network: In training mode, on its device.
        task: Gives the form of the network that is shown the batches, and their loss.
        recipe: ``seed`` of dropout, ``auxiliary`` and ``channels_last``.
    """

    def __init__(self, network: nn.Module, task: Task, recipe: Recipe) -> None:
        self.task, self.recipe = task, recipe
        self.form = task.form(network)
        self.memory_format = memory_format(network, recipe)
        self.dropouts = [layer for layer in network.modules() if isinstance(layer, Dropout)]

    def __call__(self, epoch: int, batch: Batch) -> Outcome:
        """Add the gradients of a batch to those that are there; of no finite loss, none."""
        images = batch.images.contiguous(memory_format=self.memory_format)
        tell_dropout(self.dropouts, self.recipe.seed, epoch, batch.indices)
        answer = self.form(images)
        logits = answer.logits if isinstance(answer, WithAuxiliary) else answer
        loss: Tensor = self.task.loss(logits, batch)
        if isinstance(answer, WithAuxiliary):
            for auxiliary in answer.auxiliary:
                loss = loss + self.recipe.auxiliary * self.task.loss(auxiliary, batch)
        value = loss.item()
        if math.isfinite(value):
            loss.backward()  # type: ignore[no-untyped-call]
        return Outcome(value, *self.task.mistakes(logits, batch))


def memory_format(network: nn.Module, recipe: Recipe) -> torch.memory_format:
    """Choose how maps lie in memory: channels last where the recipe says so, in 2-D or in 3-D."""
    if not recipe.channels_last:
        return torch.contiguous_format
    volumes = any(isinstance(layer, nn.Conv3d) for layer in network.modules())
    return torch.channels_last_3d if volumes else torch.channels_last
