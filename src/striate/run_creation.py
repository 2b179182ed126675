"""Making a run folder: it appears under its name complete, or not at all."""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from striate.errors import RunError, UsageError
from striate.files import is_alive, sync_folder, write_file
from striate.preparation import InputSpec
from striate.recipes import Recipe
from striate.run_states import State
from striate.runs import EVALUATION_FILES, FILES, FORMAT, Run
from striate.tile_input import TileSpec


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a place for a new run that is taken, before any work is done.

    Args:
        path: Where the run is to be made.
        overwrite: Whether a run that is there may be replaced.

    Raises:
        UsageError: The folder holds a run and ``overwrite`` is off, or holds anything else.
        RunError: The folder above cannot be written.
    """
    clear_leftovers(path)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} exists and is not a run; choose another --out")
    if is_run(path):
        if not overwrite:
            raise UsageError(
                f"{path} holds a run; go on with `striate train --resume {path}`, replace it "
                "with --overwrite, or choose another --out"
            )
        names = {file.name for file in path.iterdir()} - set(FILES)
        foreign = sorted(name for name in names if not EVALUATION_FILES.fullmatch(name))
        if foreign:
            raise UsageError(
                f"{path} holds {foreign[0]}, which is no file of a run, and would be deleted by "
                "--overwrite; move it, or choose another --out"
            )
    elif path.exists() and any(path.iterdir()):
        raise UsageError(f"{path} exists and is not a run; choose another --out")
    above = path.parent
    while not above.exists():
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise RunError(f"cannot write into {above}; choose a folder that you may write with --out")


def create_run(
    path: Path,
    *,
    recipe: Recipe,
    spec: InputSpec | TileSpec,
    classes: Sequence[str],
    environment: Mapping[str, Any],
    state: State,
    split: str | None = None,
    overwrite: bool = False,
) -> Run:
    """Make a run folder with a first state inside, beside its place, and rename it there.

    Args:
        path: Absolute, links resolved.
        recipe: The complete recipe.
        spec: The network's input.
        classes: Class names, in the order of the logits.
        environment: As ``provenance.environment`` gives it.
        state: The first state.
        split: Of images in files, what split.csv holds.
        overwrite: Replace a run that is there.

    Raises:
        UsageError: As in ``check_free``, also when the place was taken meanwhile.
        RunError: The disk is full, the folder cannot be written, or another process is
            training the run that is there.
    """
    check_free(path, overwrite=overwrite)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        (beside / "state").mkdir(parents=True)
        write_file(beside / "recipe.yaml", recipe.to_yaml())
        write_file(beside / "classes.json", json.dumps(list(classes), indent=1) + "\n")
        write_file(beside / "input.json", spec.model_dump_json(indent=1) + "\n")
        if split is not None:
            write_file(beside / "split.csv", split.encode("utf-8", "surrogateescape"))
        written = {"format": FORMAT, **environment}
        write_file(beside / "environment.json", json.dumps(written, indent=1) + "\n")
        Run(beside).save(state)
        if overwrite and is_run(path):
            _replace(path, beside)
        else:
            beside.rename(path)  # over nothing, or over an empty folder
        sync_folder(path.parent)
    except OSError as error:
        if is_run(path):
            check_free(path, overwrite=False)  # somebody else's run came first: say so
        raise RunError(
            f"could not make {path}: {error.strerror or error}; choose another place with --out"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Run(path)


def clear_leftovers(path: Path) -> None:
    """Remove what a killed process left beside a run's place; put a run back that it had moved.

    Folders of processes that are alive are left alone.
    """
    leftover = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.(part|old)")
    if not path.parent.is_dir():
        return
    for file in sorted(path.parent.iterdir()):
        match = leftover.fullmatch(file.name)
        if match is None or is_alive(int(match[1])):
            continue
        if match[2] == "old" and not path.exists():
            file.rename(path)
        else:
            shutil.rmtree(file)


def _replace(path: Path, beside: Path) -> None:
    replaced = path.with_name(f".{path.name}.{os.getpid()}.old")
    with Run(path).locked():
        path.rename(replaced)
        beside.rename(path)
    shutil.rmtree(replaced)


def is_run(path: Path) -> bool:
    """Say whether a folder is a run, finished or not."""
    return all((path / name).exists() for name in ("recipe.yaml", "environment.json", "state"))
