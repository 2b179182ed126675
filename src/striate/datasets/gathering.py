"""Images with labels, as a layout's reader finds them, put together into a listing."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from striate.datasets.listing import Listing, Place, counted, shown, some
from striate.datasets.splits import in_parts
from striate.errors import DataError

PART_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MOST_ALIKE = 3  # lines about classes of nearly one name


@dataclass
class Gathering:
    """Images as they are found, one after another.

    Attributes:
        places: Where they are.
        labels: The name of each one's class.
        parts: Each one's part; None where the set does not say.
        classes: Further classes, which may have no image, in no order.
        groups: For each what it stays together with; empty where the set does not say.
        columns: Further texts for each, by name.
        notes: What was left out or assumed.
        empty: Folders as of classes, without an image.
    """

    places: list[Place] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    parts: list[str | None] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)
    groups: list[str] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    empty: set[str] = field(default_factory=set)

    def listing(
        self, name: str, source: str, layout: str, *, order: Sequence[str] | None = None
    ) -> Listing:
        """Number the classes and sort the images by name.

        Args:
            name: The set's.
            source: Where it was found.
            layout: Its title; the parts and counts are added.
            order: The classes in their order, where the set says it; by default by name, and by
                number where all are whole numbers.

        Raises:
            DataError: There are fewer than two classes, or the name of one is no text.
        """
        classes = [*order] if order is not None else in_order({*self.labels, *self.classes})
        coded = [ascii(os.fsencode(each)) for each in classes if shown(each) != each]
        if coded:
            raise DataError(
                f"{source} has {counted(len(coded), 'class')} whose name is no UTF-8: "
                f"{some(coded)}; rename the folder or the label"
            )
        if len(classes) < 2:
            raise DataError(
                f"{source} has images of one class alone, {some(classes)}, so there is nothing to "
                "tell apart; add images of another class, or give the folder or table that has them"
            )
        numbers = {label: index for index, label in enumerate(classes)}
        sequence = sorted(range(len(self.places)), key=lambda index: self.places[index].name)
        parts = in_parts(self.parts[index] or "train" for index in sequence)
        told = "" if not any(self.parts) else f" with {_joined(list(parts))}"
        images = counted(len(self.places), "image")
        return Listing(
            name,
            tuple(classes),
            tuple(self.places[index] for index in sequence),
            torch.tensor([numbers[self.labels[index]] for index in sequence]),
            parts,
            source,
            f"{layout}{told}: {counted(len(classes), 'class')}, {images}",
            groups=tuple(self.groups[index] for index in sequence) if self.groups else None,
            notes=(*self.notes, *_colliding(classes), *self._absent(classes)),
            columns={
                column: tuple(values[index] for index in sequence)
                for column, values in self.columns.items()
            },
            empty=tuple(sorted(self.empty - {*classes})),
        )

    def _absent(self, classes: Sequence[str]) -> list[str]:
        """Name the classes that a part has no image of."""
        seen: dict[str | None, set[str]] = defaultdict(set)
        for label, part in zip(self.labels, self.parts, strict=True):
            seen[part].add(label)
        notes = []
        for part in sorted(seen, key=str):
            absent = [each for each in classes if each not in seen[part]]
            where = "in the set" if part is None else f"in its {part} part"
            if absent:
                notes.append(
                    f"{counted(len(absent), 'class')} without an image {where}: {some(absent)}; "
                    "the others keep their numbers"
                )
        return notes


def in_order(classes: Collection[str]) -> list[str]:
    """Sort names, as numbers where all are whole numbers.

    Example:
        >>> in_order({"10", "9"}), in_order({"10", "9", "x"})
        (['9', '10'], ['10', '9', 'x'])
    """
    if _are_numbers(classes):
        return sorted(classes, key=lambda each: (int(each), each))
    return sorted(classes)


def _are_numbers(names: Iterable[str]) -> bool:
    return all(re.fullmatch("[0-9]+", each) for each in names)


def _colliding(classes: Iterable[str]) -> list[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for each in classes:
        name = unicodedata.normalize("NFKC", each).casefold().strip()
        alike[name.lstrip("0") or "0" if re.fullmatch("[0-9]+", name) else name].append(each)
    told = [
        f"classes that differ in {what} alone: {some(names)}; rename them if they are one"
        for names in alike.values()
        if len(names) > 1
        for what in ["leading zeros" if _are_numbers(names) else "capitals or accents' coding"]
    ]
    more = [f"and {len(told) - MOST_ALIKE:,} more such classes"] if len(told) > MOST_ALIKE else []
    return told[:MOST_ALIKE] + more


def _joined(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def skipped(suffixes: Counter[str], most: int = 6) -> list[str]:
    """Say which files were passed over, by their suffix.

    Example:
        >>> skipped(Counter({".txt": 2, "": 1}))
        ['3 files are no images by their suffix: .txt 2, no suffix 1']
    """
    if not suffixes:
        return []
    told = [f"{suffix or 'no suffix'} {count:,}" for suffix, count in suffixes.most_common()]
    be = "is no image by its suffix" if suffixes.total() == 1 else "are no images by their suffix"
    return [f"{counted(suffixes.total(), 'file')} {be}: {some(told, most)}"]


def below(path: Path, folder: Path) -> str:
    """Name a path as a person would who stands in the folder."""
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.as_posix()
