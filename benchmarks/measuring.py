"""What the benchmarks share: running commands, and keeping results with machine and versions."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import striate
from striate.files import write_file
from striate.provenance import processor

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def run(command: Sequence[str | Path]) -> tuple[float, str]:
    """Run a command to its end: wall seconds from process start, and what it printed on stdout."""
    started = time.perf_counter()
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with exit code {done.returncode}")
    return seconds, done.stdout


def striate_command(*arguments: str | Path) -> list[str | Path]:
    """Give the command line of this environment's striate."""
    return [Path(sys.executable).with_name("striate"), *arguments]


def keep(name: str, result: dict[str, Any]) -> None:
    """Print a result and write it, with machine and versions, to docs/results/NAME.json."""
    machine = {
        "processor": processor(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "striate": striate.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    text = json.dumps({"machine": machine, **result}, indent=1)
    print(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_file(RESULTS / f"{name}.json", text + "\n")


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Give mean, standard deviation (None for one value), minimum and maximum."""
    return {
        "mean": round(statistics.fmean(values), 4),
        "deviation": round(statistics.stdev(values), 4) if len(values) > 1 else None,
        "least": round(min(values), 4),
        "most": round(max(values), 4),
        "values": [round(value, 4) for value in values],
    }
