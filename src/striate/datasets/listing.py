"""Images that lie in files or archives, listed before any of them is opened."""

import errno
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor


class Place(NamedTuple):
    """Where the bytes of one image are: a file, or a stretch of an archive.

    Attributes:
        path: Of the file or archive, absolute.
        name: What a person is told: below the set's folder; of an archive's member
            ``shard.tar/member``. Unique in its set.
        offset: Where the bytes begin in the file.
        size: How many they are; the rest of the file where None.
    """

    path: str
    name: str
    offset: int = 0
    size: int | None = None

    def read(self) -> bytes:
        """Read the bytes.

        Raises:
            OSError: The file cannot be read.
        """
        path = Path(self.path)
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, for ever
            raise OSError(errno.EINVAL, "no file but a folder, pipe or device")
        with path.open("rb") as file:
            file.seek(self.offset)
            return file.read() if self.size is None else file.read(self.size)


@dataclass(frozen=True)
class Listing:
    """A set of images in files, with a class each.

    Attributes:
        name: The set's name, or that of its folder.
        classes: Names of the classes, in the order of the class indices.
        places: Where the images are, in a fixed order.
        targets: ``(N,)``, int64 class indices, one for each place.
        parts: For each part that the set has, of train, validation and test, the indices into
            ``places`` of its images, ascending, int64; every image is in one part.
        source: Where the set was found.
        layout: How it lies there, in words for the user.
        groups: For each place what must stay in one part with its like: a patient, a video, a
            plate. None where the set does not say.
        notes: What was left out or assumed, in words for the user.
        columns: Of a set in a table, its further columns by name, a text for each place; images
            may be grouped by them.
        empty: Folders as of classes that hold no image; none of the classes.
    """

    name: str
    classes: tuple[str, ...]
    places: tuple[Place, ...]
    targets: Tensor
    parts: dict[str, Tensor]
    source: str
    layout: str
    groups: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    empty: tuple[str, ...] = ()

    def part_of(self) -> dict[int, str]:
        """Give the part of each image, by its index."""
        return {index: part for part, held in self.parts.items() for index in held.tolist()}

    def keeping(self, kept: Tensor) -> "Listing":
        """Leave out images; the order of the others stays.

        Args:
            kept: ``(N,)``, bool, one for each place.

        Example:
            >>> import torch
            >>> places = tuple(Place(f"/{name}.png", f"{name}.png") for name in "abc")
            >>> parts = {"train": torch.tensor([0, 2]), "test": torch.tensor([1])}
            >>> all_three = Listing("s", ("x",), places, torch.zeros(3).long(), parts, "/", "")
            >>> some = all_three.keeping(torch.tensor([False, True, True]))
            >>> [place.name for place in some.places], some.parts["train"].tolist()
            (['b.png', 'c.png'], [1])
        """
        new = kept.cumsum(0) - 1
        which = kept.nonzero()[:, 0].tolist()
        return replace(
            self,
            places=tuple(self.places[index] for index in which),
            targets=self.targets[kept],
            parts={part: new[indices[kept[indices]]] for part, indices in self.parts.items()},
            groups=None if self.groups is None else tuple(self.groups[index] for index in which),
            columns={
                name: tuple(values[index] for index in which)
                for name, values in self.columns.items()
            },
        )


def equal_bytes(contents: Iterable[str | bytes]) -> list[tuple[int, ...]]:
    """Group the images whose bytes are the same.

    Args:
        contents: A hash of each one's bytes; empty where it is not known.

    Returns:
        Indices of each group of two or more, ascending.

    Example:
        >>> equal_bytes(["a", "b", "a", "", ""])
        [(0, 2)]
    """
    groups: dict[str | bytes, list[int]] = {}
    for index, content in enumerate(contents):
        if content:
            groups.setdefault(content, []).append(index)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def shown(name: str) -> str:
    """Make a name fit for a message: bytes that are no UTF-8 become question marks.

    Example:
        >>> shown("caf\\udce9")
        'caf\\ufffd'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def some(names: Sequence[str], most: int = 5) -> str:
    """Name a few of many.

    Example:
        >>> some(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


def counted(count: int, what: str) -> str:
    """Count things, one or many.

    Example:
        >>> counted(1, "image"), counted(3_400, "class")
        ('1 image', '3,400 classes')
    """
    plural = what + ("es" if what.endswith("s") else "s")
    return f"{count:,} {what if count == 1 else plural}"
