"""Published networks on their data, several seeds, none left out: test error beside the paper's.

    python benchmarks/published.py [NAME ...]

Needs STRIATE_DATA with mnist/ and usps/. Writes docs/results/published_NAME.json.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from measuring import keep, run, spread, striate_command


class Experiment(NamedTuple):
    """A shipped recipe, the seeds to run it with, and what the paper prints for it."""

    recipe: str
    seeds: tuple[int, ...]
    paper: str
    paper_error: float


EXPERIMENTS = {
    "lenet5": Experiment("lenet5-mnist", (0, 1, 2), "LeCun et al. 1998, MNIST", 0.95),
    "lenet5_distorted": Experiment(
        "lenet5-mnist-distorted", (0, 1, 2), "LeCun et al. 1998, MNIST with distortions", 0.8
    ),
    "lecun1990": Experiment(
        "lecun1990-usps",
        (0, 1, 2, 3, 4),
        "LeCun et al. 1990, all digits; about 4.6 on the handwritten ones by our estimate",
        3.4,
    ),
    "lecun1989": Experiment("lecun1989-usps", (0, 1, 2), "LeCun et al. 1989, handwritten", 5.0),
    "dense1989": Experiment(
        "dense1989-usps", (0, 1, 2), "LeCun et al. 1989, 256-40-10 fully connected", 8.1
    ),
}


def main() -> None:
    """Run the named experiments, or all."""
    for name in sys.argv[1:] or EXPERIMENTS:
        experiment = EXPERIMENTS[name]
        errors, seconds = [], []
        for seed in experiment.seeds:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder, "run")
                options: list[str | Path] = [
                    "--recipe",
                    experiment.recipe,
                    "--seed",
                    str(seed),
                    "--out",
                    out,
                ]
                seconds.append(run(striate_command("train", *options))[0])
                evaluation = json.loads(run(striate_command("evaluate", out, "--json"))[1])
            errors.append(100 * evaluation["error_rate"])
            print(f"{name} seed {seed}: {errors[-1]:.2f} % in {seconds[-1]:.0f} s", file=sys.stderr)
        keep(
            f"published_{name}",
            {
                "command": f"striate train --recipe {experiment.recipe} --seed SEED",
                "data": evaluation["data"],
                "test_images": evaluation["examples"],
                "epochs": evaluation["epochs"],
                "seeds": list(experiment.seeds),
                "test_error_percent": spread(errors),
                "seconds": spread(seconds),
                "paper": experiment.paper,
                "paper_error_percent": experiment.paper_error,
            },
        )


if __name__ == "__main__":
    main()
