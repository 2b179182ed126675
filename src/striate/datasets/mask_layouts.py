"""How images and masks lie on disk: which file is the mask of which, by looking at names alone."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from striate.errors import DataError
from striate.volumes import suffix_of

IMAGES = ("images", "image", "imgs", "img")
MASKS = ("masks", "mask", "labels", "label", "annotations", "annot", "segmentations", "gt")
PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
# What people put behind a mask's name and not behind its image's.
ENDINGS = ("_mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "_gt", "_annot", "_L")


class Pair(NamedTuple):
    """The channels of an image, a file each or all in one, and the file of its mask."""

    images: tuple[Path, ...]
    mask: Path


class MaskLayout(NamedTuple):
    """Where a set's files are, and what its own description says.

    Attributes:
        title: The layout in words.
        parts: For each part its pairs, sorted by name.
        names: For each mask value its class, where the set says so; else None.
        modalities: For each channel, where the set says so; else None.
    """

    title: str
    parts: dict[str, tuple[Pair, ...]]
    names: dict[int, str] | None = None
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
    if (folder / "dataset.json").is_file():
        return _described(folder)
    found = _find_folders(folder)
    if not found:
        there = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir() if p.name[0] != ".")
        raise DataError(
            f"{folder} holds no images with masks: there is {', '.join(there[:6]) or 'nothing'}; "
            "put images into images/ and their masks, under the same names, into masks/"
        )
    parts = {part: _pairs(images, masks) for part, (images, masks) in found.items()}
    return MaskLayout("images and masks in folders", parts)


def _find_folders(folder: Path) -> dict[str, tuple[Path, Path]]:
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


def stem_of(path: Path) -> str:
    """Give a file's name without its suffix, of which there may be two."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def _files(folder: Path) -> dict[str, Path]:
    """List a folder's images by stem; what is hidden is left out, folders hold volumes."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix in (".txt", ".csv", ".json", ".md"):
            continue
        stem = stem_of(path)
        if stem in files:
            raise DataError(
                f"{files[stem]} and {path.name} have one name, so which belongs to the mask is "
                "not known; keep one of them"
            )
        files[stem] = path
    return files


def _pairs(images: Path, masks: Path) -> tuple[Pair, ...]:
    own, others = _files(images), _files(masks)
    given = dict(others)
    pairs, lonely = [], []
    for stem, image in own.items():
        names = [stem, *(stem + ending for ending in ENDINGS)]
        name = next((name for name in names if name in others), None)
        if name is None:
            lonely.append(image.name)
        else:
            pairs.append(Pair((image,), others[name]))
            given.pop(name, None)
    for kind, names, folder in (
        ("images without a mask", lonely, masks),
        ("masks without an image", [path.name for path in given.values()], images),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise DataError(
                f"{len(names)} {kind} in {folder}: {', '.join(names[:3])}{more}; put them "
                "there under the same name, or take these away"
            )
    if not pairs:
        raise DataError(f"{images} is empty; put images there")
    return tuple(pairs)


def _described(folder: Path) -> MaskLayout:
    file = folder / "dataset.json"
    try:
        facts: dict[str, Any] = json.loads(file.read_bytes())
        labels = facts["labels"]
        if "channel_names" in facts:
            channels = facts["channel_names"]
            names = {int(value): name for name, value in labels.items()}
        else:
            channels = facts.get("modality", {"0": ""})
            names = {int(value): name for value, name in labels.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} is no description of a Decathlon or nnU-Net set ({error!r}); correct it, or "
            "take it away and put images into images/ and masks into masks/"
        ) from error
    modalities = tuple(str(channels[key]) for key in sorted(channels, key=int))
    if "channel_names" in facts:
        parts = _nnunet(folder, len(modalities))
        return MaskLayout("nnU-Net", parts, names, modalities)
    pairs = [
        Pair((folder / pair["image"],), folder / pair["label"])
        for pair in facts.get("training", [])
    ]
    lacking = [path for pair in pairs for path in (*pair.images, pair.mask) if not path.exists()]
    if lacking or not pairs:
        raise DataError(
            f"{file} names {lacking[0] if lacking else 'no training images'}"
            f"{', which is not there' if lacking else ''}; complete the set or correct the file"
        )
    pairs.sort(key=lambda pair: pair.images[0].name)
    return MaskLayout("Medical Segmentation Decathlon", {"train": tuple(pairs)}, names, modalities)


def _nnunet(folder: Path, channels: int) -> dict[str, tuple[Pair, ...]]:
    parts = {}
    for part, images, masks in (
        ("train", "imagesTr", "labelsTr"),
        ("test", "imagesTs", "labelsTs"),
    ):
        if not (folder / masks).is_dir():
            continue
        files = _files(folder / images) if (folder / images).is_dir() else {}
        pairs = []
        for stem, mask in _files(folder / masks).items():
            wanted = [f"{stem}_{number:04d}" for number in range(channels)]
            missing = [name for name in wanted if name not in files]
            if missing:
                raise DataError(
                    f"{mask} needs the image {missing[0]} in {folder / images}, which is not "
                    "there; put it there or take the mask away"
                )
            pairs.append(Pair(tuple(files[name] for name in wanted), mask))
        parts[part] = tuple(pairs)
    if not parts.get("train"):
        raise DataError(f"{folder} has no masks in labelsTr/; put them there")
    return parts
