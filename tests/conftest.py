"""What several test files share: the real data, small sets, and a place without surprises."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import distributing
from commanding import said
from distributing import spread
from striate.datasets.idx import write_idx
from striate.datasets.sets import Part
from striate.recipes import Recipe
from striate.training import train


def real_data(name: str) -> Path:
    """Give the folder of a real data set, or skip; where data are required, fail."""
    root = os.environ.get("STRIATE_DATA")
    if root is not None and Path(root, name).is_dir():
        return Path(root, name)
    reason = f"needs the real data: STRIATE_DATA names no folder with {name}"
    if os.environ.get("STRIATE_REQUIRE_DATA"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The folder with the four files of MNIST."""
    return real_data("mnist")


@pytest.fixture(scope="session")
def usps() -> Path:
    """The folder with the two files of USPS."""
    return real_data("usps")


@pytest.fixture(scope="session")
def isbi2012() -> Path:
    """The folder with the stacks of electron micrographs."""
    return real_data("isbi2012")


@pytest.fixture(scope="session")
def hippocampus() -> Path:
    """The folder with the MR volumes."""
    return real_data("hippocampus")


@pytest.fixture(scope="session")
def camvid() -> Path:
    """The folder with the streets."""
    return real_data("camvid-half")


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose isbi2012 is 30 small slices of bright discs on a dark ground, noisy."""
    generator = np.random.default_rng(5)
    y, x = np.mgrid[:40, :52]
    images, labels = [], []
    for _ in range(30):
        inside = np.zeros((40, 52), bool)
        for _ in range(5):
            row, column, radius = generator.uniform((0, 0, 5), (40, 52, 9))
            inside |= (y - row) ** 2 + (x - column) ** 2 < radius**2
        images.append(60 + 120 * inside + generator.normal(0, 20, (40, 52)))
        labels.append(255 * inside)
    folder = tmp_path_factory.mktemp("data")
    (folder / "isbi2012").mkdir()
    stack = np.clip(images, 0, 255).astype(np.uint8)
    tifffile.imwrite(folder / "isbi2012" / "train-volume.tif", stack)
    tifffile.imwrite(folder / "isbi2012" / "train-labels.tif", np.array(labels, np.uint8))
    return folder


@pytest.fixture(scope="session")
def mask_run(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a run that labels the pixels of ``cells``, badly."""
    recipe = Recipe(
        network="unet_padded", data="isbi2012", width=2, depth=1, tile=(24, 32), epochs=1,
        batch_size=2, optimizer="adamw",
    )  # fmt: skip
    return str(train(recipe, tmp_path_factory.mktemp("runs") / "cells", data_dir=cells).path)


@pytest.fixture
def part() -> Part:
    """Fifty-one images of 16x16 in three classes that are easy to tell apart."""
    return three_bars()


def three_bars() -> Part:
    generator = torch.Generator().manual_seed(4)
    targets = torch.arange(51) % 3
    images = torch.randint(0, 60, (51, 1, 16, 16), generator=generator, dtype=torch.uint8)
    for index, target in enumerate(targets.tolist()):
        images[index, 0, 5 * target : 5 * target + 4, 2:14] = 220
    return Part(images, targets)


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """The same images as a folder of IDX files, 51 to train and 12 to test."""
    write_bars(tmp_path / "bars")
    return tmp_path / "bars"


def write_bars(folder: Path) -> None:
    folder.mkdir()
    part = three_bars()
    for name, count in (("train", 51), ("t10k", 12)):
        write_idx(folder / f"{name}-images-idx3-ubyte", part.images[:count, 0])
        write_idx(folder / f"{name}-labels-idx1-ubyte", part.targets[:count].to(torch.uint8))


@pytest.fixture(scope="session")
def color_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in CIFAR's layout: colour noise in ten classes, 100 to train and 20 to test."""
    folder = tmp_path_factory.mktemp("colours") / "tiny"
    folder.mkdir()
    generator = torch.Generator().manual_seed(3)
    records = torch.randint(0, 256, (20, 3073), generator=generator, dtype=torch.uint8)
    records[:, 0] = torch.arange(20) % 10
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        (folder / name).write_bytes(records.numpy().tobytes())
    return folder


@pytest.fixture(scope="session")
def over_two(tmp_path_factory, color_set, cells):
    """All that ``distributing.everything`` does, in two processes, and its folder."""
    out = tmp_path_factory.mktemp("two")
    write_bars(out / "set")
    work = "everything", out / "result.pt", color_set, cells, out / "set", out
    done = spread(distributing.__file__, *work)
    assert done.returncode == 0, done.stderr
    return {**torch.load(out / "result.pt", weights_only=False), "out": out}


@pytest.fixture
def bars(small_set):
    return str(small_set)


@pytest.fixture
def run(bars, tmp_path, capsys):
    """A run of one epoch."""
    out = str(tmp_path / "finished")
    said(capsys, "train", "lecun1990", bars, "--epochs", "1", "--out", out)
    return out


@pytest.fixture
def recipe(small_set):
    return Recipe(
        network="lecun1990", data=str(small_set), epochs=4, batch_size=9, validation=0.2,
        shift=1, rotation=5, seed=3,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
