"""Shards as webdataset writes them: tar archives of samples, an image and its class each.

The archives are read once for where each member begins; nothing is unpacked. A sample is the
members of one archive whose names are equal up to the first dot of the last part: ``a/17.jpg``
and ``a/17.cls``, or ``a/17.json``.

Source: T. Breuel, "WebDataset", https://github.com/webdataset/webdataset, the format and the brace
patterns.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from striate.datasets.gathering import PART_NAMES, Gathering, below, skipped
from striate.datasets.listing import Listing, Place, counted, some
from striate.errors import DataError
from striate.fetching import locked_folder
from striate.files import replacing
from striate.images import SUFFIXES

PIPE = "pipe:"
CLASSES = "classes.txt"
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
BRACES = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")
LABEL_KEYS = ("label", "cls", "class", "target", "category")


class Member(NamedTuple):
    """A file in an archive: its sample's name, its ending, and where its bytes are."""

    key: str
    ending: str
    name: str
    offset: int
    size: int


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
    """Find the archives of a folder, and their parts by their folders or their names."""
    found: list[tuple[Path, str | None]] = []
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        part = PART_NAMES.get(place.name.lower()) if place != folder else None
        if place == folder or part:
            files = sorted(path for path in place.iterdir() if path.suffix.lower() == ".tar")
            found += [(path, part) for path in files if not path.name.startswith(".")]
    if any(part for _, part in found):
        return [(path, part) for path, part in found if part]
    named = [(path, _part_in(path.stem)) for path, _ in found]
    return named if all(part for _, part in named) else found


def _part_in(name: str) -> str | None:
    words = [PART_NAMES[word] for word in re.split("[^a-z]+", name.lower()) if word in PART_NAMES]
    return words[0] if len(set(words)) == 1 else None


def read_shards(data: str, cache: Path) -> Listing:
    """List the samples of archives.

    A file ``classes.txt`` beside them, a name a line, gives the names and the order of classes
    that are numbered; without it the numbers are the names.

    Args:
        data: A folder of archives or of folders train, val and test with them; an archive; a
            pattern as ``shards-{0000..0003}.tar``; or ``pipe:COMMAND``, whose output is an
            archive. A pattern in a command stands for several commands.
        cache: Where the output of commands is kept.

    Raises:
        DataError: An archive is missing, packed, cut short or none, or a command fails; samples
            have no class, several images or one name; some are named.
    """
    gathered = Gathering()
    if data.startswith(PIPE):
        files: list[tuple[Path, str | None]] = [
            (spool(command, cache / "shards", gathered.notes), None)
            for command in expand_braces(data.removeprefix(PIPE))
        ]
        folder, name = cache / "shards", "pipe"
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
            "correct the path or the numbers in braces"
        )
    others: Counter[str] = Counter()
    for path, part in files:
        _read_shard(path, part, below(path, folder), gathered, others)
    if not gathered.places:
        raise DataError(f"{data} holds no image; their names end in {' '.join(SUFFIXES)}")
    gathered.notes += skipped(others)
    order = _named(gathered, folder / CLASSES)
    return gathered.listing(name, data, f"{counted(len(files), 'shard')} of samples", order=order)


def members_of(path: Path) -> Iterator[Member]:
    """Go through an archive's files, by their headers alone.

    Raises:
        DataError: It is packed, cut short or no archive.
    """
    with path.open("rb") as file:
        start = file.read(6)
    if (
        start[:2] == b"\x1f\x8b"
        or start[:3] == b"BZh"
        or start in (b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
    ):
        raise DataError(
            f"{path} is a packed archive, in which no image can be found without unpacking all "
            f"before it; unpack it once (gunzip, say), or give pipe:gunzip -c {path.name}"
        )
    end, size = 0, path.stat().st_size
    try:
        with tarfile.open(path, "r:") as archive:
            for info in archive:
                archive.members = []  # type: ignore[attr-defined]  # kept else, 1 kB each
                if info.isfile():
                    if info.issparse():
                        raise DataError(f"{path} keeps {info.name} with holes; pack it plainly")
                    folder, slash, base = info.name.removeprefix("./").rpartition("/")
                    stem, _, ending = base.partition(".")
                    if stem:
                        yield Member(
                            folder + slash + stem,
                            ending.lower(),
                            folder + slash + base,
                            info.offset_data,
                            info.size,
                        )
                end = info.offset_data + (info.size if info.isfile() else 0)
            after = archive.offset
    except tarfile.TarError as error:
        raise DataError(
            f"{path} is no tar archive or is cut short ({error}); fetch or write it again"
        ) from error
    if -(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE + tarfile.BLOCKSIZE > size:
        raise DataError(f"{path} is cut short at {size:,} bytes; fetch or write it again")
    with path.open("rb") as file:
        file.seek(after)
        if file.read(tarfile.RECORDSIZE).strip(b"\0"):
            raise DataError(
                f"{path} goes on after the end of its archive, as where several are joined; give "
                "each as a file of its own"
            )


def _read_shard(
    path: Path, part: str | None, name: str, gathered: Gathering, others: Counter[str]
) -> None:
    absolute = str(path.absolute())
    unlabelled: list[str] = []
    crowded: list[str] = []
    twice: list[str] = []
    with path.open("rb") as file:
        for members in _samples(path, twice):
            images = [each for each in members if f".{each.ending}" in SUFFIXES]
            others.update(
                f".{each.ending}"
                for each in members
                if each not in images and each.ending not in ("cls", "json", "txt")
            )
            if not images:
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


def _samples(path: Path, twice: list[str]) -> Iterator[list[Member]]:
    """Put members of one key together, wherever in the archive they are."""
    samples: dict[str, list[Member]] = {}
    for member in members_of(path):
        sample = samples.setdefault(member.key, [])
        if any(each.ending == member.ending for each in sample):
            twice.append(member.name)
        sample.append(member)
    yield from samples.values()


def _label(file: BinaryIO, path: Path, members: Sequence[Member]) -> str | None:
    """Read a sample's class, from .cls before .json."""
    for ending in ("cls", "json"):
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
        if value is not None and str(value).strip():
            return str(value).strip()
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


def need_commands(data: str, cache: Path) -> bool:
    """Tell whether reading shards would run a command whose output is not kept."""
    commands = expand_braces(data.removeprefix(PIPE)) if data.startswith(PIPE) else []
    return not all(spooled(command, cache / "shards").is_file() for command in commands)


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
