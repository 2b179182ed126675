"""Training that starts from weights: what begins, what is kept, what the input becomes."""

import hashlib
import json
import shutil

import pytest
import tifffile
import torch

from commanding import refused, said
from striate.cli import run_command
from striate.errors import Interrupted
from striate.models import find_recipe
from striate.published_weights import PUBLISHED
from striate.runs import Run
from striate.training import resume, train
from test_training import StopAfter
from test_weights import saved


@pytest.fixture
def start(recipe, tmp_path):
    """A run to start from, on the same images."""
    return train(recipe.replace(epochs=2, seed=8), tmp_path / "start")


def first_weights(run, recipe):
    """Train nothing: a rate so small that the weights stay as they began."""
    return train(recipe.replace(epochs=1, learning_rate=1e-30, time=1e-9), run)


def test_a_run_starts_from_the_weights_and_keeps_where_they_came_from(
    start, recipe, tmp_path, capsys
):
    given = recipe.replace(weights=str(start.path))
    run = first_weights(tmp_path / "run", given)
    ours, theirs = run.network().state_dict(), start.network().state_dict()
    assert all(torch.allclose(ours[name], theirs[name], rtol=0, atol=1e-20) for name in theirs)
    file = start.path / "model.safetensors"
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert run.environment["weights"] == {
        "given": str(start.path), "file": str(file), "sha256": sha256,
        "report": f"weights start/model.safetensors (SHA-256 {sha256[:8]}): 10 of 10 tensors",
    }  # fmt: skip
    assert run.recipe.weights == str(start.path)
    assert f"from the weights `{start.path}`" in (run.path / "README.md").read_text()


def test_a_run_from_weights_resumes_without_them_to_the_same_bits(start, recipe, tmp_path):
    file = tmp_path / "start.safetensors"
    file.write_bytes((start.path / "model.safetensors").read_bytes())
    given = recipe.replace(weights=str(file), epochs=2)
    whole = train(given, tmp_path / "whole")
    with pytest.raises(Interrupted, match="all is saved"):
        train(given, tmp_path / "cut", display=StopAfter(3))
    file.unlink()
    resumed = resume(tmp_path / "cut").network().state_dict()
    other = train(recipe.replace(epochs=2), tmp_path / "other").network().state_dict()
    for name, tensor in whole.network().state_dict().items():
        assert torch.equal(resumed[name], tensor)
    assert not torch.equal(other["h1.weight"], resumed["h1.weight"])


def test_the_input_is_standardised_as_the_weights_expect(start, recipe, tmp_path, capsys):
    chosen = ("--epochs", "1", "--weights", str(start.path))
    out = str(tmp_path / "run")
    arguments = ["train", "lecun1990", recipe.data, *chosen, "--out", out]
    expected = (start.spec.mean, start.spec.std)
    said(capsys, *arguments)
    assert (Run(out).spec.mean, Run(out).spec.std) == expected
    assert run_command([*arguments, "--input-range", "-3,4", "--overwrite"]) == 0
    told = capsys.readouterr().err
    assert "input_range -3,4 is kept, but these weights expect mean " in told
    assert Run(out).recipe.input_range == (-3, 4)
    assert (Run(out).spec.mean, Run(out).spec.std) != expected


def test_the_input_of_the_weights_goes_before_that_of_the_network_s_own_recipe(
    recipe, tmp_path, monkeypatch
):
    odd = train(recipe.replace(epochs=1, input_range=(-3, 4)), tmp_path / "odd")
    assert find_recipe("lecun1990").input_range not in (None, (-3, 4))
    monkeypatch.chdir(tmp_path)
    run = train(recipe.replace(epochs=1, weights="odd"), tmp_path / "run")
    assert (run.spec.mean, run.spec.std) == (odd.spec.mean, odd.spec.std)
    assert run.recipe.input_range is None
    assert run.recipe.weights == str(tmp_path / "odd")  # to be found from elsewhere


def test_weights_that_do_not_say_what_input_they_expect_leave_it_to_the_images(
    recipe, tmp_path, capsys
):
    path = saved(tmp_path / "mine.pth", "lecun1990", num_classes=3)
    arguments = ["train", "lecun1990", recipe.data, "--epochs", "1", "--weights", str(path)]
    assert run_command([*arguments, "--out", str(tmp_path / "run")]) == 0
    plain = train(recipe, tmp_path / "plain")
    assert (Run(tmp_path / "run").spec) == plain.spec


def test_weights_of_another_network_are_refused_before_the_data_are_read(start, capsys, tmp_path):
    chosen = ("lenet5", str(tmp_path / "nowhere"), "--weights", str(start.path))
    line = refused(capsys, 2, "train", *chosen, "--out", str(tmp_path / "run"))
    assert "holds weights of lecun1990 (as it says), not of lenet5; take lecun1990" in line
    assert not (tmp_path / "run").exists()


def test_the_published_weights_are_listed(capsys):
    listed = json.loads(said(capsys, "models", "--json"))["weights"]
    assert set(listed) == set(PUBLISHED)
    entry = listed["resnet50_v1_5-imagenet1k-v2"]
    assert (entry["network"], entry["sha256"]) == ("resnet50_v1_5", "11ad3fa6")
    assert "resnet50_v1_5-imagenet1k-v2" in said(capsys, "models")


def test_a_run_on_masks_brings_its_own_input_and_says_so(cells, mask_run, tmp_path, capsys):
    data = tmp_path / "isbi2012"
    shutil.copytree(cells / "isbi2012", data)
    stack = tifffile.imread(data / "train-volume.tif")
    tifffile.imwrite(data / "train-volume.tif", stack // 2)  # another mean
    chosen = ("unet_padded", "isbi2012", "--data-dir", str(tmp_path), "--epochs", "1", "--tile",
              "16", "--batch-size", "2", "--width", "2", "--depth", "1", "--weights", mask_run,
              "--out", str(tmp_path / "run"))  # fmt: skip
    assert run_command(["train", *chosen]) == 0
    assert "input standardised as these weights expect: mean " in capsys.readouterr().err
    spec, seen = Run(tmp_path / "run").tile_spec, Run(mask_run).tile_spec
    assert (spec.mean, spec.std, spec.tile) == (seen.mean, seen.std, (16, 16))
    assert run_command(["train", *chosen, "--intensity", "image", "--overwrite"]) == 0
    assert "intensity image is kept, but these weights saw intensity set" in capsys.readouterr().err
    assert Run(tmp_path / "run").tile_spec.intensity == "image"


@pytest.mark.parametrize("other", [("--width", "4"), ("--depth", "2"), ("--normalization", "none")])
def test_a_run_of_another_form_is_refused_with_what_to_give(mask_run, tmp_path, capsys, other):
    form = {"--width": "2", "--depth": "1", other[0]: other[1]}
    options = [text for pair in form.items() for text in pair]
    chosen = ("unet_padded", "isbi2012", "--weights", mask_run, "--out", str(tmp_path / "run"))
    told = refused(capsys, 2, "train", *chosen, *options)
    assert "has width 2, depth 1, normalization batch, so" in told
    assert "give --width 2 --depth 1 --normalization batch" in told
