"""Sets of images by name or by folder. Names need no torch; it is imported when a set is loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from striate.datasets.catalogue import DATASETS, PARTS, NamedSet
from striate.datasets.mask_catalogue import MASK_SETS, NamedMaskSet
from striate.errors import DataError, UsageError, did_you_mean
from striate.files import user_cache

if TYPE_CHECKING:
    from striate.datasets.listing import Listing
    from striate.datasets.masks import MaskSet
    from striate.datasets.sets import ImageSet

__all__ = [
    "DATASETS", "MASK_SETS", "PARTS", "NamedMaskSet", "NamedSet", "list_images", "load",
    "load_masks",
]  # fmt: skip

# What a path may begin with where it is a command, and end with where it is a file.
PIPE = "pipe:"
FILE_ENDINGS = (".csv", ".tsv", ".jsonl", ".tar", ".tar.gz", ".tgz", ".zip")


def load(data: str, *, data_dir: Path | None = None, parts: Sequence[str] = PARTS) -> ImageSet:
    """Load parts of a set of images into memory.

    A name's files are looked for in ``<root>/<name>/``, the root being ``data_dir``, the
    environment variable ``STRIATE_DATA`` and the user's cache folder, in this order. The
    first that holds them all is used. If none does, they are fetched from the set's
    published addresses into ``data_dir``, or into the cache folder without one.

    Args:
        data: A key of ``DATASETS``, or the path of a folder: something with a separator,
            something that starts with ``.`` or ``~``, or a folder that exists and has no
            set's name. A folder is known by its files: four IDX files as of MNIST,
            CIFAR-10 binary batches, or the two USPS text files.
        data_dir: Where to look first, and where to put what is fetched.
        parts: Which of train, validation and test. Others are not read, and those that
            the set does not have are left out.

    Raises:
        UsageError: No set has this name, or no part has that one.
        DataError: The files are missing, damaged or not the published ones, or could not
            be fetched.

    Example:
        >>> digits = load("digits")
        >>> {name: len(part.images) for name, part in digits.parts.items()}
        {'train': 1197, 'validation': 300, 'test': 300}
    """
    _check_parts(parts)
    wanted = tuple(part for part in PARTS if part in parts)
    _refuse_masks(data)
    if is_path(data):
        from striate.datasets.reading import read_folder

        return read_folder(_of_labels(expand(data)), wanted)
    _check_name(data)
    if data == "digits":
        from striate.datasets.digits import load_digits

        return load_digits(wanted)
    from striate.datasets.reading import read_named

    return read_named(DATASETS[data], find_or_fetch(DATASETS[data], data_dir), wanted)


def list_images(data: str, *, layout: str = "auto", typed: bool = True) -> Listing | None:
    """List the images of a set that lies in image files or shards.

    Args:
        data: A path, as ``image_layouts.read_listing`` says; or anything that ``load`` takes.
        layout: How it lies there; by default it is looked at.
        typed: Whether a person typed ``data``; what stands in a run runs no command.

    Returns:
        None where the set is one that ``load`` reads into memory: a name, or a folder with IDX,
        CIFAR-10 or USPS files.

    Raises:
        UsageError: No set has this name, the images have masks, or a command was not typed.
        DataError: There is no such set, it lies otherwise, or it is wrong; see ``read_listing``.
    """
    from striate.datasets.layouts import FILES, TITLES, find_files, recognise

    if not is_path(data):
        _check_name(data)
        return None
    path = data if data.startswith(PIPE) else str(expand(data))  # as typed, for messages
    if layout in FILES:
        if Path(path).is_dir() and (found := recognise(Path(path))[0]) != layout:
            raise DataError(f"{data} is a {TITLES[found]} set, not {layout}; leave --layout out")
        return None
    known = Path(path).is_dir() and any(find_files(Path(path), each) for each in FILES)
    if layout == "auto" and known:
        return None
    from striate.datasets.image_layouts import read_listing

    if typed or not path.startswith(PIPE):
        return read_listing(path, layout)
    from striate.datasets.shards import kept_outputs

    outputs = kept_outputs(path)
    if outputs is None:
        raise UsageError(
            f"the run's data come from a command, {data}, whose output is not kept any more; give "
            "it as --data-dir of --resume, or --data of evaluate, if you trust it"
        )
    return read_listing(path, layout, outputs=outputs)


def load_masks(data: str, *, data_dir: Path | None = None, parts: Sequence[str] = PARTS) -> MaskSet:
    """Load parts of a set of images with masks into memory.

    Args:
        data: A key of ``MASK_SETS``, looked for as ``load`` does; or the path of a folder, read
            as ``mask_folders.read_mask_folder`` says.
        data_dir: Where to look first.
        parts: Which of train, validation and test. Others are not read, and those that the set
            does not have are left out.

    Raises:
        UsageError: No set of images with masks has this name, no part has that one, or the set
            has a label for each image instead.
        DataError: The files are missing or damaged, or a mask does not fit its image.
    """
    _check_parts(parts)
    if data in MASK_SETS:
        from striate.datasets.mask_sets import find_mask_set, read_mask_set

        return read_mask_set(MASK_SETS[data], find_mask_set(data, _roots(data_dir)), parts)
    if data in DATASETS:
        raise UsageError(
            f"{data} has one label for an image, but a mask for each is needed: "
            f"{', '.join(MASK_SETS)}, or a folder with images/ and masks/"
        )
    if not is_path(data):
        raise UsageError(
            f"no set of images with masks is called {data!r}; {did_you_mean(data, MASK_SETS)} "
            "or give the path of a folder"
        )
    from striate.datasets.mask_folders import read_mask_folder

    return read_mask_folder(_of_masks(expand(data)), parts)


def _check_parts(parts: Sequence[str]) -> None:
    for part in parts:
        if part not in PARTS:
            raise UsageError(f"no set has a part {part!r}: {did_you_mean(part, PARTS)}")


def _check_name(data: str) -> None:
    """Refuse what is no name of a set with labels."""
    _refuse_masks(data)
    if data not in DATASETS:
        raise UsageError(
            f"no data set is called {data!r}; {did_you_mean(data, [*DATASETS, *MASK_SETS])} "
            "or give the path of a folder"
        )


def _refuse_masks(data: str) -> None:
    if data in MASK_SETS:
        raise UsageError(
            f"{data} has a mask for each image; train a network that labels pixels, unet say"
        )


def _of_labels(folder: Path) -> Path:
    """Refuse the folder of images with masks where whole images are to be labelled."""
    from striate.datasets.layouts import FILES, find_files
    from striate.datasets.mask_layouts import holds_masks

    known = any(find_files(folder, layout) for layout in FILES)
    if folder.is_dir() and not known and holds_masks(folder):
        raise UsageError(
            f"{folder} holds images with masks; train a network that labels pixels, unet say"
        )
    return folder


def _of_masks(folder: Path) -> Path:
    """Refuse the folder of images with a label each where pixels are to be labelled."""
    from striate.datasets.layouts import FILES, TITLES, find_files

    for layout in FILES:
        if find_files(folder, layout):
            raise UsageError(
                f"{folder} is a {TITLES[layout]} set, with one label for an image, but a mask for "
                "each is needed; give a folder with images/ and masks/, or train a network that "
                "labels whole images, lenet5 say"
            )
    return folder


def _roots(data_dir: Path | None) -> list[Path]:
    """List the folders under which named sets are looked for, in their order."""
    given = os.environ.get("STRIATE_DATA")
    return [root for root in (data_dir, given and Path(given), user_cache()) if root]


def is_path(data: str) -> bool:
    """Tell the path of a folder, table or shard, or a command that gives one, from a set's name.

    Example:
        >>> is_path("mnist"), is_path("./mnist"), is_path("scans/2026"), is_path("scans.csv")
        (False, True, True, True)
    """
    separators = [os.sep, *filter(None, [os.altsep])]
    if data.startswith((".", "~", PIPE)) or any(separator in data for separator in separators):
        return True
    if data.lower().endswith(FILE_ENDINGS):
        return True
    return data != "" and data not in DATASETS and Path(data).is_dir()


def absolute(data: str) -> str:
    """Give a path so that it can be found from everywhere; a command stays as it is.

    Raises:
        DataError: There is no such user.
    """
    return data if data.startswith(PIPE) else str(expand(data).absolute())


def expand(data: str) -> Path:
    """Give the path that was typed, with ~ put in full.

    Raises:
        DataError: There is no such user.
    """
    try:
        return Path(data).expanduser()
    except RuntimeError as error:  # a ~user that does not exist
        raise DataError(f"{data}: {error}; give the path of a folder") from error


def find_or_fetch(named: NamedSet, data_dir: Path | None = None) -> Path:
    """Find the folder that holds all files of a named set, or fetch them into one.

    What lies in the place of a set in another form is told on stderr, and passed over.

    Raises:
        DataError: They are nowhere, and could not be fetched.
    """
    from striate.datasets.fetching import fetch_set
    from striate.datasets.layouts import find_files, why_passed_over

    if data_dir is not None and named.layout and find_files(data_dir, named.layout):
        raise DataError(
            f"the files lie in {data_dir} itself; give the folder above it with --data-dir, or "
            f"{data_dir} as DATA"
        )
    roots = _roots(data_dir)
    cache = roots[-1]
    for root in dict.fromkeys(roots):
        if named.layout and find_files(root / named.name, named.layout):
            return root / named.name
        if named.layout and (root == data_dir or (root != cache and (root / named.name).is_dir())):
            reason = why_passed_over(root, named.name, named.layout)
            if reason is not None:
                print(reason, file=sys.stderr)
    folder = (data_dir or cache) / named.name
    fetch_set(named, folder)
    return folder
