"""Which image is in which part: as given, held out by class and group, in folds, or from a file."""

import csv
import io
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from striate.datasets.catalogue import PARTS
from striate.datasets.dealing import blocks_of, folds_of, hold_out
from striate.datasets.listing import Listing, counted, shown, some
from striate.errors import DataError, UsageError

HEADING = ("path", "label", "part", "group", "sha256")


def split(
    listing: Listing,
    *,
    validation: float,
    test: float,
    seed: int,
    group: str | None = None,
    fold: str | None = None,
) -> Listing:
    """Give every image a part. What the set itself says stays.

    A test part that it lacks is held out of the training images, then a validation part, both by
    class, and by group where there are groups: all images of one are in one part. The result
    depends on the seed and the images' names alone, not on the order in which they are listed.

    Args:
        listing: With a part train.
        validation: Share of the training images, after the test part is held out; 0 for none.
        test: Share of the training images; 0 for none.
        seed: Other seeds give other parts.
        group: A column of the table, or a regular expression, looked for in each image's name,
            whose first group says what stays together; the listing's own groups by default.
        fold: As "2/5": the second of five folds of the training images, disjoint and together
            all, is the validation part; ``validation`` is then not used.

    Returns:
        The listing with its parts, groups, and notes that say what was done.

    Raises:
        UsageError: The group is neither a column nor such an expression, the set has a
            validation part beside ``fold``, or there are fewer groups than parts.
        DataError: There are no training images, or images without a group; some are named.

    Example:
        >>> from striate.datasets.listing import Place
        >>> places = tuple(Place(f"/{n}.png", f"{n}.png") for n in range(20))
        >>> targets = torch.arange(20) % 2
        >>> parts = {"train": torch.arange(20)}
        >>> twenty = Listing("s", ("even", "odd"), places, targets, parts, "/", "")
        >>> parts = split(twenty, validation=0.25, test=0.2, seed=0).parts
        >>> {part: len(images) for part, images in parts.items()}
        {'train': 12, 'validation': 4, 'test': 4}
    """
    if not len(listing.parts.get("train", ())):
        raise DataError(
            f"{listing.source} has no training images, only {', '.join(listing.parts)}; give the "
            "folder or table that has them"
        )
    if fold is not None and "validation" in listing.parts:
        raise UsageError(
            f"fold is {fold}, but {listing.source} has a validation part of its own; leave --fold "
            "out"
        )
    listing = grouped(listing, group)
    notes = [*listing.notes, *_leaks(listing)]
    parts = dict(listing.parts)
    if test and "test" not in parts:
        more = fold is not None or (validation > 0 and "validation" not in parts)
        taken, told = _held_out(listing, parts, "test", test, seed, wanted=2 + more)
        parts["train"], parts["test"] = _without(parts["train"], taken), taken
        notes += told
    if fold is not None:
        taken, told = _fold(listing, parts, seed, fold)
    elif validation and "validation" not in parts:
        taken, told = _held_out(listing, parts, "validation", validation, seed)
    else:
        taken, told = torch.zeros(0).long(), []
    if len(taken):
        parts["train"], parts["validation"] = _without(parts["train"], taken), taken
    ordered = {part: parts[part] for part in PARTS if part in parts}
    return replace(listing, parts=ordered, notes=(*notes, *told))


def grouped(listing: Listing, group: str | None) -> Listing:
    """Put images into groups by a column or by their names.

    Args:
        listing: Any.
        group: As in ``split``; None leaves the listing as it is.

    Raises:
        UsageError: It is neither a column nor an expression with a group.
        DataError: Some images have no group; they are counted and some named.
    """
    if group is None:
        return listing
    if group in listing.columns:
        keys = [value or None for value in listing.columns[group]]
        how = f"have nothing in column {group}; fill it in, each with a value of its own if need be"
    else:
        pattern = _pattern(group, listing)
        matches = (pattern.search(place.name) for place in listing.places)
        keys = [(match[1] or None) if match else None for match in matches]
        how = f"do not match --group {group}; correct the expression"
    lonely = [place.name for place, key in zip(listing.places, keys, strict=True) if key is None]
    if lonely:
        raise DataError(f"{len(lonely):,} of {counted(len(keys), 'image')} {how}: {some(lonely)}")
    return replace(listing, groups=tuple(key for key in keys if key is not None))


