"""Tables that name images and their classes: CSV, TSV, and Hugging Face's metadata files."""

import csv
import io
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from striate.datasets.gathering import PART_NAMES, Gathering, below
from striate.datasets.listing import Place, counted, shown, some
from striate.errors import DataError

TABLES = (".csv", ".tsv")
PATHS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "image_path", "image_name", "img", "img_path", "img_name"),
)
LABELS = ("label", "labels", "class", "target", "category", "class_name", "label_name", "classname")
SPLITS = ("split", "part", "subset", "partition", "set")
GROUPS = (
    *("group", "group_id", "patient", "patient_id", "subject", "subject_id", "participant"),
    *("participant_id", "video", "video_id", "plate", "plate_id"),
)
SEPARATED = re.compile(r"[^;|]*[^;|\s][^;|]*([;|][^;|]*[^;|\s][^;|]*)+|\[.*\]|\{.*\}|\(.*,.*\)")
HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # no byte kept as a surrogate either


class Row(NamedTuple):
    """A line of a table: its number, and a text for each column, or a list as JSON has them."""

    line: int
    cells: Mapping[str, Any]


class _Columns(NamedTuple):
    path: str
    label: str
    split: str | None
    group: str | None
    others: tuple[str, ...]


def heading_of(file: Path) -> list[str]:
    """Read the names of a table's columns, as they stand.

    Raises:
        OSError: It cannot be read.
    """
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        first = lines.readline(100_000)
    return next(csv.reader([first], delimiter=_delimiter(first)), [])


def names_images(file: Path) -> bool:
    """Tell whether a table has a column of paths and one of labels."""
    try:
        columns = {name.strip().lower() for name in heading_of(file)}
    except (OSError, csv.Error):
        return False
    return not columns.isdisjoint(PATHS) and not columns.isdisjoint(LABELS)


def _delimiter(line: str) -> str:
    return max("\t,;", key=line.count)


def read_rows(file: Path) -> list[Row]:
    """Read a table, or one JSON object a line.

    Raises:
        DataError: It cannot be read, or a line does not fit.
    """
    try:
        text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
        return list(_json_rows(text, file) if file.suffix == ".jsonl" else _csv_rows(text, file))
    except (OSError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as a table ({error}); save it as CSV") from error


def _csv_rows(text: str, file: Path) -> Iterator[Row]:
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=_delimiter(text[: text.find("\n")])
    )
    heading = [name.strip().lower() for name in next(reader, [])]
    twice = sorted({name for name in heading if name and heading.count(name) > 1})
    if twice:
        raise DataError(f"{file} has two columns {some(twice)}; rename one")
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(heading):
            raise DataError(
                f"{file}, line {reader.line_num}: {counted(len(cells), 'cell')}, but the heading "
                f"has {len(heading)}; put text that holds a comma into quotes"
            )
        yield Row(reader.line_num, dict(zip(heading, cells, strict=True)))


def _json_rows(text: str, file: Path) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except ValueError as error:
            raise DataError(f"{file}, line {number} is no JSON ({error}); correct it") from error
        if not isinstance(cells, dict):
            raise DataError(f'{file}, line {number} is no object as {{"file_name": ...}}')
        if "\\ud" in line.lower() and (half := HALF.search(json.dumps(cells, ensure_ascii=False))):
            raise DataError(
                f"{file}, line {number} is no text (half of a pair {half[0]!a}); correct it"
            )
        yield Row(number, {str(name).strip().lower(): value for name, value in cells.items()})


def read_label_tables(
    files: Sequence[tuple[Path, str | None]], folder: Path, *, by_folder: bool = False
) -> Gathering:
    """Read images and classes from tables.

    Paths are relative to their table's folder. The columns are known by their names: a path
    (``PATHS``) and a label (``LABELS``) must be, a part (``SPLITS``) and a group (``GROUPS``) may.
    Where one table of several has a group, images of the others are each a group of their own.

    Args:
        files: Tables, each with the part that all of it belongs to, if it is one.
        folder: The set's, below which images are named.
        by_folder: Where no part is told, the first folder of every path may be called as one.

    Raises:
        DataError: A column is missing, labels are empty, several in one cell or numbers with
            fractions, parts are unknown or not the table's, images are missing or named twice.
            Lines are counted and the first are named.
    """
    gathered = Gathering()
    seen: dict[str, str] = {}
    ungrouped: list[str] = []
    for file, part in files:
        rows = read_rows(file)
        columns = _columns(file, rows, gathered.notes)
        labels = _labels(file, rows, columns)
        parts = _parts(file, rows, columns, part)
        places = _places(file, rows, columns.path, folder, gathered.notes)
        _refuse_twice(file, rows, places, seen)
        if by_folder and part is None and not any(parts):
            parts = _parts_by_folder(file, places)
        gathered.places += places
        gathered.labels += labels
        gathered.parts += parts
        groups = _groups(file, rows, columns, gathered.notes)
        if not groups:
            ungrouped.append(below(file, folder))
        gathered.groups += groups or [place.name for place in places]
        for name in columns.others if len(files) == 1 else ():
            gathered.columns[name] = [_text(row.cells.get(name)) for row in rows]
    if len(ungrouped) == len(files):
        gathered.groups = []
    elif ungrouped:
        gathered.notes.append(
            f"no column of groups in {some(ungrouped)}: each image there may go by itself"
        )
    return gathered


