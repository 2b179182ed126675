"""split.csv: which image is in which part, of which class and group, and its content."""

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Literal

import torch

from striate.datasets.catalogue import PARTS
from striate.datasets.listing import Listing, counted, shown, some
from striate.datasets.splits import in_parts
from striate.errors import DataError

HEADING = ("path", "label", "part", "group", "sha256")
ONE = {"have": "has", "are": "is", "were": "was"}
MANY = {verb: verb for verb in ONE}


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
    part_of = listing.part_of()
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


def training_contents(text: str) -> set[str]:
    """Give the SHA-256 of the images that were trained on, or that choices were made on.

    Args:
        text: What ``write_split`` gave.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return {row.get("sha256", "") for row in rows if row["part"] != "test"} - {""}


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
    refuse_others(listing, "that {were} in the split {are} gone", gone)
    refuse_others(listing, "{are} new since the split was made", new)
    labels = [listing.classes[target] for target in listing.targets.tolist()]
    changed = [
        f"{place.name} ({told[place.name][0]}, now {label})"
        for place, label in zip(listing.places, labels, strict=True)
        if told[place.name][0] != label
    ]
    refuse_others(listing, "{have} another class than in the split", changed)
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
        what = what.format_map(ONE if len(names) == 1 else MANY)
        raise DataError(
            f"{counted(len(names), 'image')} of {listing.source} {what}: {some(sorted(names))}; "
            "bring the images as they were, or train anew"
        )
