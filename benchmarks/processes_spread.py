"""How far two processes drift from one in a longer run, beside what another thread count does.

    python benchmarks/processes_spread.py [EPOCHS] [IMAGES] [DATA]

ResNet-20 by its own recipe on the first IMAGES of CIFAR-10's training part, through the ordinary
`striate train`: one process, two under torchrun, and one with another number of threads, which is
what any other order of sums does to such a run. After 1, 2, 4, ... EPOCHS epochs: the distance of
the weights from those of one process, relative to their length, the training loss and the seconds.
DATA is cifar10, or a folder in CIFAR-10's binary layout. Writes docs/results/processes.json.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from measuring import keep
from striate.datasets import load
from striate.runs import Run

BATCH_SIZE = 128
RECORD = 1 + 3 * 32 * 32
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
WAYS = {
    "one process": ((), 1),
    "two processes": (TORCHRUN, 1),
    "one process, two threads": ((), 2),
}


def small_set(folder: Path, images: int, data: str) -> Path:
    """Write the first images of CIFAR-10 in its own layout."""
    part = load(data, parts=("train",)).parts["train"]
    records = torch.cat([part.targets[:, None].byte(), part.images.flatten(1)], dim=1)
    folder.mkdir()
    share = -(-images // 5)
    for number in range(5):
        rows = records[number * share : (number + 1) * share]
        (folder / f"data_batch_{number + 1}.bin").write_bytes(rows.numpy().tobytes())
    (folder / "test_batch.bin").write_bytes(records[:10].numpy().tobytes())
    return folder


def trained(way: str, data: Path, out: Path, epochs: int) -> tuple[torch.Tensor, dict[str, Any]]:
    """Train in one of the ways; give all weights in a row, and what the run came to."""
    launcher, threads = WAYS[way]
    options = {"epochs": epochs, "batch-size": BATCH_SIZE, "validation": 0, "threads": threads}
    typed = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, *launcher, "-m", "striate", "train", "resnet20", data, *typed]
    started = time.perf_counter()
    subprocess.run(
        [*map(str, command), "--schedule", "constant", "--out", str(out)],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - started
    state = Run(out).load_state()[0]
    weights = [each.flatten().double() for each in state["weights"].values()]
    row = state["progress"][-1]
    return torch.cat(weights), {
        "training_loss": row["train_loss"],
        "training_seconds": row["seconds"],
        "seconds_with_start": round(seconds, 2),
    }


def main() -> None:
    """Train each way for 1, 2, 4, ... epochs and print the spread."""
    typed = dict(enumerate(sys.argv[1:]))
    epochs, images = int(typed.get(0, 8)), int(typed.get(1, 6400))
    lengths = [2**power for power in range(epochs.bit_length())]
    steps = -(-images // BATCH_SIZE)
    spread: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = small_set(Path(folder) / "cifar", images, typed.get(2, "cifar10"))
        for length in lengths:
            runs = {
                way: trained(way, data, Path(folder) / f"{length} {way}", length) for way in WAYS
            }
            one = runs["one process"][0]
            entry: dict[str, Any] = {"epochs": length, "steps": length * steps}
            for way, (weights, facts) in runs.items():
                distance = ((weights - one).norm() / one.norm()).item()
                entry[way] = {"distance": distance, **facts}
            spread.append(entry)
    keep("processes", {"network": "resnet20", "images": images, "spread": spread})


if __name__ == "__main__":
    main()
