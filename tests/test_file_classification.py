"""From class folders on disk to a run, and back: the same bits whoever reads the files."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import striate
from commanding import said
from conftest import real_data
from filing import photographs
from striate import datasets
from striate.batches import training_batches
from striate.cli import run_command
from striate.datasets.sets import Part
from striate.display import Silent
from striate.errors import DataError, UsageError
from striate.file_classification import FileClassification
from striate.file_data import Reading, file_spec, form_for, read_files
from striate.recipes import Recipe
from striate.training import resume, train

PHOTOS = {"network": "resnet20", "batch_size": 8, "epochs": 3, "learning_rate": 0.05}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("sets") / "photos", 60)


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    recipe = Recipe(data=str(photos), crop="area", image_size=40, flip=True, **PHOTOS)
    return train(recipe, out, num_threads=1, reading=Reading(out.parent / "cache", 0))


def weights(run):
    return (run.path / "model.safetensors").read_bytes()


def test_a_run_says_which_image_was_in_which_part_and_learns(trained, photos):
    lines = (trained.path / "split.csv").read_text().splitlines()
    assert lines[0] == "path,label,part,group,sha256"
    assert len(lines) == 61
    parts = [line.split(",")[2] for line in lines[1:]]
    assert {part: parts.count(part) for part in set(parts)} == {
        "train": 49, "validation": 5, "test": 6,
    }  # fmt: skip
    assert trained.spec.kept_side == 40
    assert trained.progress()[-1]["train_error"] < 0.2  # two colors


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("cached", [True, False])
def test_workers_and_cache_change_no_bit_of_the_weights(
    trained, tmp_path, monkeypatch, workers, cached
):
    cache = trained.path.parent / "cache" if cached else None
    again = train(
        trained.recipe, tmp_path / "again", num_threads=1, reading=Reading(cache, workers)
    )
    assert weights(again) == weights(trained)


def test_evaluation_and_prediction_of_the_same_files_agree(trained, photos, tmp_path):
    reading = Reading(tmp_path / "cache", 0)
    evaluation = striate.evaluate(trained, reading=reading)
    assert evaluation["examples"] == 6
    lines = [line.split(",") for line in (trained.path / "split.csv").read_text().splitlines()]
    tested = [(path, label) for path, label, part, *_ in lines if part == "test"]
    from striate.prediction import Reader, predict_files

    found, errors = predict_files(
        Reader(trained.network(), trained.spec, trained.classes),
        [photos / path for path, _ in tested],
    )
    assert errors == []
    right = sum(answer.label == label for answer, (_, label) in zip(found, tested, strict=True))
    assert right == round(evaluation["accuracy"] * 6)
    # To the last bit of the input: the window of one file is the window of the set.
    page = (trained.path / "mistakes.html").read_text()
    for answer, (path, label) in zip(found, tested, strict=True):
        assert (path in page) == (answer.label != label)


def test_another_folder_is_evaluated_by_the_names_of_its_classes(trained, tmp_path):
    others = photographs(tmp_path / "others", 12, seed=5)
    evaluation = striate.evaluate(trained, str(others), reading=Reading(None, 0))
    assert evaluation["examples"] == 12  # undivided: all of them
    shutil.copytree(others / "warm", others / "hot")
    with pytest.raises(DataError, match="classes that the run does not know: hot; it knows cold"):
        striate.evaluate(trained, str(others), reading=Reading(None, 0))


def test_a_run_without_a_test_part_is_not_measured_on_what_it_learnt(photos, tmp_path, capsys):
    out, off = str(tmp_path / "run"), ("--cache", "off")
    command = ("train", "lenet5_relu", str(photos), "--out", out, "--epochs", "1", "--test", "0")
    said(capsys, *command, *off)
    for data in ((), ("--data", str(photos))):
        assert run_command(("evaluate", out, *data, *off)) == 3
        assert "has no test part, only train, validation" in capsys.readouterr().err


def test_the_run_s_own_set_is_known_by_a_relative_path_too(trained, photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    evaluation = striate.evaluate(trained, "photos", reading=Reading(None, 0))
    assert evaluation["examples"] == 6
    assert evaluation["files"][-1] == "evaluation.json"


def test_a_moved_set_is_evaluated_on_the_part_that_the_run_held_out(trained, photos, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(photos, moved)
    evaluation = striate.evaluate(trained, str(moved), reading=Reading(None, 0))
    assert evaluation["examples"] == 6


def test_a_test_image_that_changed_is_refused_or_said(trained, photos, tmp_path, capsys):
    copy, run = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(photos, copy)
    shutil.copytree(trained.path, run)
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace(str(photos), str(copy)))
    rows = [line.split(",") for line in (run / "split.csv").read_text().splitlines()]
    tested = next(path for path, _, part, *_ in rows if part == "test")
    Image.fromarray(np.zeros((50, 60, 3), np.uint8)).save(copy / tested)
    assert run_command(("evaluate", str(run), "--cache", "off")) == 3
    assert f"{tested} has changed since the run began; bring the images" in capsys.readouterr().err
    assert run_command(("evaluate", str(run), "--data", str(copy), "--cache", "off")) == 0
    assert f"{tested} has changed since the run began; the figures" in capsys.readouterr().err


def test_images_that_a_run_learnt_from_are_counted_where_it_is_measured(
    trained, photos, tmp_path, capsys
):
    other = tmp_path / "other"
    recipe = trained.recipe.replace(seed=1, epochs=1)
    train(recipe, other, num_threads=1, reading=Reading(tmp_path / "cache", 0))
    assert run_command(("evaluate", str(trained.path), str(other), "--cache", "off")) == 0
    told = capsys.readouterr().err
    assert re.search(rf"\d of these 6 images are among those that {other} was trained", told)
    assert f"that {trained.path} was trained" not in told


def test_a_moved_set_is_named_as_in_a_resumed_run(trained, photos, tmp_path, capsys):
    copy, run = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(photos, copy)
    shutil.copytree(trained.path, run)
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace(str(photos), str(tmp_path / "gone")))
    assert run_command(("evaluate", str(run), "--data-dir", str(copy), "--cache", "off")) == 0
    assert (run / "evaluation.json").exists()
    typed = (
        "evaluate",
        str(run),
        "--data",
        str(copy),
        "--data-dir",
        str(tmp_path),
        "--cache",
        "off",
    )
    assert run_command(typed) == 0  # what was typed counts


def test_a_test_image_that_can_no_more_be_read_is_left_out_where_the_run_leaves_out(
    trained, photos, tmp_path, capsys
):
    copy, run = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(photos, copy)
    shutil.copytree(trained.path, run)
    recipe = (run / "recipe.yaml").read_text().replace(str(photos), str(copy))
    (run / "recipe.yaml").write_text(recipe.replace("skip_bad: false", "skip_bad: true"))
    rows = (run / "split.csv").read_text().splitlines()
    (copy / next(row for row in rows if ",test," in row).split(",")[0]).write_bytes(b"")
    assert run_command(("evaluate", str(run), "--cache", "off")) == 0
    assert "1 of 6 images cannot be read and are left out" in capsys.readouterr().err


def test_a_threshold_is_chosen_on_the_validation_part(trained, tmp_path):
    evaluation = striate.evaluate(trained, error_rate=0.5, reading=Reading(tmp_path, 0))
    assert evaluation["rejection"]["chosen_on"] == "validation"
    assert evaluation["rejection"]["chosen_among"] == 5


def test_a_command_that_only_a_run_or_a_recipe_names_is_not_run(trained, tmp_path, capsys):
    victim = tmp_path / "victim"
    run = tmp_path / "run"
    shutil.copytree(trained.path, run)
    recipe = (run / "recipe.yaml").read_text()
    data = f"data: 'pipe:touch {victim}'"
    (run / "recipe.yaml").write_text(re.sub(r"^data: .*$", data, recipe, flags=re.MULTILINE))
    for command in (
        ("train", "--resume", str(run)),
        ("evaluate", str(run)),
        ("train", "--recipe", str(run / "recipe.yaml"), "--out", str(tmp_path / "new")),
    ):
        assert run_command(command) == 2
        assert "if you trust it" in capsys.readouterr().err
    assert not victim.exists()


def test_a_run_on_a_command_is_resumed_from_another_folder(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    with tarfile.open(home / "a.tar", "w") as archive:
        for file in sorted(photos.rglob("*.*"))[:40] + sorted(photos.rglob("*.*"))[-20:]:
            archive.add(file, file.name)
            label = tarfile.TarInfo(f"{file.stem}.cls")
            label.size = len(file.parent.name)
            archive.addfile(label, io.BytesIO(file.parent.name.encode()))
    monkeypatch.chdir(home)
    recipe = Recipe(network="lenet5_relu", data="pipe:cat a.tar", epochs=1)
    run = train(recipe, tmp_path / "run", reading=Reading(None, 0))
    monkeypatch.chdir(other)
    resume(run.path, reading=Reading(None, 0))
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(UsageError, match="if you trust it"):
        resume(run.path, reading=Reading(None, 0))
    monkeypatch.chdir(home)
    resume(run.path, data_dir=Path("pipe:cat a.tar"), reading=Reading(None, 0))


def test_views_of_files_are_averaged_too(trained, tmp_path):
    ten = striate.evaluate(trained, protocol="ten-crop", reading=Reading(tmp_path, 0))
    assert ten["protocol"] == "ten-crop"
    assert ten["examples"] == 6


def test_a_kill_in_the_middle_of_an_epoch_ends_in_the_same_bits(trained, tmp_path):
    script = """
