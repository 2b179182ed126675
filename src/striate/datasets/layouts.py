"""How sets lie on disk: which files make which part. Names only, nothing is opened."""

from pathlib import Path

from striate.datasets.catalogue import Layout
from striate.errors import DataError

# For each layout and part, the files it needs, in the order their reader takes them.
FILES: dict[Layout, dict[str, tuple[str, ...]]] = {
    "idx": {
        "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    },
    "cifar": {
        "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test": ("test_batch.bin",),
    },
    "usps": {"train": ("zip.train",), "test": ("zip.test",)},
}

TITLES: dict[Layout, str] = {"idx": "MNIST-style IDX", "cifar": "CIFAR-10 binary", "usps": "USPS"}


def find_files(folder: Path, layout: Layout) -> dict[str, tuple[Path, ...]] | None:
    """Find the files of a layout in a folder.

    Args:
        folder: Need not exist.
        layout: The layout to look for. Its files may be gzipped (not CIFAR's), may be
            spelled ``train-images.idx3-ubyte`` as some unpackers do, and CIFAR's may lie in
            ``cifar-10-batches-bin``.

    Returns:
        For each part its files, or None if one is missing.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("zip.train.gz", "zip.test"):
        ...     (folder / name).touch()
        >>> {part: file.name for part, (file,) in find_files(folder, "usps").items()}
        {'train': 'zip.train.gz', 'test': 'zip.test'}
    """
    found = {}
    for part, names in FILES[layout].items():
        paths = [_find_file(folder, layout, name) for name in names]
        if None in paths:
            return None
        found[part] = tuple(path for path in paths if path is not None)
    return found


def recognise(folder: Path) -> tuple[Layout, dict[str, tuple[Path, ...]]]:
    """Tell a folder's layout by its files.

    Returns:
        The layout, and for each part its files.

    Raises:
        DataError: There is no such folder, it is empty, or it holds no set of a known
            layout; the message names what is missing and what lies there.
    """
    try:
        return _recognise(folder)
    except OSError as error:
        raise DataError(f"could not look into {folder}: {error.strerror or error}") from error


def _recognise(folder: Path) -> tuple[Layout, dict[str, tuple[Path, ...]]]:
    if not folder.exists():
        raise DataError(f"there is no folder {folder}; give the path of one that holds a data set")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; give the path of the folder that holds the data set")
    for layout in FILES:
        found = find_files(folder, layout)
        if found is not None:
            return layout, found
    raise DataError(_refusal(folder))


def _find_file(folder: Path, layout: Layout, name: str) -> Path | None:
    dotted = name.replace("-idx", ".idx")
    spellings = (
        (name, f"cifar-10-batches-bin/{name}")
        if layout == "cifar"
        else (name, dotted, f"{name}.gz", f"{dotted}.gz")
    )
    return next((folder / each for each in spellings if (folder / each).is_file()), None)


def why_passed_over(root: Path, name: str, layout: Layout) -> str | None:
    """Say what a folder of sets would need to hold a named set, and what lies there instead.

    Args:
        root: Need not exist.
        name: The set's, which is that of its folder below ``root`` too.
        layout: How its files are written.

    Returns:
        None where nothing lies there but what a broken download left.
    """
    folder = root / name
    place = folder if folder.is_dir() else root
    try:
        there = _content(place)
    except OSError:
        return None
    if all(each.startswith(".") or each.endswith(".part") for each in there):
        return None
    names = [each for names in FILES[layout].values() for each in names]
    missing = ", ".join(each for each in names if _find_file(folder, layout, each) is None)
    return (
        f"{name} is not in {root}, where {folder} would hold {missing} ({TITLES[layout]}) but in "
        f"{place} there is: {_some(there)}; looked for elsewhere"
    )


def _content(folder: Path) -> list[str]:
    return sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def _refusal(folder: Path) -> str:
    there = _content(folder)
    if not there:
        return f"{folder} is empty; give the path of a folder that holds a data set"
    wanted = {
        layout: [name for names in files.values() for name in names]
        for layout, files in FILES.items()
    }
    missing = {
        layout: [name for name in names if _find_file(folder, layout, name) is None]
        for layout, names in wanted.items()
    }
    for layout, names in missing.items():
        if len(names) < len(wanted[layout]):
            lacking = ", ".join(names)
            return f"{folder} is a {TITLES[layout]} set without {lacking}; there is: {_some(there)}"
    looked_for = "; ".join(
        f"{TITLES[layout]} ({', '.join(names)})" for layout, names in wanted.items()
    )
    return (
        f"{folder} holds no data set that is known; looked for: {looked_for}; "
        f"there is: {_some(there)}"
    )
