"""Denker's comparison on USPS with five seeds, and the pictures of its documentation.

    python benchmarks/denker1988.py

Needs STRIATE_DATA with usps/. Writes docs/results/denker1988.json and docs/images/denker1988/.
"""

import json
import sys
from typing import Any

from measuring import RESULTS, keep, run, spread, striate_command

SEEDS = (0, 1, 2, 3, 4)


def main() -> None:
    """Run the study once a seed; keep every value."""
    studies = []
    for seed in SEEDS:
        command = striate_command("study", "denker1988", "--seed", str(seed), "--json")
        studies.append(json.loads(run(command)[1]))
        print(f"seed {seed}: {studies[-1]['seconds']} s", file=sys.stderr)
    first = studies[0]
    inputs = {
        given: {name: _answer([one["inputs"][given][name] for one in studies]) for name in answers}
        for given, answers in first["inputs"].items()
    }
    times_more = {
        name: round(
            inputs["bitmaps"][name]["error_percent"]["mean"] / answer["error_percent"]["mean"], 2
        )
        for name, answer in inputs["features"].items()
    }
    sizes = [
        {
            "train_images": row["train_images"],
            **{
                name: spread([100 * one["sizes"][place][name] for one in studies])
                for name in inputs["features"]
            },
        }
        for place, row in enumerate(first["sizes"])
    ]
    keep(
        "denker1988",
        {
            "command": "striate study denker1988 --seed SEED",
            "data": first["data"],
            "train_images": first["train_images"],
            "test_images": first["test_images"],
            "seeds": list(SEEDS),
            "inputs": inputs,
            "times_more_errors_on_bitmaps": times_more,
            "error_percent_by_training_images": sizes,
            "seconds": spread([one["seconds"] for one in studies]),
            "paper": first["paper"],
        },
    )
    pictures = RESULTS.parent / "images" / "denker1988"
    pictures.mkdir(parents=True, exist_ok=True)
    run(striate_command("study", "denker1988", "--pictures", pictures))


def _answer(answers: list[dict[str, Any]]) -> dict[str, Any]:
    held_out = [one["tuned_on_held_out"] for one in answers]
    return {
        "choices": [one["choice"] for one in answers],
        "error_percent": spread([100 * one["error_rate"] for one in answers]),
        "rejected_percent_tuned_on_test": spread(
            [100 * one["tuned_on_test"]["rejected"] for one in answers]
        ),
        "rejected_percent_tuned_on_held_out": spread([100 * one["rejected"] for one in held_out]),
        "error_percent_tuned_on_held_out": spread([100 * one["error_rate"] for one in held_out]),
    }


if __name__ == "__main__":
    main()
