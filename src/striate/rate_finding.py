"""The learning-rate finder: the loss of a few steps at a rate that grows, and what it suggests."""

import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from striate.devices import choose_device, suited_threads, threads
from striate.display import Display, Silent
from striate.errors import TrainingError
from striate.file_data import Reading
from striate.fine_tuning import tune
from striate.gradients import Gradients
from striate.models import with_defaults
from striate.optimization import Optimizer
from striate.recipes import Recipe
from striate.standardization import open_given_weights
from striate.task_making import load_weights, prepare
from striate.tasks import Task

LOWEST, HIGHEST = 1e-7, 10.0
STEPS = 100
SMOOTHING = 0.9  # of the average of the losses, per step
EXPLODED = 4.0  # times the lowest smoothed loss


class Finding(NamedTuple):
    """What the finder saw.

    Attributes:
        rates: Learning rate of each step.
        losses: Its loss.
        smoothed: The exponential average of the losses, its start corrected.
        steepest: The rate at which the smoothed loss fell fastest over the logarithm of the rate.
        tenth: A tenth of the rate at the lowest smoothed loss.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    steepest: float
    tenth: float


def find_rate(
    recipe: Recipe,
    *,
    data_dir: Path | None = None,
    device: str = "auto",
    num_threads: int | None = None,
    reading: Reading | None = None,
    steps: int = STEPS,
    display: Display | None = None,
) -> Finding:
    """Train for some steps at a rate that grows from 1e-7 to 10, and watch the loss.

    Nothing is written. The steps are a function of the recipe alone; its schedule and
    learning rate play no part. It stops early where the smoothed loss is four times its
    lowest, or not finite.

    Args:
        recipe: As for ``training.train``.
        data_dir: Where named sets are looked for first.
        device: As in ``training.train``.
        num_threads: As in ``training.train``.
        reading: As in ``training.train``.
        steps: How many at most.
        display: Told how it goes.

    Raises:
        UsageError: A name or value of the recipe does not fit.
        DataError: The data cannot be read.
        TrainingError: The loss is not finite from the first step on.

    Source:
        L. N. Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3,
        there with a linear rise; the exponential one and both rules are common practice since.
    """
    display = display or Silent()
    chosen = choose_device(device)
    given, recipe = recipe.model_fields_set, with_defaults(recipe)
    recipe, weights = open_given_weights(recipe, given, data_dir)
    prepared = prepare(recipe, given, display, data_dir, reading, weights)
    if weights is not None:
        prepared, _ = load_weights(prepared, weights, display)
    recipe = prepared.recipe
    work = prepared.multiply_adds * recipe.batch_size
    with threads(num_threads or suited_threads(work)):
        losses = _losses(recipe, prepared.task, prepared.network.to(chosen).train(), steps, chosen)
    return suggest([rate_at(step, steps) for step in range(len(losses))], losses)


def rate_at(step: int, steps: int) -> float:
    """Give the rate of a step.

    Example:
        >>> [f"{rate_at(step, 5):.0e}" for step in range(5)]
        ['1e-07', '1e-05', '1e-03', '1e-01', '1e+01']
    """
    return float(LOWEST * (HIGHEST / LOWEST) ** (step / max(steps - 1, 1)))


def suggest(rates: list[float], losses: list[float]) -> Finding:
    """Smooth the losses and read both suggestions off them.

    Args:
        rates: Rising.
        losses: One each, finite.

    Raises:
        TrainingError: There are fewer than three steps.
    """
    if len(losses) < 3:
        raise TrainingError(
            "the loss is not finite within three steps from a learning rate of 1e-7; look at the "
            "images' range and the initial weights"
        )
    smoothed = smooth(losses)
    lowest = smoothed.index(min(smoothed))
    slopes = [
        (after - before) / (math.log(high) - math.log(low))
        for before, after, low, high in zip(smoothed, smoothed[2:], rates, rates[2:], strict=False)
    ]
    # Past the lowest loss a fall is only the way back from an outlier.
    reached = slopes[: max(1, lowest)]
    return Finding(
        rates, losses, smoothed, rates[1 + reached.index(min(reached))], rates[lowest] / 10
    )


def smooth(losses: list[float]) -> list[float]:
    """Average exponentially, each mean divided by the weight that it has gathered.

    Example:
        >>> [round(loss, 3) for loss in smooth([1.0, 1.0, 2.0])]
        [1.0, 1.0, 1.369]
    """
    mean, result = 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        result.append(mean / (1 - SMOOTHING**step))
    return result


def _losses(
    recipe: Recipe, task: Task, network: nn.Module, steps: int, device: torch.device
) -> list[float]:
    """Train at rising rates and give each step's loss, until it explodes."""
    roles = tune(network, recipe)
    task.to(device)
    gradients = Gradients(network, task, recipe)
    optimizer = Optimizer(network.parameters(), recipe, roles)
    losses: list[float] = []
    epoch = 0
    while len(losses) < steps:
        for batch in task.batches(epoch, 0):
            loss = gradients(epoch, batch).loss
            if not math.isfinite(loss):
                return losses
            losses.append(loss)
            smoothed = smooth(losses)
            if len(losses) == steps or smoothed[-1] > EXPLODED * min(smoothed):
                return losses
            optimizer.step(rate_at(len(losses) - 1, steps))
        epoch += 1
    return losses
