"""Event files that TensorBoard reads: a run's progress, beside its own files."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from striate.display import Display, PassingOn
from striate.errors import UsageError

FOLDER = "tensorboard"

# Names in TensorBoard, which puts those with the same beginning side by side.
_TAGS = {
    "learning_rate": "learning_rate",
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "train_error": "error/train",
    "validation_error": "error/validation",
    "validation_dice": "dice/validation",
    "seconds": "seconds",
}


def require_event_files() -> None:
    """Refuse where tensorboardX is missing.

    Raises:
        UsageError: It is, with the command that installs it.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        raise UsageError(
            'event files need tensorboardX, which is not here; pip install "striate[track]"'
        )


class Recording(PassingOn):
    """A display that also writes each epoch into event files; the step is the epoch.

    Event files of an earlier process are replaced at the first epoch, by one that holds what
    its state had kept: so no epoch is there twice after a resume, and none that was lost.

    Args:
        display: Told everything too.
        run: The run folder, which exists when the first epoch ends.
        rows: Of the epochs done before.
    """

    def __init__(
        self, display: Display, run: Path, rows: Sequence[Mapping[str, float | None]] = ()
    ) -> None:
        super().__init__(display)
        self.folder, self.before = run / FOLDER, rows
        self._writer: Any = None

    def end_epoch(self, row: Mapping[str, float | None]) -> None:
        """Write an epoch's figures, and pass them on."""
        if self._writer is None:
            self._open()
        self._write(row)
        self._writer.flush()
        super().end_epoch(row)

    def end(self) -> None:
        """Close the file, and pass the end on."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        super().end()

    def _open(self) -> None:
        from tensorboardX import SummaryWriter

        self.folder.mkdir(exist_ok=True)
        for old in self.folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(self.folder), write_to_disk=True)
        for row in self.before:
            self._write(row)

    def _write(self, row: Mapping[str, float | None]) -> None:
        epoch = row["epoch"]
        for key, tag in _TAGS.items():
            value = row.get(key)
            if value is not None and epoch is not None:
                self._writer.add_scalar(tag, value, int(epoch))
