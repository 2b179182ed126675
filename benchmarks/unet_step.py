"""A training step of the paper's U-Net, narrowed: ours beside a bare PyTorch loop.

    python benchmarks/unet_step.py [STEPS]

Width 32, tiles of 252 pixels answered on 68, batch 4, weighted cross-entropy, SGD with momentum.
Ours is the training loop as `striate train` runs it: it cuts and turns tiles of ISBI 2012's
slices, weighs pixels, counts mistakes, checks the loss. The bare loop is shown one batch that is
in memory already: forward, F.cross_entropy, backward, torch.optim.SGD; once as PyTorch lays maps
by default and once channels last. The three alternate, step by step. Needs STRIATE_DATA.
Writes docs/results/unet_step.json.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from measuring import keep
from striate.batches import Batch
from striate.devices import suited_threads
from striate.display import Silent
from striate.models import build
from striate.recipes import Recipe
from striate.task_making import prepare
from striate.training_loop import TrainingLoop

RECIPE = Recipe(
    network="unet", data="isbi2012", width=32, tile=(252, 252), batch_size=4, momentum=0.99,
    learning_rate=0.0001, class_weights="balanced", border_weight=10.0, turns=True,
)  # fmt: skip


def bare(batch: Batch, *, channels_last: bool) -> Callable[[], None]:
    """Give a step of a plain loop over one batch in memory."""
    torch.manual_seed(0)
    network: nn.Module = build("unet", width=32)
    images: Tensor = batch.images.contiguous()
    if channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.contiguous(memory_format=torch.channels_last)
    targets = batch.targets.to(torch.int64)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0001, momentum=0.99)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(images), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def main() -> None:
    """Time the three in turn and keep the medians."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    prepared = prepare(RECIPE, RECIPE.model_fields_set, Silent())
    torch.set_num_threads(suited_threads(prepared.multiply_adds * RECIPE.batch_size))
    loop = TrainingLoop(RECIPE, prepared.task, prepared.network)
    batches: Iterator[Batch] = iter(())

    def ours() -> None:
        nonlocal batches
        batch = next(batches, None)
        if batch is None:
            batches = prepared.task.batches(loop.at.epoch, 0)
            batch = next(batches)
        loop._step(None, batch)  # type: ignore[arg-type]

    example = next(prepared.task.batches(0, 0))
    contestants = {
        "striate": ours,
        "bare": bare(example, channels_last=False),
        "bare_channels_last": bare(example, channels_last=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(steps + 2):
        for name, step in contestants.items():
            started = time.perf_counter()
            step()
            if number >= 2:
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    keep(
        "unet_step",
        {
            "command": "python benchmarks/unet_step.py",
            "steps": steps,
            "seconds": {name: round(value, 4) for name, value in medians.items()},
            "seconds_each": {n: [round(v, 4) for v in each] for n, each in seconds.items()},
            "ours_over_bare": round(medians["striate"] / medians["bare"], 3),
            "ours_over_bare_channels_last": round(
                medians["striate"] / medians["bare_channels_last"], 3
            ),
            "multiply_adds_of_a_forward": prepared.multiply_adds * RECIPE.batch_size,
        },
    )


if __name__ == "__main__":
    main()
