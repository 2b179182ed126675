"""Runs that label pixels, measured: figures a plain second way, files, ensembles, refusals."""

import io
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score, jaccard_score

import striate
from striate import datasets
from striate.datasets import load_masks
from striate.errors import DataError, UsageError
from striate.mask_data import as_shown
from striate.mask_evaluation import evaluate_masks
from striate.mask_scoring import probabilities
from striate.membrane_metrics import membrane_scores
from striate.recipes import Recipe
from striate.runs import Run
from striate.segmentation import pixel_form
from striate.segmentation_metrics import surface_report
from striate.tile_input import standardize
from striate.tiled_prediction import whole
from striate.training import train

RECIPE = Recipe(
    network="unet_padded", data="isbi2012", seed=2, width=4, depth=2, tile=(24, 24), epochs=1,
    batch_size=4, optimizer="adamw", learning_rate=0.01,
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(cells, tmp_path_factory):
    """Two runs of the same set, one with an unpadded network."""
    folder = tmp_path_factory.mktemp("runs")
    other = RECIPE.replace(network="unet", tile=(44, 44), seed=5)
    return tuple(
        train(recipe, folder / recipe.network, data_dir=cells) for recipe in (RECIPE, other)
    )


@pytest.fixture
def run(trained, tmp_path):
    return Run(shutil.copytree(trained[0].path, tmp_path / "run"))


@pytest.fixture
def other(trained, tmp_path):
    return Run(shutil.copytree(trained[1].path, tmp_path / "other"))


@pytest.fixture(scope="module")
def tested(cells):
    return load_masks("isbi2012", data_dir=cells, parts=("test",)).parts["test"]


def shares_of(run, image):
    """The second way: the whole image at once through the run's network."""
    with torch.no_grad():
        return whole(run.network().eval(), standardize(image, run.tile_spec)).softmax(dim=0)


def test_the_figures_are_those_of_the_whole_images(run, cells, tested):
    evaluation = striate.evaluate(run, data_dir=cells)
    shares = [shares_of(run, each.image) for each in tested]
    labels = np.stack([each.argmax(dim=0) for each in shares])
    truth = np.stack([each.mask for each in tested])
    assert evaluation["examples"] == len(tested) == 6
    assert evaluation["pixel_error"] == pytest.approx((labels != truth).mean())
    for measure, figure in (("dice", f1_score), ("iou", jaccard_score)):
        values = figure(truth.ravel(), labels.ravel(), average=None)
        assert list(evaluation[measure].values()) == pytest.approx(values.tolist())
        assert evaluation[f"mean_{measure}"] == pytest.approx(values[1])
    assert np.sum(evaluation["confusion"]) == truth.size
    assert evaluation["confusion"][0][1] == ((truth == 0) & (labels == 1)).sum()
    assert evaluation["classes"] == ["membrane", "cell"]
    assert 0.6 < evaluation["mean_dice"] < 1


def test_surfaces_are_averaged_over_images_and_told_for_each(run, cells, tested):
    evaluation = evaluate_masks(run, data_dir=cells)
    reports = [
        surface_report(shares_of(run, each.image).argmax(dim=0), each.mask, run.classes)
        for each in tested
    ]
    for measure in ("hausdorff95", "surface_dice"):
        values = [report[measure]["cell"] for report in reports]
        told = [each[measure]["cell"] for each in evaluation["per_image"]]
        assert told == pytest.approx(values)
        assert evaluation[measure] == {"cell": pytest.approx(sum(values) / 6)}
    assert evaluation["surface_unit"] == "pixels"
    assert evaluation["surface_tolerance"] == 1
    names = [each["image"] for each in evaluation["per_image"]]
    assert names == [each.name for each in tested]
    first = shares_of(run, tested[0].image).argmax(dim=0)
    dice = f1_score(tested[0].mask.ravel(), first.ravel())
    assert evaluation["per_image"][0]["dice"]["cell"] == pytest.approx(dice)


def test_membranes_are_measured_by_the_probability_of_cell(run, cells, tested):
    evaluation = evaluate_masks(run, data_dir=cells)
    expected = membrane_scores(
        [shares_of(run, each.image)[1].numpy() for each in tested],
        [(each.mask == 1).numpy() for each in tested],
    )
    found = dict(evaluation["membranes"])
    assert found.pop("thresholds") == expected.pop("thresholds")
    assert found == pytest.approx(expected, abs=1e-3)
    assert 0.5 < found["v_rand"] <= 1


def test_the_files_are_in_the_run_and_the_card_tells_the_dice(run, cells):
    evaluation = evaluate_masks(run, data_dir=cells)
    names = {path.name for path in run.path.iterdir()}
    assert evaluation["files"] == ["confusion.svg", "result.png", "evaluation.json"]
    assert {*evaluation["files"]} <= names
    assert "mistakes.html" not in names
    assert run.evaluation() == json.loads(json.dumps(evaluation))
    assert f"cell {evaluation['dice']['cell']:.4f}" in (run.path / "README.md").read_text("utf-8")
    with Image.open(run.path / "result.png") as picture:
        assert picture.size[0] >= 1200
    svg = (run.path / "confusion.svg").read_text("utf-8")
    assert f"{evaluation['confusion'][1][1]:,}" in svg


def test_turned_views_go_under_their_own_name(run, cells, tested):
    evaluate_masks(run, data_dir=cells)
    card = (run.path / "README.md").read_bytes()
    turned = striate.evaluate(run, protocol="turns", data_dir=cells)
    assert json.loads((run.path / "evaluation-turns.json").read_text()) == turned
    assert turned["protocol"] == "turns"
    assert (run.path / "README.md").read_bytes() == card
    form = pixel_form(run.network(), "unet_padded")
    wrong = 0
    for each in tested:
        shares = probabilities(form, as_shown(each, run.tile_spec), "turns")
        wrong += int((shares.argmax(dim=0) != each.mask).sum())
    assert turned["pixel_error"] == pytest.approx(wrong / (6 * 40 * 52))


def test_an_ensemble_averages_probabilities(run, other, cells, tested):
    together = striate.evaluate([run, other], protocol="single", data_dir=cells)
    wrong = sum(
        int(((shares_of(run, e.image) + shares_of(other, e.image)).argmax(0) != e.mask).sum())
        for e in tested
    )
    assert together["pixel_error"] == pytest.approx(wrong / (6 * 40 * 52))
    assert [member["network"] for member in together["ensemble"]] == ["unet_padded", "unet"]
    own = striate.evaluate([run, other], data_dir=cells)
    assert [member["protocol"] for member in own["ensemble"]] == ["single", "turns"]
    assert together["network"] is None
    assert together["protocol"] == "single"
    assert [*run.path.glob("evaluation-ensemble-*.json")] != []
    assert not [*other.path.glob("evaluation*")]
    alone = evaluate_masks(run, data_dir=cells)
    assert alone["pixel_error"] != together["pixel_error"]
    assert "ensemble" not in alone


def test_progress_is_told_image_by_image(run, cells):
    told = []
    evaluate_masks(run, data_dir=cells, progress=lambda done, whole: told.append((done, whole)))
    assert told == [(number, 6) for number in range(1, 7)]


def folder_of(tmp_path, masks, *, channels=1, table="value,name\n0,ground\n1,disc\n"):
    """A set in folders, the same images to train, validate and test."""
    root = tmp_path / "set"
    generator = np.random.default_rng(1)
    for part in ("train", "val", "test"):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
        for number, mask in enumerate(masks):
            noise = generator.normal(0, 9, (*mask.shape, channels))
            image = np.clip(60 + 120 * (mask == 1)[..., None] + noise, 0, 255).astype(np.uint8)
            file = f"{number}.png"
            Image.fromarray(image[..., 0] if channels == 1 else image).save(
                root / part / "images" / file
            )
            Image.fromarray(mask.astype(np.uint8)).save(root / part / "masks" / file)
    if table:
        (root / "classes.csv").write_text(table)
    return str(root)


def test_pixels_that_are_left_out_and_images_without_a_class(tmp_path):
    disc = np.zeros((30, 30), int)
    disc[8:20, 8:20] = 1
    half = disc.copy()
    half[:, 15:] = 255
    data = folder_of(tmp_path, [disc, half, 0 * disc])
    run = train(RECIPE.replace(data=data, epochs=2), tmp_path / "run")
    evaluation = striate.evaluate(run)
    assert np.sum(evaluation["confusion"]) == 3 * 900 - 450
    empty = evaluation["per_image"][2]
    if empty["dice"]["disc"] is None:  # nothing was answered where nothing is
        assert empty["mean_dice"] == 1
        assert empty["hausdorff95"]["disc"] is empty["surface_dice"]["disc"] is None
    else:
        assert empty["surface_dice"]["disc"] == 0
    told = [each["surface_dice"]["disc"] for each in evaluation["per_image"]]
    known = [value for value in told if value is not None]
    assert evaluation["surface_dice"]["disc"] == pytest.approx(sum(known) / len(known))
    assert "membranes" not in evaluation
    assert all(math.isfinite(value) for value in known)


def test_sets_that_do_not_fit_are_refused(run, tmp_path):
    disc = np.zeros((30, 30), int)
    disc[8:20, 8:20] = 1
    data = folder_of(tmp_path, [disc])
    with pytest.raises(DataError, match="has the classes ground, disc, the run membrane, cell"):
        striate.evaluate(run, data)
    colored = folder_of(
        tmp_path / "colored", [disc], channels=3, table="value,name\n0,membrane\n1,cell\n"
    )
    with pytest.raises(DataError, match="has images of 3 channels, the run reads 1"):
        striate.evaluate(run, colored)


def test_another_set_of_the_same_classes_goes_under_its_name(run, tmp_path):
    disc = np.zeros((30, 30), int)
    disc[8:20, 8:20] = 1
    data = folder_of(tmp_path, [disc], table="value,name\n0,membrane\n1,cell\n")
    evaluation = striate.evaluate(run, data)
    assert (run.path / "evaluation-set.json").is_file()
    assert evaluation["data"] == data
    assert evaluation["examples"] == 1


def test_views_of_whole_images_are_refused(run, cells):
    with pytest.raises(UsageError, match=r"ten-crop is for labels of whole images.* single, turns"):
        striate.evaluate(run, protocol="ten-crop", data_dir=cells)


def test_runs_of_pixels_and_of_whole_images_make_no_ensemble(run, cells, small_set, tmp_path):
    recipe = Recipe(network="lecun1990", data=str(small_set), epochs=1, batch_size=9)
    classifier = train(recipe, tmp_path / "classifier")
    for runs in ([run, classifier], [classifier, run]):
        with pytest.raises(UsageError, match="label pixels, others whole images"):
            striate.evaluate(runs, data_dir=cells)


def test_a_run_is_named_once(run, cells):
    with pytest.raises(UsageError, match="named twice"):
        striate.evaluate([run, run], data_dir=cells)


def test_the_picture_shows_the_worst_images_first(run, cells, monkeypatch):
    from striate import mask_evaluation

    shown = {}

    def instead(rows, **how):
        shown.update(how, titles=[title for title, *_ in rows], rows=rows)
        return b"PNG"

    monkeypatch.setattr(mask_evaluation, "masks_picture", instead)
    evaluation = evaluate_masks(run, data_dir=cells)
    dices = sorted(each["mean_dice"] for each in evaluation["per_image"])
    assert [float(title[-5:]) for title in shown["titles"]] == pytest.approx(dices, abs=6e-4)
    assert f"mean Dice {evaluation['mean_dice']:.3f}" in shown["title"]
    assert all(labels.shape == (40, 52) for *_, labels in shown["rows"])


def test_of_volumes_the_fullest_slice_is_shown_and_distances_are_in_mm(
    hippocampus, tmp_path, monkeypatch
):
    load = datasets.load_masks

    def load_few(*arguments, **how):
        masks = load(*arguments, **how)
        return replace(masks, parts={name: part[:2] for name, part in masks.parts.items()})

    monkeypatch.setattr(datasets, "load_masks", load_few)
    recipe = Recipe(
        network="unet3d", data="hippocampus", seed=1, width=2, depth=2, tile=(16, 16, 16),
        epochs=1, batch_size=8,
    )  # fmt: skip
    run = train(recipe, tmp_path / "run", data_dir=hippocampus.parent)
    evaluation = striate.evaluate(run, data_dir=hippocampus.parent)
    assert evaluation["surface_unit"] == "mm"
    assert evaluation["examples"] == 2
    assert set(evaluation["dice"]) == {"background", "anterior", "posterior"}
    assert set(evaluation["hausdorff95"]) == {"anterior", "posterior"}
    with Image.open(io.BytesIO((run.path / "result.png").read_bytes())) as picture:
        assert picture.size[0] >= 1200
