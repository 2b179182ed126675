"""Max pooling, LeCun's subsampling and the plain average: one network, only its pool swapped.

    python benchmarks/pooling.py [SEEDS]     three by default

The MNIST network of Scherer et al. (2010) on the first 500 training images of each digit; the rate
of each pooling is chosen of five on a fifth of them, then the seeds train on all. Needs
STRIATE_DATA with mnist/. Writes docs/results/pooling.json.
"""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

import striate
from measuring import keep, spread
from striate.datasets.idx import write_idx
from striate.errors import TrainingError
from striate.models import NETWORKS

POOLINGS = ("max", "subsampling", "average")
RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
IMAGES_A_CLASS = 500
# Error on the training set, while it trains, that is reached sooner or later [share].
TRAINED = 0.05


def main() -> None:
    """Choose the rates, train the seeds, keep everything."""
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_small_set(folder / "digits")
        recipe = striate.Recipe(
            network="scherer_mnist", data=str(folder / "digits"), epochs=8, batch_size=60
        )
        results = {pooling: measure(recipe, pooling, seeds, folder) for pooling in POOLINGS}
    keep(
        "pooling",
        {
            "command": "python benchmarks/pooling.py",
            "data": f"MNIST, first {IMAGES_A_CLASS} training images of each digit, all for testing",
            "network": "scherer_mnist, its pooling swapped",
            "epochs": recipe.epochs,
            "seeds": list(seeds),
            "poolings": results,
            "paper": "Scherer et al. 2010, NORB and Caltech-101, error in percent",
            "paper_error_percent": {"max": [5.22, 55.6], "subsampling": [7.32, 65.9]},
        },
    )


def write_small_set(folder: Path) -> None:
    """Write the small training set, and the test set as it is, as IDX files."""
    parts = striate.datasets.load("mnist").parts
    training = parts["train"]
    places = [(training.targets == digit).nonzero()[:IMAGES_A_CLASS, 0] for digit in range(10)]
    chosen = torch.cat(places)
    folder.mkdir()
    for name, images, targets in (
        ("train", training.images[chosen], training.targets[chosen]),
        ("t10k", parts["test"].images, parts["test"].targets),
    ):
        write_idx(folder / f"{name}-images-idx3-ubyte", images[:, 0])
        write_idx(folder / f"{name}-labels-idx1-ubyte", targets.to(torch.uint8))


def measure(recipe: striate.Recipe, pooling: str, seeds: range, folder: Path) -> dict[str, object]:
    """Train one pooling: its rate first, then every seed."""
    options = (("task", "mnist"), ("pooling", pooling))
    NETWORKS["scherer_mnist"] = replace(NETWORKS["scherer_mnist"], options=options)
    held_out = {rate: held_out_error(recipe.replace(learning_rate=rate), folder) for rate in RATES}
    print(f"{pooling}: {held_out} % of the held-out", file=sys.stderr)
    best = min((error, rate) for rate, error in held_out.items() if error is not None)[1]
    errors, epochs = [], []
    for seed in seeds:
        final = recipe.replace(learning_rate=best, validation=0, seed=seed)
        run = striate.train(final, folder / "run", overwrite=True)
        errors.append(100 * striate.evaluate(run)["error_rate"])
        shares = [given(row, "train_error") for row in run.progress()]
        epochs.append(next((n for n, s in enumerate(shares, 1) if s <= TRAINED), None))
        print(f"{pooling} seed {seed}: {errors[-1]:.2f} %", file=sys.stderr)
    return {
        "held_out_error_percent_by_rate": held_out,
        "rate": best,
        "test_error_percent": spread(errors),
        f"epochs_to_{100 * TRAINED:g}_percent_training_error": epochs,
    }


def held_out_error(recipe: striate.Recipe, folder: Path) -> float | None:
    """Train on four fifths: the error on the others [percent], None where training broke off."""
    try:
        run = striate.train(recipe.replace(validation=0.2), folder / "run", overwrite=True)
    except TrainingError as error:
        print(f"{recipe.learning_rate}: {error}", file=sys.stderr)
        return None
    return 100 * given(run.progress()[-1], "validation_error")


def given(row: Mapping[str, float | None], column: str) -> float:
    """Read a number of the progress, which must be there."""
    number = row[column]
    if number is None:
        raise SystemExit(
            f"progress.csv has no {column} in epoch {row['epoch']}; nothing to compare"
        )
    return number


if __name__ == "__main__":
    main()
