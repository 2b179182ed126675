"""What is told of a set: findings, each with the images that it is about."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from striate.data_check.copies import nearly_same, same_bytes
from striate.data_check.looking import Seen
from striate.datasets.listing import shown

IN_TWO_PARTS = "group in two parts"
RATIO = 10  # of the largest class to the smallest from which on balance is told


class Finding(NamedTuple):
    """Something to know about a set.

    Attributes:
        kind: In a few words, always the same for the same thing.
        text: What it means and what helps.
        is_serious: Whether it must be looked at before training.
        groups: Indices of the images that belong together; one each where they do not.
        details: For each group what is said of it; for a finding without images one line each.
    """

    kind: str
    text: str
    is_serious: bool
    groups: tuple[tuple[int, ...], ...]
    details: tuple[str, ...]


SERIOUS = {
    "broken": "cannot be read; copy or export them again, or train with --skip-bad",
    "too large": "over the limit of pixels; shrink them, or raise --max-pixels",
    "suspect": "read, but parts may be wrong; look at them",
    "empty class": "without one readable image; remove the class or add images",
    "missing class": "in a part for tests, but not in training; such images cannot be got right",
    "other label": "the same bytes with different labels; keep one of them",
    "part to part": "the same bytes in two parts: tests would be too good; keep one of them",
    IN_TWO_PARTS: "images of one group in two parts: tests would be too good; move them",
    "near, other label": "nearly the same picture with different labels; look at them",
    "near, part to part": "nearly the same picture in two parts: tests would be too good",
    "one value": "all pixels the same; nothing can be learnt from them",
}
REMARKS = {
    "twice": "the same bytes in one class and part; they weigh twice",
    "near": "nearly the same picture in one class and part; they weigh twice",
    "nearly empty": "99.5 % of the pixels alike; look whether something is on them",
    "more pages": "the first page or picture of several is read; export the others if they count",
    "other name": "another format than the name says; they are read as what they are",
    "imbalance": f"the largest class has over {RATIO} times the images of the smallest",
}


def findings(
    classes: Sequence[str],
    targets: Sequence[int],
    parts: Mapping[str, Sequence[int]],
    seen: Sequence[Seen],
    names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    empty: Sequence[str] = (),
) -> tuple[Finding, ...]:
    """Tell what is wrong or odd, what must be looked at first.

    Args:
        classes: Names of the classes.
        targets: For each image the index of its class.
        parts: For each part the indices of its images.
        seen: What was seen of each image.
        names: What each image is called.
        groups: For each image what should stay in one part with its like.
        empty: Folders as of classes, without an image.
    """
    found: dict[str, list[tuple[tuple[int, ...], str]]] = {}

    def tell(kind: str, group: Iterable[int], detail: str) -> None:
        found.setdefault(kind, []).append((tuple(group), detail))

    for index, one in enumerate(seen):
        for kind, detail in _of_one(one):
            tell(kind, (index,), f"{names[index]}: {detail.removeprefix(f'{names[index]} ')}")
    for name in empty:
        tell("empty class", (), name)
    for kind, detail in _of_classes(classes, targets, parts, seen):
        tell(kind, (), detail)
    part_of = {index: part for part, indices in parts.items() for index in indices}
    for name, members in _parted(groups or (), part_of):
        counts = Counter(part_of[index] for index in members)
        detail = ", ".join(f"{part} {count:,}" for part, count in counts.items())
        tell(IN_TWO_PARTS, members, f"{shown(name)}: {detail}")
    exact, near = same_bytes(seen), nearly_same(seen)
    for prefix, copies in (("", exact), ("near, ", near)):
        for group in copies:
            labels = {targets[i] for i in group}
            places = {part_of.get(i) for i in group}
            detail = "; ".join(f"{names[i]} ({classes[targets[i]]})" for i in group)
            if len(labels) > 1:
                tell(f"{prefix}other label", group, detail)
            if len(places) > 1:
                tell(f"{prefix}part to part", group, detail)
            if len(labels) == len(places) == 1:
                tell("near" if prefix else "twice", group, detail)
    return tuple(
        Finding(
            kind,
            text,
            kind in SERIOUS,
            tuple(group for group, _ in found[kind]),
            tuple(detail for _, detail in found[kind]),
        )
        for kind, text in {**SERIOUS, **REMARKS}.items()
        if kind in found
    )


def _parted(groups: Sequence[str], part_of: Mapping[int, str]) -> list[tuple[str, list[int]]]:
    """List the groups of which images are in several parts: the first of each, the second, ..."""
    members: dict[str, dict[str, list[int]]] = {}
    for index, name in enumerate(groups):
        if index in part_of:
            members.setdefault(name, {}).setdefault(part_of[index], []).append(index)
    return [
        (name, [i for row in zip_longest(*held.values()) for i in row if i is not None])
        for name, held in sorted(members.items())
        if len(held) > 1
    ]


def _of_one(one: Seen) -> list[tuple[str, str]]:
    if one.refusal:
        return [("too large" if "pixels; the limit is" in one.refusal else "broken", one.refusal)]
    said = []
    for note in one.notes:
        if note.startswith("parts of it may be wrong"):
            said.append(("suspect", note))
        elif note.startswith("first of"):
            said.append(("more pages", note))
        elif note.startswith("read as"):
            said.append(("other name", note))
    if one.low == one.high:
        said.append(("one value", f"all pixels are {one.low:g}"))
    elif one.is_empty:
        said.append(("nearly empty", f"values from {one.low:g} to {one.high:g}"))
    return said


def _of_classes(
    classes: Sequence[str],
    targets: Sequence[int],
    parts: Mapping[str, Sequence[int]],
    seen: Sequence[Seen],
) -> list[tuple[str, str]]:
    readable = [not one.refusal for one in seen]
    counts = Counter(target for target, good in zip(targets, readable, strict=True) if good)
    said = [("empty class", name) for index, name in enumerate(classes) if not counts[index]]
    in_training = {targets[i] for i in parts.get("train", ()) if readable[i]}
    for part in (name for name in parts if name != "train" and "train" in parts):
        missing = {targets[i] for i in parts[part]} - in_training
        said += [("missing class", f"{classes[i]}, in {part}") for i in sorted(missing)]
    sizes = np.array(list(counts.values()))
    if len(sizes) > 1 and sizes.max() > RATIO * sizes.min():
        most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        said.append(
            ("imbalance", f"{classes[most]} {counts[most]:,}, {classes[least]} {counts[least]:,}")
        )
    return said
