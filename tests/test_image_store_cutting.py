"""Windows of images in files: those of images in memory, whatever the batch they are in."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from filing import listed, photographs
from striate.image_store import Form, open_store
from striate.image_store.cutting import (
    middle_window,
    middle_windows,
    training_windows,
    window_of_file,
)
from striate.images import read_image
from striate.preparation import InputSpec, fit
from striate.recipes import Recipe
from striate.windows import take_windows

ALONE = {"mean": (0.5,) * 3, "std": (0.2,) * 3, "background": (0.25, 0.5, 0.75)}
WINDOW = InputSpec(channels=3, image_size=(40, 40), input_size=(32, 32), kept_side=48, **ALONE)
WHOLE = InputSpec(channels=3, image_size=(24, 28), input_size=(32, 32), kept_size=(24, 28), **ALONE)
CROPS = {
    "center": {"crop": "center"},
    "random": {"crop": "random", "image_size": 40},
    "side": {"crop": "random", "side_range": (36, 48)},
    "area": {"crop": "area"},
}


def recipe(**changes) -> Recipe:
    return Recipe(network="resnet18", data="photos", seed=3, **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    photos = photographs(tmp_path_factory.mktemp("photos"), 24, kinds="png")
    return open_store(listed(photos), Form(side=48), cache=tmp_path_factory.mktemp("cache"))[0]


@pytest.fixture(scope="module")
def same_size(tmp_path_factory):
    """Twelve images of one size, as files and as a batch in memory."""
    folder = tmp_path_factory.mktemp("same") / "a"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 48, 60, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:02d}.png")
    store, _ = open_store(listed(folder.parent), Form(side=48), cache=None)
    return store, torch.from_numpy(pixels).permute(0, 3, 1, 2)


@pytest.mark.parametrize("crop", CROPS)
def test_files_and_memory_give_the_same_windows_to_a_level(same_size, crop):
    store, images = same_size
    indices, chosen = torch.tensor([7, 100, 3]), torch.tensor([4, 0, 11])
    spec = WINDOW.model_copy(update={"image_size": (40, 50)})
    asked = recipe(**CROPS[crop])
    from_files = training_windows(store, chosen, spec, asked, 2, indices)
    in_memory = take_windows(images[chosen], (0, 255), spec, asked, 2, indices)
    assert from_files.dtype == torch.uint8
    assert from_files.shape == (3, 3, 32, 32)
    assert (from_files / 255 - in_memory).abs().max() <= 1.01 / 255


@pytest.mark.parametrize("crop", CROPS)
def test_a_window_depends_on_the_example_not_on_its_batch(store, crop):
    asked, chosen, indices = recipe(**CROPS[crop]), torch.arange(24), torch.arange(24) + 50
    together = training_windows(store, chosen, WINDOW, asked, 1, indices)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    parts = [
        training_windows(store, chosen[part], WINDOW, asked, 1, indices[part])
        for part in order.split(7)
    ]
    assert torch.equal(torch.cat(parts), together[order])
    if crop != "center":
        other = training_windows(store, chosen, WINDOW, asked, 2, indices)
        assert not torch.equal(other, together)


def test_the_middle_is_fit_s_to_a_level_for_images_of_all_sizes(store):
    for spec in (WINDOW, WHOLE):
        for index in range(0, 24, 5):
            pixels = store.pixels(index)
            unit = torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]
            middle = middle_window(pixels, spec).astype(np.float32) / 255
            expected = fit(unit, spec)
            top = (32 - middle.shape[0]) // 2
            left = (32 - middle.shape[1]) // 2
            inner = expected[0, :, top : top + middle.shape[0], left : left + middle.shape[1]]
            assert np.abs(middle - inner.permute(1, 2, 0).numpy()).max() <= 1.01 / 255


def test_one_file_is_read_as_it_is_in_a_set(store):
    for index in (0, 5, 9):
        image = read_image(Path(store.places[index].path))
        window = window_of_file(image.pixels, image, 255, WINDOW)
        of_set = middle_windows(store, torch.tensor([index]), WINDOW)
        assert torch.equal((window * 255).round(), of_set.float())


def test_grey_images_among_colored_ones_are_repeated_and_other_depths_become_floats(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    ramp = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48) * 28
    Image.fromarray(ramp).save(folder / "0.png")
    Image.fromarray(np.full((48, 48, 3), (10, 20, 30), np.uint8)).save(folder / "1.png")
    store, _ = open_store(listed(tmp_path), Form(side=48), cache=None)
    spec = InputSpec(channels=3, image_size=(48, 48), input_size=(48, 48), **ALONE)
    windows = middle_windows(store, torch.tensor([0, 1]), spec)
    assert windows.dtype == torch.float32
    for channel in range(3):
        assert torch.equal(windows[0, channel], torch.from_numpy(ramp.astype(np.float32) / 65535))
        assert (windows[1, channel] == np.float32(10 * (channel + 1)) / np.float32(255)).all()
    assert len(torch.unique(windows[0])) == 48 * 48  # no level is lost
