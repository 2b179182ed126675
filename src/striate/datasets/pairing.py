"""Which file is the mask of which image, by names alone."""

from pathlib import Path
from typing import NamedTuple

from striate.errors import DataError
from striate.volumes import suffix_of

# What people put behind a mask's name and not behind its image's.
ENDINGS = ("_mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "_gt", "_annot", "_L")
# What lies beside images and is none; .raw and .zraw hold the values of .mhd and .nhdr.
BESIDE = {".txt", ".csv", ".json", ".md", ".xml", ".yaml", ".db", ".ini", ".raw", ".zraw"}
MOST_NAMED = 3


class Pair(NamedTuple):
    """The channels of an image, a file each or all in one, and the file of its mask."""

    images: tuple[Path, ...]
    mask: Path


def stem_of(path: Path) -> str:
    """Give a file's name without its suffix, of which there may be two.

    Example:
        >>> stem_of(Path("a.1.nii.gz")), stem_of(Path("b.ome.zarr"))
        ('a.1', 'b')
    """
    if path.is_dir() and path.suffix != ".zarr":
        return path.name  # a DICOM series
    return path.name[: len(path.name) - len(suffix_of(path))].removesuffix(".ome")


def files_of(folder: Path) -> dict[str, Path]:
    """List a folder's images by stem, sorted; folders in it stand for volumes.

    Hidden files and what is known to be no image are left out.

    Raises:
        DataError: Two have one stem.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or (path.suffix.lower() in BESIDE and path.is_file()):
            continue
        stem = stem_of(path)
        if stem in files:
            raise DataError(
                f"{files[stem]} and {path.name} have one name, so which of them is meant is not "
                "known; keep one of them"
            )
        files[stem] = path
    return files


def pairs_of(images: Path, masks: Path) -> tuple[Pair, ...]:
    """Pair the images of one folder with the masks of another.

    A mask has its image's name, perhaps with an ending as ``_mask``, and any suffix.

    Raises:
        DataError: An image has no mask, or a mask no image, or the folder is empty.
    """
    own, others = files_of(images), files_of(masks)
    pairs, lonely = [], []
    for stem, image in own.items():
        names = (stem, *(stem + ending for ending in ENDINGS))
        mask = next((others.pop(name) for name in names if name in others), None)
        if mask is None:
            lonely.append(image.name)
        else:
            pairs.append(Pair((image,), mask))
    _require_none("images without a mask", lonely, masks)
    _require_none("masks without an image", [path.name for path in others.values()], images)
    if not pairs:
        raise DataError(f"{images} is empty; put images there")
    return tuple(pairs)


def _require_none(kind: str, names: list[str], folder: Path) -> None:
    if names:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        raise DataError(
            f"{len(names)} {kind} in {folder}: {', '.join(names[:MOST_NAMED])}{more}; put them "
            "there under the same name, or take these away"
        )
