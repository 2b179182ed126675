"""The two parts of the hippocampus on sixteen held-out volumes: a narrow V-Net.

    python benchmarks/hippocampus.py [SEEDS]

One command a seed, `striate train --recipe vnet-hippocampus`, all at a time, each with one
thread. Needs STRIATE_DATA. Writes docs/results/hippocampus.json.
"""

import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measuring import keep, run, spread, striate_command

RECIPE = "vnet-hippocampus"
PARTS = ("anterior", "posterior")


def trained(seed: int) -> dict[str, Any]:
    """Train and evaluate by two commands, with one thread; give seconds and figures."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        options = ["--recipe", RECIPE, "--seed", str(seed), "--threads", "1"]
        seconds, _ = run(striate_command("train", *options, "--out", out))
        _, text = run(striate_command("evaluate", out, "--json", "--threads", "1"))
    evaluation = json.loads(text)
    per_image = [each["mean_dice"] for each in evaluation["per_image"]]
    row = {
        "seconds": round(seconds, 1),
        "mean_dice": evaluation["mean_dice"],
        "mean_dice_of_volumes": sum(per_image) / len(per_image),
        "pixel_error": evaluation["pixel_error"],
    }
    for part in PARTS:
        for measure in ("dice", "hausdorff95", "surface_dice"):
            row[f"{measure}_{part}"] = evaluation[measure][part]
    print(seed, row, file=sys.stderr, flush=True)
    return row


def main() -> None:
    """Run every seed and keep means and spreads."""
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    with ThreadPoolExecutor(len(seeds)) as processors:
        each = list(processors.map(trained, seeds))
    keep(
        "hippocampus",
        {
            "command": "python benchmarks/hippocampus.py",
            "recipe": RECIPE,
            "seeds": [*seeds],
            "held_out_volumes": 16,
            "each": each,
            **{measure: spread([row[measure] for row in each]) for measure in each[0]},
        },
    )


if __name__ == "__main__":
    main()
