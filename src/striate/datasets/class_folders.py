"""Folders of images, a folder a class, with or without folders for train, validation and test."""

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from striate.datasets.gathering import PART_NAMES, Gathering, skipped
from striate.datasets.label_tables import TABLES, heading_of, names_images
from striate.datasets.listing import Listing, Place, counted, some
from striate.errors import DataError
from striate.files import identity
from striate.images import SUFFIXES

# What systems and programs leave behind; hidden names are left out too.
SYSTEM = {"__macosx", "thumbs.db", "desktop.ini", "__pycache__", "@eadir", "$recycle.bin"}
MASK_ENDINGS = ("_mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "_gt", "_annot")


def split_name(name: str) -> tuple[str, str]:
    """Split a file's name into stem and suffix, the latter in small letters.

    Example:
        >>> split_name("scan.1.PNG"), split_name(".hidden")
        (('scan.1', '.png'), ('.hidden', ''))
    """
    stem, _, ending = name.rpartition(".")
    return (stem, f".{ending.lower()}") if stem else (name, "")


@dataclass
class Walk:
    """What was seen below a folder.

    Attributes:
        others: Files that are no images, by suffix.
        hidden: Folders and images that were left out, as names below the set's folder.
        broken: Links that lead nowhere, or back into a folder above them.
    """

    others: Counter[str] = field(default_factory=Counter)
    hidden: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Say what was left out."""
        notes = skipped(self.others)
        if self.hidden:
            notes.append(f"hidden or a system's, left out: {some(sorted(self.hidden))}")
        if self.broken:
            notes.append(f"links that lead nowhere or round, left out: {some(sorted(self.broken))}")
        return notes


def read_class_folders(folder: Path, *, chosen: bool = False) -> Listing | None:
    """List the images of ``folder/CLASS/**`` or of ``folder/PART/CLASS/**``.

    A single folder that holds all is gone into. Parts are called train or training, val, valid,
    validation or dev, and test or testing, in capitals or not.

    Args:
        folder: Exists.
        chosen: The user said that it is laid out so; without that, images whose masks lie beside
            them are refused.

    Returns:
        None where there is no image below the folder.

    Raises:
        DataError: The images are in no class folders, or a part stands twice; or an image's mask
            lies beside it.
    """
    walk = Walk()
    root, inside = folder, _look(folder, "", walk)
    notes: list[str] = []
    while not inside.images and len(inside.folders) == 1:
        (name,) = inside.folders
        if name.lower() in PART_NAMES:
            break
        if not _look(root / name, "", Walk()).folders:
            break
        root = root / name
        inside = _look(root, "", walk)
        notes = [f"all lies in {root.relative_to(folder).as_posix()}/, which is read"]
    parts = _part_folders(root, inside.folders)
    flat = not parts and all(each.lower() in PART_NAMES for each in inside.folders)
    if flat and _refuse_flat(root, inside, walk):
        return None
    gathered = Gathering(notes=notes)
    for part, name in parts.items() if parts else [(None, "")]:
        _gather(root, name, part, gathered, walk)
    if not gathered.places and _refuse_flat(root, inside, walk):
        return None
    if parts:
        _tell_others(
            root, [each for each in inside.folders if each not in parts.values()], gathered
        )
    if not chosen:
        _refuse_masks(gathered, root)
    gathered.notes += walk.notes()
    return gathered.listing(folder.resolve().name, str(folder), "class folders")


@dataclass
class _Inside:
    folders: list[str]
    images: list[str]


def _look(folder: Path, below: str, walk: Walk) -> _Inside:
    """Sort what lies in one folder; what is neither folder nor image is told to the walk."""
    inside = _Inside([], [])
    with os.scandir(folder) as entries:
        for entry in entries:
            name, suffix = entry.name, split_name(entry.name)[1]
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link to itself
                is_folder = is_file = False
            if name.startswith(".") or name.lower() in SYSTEM:
                if is_folder or suffix in SUFFIXES:
                    walk.hidden.append(below + name + "/" * is_folder)
            elif is_folder:
                inside.folders.append(name)
            elif suffix in SUFFIXES:
                inside.images.append(name)  # also a pipe or a link to nothing: reading it says so
            elif not is_file:
                walk.broken.append(below + name)
            else:
                walk.others[suffix] += 1
    inside.folders.sort()
    return inside


def images_below(folder: Path, below: str, walk: Walk) -> Iterator[str]:
    """Find images in a folder and in those in it; links are followed, but not round.

    Args:
        folder: Where to begin.
        below: Its name below the set's folder, with a stroke behind it.
        walk: Told what is left out.

    Yields:
        Names below ``folder``, in no order.
    """
    stack: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", (identity(folder),))]
    while stack:
        name, above = stack.pop()
        inside = _look(folder / name, below + name, walk)
        yield from (name + each for each in inside.images)
        for each in inside.folders:
            found = identity(folder / (name + each))
            if found in above:
                walk.broken.append(below + name + each)
            else:
                stack.append((f"{name}{each}/", (*above, found)))


def _part_folders(root: Path, folders: list[str]) -> dict[str | None, str]:
    """Find the folders that are parts: they hold folders, and train is one or all are."""
    named = [each for each in folders if each.lower() in PART_NAMES]
    holding = [each for each in named if _look(root / each, "", Walk()).folders]
    if len(named) < len(folders) and all(PART_NAMES[each.lower()] != "train" for each in holding):
        return {}
    parts: dict[str | None, str] = {}
    for name in holding:
        part = PART_NAMES[name.lower()]
        if part in parts:
            raise DataError(
                f"{root} has {parts[part]}/ and {name}/, which both mean the {part} part; join "
                "them, or rename one"
            )
        parts[part] = name
    return parts


def _gather(
    root: Path, part_folder: str, part: str | None, gathered: Gathering, walk: Walk
) -> None:
    """Add the images of the class folders in a part, or in the whole set."""
    base, prefix = root / part_folder, f"{part_folder}/" if part_folder else ""
    inside = _look(base, prefix, Walk() if not part_folder else walk)
    absolute = base.absolute()
    empty = []
    for label in inside.folders:
        names = list(images_below(base / label, f"{prefix}{label}/", walk))
        gathered.places += [
            Place(f"{absolute}/{label}/{name}", f"{prefix}{label}/{name}") for name in names
        ]
        gathered.labels += [label] * len(names)
        gathered.parts += [part] * len(names)
        if not names:
            empty.append(prefix + label)
            gathered.empty.add(label)
    if inside.images and gathered.places:
        where = f"{part_folder}/" if part_folder else "the class folders"
        beside = "in no class folder of" if part_folder else "beside"
        gathered.notes.append(
            f"{counted(len(inside.images), 'image')} {beside} {where}, left out: "
            f"{some(sorted(inside.images))}"
        )
    if empty:
        gathered.notes.append(f"folders without an image: {some(empty)}")


def _tell_others(root: Path, others: list[str], gathered: Gathering) -> None:
    for each in others:
        count = sum(1 for _ in images_below(root / each, f"{each}/", Walk()))
        if count:
            why = "has no class folders" if each.lower() in PART_NAMES else "is no part"
            gathered.notes.append(f"{each}/ {why}: left out with {counted(count, 'image')}")


def _refuse_flat(root: Path, inside: _Inside, walk: Walk) -> bool:
    """Refuse images that lie in no class folder; true where there are none."""
    held = {root: len(inside.images)}
    for name in inside.folders:
        held[root / name] = sum(1 for _ in images_below(root / name, f"{name}/", walk))
    folder = max(held, key=lambda each: held[each])
    if held[folder]:
        table = _unread_table(root)
        remedy = "write a table labels.csv of path,label beside them"
        raise DataError(
            f"{folder} holds {counted(held[folder], 'image')} but no class folders, so their "
            "classes are not known; put each into a folder named as its class, or "
            + (f"name two columns path and label: {table}" if table else remedy)
        )
    return True


def _unread_table(folder: Path) -> str:
    """Say which columns the first table of a folder has, if they name no images; "" of none."""
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in TABLES and not names_images(file):
            try:
                columns = [name.strip() for name in heading_of(file)]
            except (OSError, csv.Error):
                continue
            return f"{file.name} there has the columns {some(columns, 8)}"
    return ""


def _refuse_masks(gathered: Gathering, root: Path) -> None:
    """Refuse masks that lie among the images they belong to."""
    stems: dict[str, set[str]] = defaultdict(set)
    for place in gathered.places:
        folder, _, file = place.name.rpartition("/")
        stems[folder].add(split_name(file)[0])
    masks = []
    for folder, held in stems.items():
        for stem in held:
            ending = next((each for each in MASK_ENDINGS if stem.lower().endswith(each)), None)
            if ending and stem[: -len(ending)] in held:
                masks.append(f"{folder}/{stem}")
    if masks:
        raise DataError(
            f"{counted(len(masks), 'image')} in {root} look like masks of the images beside them: "
            f"{some(sorted(masks), 3)}; take them away, train a network that labels pixels, unet "
            "say, or give --layout folders to use them as images"
        )
