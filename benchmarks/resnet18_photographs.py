"""ResNet-18 on a folder of photographs, on a processor: ours beside a plain eager loop.

    python benchmarks/resnet18_photographs.py [EPOCHS]

Windows of 224 pixels, batches of 16, SGD with momentum, two processors, two workers on either
side. Ours is the training loop as `striate train` runs it, on images kept from an earlier run, in
float32 and as `--precision bf16` computes. The peer is torchvision's network in PyTorch's default
layout, F.cross_entropy, torch.optim.SGD, and the loader of PyTorch's reference. 320 photographs
an epoch; the sides alternate, an epoch each. Needs STRIATE_DATA, STRIATE_PEERS, and to be run by
.venv-peers.
Writes docs/results/resnet18_photographs.json.
"""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.nn import functional as F

from measuring import keep
from photographs import photographs, reference_loader, torchvision
from striate.batches import Batch
from striate.devices import memory_kept
from striate.display import Silent
from striate.file_data import Reading
from striate.gradients import Execution
from striate.recipes import Recipe
from striate.task_making import prepare
from striate.training_loop import TrainingLoop

COUNT, BATCH, WORKERS = 320, 16, 2


def peer(folder: Path) -> Callable[[], int]:
    """Give an epoch of the plain loop; it returns the images it trained on."""
    loader = reference_loader(folder, BATCH, WORKERS)
    torch.manual_seed(0)
    network = torchvision().models.resnet18(num_classes=100)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def epoch() -> int:
        seen = 0
        for images, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(images), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            seen += len(images)
        return seen

    return epoch


class Waiting:
    """A task whose batches are timed while the network waits for them."""

    def __init__(self, batches: Callable[..., Iterator[Batch]]) -> None:
        self.made, self.seconds = batches, 0.0

    def __call__(self, *asked: int, **named: object) -> Iterator[Batch]:
        """Give the batches."""
        batches = self.made(*asked, **named)
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.seconds += time.perf_counter() - started
            if batch is None:
                return
            yield batch


def main() -> None:
    """Alternate the sides and keep the medians."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    folder = Path(tempfile.mkdtemp())
    try:
        photographs(folder / "photos", COUNT)
        reading = Reading(folder / "cache", WORKERS)
        sides = {
            precision: side(folder / "photos", precision, reading)
            for precision in ("float32", "bf16")
        }
        reference = peer(folder / "photos")
        theirs: list[float] = []
        ours: dict[str, list[float]] = {precision: [] for precision in sides}
        waits: dict[str, list[float]] = {precision: [] for precision in sides}
        for number in range(epochs + 1):  # the first warms up
            started = time.perf_counter()
            seen = reference()
            theirs.append(seen / (time.perf_counter() - started))
            for precision, (loop, waiting) in sides.items():
                waiting.seconds, started = 0.0, time.perf_counter()
                with memory_kept():
                    for batch in waiting(number, 0):
                        loop._step(None, batch)  # type: ignore[arg-type]
                took = time.perf_counter() - started
                ours[precision].append(COUNT / took)
                waits[precision].append(waiting.seconds / took)
            told = ", ".join(f"{name} {rates[-1]:.1f}" for name, rates in ours.items())
            print(f"epoch {number}: {told}, peer {theirs[-1]:.1f} images/s", file=sys.stderr)
    finally:
        shutil.rmtree(folder)
    figures = {
        precision: {
            "images_a_second": round(statistics.median(rates[1:]), 2),
            "times_peer": round(
                statistics.median(a / b for a, b in zip(rates[1:], theirs[1:], strict=True)), 2
            ),
            "share_waiting_for_data": round(statistics.median(waits[precision][1:]), 4),
        }
        for precision, rates in ours.items()
    }
    peers = round(statistics.median(theirs[1:]), 2)
    keep("resnet18_photographs", {"epochs": epochs, "peer_images_a_second": peers, **figures})


def side(folder: Path, precision: str, reading: Reading) -> tuple[TrainingLoop, Waiting]:
    """Make our loop in a precision, and its batches with a clock."""
    recipe = Recipe(
        network="resnet18", data=str(folder), batch_size=BATCH, image_size=256, crop="area",
        flip=True, validation=0.0, test=0.0, epochs=99, pca_color=0.0, schedule="cosine",
        precision=precision, side_range=None,
    )  # fmt: skip
    prepared = prepare(recipe, recipe.model_fields_set, Silent(), None, reading)
    loop = TrainingLoop(prepared.recipe, prepared.task, prepared.network)
    if precision != "float32":
        loop.gradients.execute(Execution(channels_last=True, bf16=True))
    return loop, Waiting(prepared.task.batches)


if __name__ == "__main__":
    main()
