"""The states in a run folder: two generations, each named by its place and its checksum."""

import hashlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, cast

import torch

from striate.errors import RunError
from striate.files import write_file

GENERATIONS = 2

State = dict[str, Any]


def write_state(path: Path, state: State) -> None:
    """Write a state into ``state/`` of a run folder and drop all but the newest two.

    Raises:
        RunError: The folder cannot be written; what was there is untouched.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    checksum = hashlib.sha256(content).hexdigest()[:16]
    place = f"{state['epoch']:09d}-{state['step']:08d}"
    if state.get("lengthenings"):
        place += f"-{state['lengthenings']}"
    write_file(path / "state" / f"{place}-{checksum}.pt", content)
    for old in _states(path)[GENERATIONS:]:
        old.unlink()


def read_state(path: Path) -> tuple[State, list[str]]:
    """Read the newest state whose checksum holds, and messages about those that do not.

    Nothing in it is ever unpickled into code.

    Raises:
        RunError: No state is whole.
    """
    for leftover in (*path.glob(".*.part"), *(path / "state").glob(".*.part")):
        leftover.unlink()
    notes: list[str] = []
    for file in _states(path):
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest()[:16] != file.stem.split("-")[-1]:
            aside = file.with_suffix(".damaged")
            file.rename(aside)
            notes.append(f"{file} is damaged (its checksum differs); kept aside as {aside.name}")
            continue
        try:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
            raise RunError(
                f"{file} is whole but holds no state that this striate reads: "
                f"{str(error).splitlines()[0]}"
            ) from error
        return cast(State, state), notes
    raise RunError(f"no state in {path / 'state'} is whole; train again with --overwrite")


def _states(path: Path) -> list[Path]:
    """List the states, newest first: names hold epoch, step, lengthenings if any, checksum."""

    def age(file: Path) -> tuple[str, str, int]:
        epoch, step, *more = file.stem.split("-")
        return epoch, step, int(more[0]) if len(more) > 1 else 0

    return sorted((path / "state").glob("*.pt"), key=age, reverse=True)
