"""MNIST to 99.0 % test accuracy: `striate train --recipe mnist-99` beside PyTorch's own example.

    python benchmarks/mnist_99.py [RUNS]

Both are timed from process start, imports and data included. Needs STRIATE_DATA with mnist/
and STRIATE_PEERS with mnist_baseline.py, whose environment `make peers` makes. The baseline
runs once, between our runs; it takes some minutes. Writes docs/results/mnist_99.json.
"""

import json
import os
import re
import statistics
import sys
import tempfile
from pathlib import Path

from measuring import keep, run, spread, striate_command


def ours(seed: int, folder: str) -> tuple[float, float, float]:
    """Train once: seconds from process start, the same with evaluation, test accuracy [%]."""
    out = Path(folder, f"run{seed}")
    options: list[str | Path] = ["--recipe", "mnist-99", "--seed", str(seed), "--out", out]
    seconds, _ = run(striate_command("train", *options))
    more, printed = run(striate_command("evaluate", out, "--json"))
    return seconds, seconds + more, 100 * json.loads(printed)["accuracy"]


def main() -> None:
    """Run ours and the baseline in turn, and keep the ratio."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    data = Path(os.environ["STRIATE_DATA"], "mnist")
    baseline = Path(os.environ["STRIATE_PEERS"], "mnist_baseline.py")
    python = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        results = [ours(seed, folder) for seed in range(runs // 2)]
        _, printed = run([python, baseline, data])
        results += [ours(seed, folder) for seed in range(runs // 2, runs)]
    epochs = re.findall(r"epoch (\d+): ([\d.]+) % after ([\d.]+) s", printed)
    if float(epochs[-1][1]) < 99:
        raise SystemExit(f"the baseline did not reach 99 %: {epochs[-1]}")
    seconds, with_evaluation, accuracies = zip(*results, strict=True)
    rival = float(epochs[-1][2])
    keep(
        "mnist_99",
        {
            "ours_seconds": spread(seconds),
            "ours_seconds_with_evaluation": spread(with_evaluation),
            "ours_test_accuracy_percent": spread(accuracies),
            "all_reached_99": min(accuracies) >= 99,
            "baseline_seconds": rival,
            "baseline_epochs": [[int(n), float(a), float(s)] for n, a, s in epochs],
            "times_faster": round(rival / statistics.median(seconds), 1),
            "times_faster_with_evaluation": round(rival / statistics.median(with_evaluation), 1),
        },
    )


if __name__ == "__main__":
    main()
