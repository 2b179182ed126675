"""What an evaluation says of the runs it was of: each by itself, and what they have in common."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

from striate.runs import Run


def member(run: Run, protocol: str | None) -> dict[str, Any]:
    """Say what a run is: ``run``, its folder, ``network``, ``protocol`` and ``epochs``.

    Args:
        run: The run.
        protocol: How it was asked; None for its own.
    """
    return {
        "run": str(run.path),
        "network": run.recipe.network,
        "protocol": protocol or run.recipe.protocol,
        "epochs": len(run.progress()),
    }


def common(members: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Give ``network``, ``protocol`` and ``epochs`` that all share, None where they differ.

    Example:
        >>> common([{"network": "unet", "protocol": "turns", "epochs": n} for n in (3, 5)])
        {'network': 'unet', 'protocol': 'turns', 'epochs': None}
    """
    shared = {}
    for name in ("network", "protocol", "epochs"):
        first, *others = [each[name] for each in members]
        shared[name] = first if all(other == first for other in others) else None
    return shared


def what_differs(runs: Sequence[Run], other_data: str, protocol: str | None) -> str:
    """Name what sets an evaluation apart from the first run's own, or give nothing.

    Args:
        runs: One, or an ensemble, which eight digits of the others' folders tell from another.
        other_data: The set's name where it is not the run's own.
        protocol: As it was asked for, or None.
    """
    parts = [other_data]
    if any(protocol not in (None, run.recipe.protocol) for run in runs):
        parts.append(protocol or "")
    if len(runs) > 1:
        first, *others = (run.path.resolve() for run in runs)
        places = sorted(os.path.relpath(other, first) for other in others)
        digits = hashlib.sha256(os.fsencode("\n".join(places))).hexdigest()[:8]
        parts.append(f"ensemble-{digits}")
    return "-".join(part for part in parts if part)
