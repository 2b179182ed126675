"""Photographs for benchmarks, and the loader that people have: Pillow and torchvision's."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

SIDE = 224


def photographs(folder: Path, count: int) -> None:
    """Copy imagenet-sample's photographs until there are ``count``, no two files equal."""
    files = sorted(Path(os.environ["STRIATE_DATA"], "imagenet-sample", "images").glob("*/*.JPEG"))
    for number in range(count):
        file = files[number % len(files)]
        place = folder / file.parent.name / f"{number // len(files):03d}-{file.name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes() + number.to_bytes(4, "big"))


def torchvision() -> Any:
    """Import the peer, which does not import by itself beside this PyTorch."""
    sys.path.insert(0, os.environ["STRIATE_PEERS"])
    import_module("torchvision_cpu")
    return import_module("torchvision")


def reference_loader(
    folder: Path, batch_size: int, workers: int
) -> "DataLoader[tuple[Tensor, Tensor]]":
    """Make the loader of PyTorch's own reference training, with workers that persist."""
    transforms = torchvision().transforms
    changes = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIDE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    return DataLoader(
        torchvision().datasets.ImageFolder(str(folder), changes),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=True,
        multiprocessing_context="fork",
    )