def _columns(file: Path, rows: Sequence[Row], notes: list[str]) -> _Columns:
    """Tell the columns by their names, and say where another could be meant."""

    def chosen(known: Sequence[str]) -> str | None:
        found = [each for each in known if each in names]
        if len(found) > 1:
            notes.append(f"{file.name}: column {found[0]} is read, not {some(found[1:])}")
        return found[0] if found else None

    if not rows:
        raise DataError(f"{file} has no line of an image; write path,label and a line for each")
    names = list(dict.fromkeys(name for row in rows for name in row.cells))
    if file.suffix == ".jsonl":
        path = "file_name" if "file_name" in names else None
    else:
        path = chosen(PATHS)
    label = chosen(LABELS)
    if path is None or label is None:
        lacking = "path" if path is None else "label"
        known = PATHS if path is None else LABELS
        flags = [
            each for each in names if {_text(row.cells.get(each)) for row in rows} == {"0", "1"}
        ]
        hint = (
            f"; {some(flags)} hold 0 and 1, as where an image has several labels, which is not "
            "supported"
            if label is None and len(flags) > 1
            else ""
        )
        raise DataError(
            f"{file} has no column for the {lacking} but {some(names, 8)}{hint}; name one "
            f"{lacking}, or {some(known[1:], 4)}"
        )
    split, group = chosen(SPLITS), chosen(GROUPS)
    others = tuple(each for each in names if each not in (path, label, split))
    return _Columns(path, label, split, group, others)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    return json.dumps(value, ensure_ascii=False)


def _lines(file: Path, lines: Sequence[int]) -> str:
    told = ", ".join(f"{line:,}" for line in lines[:5])
    more = f" and {len(lines) - 5:,} more" if len(lines) > 5 else ""
    return f"{file}, line{'s' * (len(lines) > 1)} {told}{more}"


def _labels(file: Path, rows: Sequence[Row], columns: _Columns) -> list[str]:
    labels = [_text(row.cells.get(columns.label)) for row in rows]

    def refuse(wrong: Sequence[bool], what: str, remedy: str) -> None:
        where = [index for index, each in enumerate(wrong) if each]
        if where:
            lines = _lines(file, [rows[index].line for index in where])
            given = f" ({shown(labels[where[0]])})" if labels[where[0]] else ""
            raise DataError(f"{lines}: {what}{given}; {remedy}")

    refuse([not each for each in labels], "no label", "fill it in, or take the line out")
    refuse(
        [any("\ud800" <= letter <= "\udfff" for letter in each) for each in labels],
        "a label is no UTF-8", "save the table as UTF-8",
    )  # fmt: skip
    refuse(
        [SEPARATED.fullmatch(each) is not None for each in labels],
        "several labels for an image",
        "networks here answer one class an image: give each line one, without ; | or brackets",
    )
    numbers = [_number(each) for each in labels]
    if any(each is None for each in numbers):
        return labels
    refuse(
        [each is not None and (not math.isfinite(each) or each != int(each)) for each in numbers],
        "a number with a fraction as label",
        "regression is not supported: give each image a class, of a range of numbers say",
    )
    whole = all(re.fullmatch("[0-9]+", each) for each in labels)
    return labels if whole else [str(int(each)) for each in numbers if each is not None]