def _pattern(group: str, listing: Listing) -> re.Pattern[str]:
    columns = f"columns: {', '.join(listing.columns)}" if listing.columns else "there are none"
    remedy = "give a column, or an expression with one in brackets, as '(patient[0-9]+)'"
    try:
        pattern = re.compile(group)
    except re.error as error:
        reason = f"nor a regular expression ({error})"
    else:
        if pattern.groups:
            return pattern
        reason = "and as a regular expression has no group"
    raise UsageError(
        f"group {group} is no column of {listing.source} ({columns}) {reason}; {remedy}"
    )


def _leaks(listing: Listing) -> list[str]:
    """Tell of groups that the set itself has put into two parts."""
    if listing.groups is None:
        return []
    groups = {
        part: {listing.groups[index] for index in indices.tolist()}
        for part, indices in listing.parts.items()
    }
    names = [part for part in PARTS if part in groups]
    return [
        f"{counted(len(shared), 'group')} of the set's own {one} part "
        f"{'is' if len(shared) == 1 else 'are'} in its {other} part too: {some(sorted(shared))}"
        for place, one in enumerate(names)
        for other in names[place + 1 :]
        if (shared := groups[one] & groups[other])
    ]


def _free(listing: Listing, parts: dict[str, Tensor]) -> tuple[list[int], Sequence[str]]:
    """List the training images that may go, and what each stays together with."""
    training = parts["train"].tolist()
    if listing.groups is None:
        return training, [place.name for place in listing.places]
    bound = {
        listing.groups[index]
        for part, indices in parts.items()
        if part != "train"
        for index in indices.tolist()
    }
    return [index for index in training if listing.groups[index] not in bound], listing.groups


def _held_out(
    listing: Listing,
    parts: dict[str, Tensor],
    part: str,
    share: float,
    seed: int,
    *,
    wanted: int = 2,
) -> tuple[Tensor, list[str]]:
    training, names = _free(listing, parts)
    blocks = blocks_of(training, names, listing.targets.tolist(), seed=seed, purpose=f"part {part}")
    taken, lacking = hold_out(blocks, share, parts=wanted)
    if not taken:
        what = "image of each class" if listing.groups is None else "group"
        idle = " and --validation 0" if wanted > 2 else ""  # which would fail next
        raise UsageError(
            f"no {part} part can be held out of {listing.source}: one {what} or none is free to "
            f"go; add images, or give --{part} 0{idle}"
        )
    how = "by class" if listing.groups is None else "by class and group"
    notes = [
        f"{counted(len(taken), 'image')} held out of {len(parts['train']):,} as the {part} part, "
        f"{how}, seed {seed}"
    ]
    notes += _lacking(listing, lacking, f"none of their images in the {part} part: too few to part")
    return torch.tensor(taken), notes


def _fold(
    listing: Listing, parts: dict[str, Tensor], seed: int, fold: str
) -> tuple[Tensor, list[str]]:
    which, count = map(int, fold.split("/"))
    training, names = _free(listing, parts)
    blocks = blocks_of(training, names, listing.targets.tolist(), seed=seed, purpose="folds")
    if len(blocks) < count:
        what = "image" if listing.groups is None else "group"
        raise UsageError(
            f"fold is {fold}, but {counted(len(blocks), what)} cannot make {count} folds; ask for "
            "fewer"
        )
    taken = folds_of(blocks, count)[which - 1]
    shown = {int(target) for target in listing.targets[taken]}
    lacking = sorted({int(target) for target in listing.targets[training]} - shown)
    how = "by class" if listing.groups is None else "by class and group"
    notes = [
        f"fold {which} of {count}: {counted(len(taken), 'image')} of {len(parts['train']):,} are "
        f"the validation part, {how}, seed {seed}"
    ]
    notes += _lacking(listing, lacking, "none of their images in this fold")
    return torch.tensor(taken), notes


def _lacking(listing: Listing, lacking: Sequence[int], what: str) -> list[str]:
    names = [listing.classes[each] for each in lacking]
    return [f"{counted(len(names), 'class')} with {what}: {some(names)}"] if names else []


def _without(indices: Tensor, taken: Tensor) -> Tensor:
    return indices[~torch.isin(indices, taken)]


