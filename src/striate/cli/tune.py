"""`striate tune`: a search for a better recipe."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from striate.cli.options import chosen_reading, print_table
from striate.cli.train import FIXED_IN_TUNING, chosen_recipe, signature
from striate.errors import Interrupted, UsageError
from striate.recipe_values import seconds


def tune(
    network: str | None,
    data: str | None,
    recipe: str | None,
    out: Path | None,
    trials: int,
    search_time: str | None,
    space: Path | None,
    data_dir: Path | None,
    device: str,
    threads: int | None,
    workers: int | None,
    cache: str | None,
    as_json: bool,
    **fields: Any,
) -> None:
    """Carry out `striate tune`; its help stands in ``striate.cli``."""
    from striate.display import Silent, choose_display
    from striate.models import with_defaults
    from striate.tuning import BEST, Outcome, default_space, read_space
    from striate.tuning import tune as search

    if out is None:
        raise UsageError("--out is missing; name the folder that keeps the trials, as runs/search")
    try:
        limit = None if search_time is None else float(str(seconds(search_time)))
    except ValueError as error:
        raise UsageError(f"--time is {search_time!r}: {error}") from error
    given = {name: value for name, value in fields.items() if value is not None}
    chosen = chosen_recipe(network, data, recipe, given)
    wanted = read_space(space) if space else default_space(with_defaults(chosen))
    wanted = {name: values for name, values in wanted.items() if name not in given}
    if not wanted:
        raise UsageError("every field of the space is given as an option; leave one to search")
    display = choose_display()
    started = time.monotonic()

    def told(outcome: Outcome) -> None:
        used = time.monotonic() - started
        left = "" if limit is None else f", {max(0.0, limit - used):.0f} s left"
        score = "no figure" if outcome.score is None else f"validation {outcome.score:.4f}"
        display.note(f"{outcome.run}: {outcome.state}, {score}{left}")

    try:
        outcomes = search(
            *(chosen, out),
            trials=trials,
            seconds=limit,
            space=wanted,
            display=Silent(),
            told=told,
            data_dir=data_dir,
            device=device,
            num_threads=threads,
            reading=chosen_reading(workers, cache),
        )
    except Interrupted as error:
        raise Interrupted(f"{error}; trials and best so far are in {out}") from error
    if as_json:
        print(json.dumps([outcome._asdict() for outcome in outcomes], indent=1))
        return
    ranked = sorted(outcomes, key=lambda each: (each.state != "complete", each.score or 0.0))
    print_table(
        ("trial", "ended", "validation", *wanted),
        [
            (
                *(each.run, each.state, "-" if each.score is None else f"{each.score:.4f}"),
                *(_short(each.fields.get(name)) for name in wanted),
            )
            for each in ranked
        ],
    )
    if (out / BEST).exists():
        print(f"next: striate train --recipe {out / BEST}", file=sys.stderr)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


tune.__signature__ = signature(  # type: ignore[attr-defined]
    *("resume", "overwrite", "tensorboard", *FIXED_IN_TUNING),
    out="Folder that keeps the trials, study.db and best.yaml.",
    search=True,
)
