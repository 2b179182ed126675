"""Sets that a ``dataset.json`` describes: Medical Segmentation Decathlon and nnU-Net."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from striate.datasets.class_tables import LEFT_OUT
from striate.datasets.pairing import Pair, files_of
from striate.errors import DataError

DESCRIPTION = "dataset.json"
NNUNET_FOLDERS = {"train": ("imagesTr", "labelsTr"), "test": ("imagesTs", "labelsTs")}


class Described(NamedTuple):
    """What a description says.

    Attributes:
        title: The layout in words.
        parts: For each part its pairs, sorted by name.
        names: For each mask value its class, or ``ignored``.
        modalities: For each channel.
    """

    title: str
    parts: dict[str, tuple[Pair, ...]]
    names: dict[int, str]
    modalities: tuple[str, ...]


def read_description(folder: Path) -> Described:
    """Find the images and masks of a folder with a ``dataset.json``.

    nnU-Net's images have a file for each channel, ``case_0000`` and so on; ``imagesTs`` with
    ``labelsTs`` is its test part. A Decathlon description lists its training pairs; masks of its
    test part are not public.

    Raises:
        DataError: The description is not readable, names several values as one region, or files
            that are not there.
    """
    file = folder / DESCRIPTION
    try:
        facts = json.loads(file.read_bytes())
        is_nnunet = "channel_names" in facts
        channels = facts["channel_names" if is_nnunet else "modality"]
        modalities = tuple(str(channels[key]) for key in sorted(channels, key=int))
        names = _names(file, facts["labels"], is_nnunet=is_nnunet)
        listed = [] if is_nnunet else [(pair["image"], pair["label"]) for pair in facts["training"]]
    except DataError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} is no description of a Decathlon or nnU-Net set ({error!r}); correct it, or "
            "take it away and put images into images/ and masks into masks/"
        ) from error
    if is_nnunet:
        return Described("nnU-Net", _nnunet(folder, len(modalities)), names, modalities)
    pairs = sorted(_listed(folder, image, mask, len(modalities)) for image, mask in listed)
    if not pairs:
        raise DataError(f"{file} lists no training images; complete it")
    return Described("Medical Segmentation Decathlon", {"train": tuple(pairs)}, names, modalities)


def _names(file: Path, labels: Mapping[str, Any], *, is_nnunet: bool) -> dict[int, str]:
    """Turn labels, by name in nnU-Net and by value in the Decathlon, to names by value."""
    pairs = [(value, name) if is_nnunet else (name, value) for name, value in labels.items()]
    regions = [str(name) for value, name in pairs if isinstance(value, list)]
    if regions:
        raise DataError(
            f"{file} names regions of several values ({', '.join(regions)}), where a pixel can be "
            "of several classes, which is not supported; give each value one name"
        )
    named = sorted((int(value), str(name)) for value, name in pairs)
    return {value: LEFT_OUT if is_nnunet and name == "ignore" else name for value, name in named}


def _listed(folder: Path, image: str, mask: str, channels: int) -> Pair:
    """Find a listed pair; nnU-Net's first version lists images without their channel's number."""
    listed = folder / image
    split = [listed.with_name(name) for name in _numbered(listed.name, channels)]
    images = (listed,) if listed.exists() else tuple(split)
    lacking = [path for path in (*images, folder / mask) if not path.exists()]
    if lacking:
        named = listed if lacking[0] in split else lacking[0]
        raise DataError(
            f"{folder / DESCRIPTION} lists {named}, which is not there; complete the set or "
            "correct the file"
        )
    return Pair(images, folder / mask)


def _numbered(name: str, channels: int) -> list[str]:
    stem, dot, suffix = name.partition(".")
    return [f"{stem}_{channel:04d}{dot}{suffix}" for channel in range(channels)]


def _nnunet(folder: Path, channels: int) -> dict[str, tuple[Pair, ...]]:
    parts = {}
    for part, (images, masks) in NNUNET_FOLDERS.items():
        if not (folder / masks).is_dir():
            continue
        files = files_of(folder / images) if (folder / images).is_dir() else {}
        pairs = []
        for stem, mask in files_of(folder / masks).items():
            wanted = [f"{stem}_{channel:04d}" for channel in range(channels)]
            missing = [name for name in wanted if name not in files]
            if missing:
                raise DataError(
                    f"{mask} needs the image {missing[0]} in {folder / images}, which is not "
                    "there; put it there or take the mask away"
                )
            pairs.append(Pair(tuple(files.pop(name) for name in wanted), mask))
        if files:
            raise DataError(
                f"{next(iter(files.values()))} belongs to no mask in {folder / masks} with "
                f"{channels} channels, as {DESCRIPTION} says; put the mask there, or correct it"
            )
        parts[part] = tuple(pairs)
    if not parts.get("train"):
        raise DataError(f"{folder} has no masks in labelsTr/; put them there")
    return parts
