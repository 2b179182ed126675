"""The files of the named sets of images with masks, to images in memory, in fixed parts."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from striate.datasets.catalogue import PARTS
from striate.datasets.mask_catalogue import MASK_SETS, NamedMaskSet
from striate.datasets.mask_reading import read_pixels, read_values
from striate.datasets.masks import IGNORED, MaskedImage, MaskSet, check_masks
from striate.errors import DataError
from striate.volumes import open_volume

# Of the 30 slices; both halves of the stack, which differ in sharpness, are in each part.
ISBI_TEST = (2, 7, 12, 17, 22, 27)
ISBI_VALIDATION = (4, 19)
CAMVID_UNLABELLED = 11
CAMVID_FOLDERS = {"train": "train", "validation": "val", "test": "test"}


def find_mask_set(name: str, roots: Sequence[Path]) -> Path:
    """Find the folder that holds a named set's files.

    Raises:
        DataError: None of the roots has them.
    """
    wanted = MASK_SETS[name].files
    for root in roots:
        if all((root / name / file).exists() for file in wanted):
            return root / name
    places = ", ".join(str(root / name) for root in roots)
    raise DataError(
        f"the files of {name} ({', '.join(wanted)}) are not in {places}; put them there, or give "
        "the folder above them with --data-dir"
    )


def read_mask_set(named: NamedMaskSet, folder: Path, parts: Sequence[str]) -> MaskSet:
    """Read parts of a named set from the folder that holds its files.

    A part with another number of images than the published one is noted.

    Raises:
        DataError: A file is missing or damaged, or a mask does not fit.
    """
    read = READERS[named.name](folder, [part for part in PARTS if part in parts])
    check_masks(read, named.classes)
    notes = tuple(
        f"{part}: {len(images)} images are in {folder}, {named.parts[part]} in the published "
        f"{named.name}"
        for part, images in read.items()
        if len(images) != named.parts[part]
    )
    return MaskSet(named.name, named.classes, named.modalities, read, str(folder), notes)


def _isbi(folder: Path, parts: Sequence[str]) -> dict[str, tuple[MaskedImage, ...]]:
    images, labels = (_stack(folder / f"train-{name}.tif") for name in ("volume", "labels"))
    if images.shape != labels.shape:
        raise DataError(
            f"{folder}: train-volume.tif is {images.shape}, train-labels.tif {labels.shape}; "
            "copy both again"
        )
    held = {"test": ISBI_TEST, "validation": ISBI_VALIDATION}
    rest = [i for i in range(len(images)) if i not in (*ISBI_TEST, *ISBI_VALIDATION)]
    return {
        part: tuple(
            MaskedImage(
                f"train-volume.tif, slice {i}",
                torch.from_numpy(images[i][None]),
                torch.from_numpy((labels[i] > 0).astype(np.uint8)),
            )
            for i in held.get(part, rest)
            if i < len(images)
        )
        for part in parts
    }


def _stack(path: Path) -> NDArray[Any]:
    with open_volume(path) as source:
        slices: NDArray[Any] = source.read()[0]
    return slices


def _hippocampus(folder: Path, parts: Sequence[str]) -> dict[str, tuple[MaskedImage, ...]]:
    with (folder / "dataset.json").open(encoding="utf-8") as file:
        listed = json.load(file)["training"]
    pairs = sorted((folder / pair["image"], folder / pair["label"]) for pair in listed)
    places = {"test": range(0, len(pairs), 5), "validation": range(3, len(pairs), 10)}
    held = {*places["test"], *places["validation"]}
    rest = [number for number in range(len(pairs)) if number not in held]
    return {
        part: tuple(_masked(*pairs[number]) for number in places.get(part, rest)) for part in parts
    }


def _camvid(folder: Path, parts: Sequence[str]) -> dict[str, tuple[MaskedImage, ...]]:
    read = {}
    for part in parts:
        own = CAMVID_FOLDERS[part]
        read[part] = tuple(
            _masked(image, folder / f"{own}annot" / f"{image.stem}.png", CAMVID_UNLABELLED)
            for image in sorted((folder / own).glob("*.jpg"))
        )
    return read


def _masked(image: Path, label: Path, left_out: int = IGNORED) -> MaskedImage:
    pixels, values = read_pixels((image,)), read_values(label)
    mask = np.where(values == left_out, IGNORED, values).astype(np.uint8)
    return MaskedImage(
        image.name, pixels.image, torch.from_numpy(mask), pixels.spacing, pixels.stored
    )


READERS: dict[str, Callable[[Path, Sequence[str]], dict[str, tuple[MaskedImage, ...]]]] = {
    "isbi2012": _isbi,
    "hippocampus": _hippocampus,
    "camvid-half": _camvid,
}
