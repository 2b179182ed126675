"""`striate find-rate`: a learning rate to begin with."""

import json
import sys
from pathlib import Path
from typing import Any

from striate.cli.options import chosen_reading
from striate.cli.train import chosen_recipe, signature
from striate.errors import UsageError

# What the finder chooses itself or does not come to.
FIXED_IN_FINDING = (
    *("learning_rate", "schedule", "warmup", "milestones", "plateau_epochs", "plateau_factor"),
    *("epochs", "time", "patience", "ema", "protocol", "scales", "view_average"),
)


def find_rate(
    network: str | None,
    data: str | None,
    recipe: str | None,
    out: Path | None,
    data_dir: Path | None,
    device: str,
    threads: int | None,
    workers: int | None,
    cache: str | None,
    as_json: bool,
    **fields: Any,
) -> None:
    """Carry out `striate find-rate`; its help stands in ``striate.cli``."""
    if out is not None and (out.suffix != ".svg" or not out.parent.is_dir()):
        raise UsageError(f"{out} is not to be written; give a name that ends in .svg, in a folder")
    from striate.display import choose_display
    from striate.files import write_file
    from striate.rate_drawing import rate_curve
    from striate.rate_finding import find_rate as find

    given = {name: value for name, value in fields.items() if value is not None}
    chosen = chosen_recipe(network, data, recipe, given)
    found = find(
        chosen,
        data_dir=data_dir,
        device=device,
        num_threads=threads,
        reading=chosen_reading(workers, cache),
        display=choose_display(),
    )
    marks = {"steepest": found.steepest, "a tenth of the lowest": found.tenth}
    if out is not None:
        title = f"{chosen.network} on {chosen.data}: loss at a growing learning rate"
        write_file(out, rate_curve(*found[:3], marks, title=title))
        print(out, file=sys.stderr)
    if as_json:
        print(json.dumps(found._asdict()))
        return
    print(f"{len(found.rates)} steps from {found.rates[0]:.0e} to {found.rates[-1]:.2g}")
    print(f"loss falls fastest at {found.steepest:.2g}")
    print(f"a tenth of the rate of the lowest loss: {found.tenth:.2g}")
    print(f"next: --learning-rate {min(found.steepest, found.tenth):.1g} or above", file=sys.stderr)


find_rate.__signature__ = signature(  # type: ignore[attr-defined]
    *("resume", "overwrite", "tensorboard", *FIXED_IN_FINDING),
    out="Draw the curve into this FILE.svg.",
)