def write_split(listing: Listing, contents: Sequence[bytes] = ()) -> str:
    r"""Write which image is in which part, of which class and group, and its content, as CSV.

    Names that are no UTF-8 keep their bytes as surrogates; encode with ``surrogateescape``.

    Args:
        listing: The images.
        contents: SHA-256 of the bytes of each, where it is known.

    Example:
        >>> from striate.datasets.listing import Place
        >>> places = (Place("/a.png", "a.png"), Place("/b.png", "b.png"))
        >>> parts = {"train": torch.tensor([1]), "test": torch.tensor([0])}
        >>> both = Listing("s", ("x", "y"), places, torch.tensor([1, 0]), parts, "/", "")
        >>> write_split(both)
        'path,label,part,group,sha256\na.png,y,test,,\nb.png,x,train,,\n'
    """
    part_of = {index: part for part, indices in listing.parts.items() for index in indices.tolist()}
    groups = listing.groups or ("",) * len(listing.places)
    text = io.StringIO()
    odd = any("\r" in place.name for place in listing.places) or "\r" in "".join(groups)
    quoting: Literal[0, 1] = csv.QUOTE_ALL if odd else csv.QUOTE_MINIMAL  # which forgets \r
    writer = csv.writer(text, lineterminator="\n", quoting=quoting)
    writer.writerow(HEADING)
    for index, (place, target) in enumerate(
        zip(listing.places, listing.targets.tolist(), strict=True)
    ):
        content = contents[index].hex() if contents else ""
        label, part = listing.classes[target], part_of[index]
        writer.writerow([place.name, label, part, groups[index], content])
    return text.getvalue()


def changed_since(listing: Listing, contents: Sequence[bytes], text: str) -> list[str]:
    """Name the images whose bytes are others than when ``write_split`` wrote of them.

    Args:
        listing: The images; those of which nothing was written are passed over.
        contents: SHA-256 of the bytes of each, now.
        text: What ``write_split`` gave.
    """
    told = {row[0]: row[-1] for row in csv.reader(io.StringIO(text, newline=""))}
    return [
        place.name
        for place, content in zip(listing.places, contents, strict=True)
        if told.get(place.name) not in (None, "", content.hex())
    ]


def apply_split(listing: Listing, text: str, *, drop_new: bool = False) -> Listing:
    """Put every image into the part that ``write_split`` wrote of it.

    Args:
        listing: Of the same images, in any order.
        text: What ``write_split`` gave.
        drop_new: Leave out images that the text does not name, as those that could not be read.

    Raises:
        DataError: The text is no such table, has a part that there is not or an image twice; images
            that it names are gone, there are new ones, or some have another class now; they are
            counted, and some named.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    rows, lines = [], []
    for row in reader:
        rows.append(row)
        lines.append(reader.line_num)
    if not rows or tuple(rows[0]) != HEADING or any(len(row) != len(HEADING) for row in rows):
        raise DataError(f"the split is no table of {','.join(HEADING)}; take the run's split.csv")
    told: dict[str, list[str]] = {}
    for row, line in zip(rows[1:], lines[1:], strict=True):
        if row[0] in told:
            raise DataError(
                f"line {line:,} of the split names {shown(row[0])} again; keep one of them"
            )
        told[row[0]] = row[1:]
        if row[2] not in PARTS:
            raise DataError(
                f"line {line:,} of the split puts {shown(row[0])} into {row[2] or 'nothing'}, "
                f"which is no part; it may be {', '.join(PARTS)}"
            )
    names = {place.name for place in listing.places}
    new = [place.name for place in listing.places if place.name not in told]
    if new and drop_new:
        listing = listing.keeping(torch.tensor([each.name in told for each in listing.places]))
        new = []
    gone = [each for each in told if each not in names]
    refuse_others(listing, "that were in the split are gone", gone)
    refuse_others(listing, "are new since the split was made", new)
    labels = [listing.classes[target] for target in listing.targets.tolist()]
    changed = [
        f"{place.name} ({told[place.name][0]}, now {label})"
        for place, label in zip(listing.places, labels, strict=True)
        if told[place.name][0] != label
    ]
    refuse_others(listing, "have another class than in the split", changed)
    parts = [told[place.name][1] for place in listing.places]
    groups = tuple(told[place.name][2] for place in listing.places)
    return replace(
        listing,
        parts=in_parts(parts),
        groups=groups if any(groups) else None,
    )


def refuse_others(listing: Listing, what: str, names: Collection[str]) -> None:
    """Refuse a set some of whose images are not those of a run.

    Raises:
        DataError: There are such names; they are counted, and some told.
    """
    if names:
        raise DataError(
            f"{counted(len(names), 'image')} of {listing.source} {what}: {some(sorted(names))}; "
            "bring the images as they were, or train anew"
        )


def in_parts(names: Iterable[str]) -> dict[str, Tensor]:
    """List for each part its images, from each image's part.

    Example:
        >>> in_parts(["test", "train", "test"])
        {'train': tensor([1]), 'test': tensor([0, 2])}
    """
    members: dict[str, list[int]] = {part: [] for part in PARTS}
    for index, name in enumerate(names):
        members[name].append(index)
    return {part: torch.tensor(indices) for part, indices in members.items() if indices}
