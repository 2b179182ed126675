"""Labelling every pixel: a run learns, resumes to the bit, and is measured on whole images."""

import signal

import pytest
import torch
from torch.nn import functional as F

from striate.datasets import load_masks
from striate.display import Silent
from striate.errors import DataError, Interrupted, RunError
from striate.mask_data import load_mask_data
from striate.recipes import Recipe
from striate.runs import Run
from striate.segmentation import Segmentation, pixel_form
from striate.task_making import again, prepare
from striate.tile_input import standardize
from striate.tiled_prediction import whole
from striate.training import resume, train

RECIPE = Recipe(
    network="unet_padded", data="isbi2012", seed=2, width=6, depth=2, tile=(24, 24), epochs=3,
    batch_size=4, optimizer="adamw", learning_rate=0.01, turns=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(cells, tmp_path_factory) -> Run:
    return train(RECIPE, tmp_path_factory.mktemp("runs") / "cells", data_dir=cells)


def test_discs_are_learnt_from_noise(run):
    rows = run.progress()
    assert len(rows) == 3
    assert rows[-1]["validation_dice"] > 0.95
    assert rows[-1]["validation_error"] < 0.05
    assert rows[-1]["train_error"] < rows[0]["train_error"]
    assert run.classes == ("membrane", "cell")
    assert run.recipe.width == 6


def test_what_was_logged_of_validation_is_what_the_kept_network_does(run, cells):
    best = max(run.progress(), key=lambda row: row["validation_dice"])
    part = load_masks("isbi2012", data_dir=cells, parts=("validation",)).parts["validation"]
    right = overlap = both = 0
    for each in part:
        labels = whole(run.network(), standardize(each.image, run.tile_spec)).argmax(0)
        right += int((labels == each.mask).sum())
        overlap += int(((labels == 1) & (each.mask == 1)).sum())
        both += int((labels == 1).sum() + (each.mask == 1).sum())
    assert best["validation_error"] == pytest.approx(1 - right / (2 * 40 * 52))
    assert best["validation_dice"] == pytest.approx(2 * overlap / both)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"elastic": 2, "elastic_points": 3, "rotation": 30, "grey": 0.1, "noise": 0.1, "rare": 0.5},
        {"network": "unet", "tile": (60, 60), "border_weight": 10, "class_weights": "balanced"},
        {"loss": "cross-entropy+dice", "ema": 0.9, "normalization": "batch"},
    ],
)  # fmt: skip
def test_a_run_resumed_inside_an_epoch_is_the_unbroken_one_bit_for_bit(changes, cells, tmp_path):
    recipe = RECIPE.replace(epochs=2, width=3, **changes)
    whole_run = train(recipe, tmp_path / "whole", data_dir=cells)

    class Stopping(Silent):
        def step(self, epoch, images, loss):
            if epoch == 2:
                self.steps += 1
                if self.steps == 3:
                    signal.raise_signal(signal.SIGINT)

    stopping = Stopping()
    stopping.steps = 0
    with pytest.raises(Interrupted, match="stopped in epoch 2, step 3; all is saved"):
        train(recipe, tmp_path / "cut", data_dir=cells, display=stopping)
    resumed = resume(tmp_path / "cut", data_dir=cells)
    for name, tensor in whole_run.network().state_dict().items():
        assert torch.equal(tensor, resumed.network().state_dict()[name]), name
    keys = whole_run.progress()[0].keys() - {"seconds"}
    for one, other in zip(whole_run.progress(), resumed.progress(), strict=True):
        assert {key: one[key] for key in keys} == {key: other[key] for key in keys}


def test_a_run_of_labels_and_one_of_pixels_are_not_taken_for_each_other(run):
    with pytest.raises(RunError, match="labels pixels; it has no label for a whole image"):
        _ = run.spec
    assert run.tile_spec.tile == (24, 24)


def test_resuming_with_other_masks_is_refused(run, cells, tmp_path):
    import shutil

    import tifffile

    other = tmp_path / "data"
    shutil.copytree(cells, other)
    labels = tifffile.imread(other / "isbi2012" / "train-labels.tif")
    labels[0, 0, 0] ^= 255
    tifffile.imwrite(other / "isbi2012" / "train-labels.tif", labels)
    with pytest.raises(DataError, match="not those this run began with"):
        resume(run.path, data_dir=other)


def test_the_task_counts_pixels_and_leaves_out_those_that_are_ignored(cells):
    task = prepare(RECIPE, RECIPE.model_fields_set, None, cells).task
    assert task.num_examples == 80
    assert task.steps_per_epoch == 20
    batch = next(task.batches(0, 0))
    assert batch.images.shape == (4, 1, 24, 24)
    batch.targets[0] = 255
    logits = torch.stack([batch.targets != 1, batch.targets == 1], dim=1).float()
    logits[1, :, 0, 0] = logits[1, :, 0, 0].flip(0)
    assert task.mistakes(logits, batch) == (1, 3 * 24 * 24)


@pytest.mark.parametrize("border_weight", [0, 10])
def test_weights_of_classes_count_once_beside_those_of_borders(border_weight, cells):
    recipe = RECIPE.replace(class_weights="balanced", border_weight=border_weight)
    task = prepare(recipe, recipe.model_fields_set, None, cells).task
    batch = next(task.batches(0, 0))
    part = load_masks("isbi2012", data_dir=cells, parts=("train",)).parts["train"]
    share = torch.stack([each.mask == 1 for each in part]).double().mean()
    weights = torch.where(batch.targets == 1, 0.5 / share, 0.5 / (1 - share))
    if border_weight:
        assert (batch.weights > weights + 1).any()
        weights = batch.weights.double()
    logits = torch.randn(4, 2, 24, 24, generator=torch.Generator().manual_seed(1)).double()
    losses = F.cross_entropy(logits, batch.targets.long(), reduction="none")
    wanted = (weights * losses).sum() / weights.sum()
    assert task.loss(logits, batch).item() == pytest.approx(wanted.item(), rel=1e-6)


def test_a_network_of_windows_learns_and_answers_in_its_dense_form(cells):
    recipe = Recipe(network="ciresan65", data="isbi2012", tile=(72, 80), batch_size=2)
    prepared = prepare(recipe, recipe.model_fields_set, None, cells)
    task, network = prepared.task, prepared.network
    batch = next(task.batches(0, 0))
    assert batch.targets.shape == (2, 8, 16)
    form = task.form(network)
    task.loss(form(batch.images), batch).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    window = batch.images[:1, :, 3:68, 5:70]
    with torch.no_grad():
        dense = pixel_form(network.eval(), "ciresan65")(batch.images[:1])[0, :, 3, 5]
        assert torch.allclose(dense, network(window)[0], atol=1e-5)


def test_a_task_made_again_from_its_run_is_the_same(run, cells):
    task = again(run, run.recipe, data_dir=cells, display=Silent())
    assert isinstance(task, Segmentation)
    assert task.fingerprint == load_mask_data(run.recipe, 2, cells).fingerprint
    assert task.num_examples == 80


def test_a_run_begins_from_the_weights_of_another_of_its_width(run, cells, tmp_path):
    recipe = RECIPE.replace(weights=str(run.path), epochs=1, learning_rate=1e-9)
    again_run = train(recipe, tmp_path / "again", data_dir=cells)
    assert again_run.progress()[0]["validation_dice"] == pytest.approx(
        max(row["validation_dice"] for row in run.progress()), abs=0.005
    )
