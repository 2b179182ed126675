"""ResNet-20 on CIFAR-10 by the published recipe, whole or cut short, beside the paper's 8.75 %.

    python benchmarks/resnet20_cifar10.py [--epochs 164] [--device auto] [--seed 0] [--out RUN]

Needs STRIATE_DATA with cifar10/. Of fewer epochs than 164 the first are trained as published,
at the highest rate throughout up to epoch 82, so their error is not the paper's; the result says
so. A run that is in RUN goes on where it stopped. Writes docs/results/resnet20_cifar10.json.
"""

import argparse
import json
from pathlib import Path

import striate
from measuring import keep, run, striate_command
from striate.models import find_recipe

RECIPE = "resnet20-cifar10"
PAPER_ERROR_PERCENT = 8.75


def main() -> None:
    """Train, evaluate, keep."""
    published = find_recipe(RECIPE)
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=published.epochs)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=published.seed)
    parser.add_argument("--out", type=Path, default=Path("runs", RECIPE))
    options = parser.parse_args()
    device: list[str | Path] = ["--device", options.device]
    if (options.out / "recipe.yaml").exists():
        run(striate_command("train", "--resume", options.out, *device))
    else:
        fields = ["--epochs", str(options.epochs), "--seed", str(options.seed)]
        run(striate_command("train", "--recipe", RECIPE, *fields, "--out", options.out, *device))
    evaluation = json.loads(run(striate_command("evaluate", options.out, "--json", *device))[1])
    environment = json.loads((options.out / "environment.json").read_text(encoding="utf-8"))
    last = striate.Run(options.out).progress()[-1]
    keep(
        "resnet20_cifar10",
        {
            "command": f"striate train --recipe {RECIPE} --epochs {evaluation['epochs']}",
            "data": evaluation["data"],
            "test_images": evaluation["examples"],
            "device": environment["device"],
            "seed": environment["seed"],
            "epochs": evaluation["epochs"],
            "epochs_of_the_published_recipe": published.epochs,
            "is_the_published_recipe": evaluation["epochs"] == published.epochs,
            "test_error_percent": round(100 * evaluation["error_rate"], 2),
            "training": last,
            "paper": "He et al. 2015, Table 6",
            "paper_error_percent": PAPER_ERROR_PERCENT,
        },
    )


if __name__ == "__main__":
    main()
