"""What the training loop itself costs of an epoch of LeNet-5 at batch 128 on MNIST.

    python benchmarks/loop_cost.py [ROUNDS]

The real loop, with a clock around what no loop can do without: forward pass, loss, backward
pass, update. The rest of the epoch is the loop's own: order, gathering, preparation, log,
checks. A second kind of epoch adds augmentation. The two alternate; a clock inside one
epoch does not suffer from a machine whose speed drifts between epochs.
Needs STRIATE_DATA with mnist/. Writes docs/results/loop_cost.json.
"""

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from measuring import keep
from striate.batches import input_spec, load_training_data
from striate.display import Lines
from striate.models import build, find_network, find_recipe
from striate.recipes import Recipe
from striate.runs import Run
from striate.tasks import Classification
from striate.training import train
from striate.training_loop import TrainingLoop


class Clock:
    """Adds up the seconds spent in the functions it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function."""

        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.perf_counter() - started

        return timed


def epoch(recipe: Recipe, run: Run) -> tuple[float, float]:
    """Train one epoch; give its seconds, and those of network, loss, gradients and update."""
    data = load_training_data(recipe)
    spec = input_spec(
        data.training.images, data.value_range, find_network("lenet5").input_shape, recipe
    )
    task = Classification(recipe, spec, data)
    loop = TrainingLoop(recipe, task, build("lenet5"), display=Lines())
    clock = Clock()
    loop.network.forward = clock.around(loop.network.forward)
    task.loss = clock.around(task.loss)  # type: ignore[method-assign]
    loop.optimizer.step = clock.around(loop.optimizer.step)  # type: ignore[method-assign]
    backward = torch.Tensor.backward
    torch.Tensor.backward = clock.around(backward)  # type: ignore[method-assign]
    loop.display.begin(1, len(data.training.targets), 0)
    try:
        started = time.perf_counter()
        loop.epoch(run, threading.Event())
        return time.perf_counter() - started, clock.seconds
    finally:
        torch.Tensor.backward = backward  # type: ignore[method-assign]


def main() -> None:
    """Time both kinds of epoch in turn and keep the medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    plain = find_recipe("lenet5-mnist").replace(batch_size=128, epochs=1)
    augmented = plain.replace(shift=2, rotation=10, scale=0.1, shear=0.1)
    plain_epochs, augmented_epochs = [], []
    with tempfile.TemporaryDirectory() as folder:
        run = train(find_recipe("lenet5").replace(data="digits", epochs=1), Path(folder, "run"))
        for _ in range(rounds + 1):
            plain_epochs.append(epoch(plain, run))
            augmented_epochs.append(epoch(augmented, run))
    own = [1 - inside / total for total, inside in plain_epochs[1:]]
    with_augmentation = [1 - inside / total for total, inside in augmented_epochs[1:]]
    share = statistics.median(own)
    keep(
        "loop_cost",
        {
            "rounds": rounds,
            "epoch_seconds": [round(total, 3) for total, _ in plain_epochs[1:]],
            "augmented_epoch_seconds": [round(total, 3) for total, _ in augmented_epochs[1:]],
            "loop_share_percent": round(100 * share, 2),
            "loop_share_percent_each": [round(100 * value, 2) for value in own],
            "augmentation_share_percent": round(
                100 * (statistics.median(with_augmentation) - share), 2
            ),
        },
    )


if __name__ == "__main__":
    main()
