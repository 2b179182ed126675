"""A set of images with something of everything that a check must find."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from striate.datasets.listing import Listing, Place

RNG = np.random.default_rng(77)


def picture(height: int = 48, width: int = 64) -> Image.Image:
    """Smooth colours, no two alike."""
    coarse = Image.fromarray(RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def listing_of(root: Path, classes: tuple[str, ...]) -> Listing:
    """List a folder of parts of classes of files, whatever the files are."""
    places, targets, parts = [], [], {}
    for part in sorted(path for path in root.iterdir()):
        for index, name in enumerate(classes):
            for file in sorted((part / name).glob("*")):
                parts.setdefault(part.name, []).append(len(places))
                places.append(Place(str(file), str(file.relative_to(root))))
                targets.append(index)
    indices = {part: torch.tensor(inside) for part, inside in parts.items()}
    named = ("set", classes, tuple(places), torch.tensor(targets), indices)
    return Listing(*named, str(root), "class folders in parts", notes=("1 hidden file left out",))


def make_faulty(root: Path) -> Listing:
    """Write a set with one of each fault, and list it."""
    for part in ("train", "test"):
        for name in ("cat", "dog", "owl"):
            (root / part / name).mkdir(parents=True)
    pictures = [picture() for _ in range(8)]
    for number, one in enumerate(pictures):
        one.save(root / "train" / ("cat" if number < 4 else "dog") / f"{number}.png")
    (root / "train/cat/text.jpg").write_bytes(b"not found\n")
    pictures[0].save(root / "test/cat/0.png")  # a leak, byte for byte
    pictures[1].save(root / "train/dog/1.png")  # two labels for the same bytes
    pictures[2].save(root / "train/cat/twice.png")
    pictures[3].resize((32, 40)).save(root / "test/cat/near.jpg", quality=60)
    picture(300, 400).save(root / "train/dog/large.png")
    picture().save(root / "train/dog/other.jpg", "PNG")
    Image.new("RGB", (40, 40), (9, 9, 9)).save(root / "train/dog/plain.png")
    picture().save(root / "test/owl/only here.png")
    return listing_of(root, ("cat", "dog", "owl", "yak"))