def _number(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def _parts(
    file: Path, rows: Sequence[Row], columns: _Columns, part: str | None
) -> list[str | None]:
    if columns.split is None:
        return [part] * len(rows)
    told = [_text(row.cells.get(columns.split)).lower() for row in rows]
    wrong = [row.line for row, each in zip(rows, told, strict=True) if each not in PART_NAMES]
    if wrong:
        unknown = sorted({each for each in told if each not in PART_NAMES})
        raise DataError(
            f"{_lines(file, wrong)}: column {columns.split} says "
            f"{some([each or 'nothing' for each in unknown])}; it may be {', '.join(PART_NAMES)}"
        )
    parts: list[str | None] = [PART_NAMES[each] for each in told]
    others = [index for index, each in enumerate(parts) if part is not None and each != part]
    if others:
        raise DataError(
            f"{_lines(file, [rows[index].line for index in others])}: column {columns.split} says "
            f"{told[others[0]]}, but this table is the {part} part by its name or folder; move "
            "the lines to the other table, or take the column out"
        )
    return parts


def _parts_by_folder(file: Path, places: Sequence[Place]) -> list[str | None]:
    """Take parts from the first folder of each path, where all are called as parts."""
    base = f"{file.parent.absolute()}/"
    first = [place.path.removeprefix(base).partition("/")[0].lower() for place in places]
    if all(each in PART_NAMES for each in first):
        return [PART_NAMES[each] for each in first]
    return [None] * len(places)


def _groups(file: Path, rows: Sequence[Row], columns: _Columns, notes: list[str]) -> list[str]:
    if columns.group is None:
        return []
    groups = [_text(row.cells.get(columns.group)) for row in rows]
    empty = [row.line for row, each in zip(rows, groups, strict=True) if not each]
    if empty:
        raise DataError(
            f"{_lines(file, empty)}: nothing in column {columns.group}, by which images are kept "
            "together; fill it in, or rename the column"
        )
    note = f"images of one {columns.group} are held out together"
    if note not in notes:
        notes.append(note)
    return groups


def _places(
    file: Path, rows: Sequence[Row], column: str, folder: Path, notes: list[str]
) -> list[Place]:
    """Find the files that a table names."""
    base = str(file.parent.absolute())
    root = folder.absolute()
    places, missing, lines, turned = [], [], [], 0
    for row in rows:
        told = row.cells.get(column)
        name = told.strip() if isinstance(told, str) else ""
        path = os.path.normpath(os.path.join(base, name))  # noqa: PTH118 - ten times faster
        if name and "\\" in name and not os.path.isfile(path):  # noqa: PTH113
            path = os.path.normpath(os.path.join(base, name.replace("\\", "/")))  # noqa: PTH118
            turned += 1
        if not name or not os.path.isfile(path):  # noqa: PTH113
            missing.append(name or "nothing")
            lines.append(row.line)
        places.append(Place(path, path.removeprefix(f"{root}/")))
    if missing:
        raise DataError(
            f"{_lines(file, lines)}: {len(missing):,} of {counted(len(rows), 'image')} are not "
            f"where column {column} says: {some(missing)}; paths begin at {file.parent}"
        )
    if turned:
        notes.append(f"{counted(turned, 'path')} with \\ read as with /")
    return places


def _refuse_twice(
    file: Path, rows: Sequence[Row], places: Sequence[Place], seen: dict[str, str]
) -> None:
    lines, names = [], []
    for row, place in zip(rows, places, strict=True):
        if place.path in seen:
            lines.append(row.line)
            names.append(f"{place.name} ({seen[place.path]})")
        else:
            seen[place.path] = f"{file.name} line {row.line:,}"
    if lines:
        raise DataError(
            f"{_lines(file, lines)}: {counted(len(names), 'image')} named before: "
            f"{some(names)}; keep one line of each"
        )


def metadata_files(folder: Path) -> list[tuple[Path, str | None]]:
    """Find Hugging Face's metadata files in a folder, or in its folders that are parts.

    Raises:
        DataError: They are Parquet, or two lie in one folder.
    """
    found: list[tuple[Path, str | None]] = []
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    parts = [(path, PART_NAMES.get(path.name.lower())) for path in inside]
    for place, part in [(folder, None), *((path, part) for path, part in parts if part)]:
        names = [place / f"metadata.{kind}" for kind in ("csv", "jsonl", "parquet")]
        there = [path for path in names if path.is_file()]
        if len(there) > 1:
            raise DataError(f"{place} has {some([each.name for each in there])}; keep one of them")
        if there and there[0].suffix == ".parquet":
            raise DataError(
                f"{there[0]} is Parquet, which is not read; write it as CSV: "
                "pandas.read_parquet('metadata.parquet').to_csv('metadata.csv', index=False)"
            )
        found += [(path, part) for path in there]
    return found


def tables_in(folder: Path) -> list[tuple[Path, str | None]]:
    """Find the table of a folder: the only one, or one for each part, named as it.

    Raises:
        DataError: There are several others.
    """
    tables = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in TABLES and names_images(path)
    )
    parts = [PART_NAMES.get(path.stem.lower()) for path in tables]
    if len(tables) < 2:
        return [(path, None) for path in tables]
    if None in parts or len({*parts}) < len(parts):
        raise DataError(
            f"{folder} holds {len(tables)} tables of images, {some([each.name for each in tables])}"
            "; give the path of the one that is meant"
        )
    return [*zip(tables, parts, strict=True)]
