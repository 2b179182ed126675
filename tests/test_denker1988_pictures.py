"""The pictures of the stages and the templates: colours that mean what the templates hold."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from striate import datasets
from striate.datasets.sets import Part
from striate.models.denker1988_templates import deletion_templates, feature_templates
from striate.studies.denker1988_pictures import draw, stages, templates


def test_both_pictures_are_written_small(tmp_path):
    files = draw("digits", tmp_path)
    assert [file.name for file in files] == ["stages.png", "templates.png"]
    for file in files:
        with Image.open(file) as picture:
            assert picture.format == "PNG"
        assert file.stat().st_size < 60_000


def test_every_digit_adds_a_row(tmp_path):
    images = datasets.load("digits", parts=("test",)).parts["test"].images[:5, 0] / 16
    two, five = stages(images[:2]), stages(images)
    assert (five.width, five.height - two.height) == (two.width, 3 * (two.height - 34) // 2)


def test_a_class_without_a_training_image_has_no_row(tmp_path, monkeypatch):
    found = datasets.load("digits")
    train = found.parts["train"]
    few = (train.targets != 4) & (train.targets != 9)
    part = Part(train.images[few], train.targets[few])
    fewer = dataclasses.replace(found, parts={"train": part})
    monkeypatch.setattr(datasets, "load", lambda *_, **__: fewer)
    file, _ = draw("digits", tmp_path)
    images = torch.stack(
        [part.images[part.targets == one][0, 0] for one in (0, 1, 2, 3, 5, 6, 7, 8)]
    )
    with Image.open(file) as picture:
        assert picture.size == stages(images / 16).size


@pytest.mark.parametrize(("color", "sign"), [((47, 111, 208), 1), ((200, 50, 31), -1)])
def test_each_wanted_and_each_forbidden_pixel_is_a_cell(color, sign):
    pixels = np.asarray(templates())
    kernels = (feature_templates().kernels, deletion_templates().kernels)
    cells = sum(int((torch.sign(one) == sign).sum()) for one in kernels)
    assert (pixels == color).all(axis=2).sum() == 8 * 8 * cells