import sys
from pathlib import Path
from striate import Recipe
from striate.file_data import Reading
from striate.training import train
recipe = Recipe.from_yaml(Path(sys.argv[1]).read_text())
train(recipe, sys.argv[2], num_threads=1, reading=Reading(Path(sys.argv[3]), 2), save_seconds=0)
"""
    out, cache = tmp_path / "killed", trained.path.parent / "cache"
    command = [
        sys.executable,
        "-c",
        script,
        str(trained.path / "recipe.yaml"),
        str(out),
        str(cache),
    ]
    process = subprocess.Popen(command, start_new_session=True)
    while not (out / "state").is_dir() or len(list((out / "state").glob("*.pt"))) < 2:
        time.sleep(0.01)
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    resumed = resume(out, reading=Reading(cache, 1))
    assert weights(resumed) == weights(trained)
    for _ in range(50):
        alive = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, check=False)
        if alive.returncode:
            return
        time.sleep(0.1)
    pytest.fail("workers outlived the killed run")


def test_a_changed_image_is_refused_at_resume(trained, photos, tmp_path):
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    run = tmp_path / "run"
    shutil.copytree(trained.path, run)
    resume(run, data_dir=copy, reading=Reading(None, 0))  # moved, but the same
    first = next(iter((copy / "cold").iterdir()))
    Image.fromarray(np.zeros((50, 60, 3), np.uint8)).save(first)
    told = rf"1 image of .*photos has changed since the run began: cold/{first.name}; bring the"
    with pytest.raises(DataError, match=told):
        resume(run, data_dir=copy, reading=Reading(None, 0))
    first.unlink()
    with pytest.raises(DataError, match=r"1 image"):
        resume(run, data_dir=copy, reading=Reading(None, 0))


def test_bad_images_stop_training_with_the_full_list_or_are_left_out_and_named(
    photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    (copy / "cold" / "empty.png").touch()
    (copy / "warm" / "text.jpg").write_text("not an image at all")
    out = tmp_path / "run"
    command = ("train", "lenet5_relu", str(copy), "--out", str(out), "--epochs", "1")
    assert run_command(command) == 3
    err = capsys.readouterr().err
    assert "2 of 62 images cannot be read; mend or remove them, or leave them out with" in err
    assert "cold/empty.png is empty" in err
    assert "warm/text.jpg holds text" in err
    assert not out.exists()
    said(capsys, *command, "--skip-bad")
    environment = json.loads((out / "environment.json").read_text())
    assert [reason.split(" ")[0] for reason in environment["left_out"]] == [
        "cold/empty.png", "warm/text.jpg",
    ]  # fmt: skip
    resume(out, reading=Reading(None, 0))


def test_png_files_of_cifar_give_the_very_batches_of_the_named_set(tmp_path):
    sheet = np.array(Image.open(real_data("cifar10") / "train_00.webp"))
    pixels = sheet.reshape(25, 32, 40, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)[:200]
    labels = np.fromfile(real_data("cifar10") / "train_labels.u8", np.uint8)[:200]
    for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        place = tmp_path / "cifar" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index:03d}.png")
    recipe = Recipe(
        network="resnet20", data="x", batch_size=64, flip=True, crop_padding=4, validation=0.0
    )
    listing = datasets.list_images(str(tmp_path / "cifar"))
    data = read_files(
        listing, form_for(recipe, (32, 32)), Reading(None, 0), Silent(), skip_bad=False
    )
    order = [int(place.name[-7:-4]) for place in listing.places]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    memory = Part(images[order].contiguous(), torch.from_numpy(labels.astype(np.int64))[order])
    spec = file_spec(data, (3, 32, 32), recipe)
    task = FileClassification(recipe, spec, data, 0)
    expected = list(training_batches(memory, (0, 255), spec, recipe, 1))
    for ours, theirs in zip(task.batches(1, 0), expected, strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.targets, theirs.targets)


def test_a_ramp_of_16_bits_reaches_the_network_with_all_its_levels(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "ramps" / name).mkdir(parents=True)
        for number in range(3):
            ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
            Image.fromarray(ramp).save(tmp_path / "ramps" / name / f"{number}.png")
    recipe = Recipe(network="resnet18", data=str(tmp_path / "ramps"), image_size=256, batch_size=2)
    listing = datasets.list_images(recipe.data)
    data = read_files(
        listing, form_for(recipe, (224, 224)), Reading(None, 0), Silent(), skip_bad=False
    )
    spec = file_spec(data, (3, 256, 256), recipe)
    assert spec.channels == 1
    task = FileClassification(recipe, spec, data, 0)
    batch = next(task.batches(0, 0))
    assert len(torch.unique(batch.images[0])) == 65536


def test_balanced_sampling_shows_a_rare_class_as_often(tmp_path):
    photos = photographs(tmp_path / "photos", 40, kinds="png")
    for file in sorted((photos / "warm").iterdir())[4:]:
        file.unlink()
    recipe = Recipe(network="resnet20", data=str(photos), batch_size=6, sampling="balanced")
    listing = datasets.list_images(recipe.data)
    data = read_files(
        listing, form_for(recipe, (32, 32)), Reading(None, 0), Silent(), skip_bad=False
    )
    task = FileClassification(recipe, file_spec(data, (3, 32, 32), recipe), data, 0)
    targets = torch.cat([batch.targets for batch in task.batches(0, 0)])
    assert torch.bincount(targets).tolist() == [12, 12]


def test_images_of_other_channels_are_refused_with_their_names(tmp_path, capsys):
    photos = photographs(tmp_path / "photos", 4, kinds="png")
    import tifffile

    five = np.zeros((40, 40, 5), np.uint8)
    tifffile.imwrite(
        photos / "warm" / "five.tif", five, photometric="minisblack", planarconfig="contig"
    )
    out = str(tmp_path / "run")
    assert run_command(("train", "resnet20", str(photos), "--out", out, "--cache", "off")) == 3
    line = capsys.readouterr().err
    assert "differ in channels" in line
    assert "warm/five.tif" in line


def test_a_form_holds_all_that_a_recipe_reads():
    recipe = Recipe(network="resnet18", data="x")
    assert form_for(recipe, (224, 224)).size == (224, 224)
    assert form_for(recipe.replace(image_size=256), (224, 224)).side == 256
    assert form_for(recipe.replace(image_size=64), (224, 224)).size == (64, 64)
    wide = recipe.replace(crop="random", side_range=(256, 480))
    assert form_for(wide, (224, 224)).side == 480
    assert Path(form_for(wide, (224, 224)).name) == Path("side-480")
