"""Labels that grow on disk tile by tile, so that a killed prediction goes on where it was.

A hidden folder beside the result holds the labels as raw bytes and a journal: a first line of
JSON that says of what work, then the number of each finished tile, a line each. A number is
written after its tile's labels are on the disk. A last line without its end was torn by a kill,
and does not count.
"""

import fcntl
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.display import Progress
from striate.errors import RunError
from striate.files import sync_folder, write_file
from striate.mirroring import Read, Region
from striate.tiled_prediction import labels_of, run_plan, shares_of
from striate.tiling import TilePlan

# Tiles are brought to the disk together, at most so often [s].
SYNC_SECONDS = 1.0
_JOURNAL, _LABELS, _SHARES = "journal", "labels.raw", "shares.raw"


def fingerprint(network: nn.Module, plan: TilePlan, settings: Mapping[str, Any]) -> str:
    """Give one name to a piece of work: another network, image or plan has another.

    Args:
        network: Its structure and weights count.
        plan: Its tiles count.
        settings: What else the labels depend on, as JSON takes it: the input file with its size
            and time, how its pixels are normalised.

    Example:
        >>> from striate.tiling import plan_tiles
        >>> net = nn.Conv2d(1, 2, 1)
        >>> plan = plan_tiles(net, (1, 5, 5))
        >>> fingerprint(net, plan, {"path": "a"}) == fingerprint(net, plan, {"path": "b"})
        False
    """
    content = hashlib.sha256(f"{network}\n{plan.tiles}\n".encode())
    for name, tensor in network.state_dict().items():
        raw = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        content.update(raw.numpy())
    content.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return content.hexdigest()


