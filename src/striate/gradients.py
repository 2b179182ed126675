"""One batch through the network and back: its loss, its mistakes, its gradients."""

import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from striate import distributed
from striate.batches import Batch
from striate.errors import TrainingError
from striate.layers import Dropout, WithAuxiliary, tell_dropout
from striate.recipes import Recipe
from striate.tasks import Task


class Execution(NamedTuple):
    """How a batch is computed, which changes its results by rounding alone.

    Attributes:
        channels_last: How maps lie in memory, in 2-D and 3-D.
        bf16: Maps and products in bfloat16; weights, sums and the loss in float32.
        compiled: By torch.compile.
    """

    channels_last: bool
    bf16: bool = False
    compiled: bool = False

    def __str__(self) -> str:
        """Say it in words."""
        words = ["channels last" if self.channels_last else "channels first"]
        words += ["bf16"] * self.bf16 + ["compiled"] * self.compiled
        return ", ".join(words)


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

    A batch that does not fit in memory is computed in halves, in their halves and so on, from
    then on too: the gradient is the same, but batch normalisation sees a part at a time.

    Args:
        network: In training mode, on its device.
        task: Gives the form of the network that is shown the batches, and their loss.
        recipe: ``seed`` of dropout, ``auxiliary``, ``micro_batch``, ``channels_last`` and
            ``precision``.
        note: Told when a batch was too large for the memory.

    Attributes:
        micro_batch: Images computed at once; None is a whole batch.
        execution: How; at first what the recipe says, not compiled.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        recipe: Recipe,
        *,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.network, self.task, self.recipe, self.note = network, task, recipe, note
        self.form = task.form(network)
        self.dropouts = [layer for layer in network.modules() if isinstance(layer, Dropout)]
        self.device = next(network.parameters()).device
        self.micro_batch = recipe.micro_batch
        self.execute(Execution(recipe.channels_last, recipe.precision == "bf16"))

    def execute(self, execution: Execution) -> None:
        """Compute so from now on; the network's weights are laid out for it."""
        self.execution = execution
        self.memory_format = memory_format(self.network, channels_last=execution.channels_last)
        self.network.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        # With static shapes: what is compiled then does not depend on which sizes came before.
        self.shown: Callable[[Tensor], Tensor | WithAuxiliary] = self.form
        if execution.compiled:
            self.shown = torch.compile(self.form, dynamic=False)

    def __call__(self, epoch: int, batch: Batch) -> Outcome:
        """Leave the gradients of a batch; of a loss that is not finite, none that is whole.

        Raises:
            TrainingError: One image alone, or a batch of images with masks, is too large for the
                memory.
        """
        while True:
            buffers = [buffer.clone() for buffer in self.network.buffers()]
            try:
                return self._by_parts(epoch, batch)
            except (MemoryError, RuntimeError) as error:
                reason = _lack_of_memory(error)
                if reason is None:
                    raise
            # Not before here: the error holds the frames and so the maps of what was computed.
            self._halve(batch, reason)
            for parameter in self.network.parameters():
                parameter.grad = None
            for buffer, before in zip(self.network.buffers(), buffers, strict=True):
                buffer.copy_(before)

    def _by_parts(self, epoch: int, batch: Batch) -> Outcome:
        value, wrong, judged = 0.0, 0, 0
        for part in _parts(batch, self.micro_batch):
            loss, logits = self._loss(epoch, part)
            value += loss.item()
            if math.isfinite(value):
                loss.backward()  # type: ignore[no-untyped-call]
            counts = self.task.mistakes(logits, part)
            wrong, judged = wrong + counts[0], judged + counts[1]
        return Outcome(value, wrong, judged)

    def _loss(self, epoch: int, batch: Batch) -> tuple[Tensor, Tensor]:
        images = batch.images.contiguous(memory_format=self.memory_format)
        tell_dropout(self.dropouts, self.recipe.seed, epoch, batch.indices)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.execution.bf16):
            answer = self.shown(images)
        logits = (answer.logits if isinstance(answer, WithAuxiliary) else answer).float()
        loss: Tensor = self.task.loss(logits, batch)
        if isinstance(answer, WithAuxiliary):
            for auxiliary in answer.auxiliary:
                loss = loss + self.recipe.auxiliary * self.task.loss(auxiliary.float(), batch)
        return loss, logits

    def _halve(self, batch: Batch, reason: str) -> None:
        count = min(len(batch.targets), self.micro_batch or len(batch.targets))
        if batch.targets.ndim > 1:
            raise TrainingError(
                f"a batch of {len(batch.targets)} tiles is too large for the memory ({reason}); "
                "go on in a new run with a smaller --batch-size or --tile"
            )
        if distributed.size() > 1:
            raise TrainingError(
                f"{count} images at once are too large for the memory of a process ({reason}); "
                f"begin anew with --micro-batch {max(1, count // 2)}"
            )
        if count == 1:
            raise TrainingError(
                f"one image alone is too large for the memory ({reason}); take a smaller network "
                "or a smaller --image-size"
            )
        self.micro_batch = -(-count // 2)
        self.note(
            f"{count} images at once are too large for the memory ({reason}); from now on "
            f"{micro_batch_words(self.network, self.micro_batch)}"
        )


def micro_batch_words(network: nn.Module, micro_batch: int) -> str:
    """Say what micro-batches mean for a network."""
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    normalises = any(layer.training for layer in layers)
    effect = "batch normalisation sees them alone" if normalises else "the gradients are the same"
    return f"{micro_batch} at once, added up: {effect}"


def memory_format(network: nn.Module, *, channels_last: bool) -> torch.memory_format:
    """Choose how maps lie in memory, in 2-D or in 3-D.

    Args:
        network: Whose convolutions say how many axes maps have.
        channels_last: The channels of a pixel beside one another.

    Returns:
        For maps ``(N, C, H, W)``, or of a network of volumes ``(N, C, D, H, W)``.

    Example:
        >>> memory_format(nn.Conv3d(1, 2, 3), channels_last=True)
        torch.channels_last_3d
    """
    if not channels_last:
        return torch.contiguous_format
    volumes = any(isinstance(layer, nn.Conv3d) for layer in network.modules())
    return torch.channels_last_3d if volumes else torch.channels_last


def _parts(batch: Batch, micro_batch: int | None) -> Iterator[Batch]:
    """Cut a batch into parts of equal size, to one image; as many in every process."""
    most = -(-batch.num_examples // distributed.size())
    if micro_batch is None or micro_batch >= most:
        yield batch
        return
    count = -(-most // micro_batch)
    for rows in torch.tensor_split(torch.arange(len(batch.targets)), count):
        yield batch.part(rows)


def _lack_of_memory(error: Exception) -> str | None:
    """Give the reason of an error that says that the memory is full; None of any other."""
    text = str(error)
    is_full = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    if not is_full and "can't allocate memory" not in text:
        return None
    wanted = re.search(r"tried to allocate ([0-9.]+ \w+)", text, re.IGNORECASE)
    return f"{wanted[1]} more were asked for" if wanted else "it is full"
