"""Shards as webdataset writes them: tar archives of samples, an image and its class each.

The archives are read once for where each member begins; nothing is unpacked. A sample is the
members of one archive whose names are equal up to the first dot of the last part: ``a/17.jpg``
and ``a/17.cls``, or ``a/17.json``.

Source: T. Breuel, "WebDataset", https://github.com/webdataset/webdataset, the format and the brace
patterns.
"""

import hashlib
import json
import os
import posixpath
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from striate.datasets import PIPE
from striate.datasets.gathering import PART_NAMES, Gathering, below, skipped
from striate.datasets.listing import Listing, Place, counted, some
from striate.datasets.tar_members import Member, members_of
from striate.errors import DataError, UsageError
from striate.fetching import locked_folder
from striate.files import cache_root, replacing, user_cache
from striate.images import SUFFIXES

CLASSES = "classes.txt"
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
BRACES = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")
LABELLED = ("cls", "json")  # endings of members that hold a class
MOST_LINKS = 8  # one behind another
LABEL_KEYS = ("label", "cls", "class", "target", "category")


def is_shards(data: str) -> bool:
    """Tell shards by what was typed: an archive, a pattern of several, or a command.

    Example:
        >>> is_shards("train-{000..009}.tar"), is_shards("pipe:cat a.tar"), is_shards("a.tar.gz")
        (True, True, True)
        >>> is_shards("photographs")
        False
    """
    return data.startswith(PIPE) or data.lower().endswith((".tar", *PACKED))


def expand_braces(pattern: str) -> list[str]:
    """Write out a pattern's numbers, with as many digits as its first has.

    Example:
        >>> expand_braces("a-{09..11}.tar")
        ['a-09.tar', 'a-10.tar', 'a-11.tar']
    """
    match = BRACES.search(pattern)
    if match is None:
        return [pattern]
    first, last = match.groups()
    if int(first) > int(last) or int(last) - int(first) >= 1_000_000:
        raise DataError(f"{match[0]} in {pattern} counts no shards; write it as {{0000..0009}}")
    return [
        each
        for number in range(int(first), int(last) + 1)
        for each in expand_braces(
            pattern[: match.start()] + str(number).zfill(len(first)) + pattern[match.end() :]
        )
    ]


def shards_in(folder: Path) -> list[tuple[Path, str | None]]:
    """Find the archives of a folder, and their parts by their folders or their names.

    Raises:
        DataError: Some are in parts, and others not.
    """
    found: list[tuple[Path, str | None]] = []
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        part = PART_NAMES.get(place.name.lower()) if place != folder else None
        if place == folder or part:
            files = sorted(path for path in place.iterdir() if path.suffix.lower() == ".tar")
            found += [(path, part) for path in files if not path.name.startswith(".")]
    by_folder = any(part for _, part in found)
    named = found if by_folder else [(path, _part_in(path.stem)) for path, _ in found]
    lacking = [path.name for path, part in named if part is None]
    if 0 < len(lacking) < len(named):
        where = "beside its folders of parts" if by_folder else "without a part in their name"
        others = [below(path, folder) for path, part in named if part]
        remedy = "move them into one" if by_folder else "rename them"
        raise DataError(
            f"{folder} holds {counted(len(lacking), 'shard')} {where}: {some(lacking)}; others "
            f"are in one: {some(others)}; {remedy}, or take them away"
        )
    return named


def _part_in(name: str) -> str | None:
    words = [PART_NAMES[word] for word in re.split("[^a-z]+", name.lower()) if word in PART_NAMES]
    return words[0] if len(set(words)) == 1 else None


