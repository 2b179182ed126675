"""How long a person waits for `striate --help`, and a program for `import striate`.

    python benchmarks/start_up.py [RUNS]

Whole processes, the bare interpreter beside them. Writes docs/results/start_up.json.
"""

import statistics
import sys
from pathlib import Path

from measuring import keep, run, striate_command


def main() -> None:
    """Time each command in turn, several rounds, and keep the medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    commands: dict[str, list[str | Path]] = {
        "python": [sys.executable, "-c", "pass"],
        "import_striate": [sys.executable, "-c", "import striate"],
        "help": striate_command("--help"),
        "train_help": striate_command("train", "--help"),
        "import_torch": [sys.executable, "-c", "import torch"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            seconds[name].append(run(command)[0])
    medians = {name: round(statistics.median(values[1:]), 3) for name, values in seconds.items()}
    bare = medians["python"]
    keep(
        "start_up",
        {
            "rounds": rounds,
            "median_seconds": medians,
            "import_striate_above_python_seconds": round(medians["import_striate"] - bare, 3),
        },
    )


if __name__ == "__main__":
    main()
