"""CIFAR-10 to 94 % on an accelerator: `--recipe cifar10-94` beside airbench94, seconds of training.

    STRIATE_AIRBENCH=airbench94.py python benchmarks/airbench.py [RUNS]

Ours trains RUNS times (5 by default), each in a process of its own, seeds 0, 1, ...: seconds that
training took as progress.csv has them, those from process start, test accuracy by the recipe's
views. STRIATE_AIRBENCH names the program from KellerJordan/cifar10-airbench, which is run as it is,
by .venv-peers if `make peers` made it, in a folder where its CIFAR-10 lies ready. Its loop over 25
runs is cut to RUNS. The first run of either side, which warms up, is left out of the medians.
Without the variable ours runs alone. Needs a CUDA device and STRIATE_DATA with cifar10/. Writes
docs/results/airbench.json.
"""

import json
import os
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import striate
from measuring import keep, run, spread, striate_command
from striate import datasets

RECIPE = "cifar10-94"
WANTED = 94.0
# A line of its table: epoch, or eval at the end of a run; ...; test accuracy over its views, which
# an epoch's line leaves open; seconds so far. At the end these hold the evaluation, as ours do not.
LINE = re.compile(r"\|\s*(\d+|eval)\s*\|.*\|\s*([\d.]*)\s*\|\s*([\d.]+)\s*\|\s*$", re.MULTILINE)


def ours(runs: int, folder: Path) -> dict[str, Any]:
    """Train some times: seconds of training, seconds from process start, test accuracy [%]."""
    trained, walls, accuracies = [], [], []
    for seed in range(runs):
        out = folder / f"run{seed}"
        train = ("train", "--recipe", RECIPE, "--seed", str(seed), "--device", "cuda")
        walls.append(run(striate_command(*train, "--out", out))[0])
        evaluated = run(striate_command("evaluate", out, "--json", "--device", "cuda"))[1]
        accuracies.append(100 * json.loads(evaluated)["accuracy"])
        trained.append(striate.Run(out).progress()[-1]["seconds"] or 0.0)
    return summary(trained, accuracies) | {"seconds_from_process_start": spread(walls)}


def peer(program: Path, runs: int, folder: Path) -> dict[str, Any]:
    """Run airbench94 some times in one process, as it does by itself."""
    write_data(folder / "cifar10")
    text, cuts = re.subn(r"range\(25\)", f"range({runs})", program.read_text(encoding="utf-8"))
    if cuts != 1:
        raise SystemExit(f"{program} has no loop over 25 runs; give airbench94.py at 01a2367")
    (folder / "airbench94.py").write_text(text, encoding="utf-8")
    peers = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"
    python = peers if peers.exists() else Path(sys.executable)
    in_folder = 'cd "$1" && exec "$2" airbench94.py'
    command: list[str | Path] = ["sh", "-c", in_folder, "sh", folder, python]
    return read_table(run(command)[1], runs)


def read_table(printed: str, runs: int) -> dict[str, Any]:
    """Read what the program prints: seconds up to the last epoch's end, accuracies at the end."""
    lines = LINE.findall(printed)
    ends = [place for place, (epoch, *_) in enumerate(lines) if epoch == "eval"]
    if len(ends) != runs:
        raise SystemExit(f"airbench94.py printed {len(ends)} results of {runs} runs")
    trained = [float(lines[place - 1][2]) for place in ends]
    with_evaluation = [float(lines[place][2]) for place in ends]
    accuracies = [100 * float(lines[place][1]) for place in ends]
    return summary(trained, accuracies) | {"seconds_with_evaluation": spread(with_evaluation)}


def write_data(folder: Path) -> None:
    """Write CIFAR-10 as the program keeps it once it has downloaded it."""
    loaded = datasets.load("cifar10", parts=("train", "test"))
    folder.mkdir()
    for name in ("train", "test"):
        part = loaded.parts[name]
        images = part.images.permute(0, 2, 3, 1).contiguous()
        kept = {"images": images, "labels": part.targets, "classes": list(loaded.classes)}
        torch.save(kept, folder / f"{name}.pt")


def summary(seconds: list[float], accuracies: list[float]) -> dict[str, Any]:
    """Give medians without the first run, and all values."""
    return {
        "median_seconds": round(statistics.median(seconds[1:] or seconds), 3),
        "seconds": spread(seconds),
        "test_accuracy_percent": spread(accuracies),
        "mean_reaches_94": statistics.fmean(accuracies) >= WANTED,
    }


def main() -> None:
    """Run both sides and keep them beside each other."""
    if not torch.cuda.is_available():
        raise SystemExit("airbench.py measures on an accelerator, and there is no CUDA device here")
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    program = os.environ.get("STRIATE_AIRBENCH")
    result: dict[str, Any] = {"device": torch.cuda.get_device_name(), "runs": runs}
    with tempfile.TemporaryDirectory() as folder:
        result["ours"] = ours(runs, Path(folder))
        if program is not None:
            result["airbench94"] = peer(Path(program).resolve(), runs, Path(folder))
            ratio = result["airbench94"]["median_seconds"] / result["ours"]["median_seconds"]
            result["times_faster"] = round(ratio, 3)
    keep("airbench", result)


if __name__ == "__main__":
    main()
