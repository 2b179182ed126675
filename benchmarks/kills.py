"""Twenty real SIGKILLs at random moments of a training run, each resumed and compared.

    python benchmarks/kills.py [KILLS]

LeNet-5 on digits with augmentation and averaged weights. The run is killed several times on
its way, resumed each time, and its last weights must be the unbroken run's to the bit.
Writes docs/results/kills.json.
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from measuring import keep, striate_command
from striate.runs import Run


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the last weights and the best, under one roof."""
    state = Run(path).load_state()[0]
    return {
        f"{kind} {name}": tensor
        for kind, named in (("last", state["weights"]), ("best", state["best"]["weights"]))
        for name, tensor in named.items()
    }


def main() -> None:
    """Kill and resume until the number of kills is reached, over as many runs as it takes."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    draw = random.Random(1998)
    options = ["lenet5", "digits", "--epochs", "30", "--elastic", "1", "--ema", "0.99"]
    kills: list[dict[str, object]] = []
    equal = runs = 0
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        started = time.monotonic()
        subprocess.run(striate_command("train", *options, "--out", whole), check=True)
        length = time.monotonic() - started
        expected = weights(whole)
        while len(kills) < wanted:
            runs += 1
            out = Path(folder, f"run{runs}")
            command = striate_command("train", *options, "--out", out)
            while True:
                process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
                moment = draw.uniform(0, length)
                try:
                    process.wait(moment if len(kills) < wanted else None)
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                kills.append({"run": runs, "seconds": round(moment, 2), "folder": out.exists()})
                if out.exists():
                    command = striate_command("train", "--resume", out)
            resumed = weights(out)
            equal += all(torch.equal(resumed[name], tensor) for name, tensor in expected.items())
    result = {"kills": len(kills), "runs": runs, "runs_with_equal_bits": equal, "moments": kills}
    keep("kills", result)
    if equal < runs:
        raise SystemExit(f"{runs - equal} of {runs} runs ended in other bits")


if __name__ == "__main__":
    main()
