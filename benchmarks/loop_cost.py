"""What the training loop itself costs of an epoch of LeNet-5 at batch 128 on MNIST.

    python benchmarks/loop_cost.py [ROUNDS]

An epoch by the real loop (order, gather, preparation, step, log, checks) beside the same
steps on batches that were prepared before the clock started: forward, backward, update and
nothing else. The two alternate. Augmentation is measured apart, by a third epoch with it.
Needs STRIATE_DATA with mnist/. Writes docs/results/loop_cost.json.
"""

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from measuring import keep
from striate.batches import input_spec, load_training_data, training_batches
from striate.display import Lines
from striate.models import build, find_network, find_recipe
from striate.training import train
from striate.training_loop import TrainingLoop


def main() -> None:
    """Time the three kinds of epoch in turn and keep the medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    plain = find_recipe("lenet5-mnist").replace(batch_size=128, epochs=1)
    augmented = plain.replace(shift=2, rotation=10, scale=0.1, shear=0.1)
    data = load_training_data(plain)
    shape = find_network("lenet5").input_shape
    spec = input_spec(data.training.images, data.value_range, shape, plain)
    batches = list(training_batches(data.training, data.value_range, spec, plain, 0))
    seconds: dict[str, list[float]] = {"loop": [], "bare": [], "augmented": []}
    with tempfile.TemporaryDirectory() as folder:
        run = train(find_recipe("lenet5").replace(data="digits", epochs=1), Path(folder, "run"))
        for _ in range(rounds + 1):
            for name, recipe in (("loop", plain), ("augmented", augmented)):
                loop = TrainingLoop(recipe, spec, data, build("lenet5"), display=Lines())
                loop.display.begin(1, 60_000, 0)
                loop.started = started = time.monotonic()
                loop.epoch(run, threading.Event())
                seconds[name].append(time.monotonic() - started)
            loop = TrainingLoop(plain, spec, data, build("lenet5"))
            started = time.monotonic()
            for batch in batches:
                loss = loop.loss(loop.network(batch.images), batch.targets)
                loss.backward()  # type: ignore[no-untyped-call]
                loop.optimizer.step(0.001)
            seconds["bare"].append(time.monotonic() - started)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    keep(
        "loop_cost",
        {
            "rounds": rounds,
            "median_seconds": {name: round(value, 3) for name, value in medians.items()},
            "loop_share_percent": round(100 * (1 - medians["bare"] / medians["loop"]), 2),
            "augmentation_share_percent": round(
                100 * (1 - medians["loop"] / medians["augmented"]), 2
            ),
        },
    )


if __name__ == "__main__":
    main()
