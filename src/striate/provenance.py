"""Where, when, with what and on what a run was made."""

import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import striate
from striate.recipes import Recipe


class Learned(Protocol):
    """What provenance tells of the data."""

    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def num_training(self) -> int: ...  # noqa: D102
    @property
    def num_validation(self) -> int: ...  # noqa: D102


def environment(recipe: Recipe, data: Learned, device: torch.device) -> dict[str, Any]:
    """Say where and on what a run is made, as plain values for environment.json."""
    return {
        "striate": striate.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": platform.platform(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "commit": _commit(),
        "command": sys.argv,
        "seed": recipe.seed,
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "data_source": data.source,
        "data_fingerprint": data.fingerprint,
        "training_images": data.num_training,
        "validation_images": data.num_validation,
    }


def processor() -> str:
    """Name the processor, as its maker does."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str | None:
    """Name the commit of the folder that the command was given in, where it has one."""
    git = shutil.which("git")
    if git is None:
        return None
    # Without --verify, git answers HEAD where there is no commit yet.
    command = [git, "rev-parse", "--verify", "--quiet", "HEAD"]
    head = subprocess.run(command, capture_output=True, text=True, check=False)
    return head.stdout.strip() or None