def read_shards(data: str, outputs: Path | None = None) -> Listing:
    """List the samples of archives.

    A file ``classes.txt`` beside them, a name a line, gives the names and the order of classes
    that are numbered; without it the numbers are the names.

    Args:
        data: A folder of archives or of folders train, val and test with them; an archive; a
            pattern as ``shards-{0000..0003}.tar``; or ``pipe:COMMAND``, whose output is an
            archive. A pattern in a command stands for several commands.
        outputs: The folder in which the output of commands is kept, as ``kept_outputs`` found
            it; that of the working folder by default, since a command means other files in
            another folder.

    Raises:
        DataError: An archive is missing, packed, cut short or none, or a command fails; samples
            have no class, several images or one name; links lead nowhere; some are named.
    """
    gathered = Gathering()
    if data.startswith(PIPE):
        digest = hashlib.sha256(os.fsencode(Path.cwd())).hexdigest()[:16]
        folder, name = outputs or _all_outputs() / digest, "pipe"
        files: list[tuple[Path, str | None]] = [
            (spool(command, folder, gathered.notes), None)
            for command in expand_braces(data.removeprefix(PIPE))
        ]
    elif Path(data).is_dir():
        folder = Path(data)
        files, name = shards_in(folder), folder.resolve().name
    else:
        files = [(Path(each), None) for each in expand_braces(data)]
        folder = files[0][0].parent
        name = BRACES.sub("", Path(data).stem).strip("-_.") or folder.resolve().name
    if not files:
        raise DataError(f"{folder} holds no shards; their names end in .tar")
    absent = [str(path) for path, _ in files if not path.is_file()]
    if absent:
        raise DataError(
            f"{len(absent):,} of {counted(len(files), 'shard')} are not there: {some(absent)}; "
            + (
                "a pattern is written c-{0000..0002}.tar, or give the folder"
                if set(data) & {"*", "?"}
                else "correct the path or the numbers in braces"
            )
        )
    others: Counter[str] = Counter()
    for path, part in files:
        _read_shard(path, part, below(path, folder), gathered, others)
    if not gathered.places:
        raise DataError(f"{data} holds no image; their names end in {' '.join(SUFFIXES)}")
    gathered.notes += skipped(others)
    order = _named(gathered, folder / CLASSES)
    return gathered.listing(name, data, f"{counted(len(files), 'shard')} of samples", order=order)


def _read_shard(
    path: Path, part: str | None, name: str, gathered: Gathering, others: Counter[str]
) -> None:
    absolute = str(path.absolute())
    unlabelled: list[str] = []
    crowded: list[str] = []
    twice: list[str] = []
    bare: list[str] = []
    with path.open("rb") as file:
        for members in _samples(path, twice):
            images = [each for each in members if f".{each.ending}" in SUFFIXES]
            others.update(
                f".{each.ending}"
                for each in members
                if each not in images and each.ending not in ("cls", "json", "txt")
            )
            if not images:
                with suppress(DataError):  # the archive's own .json, say
                    bare += [members[0].key] if _label(file, path, members) else []
                continue
            if len(images) > 1:
                crowded.append(images[0].key)
                continue
            label = _label(file, path, members)
            if label is None:
                unlabelled.append(images[0].name)
                continue
            image = images[0]
            gathered.places.append(
                Place(absolute, f"{name}/{image.name}", image.offset, image.size)
            )
            gathered.labels.append(label)
            gathered.parts.append(part)
    for names, what, remedy in (
        (twice, "named twice", "write the shard again with a name for each"),
        (crowded, "with several images", "keep the one that is to be labelled"),
        (unlabelled, "without a class", "write it into .cls, or as label into .json"),
    ):
        if names:
            raise DataError(
                f"{path} holds {counted(len(names), 'sample')} {what}: {some(names)}; {remedy}"
            )
    if bare:
        told = f"{counted(len(bare), 'sample')} with a class and no image"
        gathered.notes.append(f"{told} in {name}, left out: {some(bare)}")


def _samples(path: Path, twice: list[str]) -> Iterator[list[Member]]:
    """Put members of one key together, wherever in the archive they are."""
    samples: dict[str, list[Member]] = {}
    for member in members_of(path):
        sample = samples.setdefault(member.key, [])
        if any(each.ending == member.ending for each in sample):
            twice.append(member.name)
        sample.append(member)
    nowhere: list[str] = []
    for sample in samples.values():
        for member in [each for each in sample if each.target is not None]:
            sample.remove(member)
            found = _followed(member, samples)
            if found is not None:
                sample.append(found)
            elif f".{member.ending}" in SUFFIXES or member.ending in LABELLED:
                nowhere.append(f"{member.name} (to {member.target})")
    if nowhere:
        raise DataError(
            f"{path} holds {counted(len(nowhere), 'link')} to no file in it: {some(nowhere)}; pack "
            "the files themselves, with tar --dereference --hard-dereference"
        )
    yield from samples.values()


def _followed(member: Member, samples: Mapping[str, Sequence[Member]]) -> Member | None:
    """Give a link the bytes of the file that it leads to; None where there is none."""
    found = member
    for _ in range(MOST_LINKS):
        if found.target is None:
            return member._replace(offset=found.offset, size=found.size, target=None)
        folder, slash, base = found.target.rpartition("/")
        others = samples.get(folder + slash + base.partition(".")[0], ())
        targets = [each for each in others if posixpath.normpath(each.name) == found.target]
        if not targets:
            return None
        found = targets[0]
    return None


