"""Which image is in which part: as given, held out by class and group, in folds, or from a file."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from striate.datasets.catalogue import PARTS
from striate.datasets.dealing import blocks_of, folds_of, hold_out
from striate.datasets.listing import Listing, counted, equal_bytes, shown, some
from striate.errors import DataError, UsageError


def split(
    listing: Listing,
    *,
    validation: float,
    test: float,
    seed: int,
    group: str | None = None,
    fold: str | None = None,
    contents: Sequence[bytes] = (),
) -> Listing:
    """Give every image a part. What the set itself says stays.

    A test part that it lacks is held out of the training images, then a validation part, both by
    class, and by group where there are groups: all images of one are in one part, and so are
    images of the same bytes. The result depends on the seed, the images' names and which are equal
    alone, not on the order in which they are listed.

    Args:
        listing: With a part train.
        validation: Share of the training images, after the test part is held out; 0 for none.
        test: Share of the training images; 0 for none.
        seed: Other seeds give other parts.
        group: A column of the table, or a regular expression, looked for in each image's name,
            whose first group says what stays together; the listing's own groups by default.
        fold: As "2/5": the second of five folds of the training images, disjoint and together
            all, is the validation part; ``validation`` is then not used.
        contents: SHA-256 of the bytes of each image, where it is known.

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
    notes = [*listing.notes, *_leaks(listing), *_copies(listing, contents)]
    parts = dict(listing.parts)
    together = _together(listing, contents)
    if test and "test" not in parts:
        more = fold is not None or (validation > 0 and "validation" not in parts)
        taken, told = _held_out(listing, together, parts, "test", test, seed, wanted=2 + more)
        parts["train"], parts["test"] = _without(parts["train"], taken), taken
        notes += told
    if fold is not None:
        taken, told = _fold(listing, together, parts, seed, fold)
    elif validation and "validation" not in parts:
        taken, told = _held_out(listing, together, parts, "validation", validation, seed)
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


def _copies(listing: Listing, contents: Sequence[bytes]) -> list[str]:
    """Tell of images of the same bytes in two of the set's own parts, or with two labels."""
    copies = equal_bytes(contents)
    part_of, labels = listing.part_of(), listing.targets.tolist()
    return [
        f"{counted(len(found), 'image')} there more than once, with {what}, as "
        f"{' and '.join(shown(listing.places[i].name) for i in found[0][:2])}; see `striate data "
        "check`"
        for what, of in (("copies in other parts", part_of), ("other labels", labels))
        if (found := [group for group in copies if len({of[i] for i in group}) > 1])
    ]


def _together(listing: Listing, contents: Sequence[bytes]) -> list[str]:
    """Name for each image what it stays together with: its group, or images of the same bytes."""
    names = list(listing.groups or [place.name for place in listing.places])
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while name in above:
            name = above[name]
        return name

    for first, *others in equal_bytes(contents):
        for each in others:
            one, other = sorted((top(names[first]), top(names[each])))
            if one != other:
                above[other] = one
    return [top(name) for name in names]


def _free(listing: Listing, together: Sequence[str], parts: dict[str, Tensor]) -> list[int]:
    """List the training images that may go: those that nothing binds to another part."""
    bound = {
        together[index]
        for part, indices in parts.items()
        if part != "train"
        for index in indices.tolist()
    }
    return [index for index in parts["train"].tolist() if together[index] not in bound]


def _held_out(
    listing: Listing,
    together: Sequence[str],
    parts: dict[str, Tensor],
    part: str,
    share: float,
    seed: int,
    *,
    wanted: int = 2,
) -> tuple[Tensor, list[str]]:
    blocks = blocks_of(
        *(_free(listing, together, parts), together, listing.targets.tolist()),
        seed=seed,
        purpose=f"part {part}",
    )
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
    listing: Listing, together: Sequence[str], parts: dict[str, Tensor], seed: int, fold: str
) -> tuple[Tensor, list[str]]:
    which, count = map(int, fold.split("/"))
    training = _free(listing, together, parts)
    blocks = blocks_of(training, together, listing.targets.tolist(), seed=seed, purpose="folds")
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
