"""How images and masks lie on disk: which folders make which part."""

from pathlib import Path
from typing import NamedTuple

from striate.datasets.class_tables import TABLE, ClassTable, named_classes, read_table
from striate.datasets.listing import some
from striate.datasets.medical_layouts import DESCRIPTION, NNUNET_FOLDERS, read_description
from striate.datasets.pairing import Pair, pairs_of
from striate.errors import DataError
from striate.images import SUFFIXES

IMAGES = ("images", "image", "imgs", "img")
MASKS = ("masks", "mask", "labels", "label", "annotations", "annot", "segmentations", "gt")
PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


class MaskLayout(NamedTuple):
    """Where a set's files are, and what its own description says.

    Attributes:
        title: The layout in words.
        parts: For each part its pairs, sorted by name.
        table: What the masks' values mean, where the set says so; ``classes.csv`` comes first.
        modalities: For each channel, where the set says so.
    """

    title: str
    parts: dict[str, tuple[Pair, ...]]
    table: ClassTable | None = None
    modalities: tuple[str, ...] | None = None


def recognize_masks(folder: Path) -> MaskLayout:
    """Tell how a folder of images and masks is laid out.

    Known are Medical Segmentation Decathlon and nnU-Net (``dataset.json``), and folders: images
    and masks side by side (``images/`` and ``masks/``), these inside of ``train/``, ``val/`` and
    ``test/`` or the other way round, or ``train/`` beside ``trainannot/``.

    Raises:
        DataError: There is no such folder, it is laid out otherwise, or an image has no mask or
            a mask no image; some are named.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give one with images/ and masks/ in it")
    file = folder / TABLE
    table = read_table(file) if file.is_file() else None
    if (folder / DESCRIPTION).is_file():
        said = read_description(folder)
        own = table or named_classes(said.names, folder / DESCRIPTION)
        return MaskLayout(said.title, said.parts, own, said.modalities)
    found = find_folders(folder)
    if not found:
        raise DataError(_refusal(folder))
    parts = {part: pairs_of(images, masks) for part, (images, masks) in found.items()}
    return MaskLayout("images and masks in folders", parts, table)


def holds_masks(folder: Path) -> bool:
    """Tell whether a folder looks as one of images with masks does."""
    labels = folder / NNUNET_FOLDERS["train"][1]
    return ((folder / DESCRIPTION).is_file() and labels.is_dir()) or bool(find_folders(folder))


def find_folders(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Find for each part the folder of its images and that of its masks."""
    images, masks = _first(folder, IMAGES), _first(folder, MASKS)
    if images and masks:
        inside = {
            part: (one, other)
            for part, names in PARTS.items()
            if (one := _first(images, names)) and (other := _first(masks, names))
        }
        return inside or {"train": (images, masks)}
    found: dict[str, tuple[Path, Path]] = {}
    for part, names in PARTS.items():
        own = _first(folder, names)
        if own is None:
            continue
        images, masks = _first(own, IMAGES), _first(own, MASKS)
        beside = _first(folder, tuple(own.name + name for name in MASKS))
        if images and masks:
            found[part] = (images, masks)
        elif beside:
            found[part] = (own, beside)
    return found


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _refusal(folder: Path) -> str:
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    there = [path.name + "/" * path.is_dir() for path in inside]
    of_images = [path.name for path in inside if path.is_dir() and _has_images(path)]
    what = f"there is {some(there, 6) or 'nothing'}"
    if len(of_images) > 1:
        what = f"its folders {', '.join(of_images[:4])} of images look like classes of whole images"
    return (
        f"{folder} holds no images with masks: {what}; put images into images/ and their masks, "
        "under the same names, into masks/"
    )


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())
