"""Small sets of image files that tests train on, and listings of them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from striate.datasets.listing import Listing, Place


def photographs(folder: Path, count: int, *, seed: int = 0, kinds: str = "mixed") -> Path:
    """Write color images of different sizes into two class folders, told apart by their color."""
    draw = np.random.default_rng(seed)
    for number in range(count):
        name = ("cold", "warm")[number % 2]
        height, width = draw.integers(36, 90, 2)
        pixels = draw.integers(0, 160, (height, width, 3), dtype=np.uint8)
        pixels[..., (2, 0)[number % 2]] += 80
        suffix = "png" if kinds == "png" else ("jpg", "png", "webp")[number % 3]
        place = folder / name / f"{number:03d}.{suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    return folder


def listed(folder: Path, parts: dict[str, list[int]] | None = None) -> Listing:
    """List the files of class folders; all train unless said otherwise."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    classes = sorted({path.parent.name for path in files})
    everything = {"train": list(range(len(files)))}
    return Listing(
        folder.name,
        tuple(classes),
        tuple(Place(str(path), str(path.relative_to(folder))) for path in files),
        torch.tensor([classes.index(path.parent.name) for path in files]),
        {name: torch.tensor(indices) for name, indices in (parts or everything).items()},
        str(folder),
        "class folders",
    )