def _label(file: BinaryIO, path: Path, members: Sequence[Member]) -> str | None:
    """Read a sample's class, from .cls before .json."""
    for ending in LABELLED:
        member = next((each for each in members if each.ending == ending), None)
        if member is None:
            continue
        file.seek(member.offset)
        try:
            text = file.read(member.size).decode("utf-8-sig").strip()
            value = json.loads(text) if ending == "json" else text
        except ValueError as error:  # no UTF-8, or no JSON
            raise DataError(f"{path}/{member.name} cannot be read ({error}); correct it") from error
        if isinstance(value, dict):
            value = next((value[key] for key in LABEL_KEYS if key in value), None)
        if isinstance(value, float | list | dict):
            raise DataError(
                f"{path}/{member.name} says {json.dumps(value)[:40]}, which is no single class; "
                "give each image a whole number or a name"
            )
        text = "" if value is None else str(value).strip()
        if not text.isascii() and re.search("[\ud800-\udfff]", text):
            raise DataError(
                f"{path}/{member.name} says {ascii(text)[:40]}, which is no text; give each image "
                "a whole number or a name"
            )
        if text:
            return text
    return None


def _named(gathered: Gathering, file: Path) -> list[str] | None:
    """Name numbered classes by the table beside the shards, where there is one."""
    if not file.is_file():
        return None
    try:
        names = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read ({error}); save it as UTF-8") from error
    while names and not names[-1]:
        names.pop()
    if not all(names) or len(set(names)) < len(names):
        raise DataError(f"{file} needs a name in each line, each once; line 1 is class 0")
    known = set(names)
    numbered = all(re.fullmatch("[0-9]+", each) for each in gathered.labels)
    if numbered and not known.issuperset(gathered.labels):
        foreign = sorted({int(each) for each in gathered.labels if int(each) >= len(names)})
        if foreign:
            raise DataError(
                f"{file} names {counted(len(names), 'class')}, 0 to {len(names) - 1}, but samples "
                f"have {some([str(each) for each in foreign])}; add lines, one a class"
            )
        gathered.labels = [names[int(each)] for each in gathered.labels]
    else:
        unknown = sorted(set(gathered.labels) - known)
        if unknown:
            raise DataError(f"{file} does not name {some(unknown)}; add lines, one a class")
    gathered.notes.append(f"classes named by {file.name}")
    return names


def spooled(command: str, folder: Path) -> Path:
    """Say where the output of a command is kept."""
    digest = hashlib.sha256(command.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return folder / f"{digest}.tar"


def kept_outputs(data: str) -> Path | None:
    """Find the folder in which the output of commands is kept, from whichever folder they ran.

    Raises:
        UsageError: They ran in several folders, so that it is not known which is meant.
    """
    commands = expand_braces(data.removeprefix(PIPE))
    found = [
        folder
        for folder in sorted(_all_outputs().glob("*/"))
        if all(spooled(command, folder).is_file() for command in commands)
    ]
    if len(found) > 1:
        raise UsageError(
            f"{data} was run in {len(found)} folders, whose output is kept: "
            f"{some([str(spooled(commands[0], each)) for each in found])}; go to the one that is "
            "meant and give the command as --data-dir of --resume, or --data of evaluate"
        )
    return found[0] if found else None


def _all_outputs() -> Path:
    """Say where the output of commands is kept, also where images are not."""
    return (cache_root() or user_cache()) / "shards"


def spool(command: str, folder: Path, notes: list[str]) -> Path:
    """Run a command once and keep what it writes; the next time it is there.

    Args:
        command: For the shell; a failure anywhere in a pipe counts, where bash is at hand.
        folder: Where to keep it; made if need be.
        notes: Told what was done.

    Raises:
        DataError: The command fails; the last line it wrote on stderr is told.
        RunError: The disk is full or the folder cannot be written.
    """
    path = spooled(command, folder)
    shell = ["bash", "-o", "pipefail", "-c"] if shutil.which("bash") else ["sh", "-c"]
    with locked_folder(folder, command):
        if path.is_file():
            notes.append(f"{command}: as it was fetched before; remove {path} to run it again")
            return path
        with replacing(path) as beside:
            with beside.open("wb") as file:
                ran = subprocess.run([*shell, command], stdout=file, stderr=subprocess.PIPE)
            if ran.returncode:
                lines = ran.stderr.decode("utf-8", "replace").strip().splitlines()
                raise DataError(
                    f"{command} ended with code {ran.returncode}: "
                    f"{lines[-1] if lines else 'no word on stderr'}; run it by itself"
                )
            if not beside.stat().st_size:
                raise DataError(f"{command} wrote nothing; it must write a tar archive to stdout")
            _require_whole(beside, command)
    notes.append(f"{command}: kept as {path}")
    return path


def _require_whole(file: Path, command: str) -> None:
    """Refuse what a command wrote before it is kept, if no archive can be read from it."""
    try:
        for _ in members_of(file):
            pass
    except DataError as error:
        reason = str(error).removeprefix(f"{file} ").rpartition(";")[0]
        raise DataError(f"what {command} wrote {reason}; run it by itself") from error