class TileJournal:
    """The finished tiles of a piece of work, and their labels, in a folder.

    Args:
        folder: Made if absent. What is there of other work is thrown away.
        shape: Of the labels, ``(*spatial)``.
        work: Its fingerprint.
        classes: Of so many, the probabilities are kept too.

    Raises:
        RunError: The folder cannot be written, or another process is at it.

    Attributes:
        labels: ``(*spatial)``, uint8, on the disk.
        shares: ``(classes, *spatial)``, float32, on the disk; of no class where none are kept.
    """

    def __init__(self, folder: Path, shape: Sequence[int], work: str, *, classes: int = 0) -> None:
        self.folder = folder
        self._waiting: list[int] = []
        self._synced = time.monotonic()
        sizes = {_LABELS: math.prod(shape)}
        if classes:
            sizes[_SHARES] = 4 * classes * math.prod(shape)
        header = json.dumps({"format": 1, "work": work, "shape": list(shape), "classes": classes})
        try:
            folder.mkdir(exist_ok=True)
            self._lock = os.open(folder, os.O_RDONLY)
            _take(self._lock, folder)
            done = _finished(folder, header, sizes)
            if done is None:
                _begin(folder, header, sizes)
            self._done = done or set()
            self._journal = os.open(folder / _JOURNAL, os.O_WRONLY | os.O_APPEND)
            self.labels = np.memmap(folder / _LABELS, np.uint8, "r+", shape=tuple(shape))
            self.shares: NDArray[np.float32] = np.empty((0, *shape), np.float32)
            if classes:
                self.shares = np.memmap(folder / _SHARES, np.float32, "r+", shape=(classes, *shape))
        except OSError as error:
            raise RunError(f"could not write {folder}: {error.strerror or error}") from error

    def __contains__(self, number: object, /) -> bool:
        """Tell whether a tile is finished."""
        return number in self._done

    def __len__(self) -> int:
        """Count the finished tiles."""
        return len(self._done)

    def add(self, number: int, /) -> None:
        """Note that a tile's labels are written; some time later both are on the disk."""
        self._waiting.append(number)
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Bring the labels to the disk, then the numbers of their tiles."""
        if not self._waiting:
            return
        for kept in (self.labels, self.shares):
            if isinstance(kept, np.memmap):
                kept.flush()
        data = memoryview("".join(f"{number}\n" for number in self._waiting).encode())
        size = os.fstat(self._journal).st_size
        try:
            while data:
                data = data[os.write(self._journal, data) :]
            os.fsync(self._journal)
        except OSError:
            os.ftruncate(self._journal, size)  # half a number would be another tile's
            raise
        self._done.update(self._waiting)
        self._waiting.clear()
        self._synced = time.monotonic()

    def close(self) -> None:
        """Bring all to the disk, and let go of the folder."""
        self.sync()
        del self.labels, self.shares
        os.close(self._journal)
        os.close(self._lock)

    def remove(self) -> None:
        """Remove the folder, when the labels are elsewhere; the journal goes first."""
        self.close()
        _empty(self.folder)
        self.folder.rmdir()


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RunError(f"another process works in {folder}; wait for its end") from None


def _finished(folder: Path, header: str, sizes: Mapping[str, int]) -> set[int] | None:
    """Read which tiles are finished; None where the folder is of other work, or not whole."""
    journal = folder / _JOURNAL
    files = [(folder / name, size) for name, size in sizes.items()]
    if not journal.is_file() or not all(
        file.is_file() and file.stat().st_size == size for file, size in files
    ):
        return None
    content = journal.read_bytes()
    whole, _, torn = content.rpartition(b"\n")
    first, *lines = whole.split(b"\n")
    if first != header.encode() or not all(line.isdigit() for line in lines):
        return None
    if torn:
        with journal.open("r+b") as file:
            file.truncate(len(content) - len(torn))
            os.fsync(file.fileno())
    return {int(line) for line in lines}


def _empty(folder: Path) -> None:
    """Remove the files, first the journal, which makes the others valid."""
    (folder / _JOURNAL).unlink(missing_ok=True)
    for file in folder.iterdir():
        file.unlink()


def _begin(folder: Path, header: str, sizes: Mapping[str, int]) -> None:
    """Make the files anew; the journal, which makes them valid, comes last."""
    _empty(folder)
    for name, size in sizes.items():
        with (folder / name).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk shows here, not as a crash
            os.fsync(file.fileno())
    write_file(folder / _JOURNAL, f"{header}\n")
    sync_folder(folder.parent)


def working_folder(out: Path) -> Path:
    """Name the folder in which the labels for a file grow.

    Example:
        >>> working_folder(Path("results/brain.nii.gz")).name
        '.brain.nii.gz.tiles'
    """
    return out.with_name(f".{out.name}.tiles")


def predict_to_file(
    network: nn.Module,
    plan: TilePlan,
    read: Read,
    out: Path,
    finish: Callable[[NDArray[np.uint8]], None],
    *,
    settings: Mapping[str, Any],
    finish_shares: Callable[[NDArray[np.float32]], None] | None = None,
    begun: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Label an image tile by tile on the disk; after a kill at any time, the same call goes on.

    Args:
        network: The one that the plan was made for.
        plan: Of ``plan_tiles``.
        read: Gives ``(C, *region)`` for a region of the image.
        out: The file that ``finish`` will write; the working folder lies beside it.
        finish: Called with all labels ``(*spatial)``, an array on the disk, to write the file.
        settings: As for ``fingerprint``.
        finish_shares: Called before ``finish`` with the probability of each class at each pixel
            ``(K, *spatial)``, an array on the disk; without it none are kept.
        begun: Called with the number of tiles that are finished already, if any are.
        progress: As for ``run_plan``.

    Raises:
        RunError: The disk is full or cannot be written, or another process is at it.
    """
    work = fingerprint(network, plan, settings)
    classes = max(plan.classes, 2) if finish_shares is not None else 0
    journal = TileJournal(working_folder(out), plan.shape[1:], work, classes=classes)

    def write(region: Region, logits: Tensor) -> None:
        journal.labels[region] = labels_of(logits).numpy()
        if classes:
            journal.shares[(slice(None), *region)] = shares_of(logits).numpy()

    if begun is not None and len(journal):
        begun(len(journal))
    try:
        run_plan(network, plan, read, write, done=journal, progress=progress)
        journal.sync()
        if finish_shares is not None:
            finish_shares(journal.shares)
        finish(journal.labels)
    except BaseException:
        journal.close()
        raise
    journal.remove()
