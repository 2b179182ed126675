"""`striate train`: every choice of a recipe as an option, and where the run goes."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import striate
from commanding import refused, said
from filing import photographs
from striate.cli import run_command
from striate.cli.train import PANELS
from striate.model_card import kept_row
from striate.recipes import Recipe
from striate.runs import Run

# What is typed for each field of the recipe, and what then stands in recipe.yaml. In five
# lines of options, because some choices exclude each other, and some need images in colour.
FIRST = {
    "seed": ("5", 5), "epochs": ("2", 2), "time": ("1.5h", 5400.0), "batch_size": ("11", 11),
    "validation": ("0.25", 0.25), "patience": ("3", 3), "loss": ("cross-entropy", "cross-entropy"),
    "label_smoothing": ("0.125", 0.125), "optimizer": ("sgd", "sgd"),
    "learning_rate": ("1e-3", 0.001), "momentum": ("0.75", 0.75), "nesterov": (None, True),
    "clip": ("1.5", 1.5),
    "weight_decay": ("0.0625", 0.0625), "schedule": ("step", "step"), "warmup": ("0.5", 0.5),
    "milestones": ("1:0.5,2:0.1", {1: 0.5, 2: 0.1}), "ema": ("0.9", 0.9), "image_size": ("17", 17),
    "input_range": ("-0.5,1.5", (-0.5, 1.5)), "channels_last": (None, False),
    "decay": ("weights", "weights"), "alternate": (None, True),
    "flip": (None, True), "crop_padding": ("2", 2), "shift": ("1", 1.0),
    "rotation": ("5", 5.0), "scale": ("0.1", 0.1), "squeeze": ("0.15", 0.15),
    "shear": ("0.2", 0.2), "elastic": ("0.7", 0.7), "brightness": ("0.3", 0.3),
    "contrast": ("0.25", 0.25), "blur": ("0.5", 0.5), "cutout": ("4", 4), "mixup": ("0.4", 0.4),
    "cutmix": ("0.9", 0.9),
}  # fmt: skip
SECOND = {
    "epochs": ("1", 1), "loss": ("squared-error", "squared-error"),
    "optimizer": ("adamw", "adamw"), "schedule": ("cosine", "cosine"),
    "channels_last": (None, True), "freeze": ("h1", ("h1",)), "layer_decay": ("0.5", 0.5),
    "layer_rates": ("output:0.75", {"output": 0.75}), "micro_batch": ("1", 1),
    "precision": ("bf16", "bf16"), "compile": ("auto", "auto"),
}  # fmt: skip
THIRD = {
    "epochs": ("1", 1), "loss": ("map", "map"), "rubbish": ("7", 7.0),
    "schedule": ("plateau", "plateau"), "plateau_epochs": ("9", 9), "plateau_factor": ("0.3", 0.3),
}  # fmt: skip
COLOR = {
    "epochs": ("1", 1), "crop": ("random", "random"), "side_range": ("36,48", (36, 48)),
    "image_size": ("40", 40), "protocol": ("multi-scale", "multi-scale"),
    "scales": ("32, 40", (32, 40)), "view_average": ("scores", "scores"), "pca_color": ("0.1", 0.1),
    "saturation": ("0.3", 0.3), "hue": ("0.05", 0.05),
}  # fmt: skip
TWO_HEADS = {
    "auxiliary": ("0.2", 0.2), "time": ("0.01s", 0.01), "batch_size": ("1", 1),
    "validation": ("0", 0), "pca_color": ("0", 0),
}  # fmt: skip
MASKS = {
    "epochs": ("1", 1), "width": ("2", 2), "depth": ("1", 1), "normalization": ("group", "group"),
    "tile": ("16,20", (16, 20)), "intensity": ("image", "image"), "rare": ("0.25", 0.25),
    "class_weights": ("balanced", "balanced"), "border_weight": ("3", 3.0),
    "border_sigma": ("2", 2.0), "turns": (None, True), "grey": ("0.1", 0.1),
    "noise": ("0.05", 0.05), "match_histograms": (None, True), "elastic_points": ("3", 3),
}  # fmt: skip
FILES = {
    "epochs": ("1", 1), "layout": ("folders", "folders"), "test": ("0.2", 0.2),
    "group": (r"(\d)\d\.", r"(\d)\d\."), "fold": ("2/3", "2/3"), "skip_bad": (None, True),
    "sampling": ("balanced", "balanced"),
}  # fmt: skip
ALL = FIRST | FILES | SECOND | THIRD | COLOR | TWO_HEADS | MASKS


def test_every_field_of_the_recipe_is_an_option_once(capsys):
    placed = [name for names in PANELS.values() for name in names]
    assert len(placed) == len(set(placed))
    assert set(placed) == set(Recipe.model_fields) - {"network", "data", "lengthened"}
    text = said(capsys, "train", "--help")
    for name in placed:
        flag = "--" + name.replace("_", "-")
        assert len(re.findall(rf"^\W*{flag}\b(?!-)", text, re.MULTILINE)) == 1, flag


def test_the_help_lists_the_words_of_a_choice_that_may_be_left_open(capsys):
    text = " ".join(said(capsys, "train", "--help").replace("│", " ").split())
    assert "One of none, batch, instance, group." in text
    assert "One of set, image, ct." in text
    assert "One of sgd, adamw, muon." in text


def options(values: dict) -> list[str]:
    given = []
    for name, (text, value) in values.items():
        flag = name.replace("_", "-")
        given += [f"--no-{flag}"] if value is False else [f"--{flag}"]
        given += [] if text is None else [text]
    return given


@pytest.fixture(scope="module")
def _no_field_left_out():
    assert set(ALL) == set(Recipe.model_fields) - {"network", "data", "weights", "lengthened"}


@pytest.mark.usefixtures("_no_field_left_out")
def test_what_is_given_arrives_in_the_run_s_recipe(
    capsys, bars, color_set, cells, tmp_path, monkeypatch
):
    monkeypatch.setenv("STRIATE_DATA", str(cells))
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    plain = tmp_path / "plain"
    assert said(capsys, "train", "lecun1990", bars, "--out", str(plain), "--epochs", "3")
    start = {"weights": (str(plain), str(plain))}
    unlike = set()
    for number, (values, network, data) in enumerate(
        (
            (FIRST, "lecun1990", bars),
            (SECOND | start, "lecun1990", bars),
            (THIRD, "lenet5", bars),
            (COLOR, "resnet20", str(color_set)),
            (TWO_HEADS, "googlenet", bars),
            (MASKS, "unet_padded", "isbi2012"),
            (FILES, "lenet5_relu", str(photographs(tmp_path / "photos", 60))),
        )
    ):
        out = tmp_path / f"run{number}"
        said(capsys, "train", network, data, "--out", str(out), *options(values))
        recipe = Run(out).recipe
        for name, (_, expected) in values.items():
            assert getattr(recipe, name) == expected, name
            if expected != getattr(Run(plain).recipe, name):
                unlike.add(name)
        assert (recipe.network, recipe.data) == (network, data)
    assert unlike == {*ALL, "weights"}  # else a lost option could pass unseen


def test_options_overrule_arguments_overrule_the_recipe_file(capsys, bars, tmp_path):
    file, out = tmp_path / "mine.yaml", tmp_path / "run"
    file.write_text("network: dense300\ndata: digits\nseed: 3\nepochs: 7\nbatch_size: 13\n")
    arguments = ("lecun1990", bars, "--epochs", "1", "--out", str(out))
    said(capsys, "train", "--recipe", str(file), *arguments)
    recipe = Run(out).recipe
    assert (recipe.network, recipe.data) == ("lecun1990", bars)
    assert (recipe.epochs, recipe.seed, recipe.batch_size) == (1, 3, 13)


def test_a_recipe_file_alone_is_enough_and_a_run_s_own_recipe_gives_it_again(
    capsys, bars, tmp_path
):
    file = tmp_path / "mine.yml"
    file.write_text(f"network: lecun1990\ndata: {bars}\nepochs: 1\nseed: 4\n")
    said(capsys, "train", "--recipe", str(file), "--out", str(tmp_path / "one"))
    again = str(tmp_path / "one" / "recipe.yaml")
    said(capsys, "train", "--recipe", again, "--out", str(tmp_path / "two"))
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    assert Run(tmp_path / "one").recipe == Run(tmp_path / "two").recipe


def test_a_shipped_recipe_is_overruled_by_what_is_typed(capsys, bars, tmp_path):
    out = str(tmp_path / "run")
    chosen = ("--recipe", "lecun1990-usps", "--epochs", "1", "--batch-size", "9")
    said(capsys, "train", "lecun1990", bars, *chosen, "--out", out)
    recipe, shipped = Run(out).recipe, striate.models.find_recipe("lecun1990-usps")
    assert (recipe.data, recipe.epochs, recipe.batch_size) == (bars, 1, 9)
    assert shipped.replace(data=bars, epochs=1, batch_size=9) == recipe


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("--scales 32,40", "--scales does nothing with protocol single; leave it out, or give"),
        ("--protocol ten-crop --scales 9", "or give --protocol multi-scale or 150-crop"),
        ("--view-average scores", "--view-average does nothing with protocol single"),
        ("--optimizer adamw --momentum 0.9", "--momentum does nothing with optimizer adamw"),
        ("--rubbish 7", "--rubbish does nothing with loss squared-error"),
        ("--plateau-factor 0.3", "--plateau-factor does nothing with schedule cosine"),
        ("--plateau-epochs 3", "--plateau-epochs does nothing with schedule cosine"),
        ("--auxiliary 0.3", "--auxiliary does nothing with lecun1990, which has no auxiliary"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused_when_typed(capsys, bars, typed, words):
    assert words in refused(capsys, 2, "train", "lecun1990", bars, *typed.split())


def test_what_a_recipe_names_beside_is_no_mistake(capsys, bars, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("network: lecun1990\nepochs: 1\nscales: [32, 40]\nauxiliary: 0.3\n")
    said(capsys, "train", "lecun1990", bars, "--recipe", str(file), "--out", str(tmp_path / "run"))
    assert Run(tmp_path / "run").recipe.scales == (32, 40)


def test_a_shipped_recipe_that_does_not_fit_says_all_that_would_change_it(capsys, bars, tmp_path):
    chosen = ("train", "resnet18", bars, "--recipe", "resnet18", "--out", str(tmp_path / "run"))
    line = refused(capsys, 2, *chosen, "--image-size", "224", "--validation", "0")
    remedies = (
        *("--validation 0.1", "--pca-color 0", "--image-size above 224, or --crop center"),
        "--protocol single",
    )
    assert [remedy for remedy in remedies if f"{remedy} (" in line] == [*remedies]
    remedies = ("--pca-color", "0", "--crop", "center", "--protocol", "single")
    cut = ("--time", "0.01s", "--batch-size", "1")
    said(capsys, *chosen, "--image-size", "32", "--validation", "0.1", *remedies, *cut)
    assert Run(tmp_path / "run").recipe.side_range is None


def test_runs_are_named_after_network_and_data_and_numbered(capsys, bars, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = ("--epochs", "1")
    assert said(capsys, "train", "lecun1990", bars, *one) == "runs/lecun1990-bars\n"
    assert said(capsys, "train", "lecun1990", "bars", *one) == "runs/lecun1990-bars-2\n"
    assert said(capsys, "train", "lecun1990", "bars/", *one) == "runs/lecun1990-bars-3\n"
    monkeypatch.chdir(bars)
    assert said(capsys, "train", "lecun1990", ".", *one) == "runs/lecun1990-bars\n"
    assert Path(Run("runs/lecun1990-bars").recipe.data).samefile(bars)


def test_training_talks_on_stderr_and_gives_the_folder_on_stdout(capsys, bars, tmp_path):
    out = str(tmp_path / "run")
    assert run_command(["train", "lecun1990", bars, "--epochs", "2", "--out", out]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    lines = printed.err.splitlines()
    assert lines[0] == f"lecun1990 on {bars}: 45 images, 22 steps an epoch, cpu, 1 thread"
    assert [line[:9] for line in lines[1:3]] == ["epoch 1/2", "epoch 2/2"]
    assert lines[-1] == f"next: striate evaluate {out}"
    lowest = min(row["validation_error"] for row in Run(out).progress())
    assert f"lowest validation error {100 * lowest:.2f} %" in lines


def test_after_training_on_masks_the_kept_epoch_is_told_and_what_can_be_done(capsys, tmp_path):
    generator = np.random.default_rng(2)
    for number in range(4):
        mask = generator.integers(0, 2, (24, 24), dtype=np.uint8)
        for part, pixels in (("images", 100 * mask), ("masks", mask)):
            (tmp_path / "set" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "set" / part / f"{number}.png")
    out = str(tmp_path / "run")
    chosen = ("unet_padded", str(tmp_path / "set"), "--width", "2", "--depth", "1", "--tile", "16",
              "--epochs", "2", "--batch-size", "2", "--out", out)  # fmt: skip
    assert run_command(["train", *chosen]) == 0
    lines = capsys.readouterr().err.splitlines()
    kept = kept_row(Run(out).progress())
    assert lines[-3] == (
        f"kept: epoch {kept['epoch']:.0f}, highest validation Dice "
        f"{kept['validation_dice']:.3f}, error {100 * kept['validation_error']:.2f} %"
    )
    assert lines[-2] == f"next: striate predict {out} IMAGE..."
    assert lines[-1].startswith(f"      striate evaluate {out} --data FOLDER")
    report = json.loads(said(capsys, "train", *chosen, "--json", "--overwrite"))
    assert report["kept"]["epoch"] == kept["epoch"]
    for part in ("images", "masks"):
        (tmp_path / "set" / part / "train").mkdir()
        for file in list((tmp_path / "set" / part).glob("*.png")):
            file.rename(file.parent / "train" / file.name)
        shutil.copytree(tmp_path / "set" / part / "train", tmp_path / "set" / part / "test")
    assert run_command(["train", *chosen, "--overwrite"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == f"next: striate evaluate {out}"


def test_training_reports_as_json(capsys, bars, tmp_path):
    out = str(tmp_path / "run")
    chosen = ("lecun1990", bars, "--epochs", "2", "--out", out, "--json")
    report = json.loads(said(capsys, "train", *chosen))
    lowest = min(row["validation_error"] for row in Run(out).progress())
    assert report == {"run": out, "epochs": 2, "lowest_validation_error": lowest}
    report = json.loads(said(capsys, "train", *chosen, "--validation", "0", "--overwrite"))
    assert report["lowest_validation_error"] is None


def test_a_run_that_is_there_is_kept_unless_overwrite_is_said(capsys, bars, tmp_path):
    out = str(tmp_path / "run")
    chosen = ("train", "lecun1990", bars, "--epochs", "1", "--out", out)
    said(capsys, *chosen)
    line = refused(capsys, 2, *chosen, "--seed", "8")
    assert f"{out} holds a run; go on with `striate train --resume {out}`, replace it" in line
    assert Run(out).recipe.seed == 0
    said(capsys, *chosen, "--seed", "8", "--overwrite", "--threads", "2")
    assert Run(out).recipe.seed == 8
    assert Run(out).environment["threads"] == 2


@pytest.mark.parametrize(
    ("others", "named"),
    [
        (["lenet5"], "NETWORK"),
        (["lenet5", "digits"], "NETWORK"),
        (["--recipe", "mnist-99"], "--recipe"),
        (["--out", "elsewhere"], "--out"),
        (["--overwrite"], "--overwrite"),
        (["--epochs", "9", "--seed", "1"], "--seed"),
        (["--learning-rate", "1"], "--learning-rate"),
        (["--no-channels-last"], "--channels-last"),
    ],
)
def test_resume_takes_no_other_choices(capsys, run, others, named):
    line = refused(capsys, 2, "train", "--resume", run, *others)
    assert f"so {named} cannot be given too, only --epochs and --time; start a new" in line


def test_a_finished_run_resumes_to_itself(capsys, run):
    before = (Path(run) / "model.safetensors").read_bytes()
    assert run_command(["train", "--resume", run]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{run}\n"
    assert printed.err.startswith("this run is finished; its files are written again\n")
    assert (Path(run) / "model.safetensors").read_bytes() == before
    assert len(Run(run).progress()) == 1


def test_a_run_goes_on_with_the_threads_that_are_asked_for(capsys, run):
    run_command(["train", "--resume", run, "--threads", "2"])
    assert "with 2 threads instead of 1 the weights" in capsys.readouterr().err
    assert "'--threads'" in refused(capsys, 2, "train", "--resume", run, "--threads", "0")


def test_a_misspelt_field_of_a_recipe_file_is_named_also_where_others_are_missing(capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text("netwrk: lenet5\n")
    line = refused(capsys, 2, "train", "--recipe", str(tmp_path / "mine.yaml"))
    assert line.endswith("a recipe has no 'netwrk'; did you mean 'network'?\n")


def test_a_batch_larger_than_the_set_is_said(capsys, bars, tmp_path):
    given = ("--batch-size", "5000", "--epochs", "1", "--out", str(tmp_path / "run"))
    assert run_command(["train", "lecun1990", bars, *given]) == 0
    told = r"a batch of 5,000 is more than all \d+: each epoch is one step of them all\n"
    assert re.search(told, capsys.readouterr().err)


def test_a_place_that_cannot_be_written_fails_in_one_line(capsys, bars, tmp_path):
    (tmp_path / "file").write_text("in the way")
    chosen = ("train", "lecun1990", bars, "--epochs", "1", "--out")
    line = refused(capsys, 1, *chosen, str(tmp_path / "file" / "run"))
    assert f"cannot write into {tmp_path / 'file'}; choose a folder that you may write" in line
    if Path("/proc/self").exists():  # read-only, also to the super-user
        line = refused(capsys, 1, *chosen, "/proc/striate/run")
        assert "/proc" in line
        assert "with --out" in line
    line = refused(capsys, 2, *chosen, str(tmp_path))
    assert f"{tmp_path} exists and is not a run; choose another --out" in line


def test_a_run_is_lengthened_by_epochs_and_time_alone(capsys, run):
    assert said(capsys, "train", "--resume", run, "--epochs", "3", "--time", "1h").strip() == run
    recipe = Run(run).recipe
    assert (recipe.epochs, recipe.time) == (3, 3600)
    assert len(Run(run).progress()) == 3
    text = refused(capsys, 2, "train", "--resume", run, "--epochs", "9", "--ema", "0.9")
    assert "--ema cannot be given too, only --epochs and --time" in text
    assert "has done 3 epochs" in refused(capsys, 2, "train", "--resume", run, "--epochs", "2")
    assert "epochs is" in refused(capsys, 2, "train", "--resume", run, "--epochs", "many")


def test_another_plan_leaves_the_seams_of_a_recipe_behind(capsys, run, tmp_path):
    said(capsys, "train", "--resume", run, "--epochs", "2")
    for name, options, seams in (("same", (), 1), ("other", ("--epochs", "3"), 0)):
        out = str(tmp_path / name)
        said(capsys, "train", "--recipe", f"{run}/recipe.yaml", "--out", out, *options)
        assert len(Run(out).recipe.lengthened) == seams
