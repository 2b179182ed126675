"""From the files of a folder to a set of images in memory."""

from collections.abc import Callable, Sequence
from pathlib import Path

from striate.datasets.catalogue import DATASETS, Layout, NamedSet
from striate.datasets.cifar import read_cifar_part
from striate.datasets.idx import read_idx, read_idx_part
from striate.datasets.layouts import find_files, recognise
from striate.datasets.sets import ImageSet, Part
from striate.datasets.usps import read_usps_part
from striate.errors import DataError

READERS: dict[Layout, Callable[..., Part]] = {
    "idx": read_idx_part,
    "cifar": read_cifar_part,
    "usps": read_usps_part,
}


def read_named(named: NamedSet, folder: Path, parts: Sequence[str]) -> ImageSet:
    """Read parts of a named set from a folder that holds its files.

    Raises:
        DataError: A file is missing or damaged, or a part has not the number or the shape
            of images that the published set has.
    """
    files = named.layout and find_files(folder, named.layout)
    if not named.layout or not files:
        raise DataError(f"{folder} does not hold the files of {named.name}")
    read = _read_parts(named.layout, files, parts, num_classes=len(named.classes))
    for name, part in read.items():
        published = (named.parts[name], *named.image_shape)
        if part.images.shape != published:
            raise DataError(
                f"the {name} part of {named.name} in {folder} has shape "
                f"{tuple(part.images.shape)}, the published one {published}; for a set of "
                "your own give the path of its folder"
            )
    return ImageSet(named.name, named.classes, named.value_range, read, str(folder))


def read_folder(folder: Path, parts: Sequence[str]) -> ImageSet:
    """Read parts of the set that lies in a folder.

    CIFAR-10 and USPS folders have those sets' classes. The classes of IDX files are numbered
    from 0 to the highest label of the training part, which is read for that even if the
    part is not asked for.

    Raises:
        DataError: The folder holds no set of a known layout, or a file is damaged.
    """
    layout, files = recognise(folder)
    like = DATASETS[{"idx": "mnist", "cifar": "cifar10", "usps": "usps"}[layout]]
    classes = like.classes
    if layout == "idx":
        labels = read_idx(files["train"][1])
        highest = int(labels.max()) if labels.numel() else 0
        classes = tuple(str(number) for number in range(highest + 1))
    read = _read_parts(layout, files, parts, num_classes=len(classes))
    sizes = {name: tuple(part.images.shape[1:]) for name, part in read.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"the parts in {folder} have images of different shapes: {sizes}")
    return ImageSet(folder.resolve().name, classes, like.value_range, read, str(folder))


def _read_parts(
    layout: Layout, files: dict[str, tuple[Path, ...]], parts: Sequence[str], *, num_classes: int
) -> dict[str, Part]:
    reader = READERS[layout]
    return {part: reader(*files[part], num_classes=num_classes) for part in parts if part in files}
