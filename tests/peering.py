"""Programs in the environment of the peers, which sees striate, torchvision and timm."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def in_peers(program: str, *arguments: str | Path) -> str:
    """Run a program where torchvision and timm import, and give what it printed; or skip."""
    shims = os.environ.get("STRIATE_PEERS")
    beside = (ROOT / ".venv-peers", Path(sys.prefix).parent / ".venv-peers")
    pythons = [folder / "bin" / "python" for folder in beside if (folder / "bin/python").exists()]
    if shims is None or not pythons:
        reason = "needs the peers: STRIATE_PEERS and the environment of `make peers`"
        if os.environ.get("STRIATE_REQUIRE_DATA"):
            pytest.fail(reason)
        pytest.skip(reason)
    paths = os.pathsep.join([str(ROOT / "src"), shims])
    done = subprocess.run(
        [pythons[0], "-W", "ignore", "-c", program, *arguments],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
