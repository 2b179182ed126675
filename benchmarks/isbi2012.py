"""Membranes of ISBI 2012 on six held-out slices: thresholding, the window network, a U-Net.

    python benchmarks/isbi2012.py [SEEDS]

Three slices of each half of the labelled stack are held out (2, 7, 12, 17, 22, 27); two more
choose epochs, the window network's calibration and, for the thresholds, nothing: the challenge's
measures are those of the best threshold, as it took them itself. Each network is trained by its
shipped recipe, one command, with each seed. N4 is also calibrated by a monotone cubic on the two
slices and filtered by a median of 2 pixels radius, as its paper does. As many runs at a time as
there are processors, each with one thread. Needs STRIATE_DATA.
Writes docs/results/isbi2012.json.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from measuring import keep, run, spread, striate_command
from striate.datasets import load_masks
from striate.mask_data import as_shown
from striate.mask_scoring import probabilities
from striate.membrane_metrics import membrane_scores
from striate.models.ciresan2012 import fit_calibration, median_filter
from striate.runs import Run
from striate.segmentation import pixel_form

NETWORKS = {"unet": "unet-isbi", "n4": "n4-isbi"}
MEASURES = ("pixel_error", "rand_error", "warping_error_millionths", "v_rand", "v_info")
PAPERS = {  # on the hidden test stack; N4's are of four networks, from memory
    "unet": {"rand_error": 0.0382, "pixel_error": 0.0611, "warping_error_millionths": 353},
    "n4": {"rand_error": 0.0504, "pixel_error": 0.0613, "warping_error_millionths": 420},
    "human": {"rand_error": 0.0021, "pixel_error": 0.0010, "warping_error_millionths": 5},
}


def measures(scores: Mapping[str, Any]) -> dict[str, float]:
    """Take the challenge's measures; the tiny warping error in millionths."""
    given = {**scores, "warping_error_millionths": 1e6 * scores["warping_error"]}
    return {name: given[name] for name in MEASURES}


def trained(name: str, seed: int) -> dict[str, Any]:
    """Train and evaluate by two commands, with one thread; give seconds and figures."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        options = ["--recipe", NETWORKS[name], "--seed", str(seed), "--threads", "1"]
        seconds, _ = run(striate_command("train", *options, "--out", out))
        _, text = run(striate_command("evaluate", out, "--json", "--threads", "1"))
        evaluation = json.loads(text)
        row = {"seconds": round(seconds, 1), "error": evaluation["pixel_error"]}
        row |= measures(evaluation["membranes"])
        if name == "n4":
            processed = postprocessed(Run(out))
            row |= {f"{measure}_postprocessed": processed[measure] for measure in MEASURES}
    print(name, seed, row, file=sys.stderr, flush=True)
    return row


def postprocessed(opened: Run) -> dict[str, Any]:
    """Calibrate on the validation slices, filter, and measure the test slices."""
    form = pixel_form(opened.network(), opened.recipe.network)
    masks = load_masks("isbi2012", parts=("validation", "test"))

    def cells(part: str) -> list[NDArray[np.floating]]:
        return [
            probabilities(form, as_shown(each, opened.tile_spec))[1].numpy()
            for each in masks.parts[part]
        ]

    truths = {
        part: [(each.mask == 1).numpy() for each in masks.parts[part]] for part in masks.parts
    }
    calibrate = fit_calibration(np.stack(cells("validation")), np.stack(truths["validation"]))
    answers = [median_filter(calibrate(each)) for each in cells("test")]
    return measures(membrane_scores(answers, truths["test"]))


def thresholded() -> dict[str, Any]:
    """Take grey values for probabilities."""
    part = load_masks("isbi2012", parts=("test",)).parts["test"]
    greys = [(each.image[0].to(torch.float32) / 255).numpy() for each in part]
    return measures(membrane_scores(greys, [(each.mask == 1).numpy() for each in part]))


def main() -> None:
    """Run every network with every seed and keep means and spreads."""
    torch.set_num_threads(1)
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    result: dict[str, Any] = {
        "command": "python benchmarks/isbi2012.py",
        "held_out_slices": [2, 7, 12, 17, 22, 27],
        "seeds": [*seeds],
        "papers": PAPERS,
        "thresholding": thresholded(),
    }
    with ThreadPoolExecutor(os.cpu_count()) as processors:
        rows = {
            name: [processors.submit(trained, name, seed) for seed in seeds] for name in NETWORKS
        }
    for name, recipe in NETWORKS.items():
        each = [row.result() for row in rows[name]]
        result[name] = {"recipe": recipe, "each": each} | {
            measure: spread([row[measure] for row in each]) for measure in each[0]
        }
    keep("isbi2012", result)


if __name__ == "__main__":
    main()
