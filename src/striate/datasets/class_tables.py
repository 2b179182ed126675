"""What the values of masks mean: a table that the user writes, or numbers in a row."""

import csv
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.errors import DataError
from striate.segmentation_losses import IGNORED

TABLE = "classes.csv"
LEFT_OUT = "ignored"

# Without a table, values of a smaller share of all pixels are taken for errors.
STRAY = 0.001

# Without a table, more values than this are numbers of objects rather than of classes.
MOST_UNNAMED = 64
# So many values, 0 to n without a gap and n another in each mask, are numbers of objects too.
MANY_OBJECTS = 8


@dataclass(frozen=True)
class ClassTable:
    """Which value of a mask is which class.

    Attributes:
        names: For each value, or color as 0xrrggbb, its class, or ``ignored``.
        colored: Whether the values are colors.
        foreign: What is the matter with values that are not in it, and the remedy.
    """

    names: Mapping[int, str]
    colored: bool
    foreign: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of the table."""
        return tuple(name for name in dict.fromkeys(self.names.values()) if name != LEFT_OUT)

    def apply(self, path: Path, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Turn a mask's values into class indices.

        Args:
            path: For messages.
            values: ``(*spatial)``.

        Raises:
            DataError: The table does not name a value; 255 need not be named, where values are
                no colors.
        """
        indices = {name: index for index, name in enumerate(self.classes)}
        foreign = []
        mask = np.full(values.shape, IGNORED, np.uint8)
        for value in counted(values):
            name = self.names.get(value)
            if name in indices:
                mask[values == value] = indices[name]
            elif name is None and (self.colored or value != IGNORED):
                foreign.append(f"#{value:06x}" if self.colored else str(value))
        if foreign:
            more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
            raise DataError(f"{path} holds {', '.join(foreign[:5])}{more}, {self.foreign}")
        return mask


def counted(values: NDArray[Any]) -> dict[int, int]:
    """Count the pixels of each value of a mask, values ascending.

    Example:
        >>> counted(np.array([[7, 0], [7, 255]], np.uint8))
        {0: 1, 7: 2, 255: 1}
    """
    if values.dtype == np.uint8:  # ten times as fast
        histogram = np.bincount(values.ravel(), minlength=256)
        return {value: int(histogram[value]) for value in np.flatnonzero(histogram).tolist()}
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(map(int, found.tolist()), counts.tolist(), strict=True))


def read_table(file: Path) -> ClassTable:
    """Read ``classes.csv``: a heading, then a line for each class.

    The heading names a column ``value`` (or ``index``), or ``color`` as ``#ff0000``; and a column
    ``name``. Several values may have one name.

    Raises:
        DataError: It cannot be read, a line does not fit the heading, a value stands twice, or
            there are fewer than two classes.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            heading = [*(reader.fieldnames or ())]
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as a table ({error}); save it as CSV") from error
    column = next((name for name in ("value", "color", "index") if name in heading), None)
    if column is None or "name" not in heading:
        raise DataError(
            f"{file} begins with {','.join(heading) or 'nothing'}; its first line must be "
            "value,name or color,name, and a line as 1,cell or #ff0000,cell follow for each class"
        )
    colored = column == "color"
    names: dict[int, str] = {}
    for number, row in rows:
        given, name = ((row[key] or "").strip() for key in (column, "name"))
        value = _color(given) if colored else _whole(given)
        if value is None or not name or value in names:
            raise DataError(
                f"{file}, line {number}: {given},{name} "
                + ("names a value again" if value in names else "is no such line")
                + f"; needed is {'#ff0000,cell' if colored else '1,cell'}, say, each value once"
            )
        names[value] = name
    return named_classes(names, file, colored=colored)


def named_classes(names: Mapping[int, str], file: Path, *, colored: bool = False) -> ClassTable:
    """Make the table of a file that names the values of masks.

    Raises:
        DataError: It names fewer than two classes, or more than a byte can tell apart.
    """
    foreign = f"which {file} does not name; name each there, as {LEFT_OUT} to leave its pixels out"
    table = ClassTable(names, colored, foreign)
    if not 2 <= len(table.classes) <= IGNORED:
        raise DataError(
            f"{file} names {len(table.classes)} classes besides {LEFT_OUT}; needed are 2 to "
            f"{IGNORED}: give each value of the masks a line"
        )
    return table


def _color(text: str) -> int | None:
    digits = text.removeprefix("#")
    try:
        return int(digits, 16) if len(digits) == 6 and digits != text else None
    except ValueError:
        return None


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def numbered(held: Mapping[Path, Mapping[int, int]], folder: Path) -> ClassTable:
    """Make the table of masks that nothing is said about: 0, 1, 2, ... are classes.

    255 is left out where there are other classes.

    Args:
        held: For each mask the values it holds, ascending, and their pixels.
        folder: Where a table would stand.

    Raises:
        DataError: The values have a gap, do not begin at 0, are one alone, or are numbers of
            objects; the table to write is told, or the file of a few wrong pixels.
    """
    found = sorted({value for values in held.values() for value in values})
    classes = [value for value in found if value != IGNORED]
    file = folder / TABLE
    if len(classes) > MOST_UNNAMED or _numbers_objects(held):
        path = max(held, key=lambda each: len(held[each]))
        raise DataError(
            f"{path} holds {len(held[path])} different values, as where each object has a number "
            "of its own (instances), which is not supported; give all objects of a class one "
            f"value, or name the values in {file}"
        )
    if len(found) < 2:
        raise DataError(
            f"all masks in {folder} hold {found[0]} alone, so there is nothing to tell apart; "
            "draw the objects into them"
        )
    if classes != [*range(len(classes))] or len(classes) < 2:
        _refuse_strays(held, file)
        shown = ", ".join(map(str, found[:8])) + (", ..." if len(found) > 8 else "")
        words = ["background", *(f"object{i}" for i in range(1, 8))]
        lines = [f"{value},{word}" for value, word in zip(found, words, strict=False)]
        more = "and a line for each further value" if len(found) > 8 else "under your own names"
        raise DataError(
            f"the masks in {folder} hold {shown}, but without a table they must hold 0, 1, 2, ... "
            f"(255 is left out); write it, {more}: "
            f"printf '%s\\n' value,name {' '.join(lines)} > {shlex.quote(str(file))}"
        )
    names = {value: str(value) for value in classes}
    foreign = f"which no training mask holds; correct it, or name all values in {file}"
    return ClassTable(names, colored=False, foreign=foreign)


def _refuse_strays(held: Mapping[Path, Mapping[int, int]], file: Path) -> None:
    """Refuse values of so few pixels that they are rather errors than classes."""
    total = Counter[int]()
    for values in held.values():
        total.update(values)
    pixels = total.total()
    strays = {value for value, count in total.items() if count < STRAY * pixels}
    if not strays or len(total) - len(strays) < 2:
        return
    path = next(path for path, values in held.items() if strays & values.keys())
    value = min(strays & held[path].keys())
    others = ", ".join(str(each) for each in sorted(total.keys() - strays)[:8])
    raise DataError(
        f"{path} holds {value} in {held[path][value]:,} of {sum(held[path].values()):,} pixels, "
        f"where nearly all of the masks hold {others}; correct the mask, or name every value "
        f"in {file}"
    )


def _numbers_objects(held: Mapping[Path, Mapping[int, int]]) -> bool:
    tops = [len(values) for values in held.values() if [*values] == [*range(len(values))]]
    return len(tops) == len(held) > 1 and max(tops) > MANY_OBJECTS and len({*tops}) > 1
