"""The command line as a person or a script meets it: what it says, where, and its exit codes."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import striate
from striate import datasets
from striate.cli import run_command
from striate.cli.train import PANELS
from striate.models import NETWORKS, RECIPES
from striate.recipes import Recipe
from striate.runs import Run

# What is typed for each field of the recipe, and what then stands in recipe.yaml. In two
# lines of options, because some choices exclude each other.
FIRST = {
    "seed": ("5", 5), "epochs": ("2", 2), "time": ("1.5h", 5400.0), "batch_size": ("11", 11),
    "validation": ("0.25", 0.25), "patience": ("3", 3), "loss": ("cross-entropy", "cross-entropy"),
    "rubbish": ("7", 7.0), "label_smoothing": ("0.125", 0.125), "optimizer": ("sgd", "sgd"),
    "learning_rate": ("1e-3", 0.001), "momentum": ("0.75", 0.75), "nesterov": (None, True),
    "weight_decay": ("0.0625", 0.0625), "schedule": ("step", "step"), "warmup": ("0.5", 0.5),
    "milestones": ("1:0.5,2:0.1", {1: 0.5, 2: 0.1}), "plateau_epochs": ("9", 9),
    "plateau_factor": ("0.3", 0.3), "ema": ("0.9", 0.9), "image_size": ("17", 17),
    "input_range": ("-0.5,1.5", (-0.5, 1.5)), "channels_last": (None, False),
    "shift": ("1", 1.0), "rotation": ("5", 5.0), "scale": ("0.1", 0.1), "squeeze": ("0.15", 0.15),
    "shear": ("0.2", 0.2), "elastic": ("0.7", 0.7),
}  # fmt: skip
SECOND = {
    "epochs": ("1", 1), "loss": ("squared-error", "squared-error"),
    "optimizer": ("adamw", "adamw"), "schedule": ("cosine", "cosine"),
    "channels_last": (None, True),
}  # fmt: skip
THIRD = {"epochs": ("1", 1), "loss": ("map", "map"), "schedule": ("constant", "constant")}


def said(capsys, *arguments: str) -> str:
    """Run a command that must go well, and give what it printed on stdout."""
    capsys.readouterr()
    assert run_command(arguments) == 0
    return capsys.readouterr().out


def refused(capsys, code: int, *arguments: str) -> str:
    """Run a command that must be refused with this code, in one line, and give the line."""
    capsys.readouterr()
    assert run_command(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("striate: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    return err


def shell(command: str, **options) -> subprocess.CompletedProcess:
    """Run a line of shell in which ``striate`` is the command."""
    called = f'striate() {{ "{sys.executable}" -m striate "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", called], capture_output=True, text=True, check=False, timeout=100,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A LeNet-5 that reads most digits."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert run_command(["train", "lenet5", "digits", "--epochs", "12", "--out", str(folder)]) == 0
    return str(folder)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """An 8×8 three as bytes, white on black as the training images, in a PNG."""
    part = datasets.load("digits", parts=("test",)).parts["test"]
    index = int((part.targets == 3).nonzero()[0, 0])
    pixels = (part.images[index, 0].numpy() * (255 / 16)).astype(np.uint8)
    file = tmp_path_factory.mktemp("images") / "three.png"
    Image.fromarray(pixels).save(file)
    return file


@pytest.fixture
def pixels(three):
    with Image.open(three) as image:
        return np.array(image)


@pytest.fixture
def bars(small_set):
    return str(small_set)


# ---------------------------------------------------------------- what there is


def test_models_names_every_network_and_every_recipe(capsys):
    text = said(capsys, "models")
    assert all(re.search(rf"^{name} ", text, re.MULTILINE) for name in NETWORKS)
    assert all(name in text for name in RECIPES)
    listed = json.loads(said(capsys, "models", "--json"))
    assert list(listed["networks"]) == list(NETWORKS)
    assert listed["recipes"] == sorted(RECIPES)
    assert listed["networks"]["lenet5"]["input_shape"] == [1, 32, 32]
    assert {"paper", "title", "num_classes", "recipe"} < set(listed["networks"]["lenet5"])


def test_datasets_names_every_set(capsys):
    text = said(capsys, "datasets")
    assert all(re.search(rf"^{name} ", text, re.MULTILINE) for name in datasets.DATASETS)
    listed = json.loads(said(capsys, "datasets", "--json"))
    assert list(listed) == list(datasets.DATASETS)
    assert listed["digits"]["parts"] == {"train": 1197, "validation": 300, "test": 300}
    assert len(listed["cifar10"]["classes"]) == 10


def test_describe_gives_the_paper_s_counts(capsys):
    counted = json.loads(said(capsys, "describe", "lenet5", "--json"))
    assert list(counted)[:5] == [
        "network", "input_shape", "parameters", "connections", "multiply_adds",
    ]  # fmt: skip
    assert (counted["network"], counted["input_shape"]) == ("lenet5", [1, 32, 32])
    assert (counted["parameters"], counted["connections"]) == (60_000, 340_908)
    for layer in counted["layers"]:
        assert set(layer) >= {
            "name", "kind", "output_shape", "parameters", "connections", "multiply_adds",
            "receptive_field",
        }  # fmt: skip
    assert sum(layer["connections"] for layer in counted["layers"]) == 340_908
    table = said(capsys, "describe", "lenet5")
    assert "60,000" in table
    assert "340,908" in table


def test_describe_takes_another_input_and_a_run(capsys, reader):
    wide = json.loads(said(capsys, "describe", "lecun1990", "--input", "3x28x28", "--json"))
    assert wide["input_shape"] == [3, 28, 28]
    assert wide["parameters"] > 2578
    run = json.loads(said(capsys, "describe", reader, "--json"))
    assert (run["network"], run["parameters"]) == (reader, 60_000)


# ---------------------------------------------------------------- train


def test_every_field_of_the_recipe_is_an_option_once(capsys):
    placed = [name for names in PANELS.values() for name in names]
    assert len(placed) == len(set(placed))
    assert set(placed) == set(Recipe.model_fields) - {"network", "data"}
    text = said(capsys, "train", "--help")
    for name in placed:
        flag = "--" + name.replace("_", "-")
        assert len(re.findall(rf"^\W*{flag}\b(?!-)", text, re.MULTILINE)) == 1, flag


def options(values: dict) -> list[str]:
    given = []
    for name, (text, value) in values.items():
        flag = name.replace("_", "-")
        given += [f"--no-{flag}"] if value is False else [f"--{flag}"]
        given += [] if text is None else [text]
    return given


@pytest.fixture(scope="module")
def _no_field_left_out():
    assert set(FIRST) == set(Recipe.model_fields) - {"network", "data"}


@pytest.mark.usefixtures("_no_field_left_out")
def test_what_is_given_arrives_in_the_run_s_recipe(capsys, bars, tmp_path):
    plain = tmp_path / "plain"
    assert said(capsys, "train", "lecun1990", bars, "--out", str(plain), "--epochs", "3")
    unlike = set()
    for number, values in enumerate((FIRST, SECOND, THIRD)):
        out = tmp_path / f"run{number}"
        network = "lenet5" if values is THIRD else "lecun1990"
        said(capsys, "train", network, bars, "--out", str(out), *options(values))
        recipe = Run(out).recipe
        for name, (_, expected) in values.items():
            assert getattr(recipe, name) == expected, name
            if expected != getattr(Run(plain).recipe, name):
                unlike.add(name)
        assert (recipe.network, recipe.data) == (network, bars)
    assert unlike == set(FIRST)  # else a lost option could pass unseen


def test_a_misspelt_option_is_answered_with_the_nearest(capsys):
    for wrong, right in (("--epocs", "epochs"), ("--learning-rat", "learning-rate")):
        line = refused(capsys, 2, "train", "lenet5", "digits", wrong, "3")
        assert line == f"striate: no option is called {wrong}; did you mean --{right}?\n"
    line = refused(capsys, 2, "models", "--jsn")
    assert line == "striate: no option is called --jsn; did you mean --json?\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("train lenet6 digits", "no network is called 'lenet6'; did you mean 'lenet5'?"),
        ("train lenet5 digts", "no data set is called 'digts': did you mean 'digits'? or give"),
        ("train --recipe mnist-98", "no recipe is called 'mnist-98'; did you mean 'mnist-99'?"),
        ("trian lenet5 digits", "No such command 'trian'. Did you mean 'train'?"),
        ("describe lenet6", "no network is called 'lenet6'; did you mean 'lenet5'?"),
        ("describe lenet5 --input 1xx32", "--input is '1xx32'; write channels, height and width"),
        ("train", "NETWORK and DATA missing: striate train NETWORK DATA, or --recipe NAME;"),
        ("train lenet5", "DATA missing: striate train NETWORK DATA, or --recipe NAME;"),
        ("train lenet5 digits more", "Got unexpected extra argument(s) (more); see `striate train"),
        ("train lenet5 digits --epochs", "Option '--epochs' requires an argument."),
        ("train lenet5 digits --epochs 0", "recipe: epochs is '0': Input should be greater than"),
        (
            "train lenet5 digits --loss mse",
            "recipe: loss is 'mse': Input should be 'cross-entropy'",
        ),
        ("train lenet5 digits --time 3d", "recipe: time is '3d': unit 'd' is not one of s, min, h"),
        ("train lenet5 digits --device cuda:77", "device 'cuda:77' is not to be had here"),
        ("train --recipe absent.yaml", "recipe file absent.yaml cannot be read: "),
        ("evaluate", "Missing argument 'run'; see `striate evaluate --help`"),
        ("--no-such", "No such option: --no-such; see `striate --help`"),
    ],
)
def test_what_does_not_exist_or_fit_is_a_usage_error_in_one_line(
    capsys, tmp_path, monkeypatch, arguments, line
):
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, 2, *arguments.split()).startswith(f"striate: {line}")
    assert not list(tmp_path.iterdir())


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


def test_runs_are_named_after_network_and_data_and_numbered(capsys, bars, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = ("--epochs", "1")
    assert said(capsys, "train", "lecun1990", bars, *one) == "runs/lecun1990-bars\n"
    assert said(capsys, "train", "lecun1990", "bars", *one) == "runs/lecun1990-bars-2\n"
    assert said(capsys, "train", "lecun1990", "bars/", *one) == "runs/lecun1990-bars-3\n"
    monkeypatch.chdir(bars)
    assert said(capsys, "train", "lecun1990", ".", *one) == "runs/lecun1990-bars\n"
    assert Run("runs/lecun1990-bars").recipe.data == "."


def test_training_talks_on_stderr_and_gives_the_folder_on_stdout(capsys, bars, tmp_path):
    out = str(tmp_path / "run")
    assert run_command(["train", "lecun1990", bars, "--epochs", "2", "--out", out]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    lines = printed.err.splitlines()
    assert [line[:9] for line in lines[:2]] == ["epoch 1/2", "epoch 2/2"]
    assert lines[-1] == f"next: striate evaluate {out}"
    lowest = min(row["validation_error"] for row in Run(out).progress())
    assert f"lowest validation error {100 * lowest:.2f} %" in lines


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
    said(capsys, *chosen, "--seed", "8", "--overwrite")
    assert Run(out).recipe.seed == 8


@pytest.mark.parametrize(
    ("others", "named"),
    [
        (["lenet5"], "NETWORK"),
        (["lenet5", "digits"], "NETWORK"),
        (["--recipe", "mnist-99"], "--recipe"),
        (["--out", "elsewhere"], "--out"),
        (["--overwrite"], "--overwrite"),
        (["--epochs", "9"], "--epochs"),
        (["--learning-rate", "1"], "--learning-rate"),
        (["--no-channels-last"], "--channels-last"),
    ],
)
def test_resume_takes_no_other_choices(capsys, reader, others, named):
    line = refused(capsys, 2, "train", "--resume", reader, *others)
    assert f"so {named} cannot be given too; start a new run to change it" in line


def test_a_finished_run_resumes_to_itself(capsys, reader):
    before = (Path(reader) / "model.safetensors").read_bytes()
    assert said(capsys, "train", "--resume", reader) == f"{reader}\n"
    assert (Path(reader) / "model.safetensors").read_bytes() == before
    assert len(Run(reader).progress()) == 12


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


# ---------------------------------------------------------------- evaluate


def test_evaluate_prints_the_figures_of_its_report(capsys, reader):
    report = json.loads(said(capsys, "evaluate", reader, "--json"))
    assert set(report) >= {
        "examples", "accuracy", "error_rate", "top5_error", "per_class", "accuracy_interval_95",
        "confusion", "classes",
    }  # fmt: skip
    assert report == Run(reader).evaluation()
    assert report["accuracy"] > 0.9
    assert run_command(["evaluate", reader]) == 0
    printed = capsys.readouterr()
    first, header, *rows = printed.out.splitlines()
    assert first.startswith(
        f"lenet5 on digits: {100 * report['accuracy']:.2f} % of 300 test images right (95 % inter"
    )
    assert header.split() == ["class", "examples", "correct", "precision", "recall", "F1"]
    assert [row.split()[0] for row in rows] == list("0123456789")
    for row in rows:
        name, examples, correct = row.split()[:3]
        values = report["per_class"][name]
        assert (int(examples), int(correct)) == (values["examples"], values["correct"])
        assert f"{100 * values['recall']:.1f} %" in row
    assert printed.err.startswith(f"see {reader}/mistakes.html")


def test_evaluate_refuses_what_is_no_run_and_data_that_do_not_fit(capsys, reader, bars, tmp_path):
    line = refused(capsys, 1, "evaluate", str(tmp_path / "absent"))
    assert "absent does not exist; `striate train NETWORK DATA --out DIR` makes one" in line
    line = refused(capsys, 1, "evaluate", str(tmp_path))
    assert "is not a run: it has no recipe.yaml" in line
    line = refused(capsys, 2, "evaluate", reader, "--data", "digts")
    assert "no data set is called 'digts': did you mean 'digits'?" in line
    line = refused(capsys, 3, "evaluate", reader, "--data", bars)
    assert "has the classes 0, 1, 2, the run 0, 1, 2, 3" in line
    line = refused(capsys, 3, "evaluate", reader, "--data", str(tmp_path / "absent"))
    assert "absent" in line


def test_a_run_with_a_file_missing_is_one_line(capsys, reader, tmp_path):
    broken = Path(shutil.copytree(reader, tmp_path / "broken"))
    (broken / "progress.csv").unlink()
    line = refused(capsys, 1, "evaluate", str(broken))
    assert f"{broken}/progress.csv" in line
    (broken / "model.safetensors").unlink()
    line = refused(capsys, 1, "evaluate", str(broken))
    assert f"`striate train --resume {broken}` writes it again" in line


# ---------------------------------------------------------------- predict


def test_predict_answers_an_image_as_table_json_and_csv(capsys, reader, three, tmp_path):
    (answer,) = json.loads(said(capsys, "predict", reader, str(three), "--json"))
    assert set(answer) >= {"path", "label", "probability", "top"}
    assert (answer["path"], answer["label"]) == (str(three), "3")
    assert [set(entry) for entry in answer["top"]] == [{"label", "probability"}] * 5
    assert answer["top"][0] == {"label": "3", "probability": answer["probability"]}
    table = said(capsys, "predict", reader, str(three), "--top", "2")
    assert f"{answer['probability']:.2%}" in table
    assert len(re.findall(r"\d%", table)) == 2
    for name in ("out.csv", "out.json"):
        assert said(capsys, "predict", reader, str(three), "-o", str(tmp_path / name)) == ""
    with (tmp_path / "out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["label"]) == (str(three), "3")
    assert float(row["probability"]) == pytest.approx(answer["probability"])
    assert json.loads((tmp_path / "out.json").read_text()) == [answer]


def test_the_answers_are_those_of_the_run(capsys, reader, three, pixels):
    (answer,) = json.loads(said(capsys, "predict", reader, str(three), "--json", "--top", "10"))
    import torch

    shares = Run(reader).predict(torch.from_numpy(pixels)[None, None])[0]
    given = {entry["label"]: entry["probability"] for entry in answer["top"]}
    assert [given[name] for name in "0123456789"] == pytest.approx(shares.tolist(), abs=1e-5)


def test_of_a_mixed_folder_the_good_are_answered_and_the_bad_are_named(
    capsys, reader, three, tmp_path
):
    folder = tmp_path / "mixed"
    (folder / "below").mkdir(parents=True)
    shutil.copy(three, folder / "good.png")
    shutil.copy(three, folder / "below" / "better.png")
    (folder / "text.png").write_text("not an image")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.png").write_bytes(three.read_bytes()[:60])
    for as_what in ("table", "--json", "out.csv", "out.json"):
        out = ["-o", str(tmp_path / as_what)] if as_what.startswith("out") else []
        out = ["--json"] if as_what == "--json" else out
        capsys.readouterr()
        assert run_command(["predict", reader, str(folder), *out]) == 3
        printed = capsys.readouterr()
        answered = printed.out or (tmp_path / as_what).read_text()
        if as_what == "--json":
            rows = json.loads(answered)
            assert [row["path"] for row in rows] == [
                str(folder / "below" / "better.png"), str(folder / "good.png"),
            ]  # fmt: skip
            assert {row["label"] for row in rows} == {"3"}
        elif as_what == "out.csv":
            assert len(list(csv.DictReader(io.StringIO(answered)))) == 2
        else:
            assert answered.replace("\n", "").count("good.png") == 1
        bad = [line for line in printed.err.splitlines() if line.startswith("striate: ")]
        assert len(bad) == 3
        assert f"{folder}/cut.png is a PNG file that is damaged or cut short" in printed.err
        assert f"{folder}/empty.jpg is empty (0 bytes)" in printed.err
        assert f"{folder}/text.png holds text, starting with 'not an image'" in printed.err


@pytest.mark.parametrize("mode", ["16 bits", "palette", "RGBA", "1 bit", "TIFF", "JPEG"])
def test_unusual_files_of_a_digit_are_read(capsys, reader, pixels, tmp_path, mode):
    large = Image.fromarray(pixels).resize((120, 120), Image.Resampling.BICUBIC)
    page = Image.new("L", (190, 170), 0)
    page.paste(large, (31, 17))
    file = tmp_path / "digit.png"
    if mode == "16 bits":
        Image.fromarray(np.asarray(page).astype(np.uint16) * 257).save(file)
        with Image.open(file) as stored:
            assert stored.mode.startswith("I")
    elif mode == "palette":
        page.quantize(16).save(file)
        with Image.open(file) as stored:
            assert stored.mode == "P"
    elif mode == "RGBA":
        page.convert("RGBA").save(file)
    elif mode == "1 bit":
        page.point(lambda value: 255 * (value > 127)).convert("1").save(file)
    else:
        file = file.with_suffix(f".{mode.lower()}")
        page.save(file)
    (answer,) = json.loads(said(capsys, "predict", reader, str(file), "--json"))
    assert answer["label"] == "3"


def test_a_photograph_of_40_megapixels_is_read(capsys, reader, pixels, tmp_path):
    """Dark ink on paper that darkens to one side, as a telephone takes it."""
    page = np.full((5480, 7300), 225, np.uint8)
    page -= np.linspace(0, 40, 7300).astype(np.uint8)
    figure = Image.fromarray(pixels).resize((2400, 2400), Image.Resampling.BICUBIC)
    page[1500:3900, 2000:4400] -= np.asarray(figure) // 2
    Image.fromarray(page).convert("RGB").save(tmp_path / "photo.jpg", quality=80)
    (answer,) = json.loads(said(capsys, "predict", reader, str(tmp_path / "photo.jpg"), "--json"))
    assert answer["label"] == "3"
    assert any("inverted" in note for note in answer["notes"])


def test_what_cannot_be_predicted_is_one_line(capsys, reader, three, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("no image")
    line = refused(capsys, 3, "predict", reader, str(tmp_path / "text.png"))
    assert "text.png holds text, starting with 'hello'; needed is PNG, JPEG, TIFF" in line
    line = refused(capsys, 3, "predict", reader, str(three.parent / "thre.png"))
    assert "thre.png does not exist; did you mean 'three.png'?" in line
    line = refused(capsys, 3, "predict", reader, str(tmp_path / "empty"))
    assert "empty holds no image and no other file; images are known by their suffix" in line
    line = refused(capsys, 3, "predict", reader, str(tmp_path / "full"))
    assert "full holds no image but 1 other files (notes.txt)" in line
    line = refused(capsys, 1, "predict", str(tmp_path / "empty"), str(three))
    assert "is not a run" in line
    line = refused(capsys, 2, "predict", reader, str(three), "--top", "0")
    assert "'--top': Input should be greater than or equal to 1" in line


def test_answers_that_cannot_be_written_are_one_line(capsys, reader, three, tmp_path):
    call = ("predict", reader, str(three), "--out")
    line = refused(capsys, 2, *call, str(tmp_path / "absent" / "out.csv"))
    assert f"{tmp_path / 'absent'} is not a folder; make it first, or write elsewhere" in line
    line = refused(capsys, 2, *call, str(three / "out.csv"))
    assert f"{three} is not a folder" in line
    line = refused(capsys, 2, *call, str(tmp_path / "out.txt"))
    assert "out.txt is neither .csv nor .json; name the file so" in line
    if Path("/proc/self").exists():
        assert "could not write /proc/out.csv: " in refused(capsys, 1, *call, "/proc/out.csv")
    assert not list(tmp_path.iterdir())


def test_a_file_name_that_is_no_text_goes_through(capsys, reader, three, tmp_path):
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    shutil.copy(three, name)
    said(capsys, "predict", reader, os.fsdecode(name), "-o", str(tmp_path / "out.csv"))
    assert b"/caf\xe9.png,3," in (tmp_path / "out.csv").read_bytes()
    (answer,) = json.loads(said(capsys, "predict", reader, os.fsdecode(name), "--json"))
    assert os.fsencode(answer["path"]) == name


def test_dark_on_light_is_turned_unless_it_is_forbidden(capsys, reader, pixels, tmp_path):
    file = str(tmp_path / "dark.png")
    Image.fromarray(255 - pixels).save(file)
    (answer,) = json.loads(said(capsys, "predict", reader, file, "--json"))
    (kept,) = json.loads(said(capsys, "predict", reader, file, "--json", "--no-invert"))
    (asked,) = json.loads(said(capsys, "predict", reader, file, "--json", "--invert"))
    assert answer["label"] == asked["label"] == "3"
    assert any("inverted" in note for note in answer["notes"])
    assert not any("inverted" in note for note in kept["notes"])
    assert kept["probability"] != answer["probability"]


# ---------------------------------------------------------------- as a program


def test_the_program_helps_and_tells_its_version():
    done = shell("striate --help; echo code $?; striate --version; striate train -h")
    assert done.stderr == ""
    assert "code 0\n" in done.stdout
    assert f"\nstriate {striate.__version__}\n" in done.stdout
    for command in ("models", "datasets", "describe", "train", "evaluate", "predict"):
        assert re.search(rf"^\W*{command} ", done.stdout, re.MULTILINE), command
    assert "--learning-rate" in done.stdout


def test_exit_codes_reach_the_shell(reader, tmp_path):
    lines = (
        "striate models", "striate", "striate trian", "striate evaluate absent",
        f"striate predict {reader} absent.png", "striate models --json | head -c 3",
    )  # fmt: skip
    done = shell("; ".join(f"{line} >out; echo $?" for line in lines), cwd=tmp_path)
    assert done.stdout.split() == ["0", "2", "2", "1", "3", "0"]
    refusals = [line for line in done.stderr.splitlines() if line]
    assert len(refusals) == 3
    assert all(line.startswith("striate: ") for line in refusals)


def test_ctrl_c_saves_says_how_to_go_on_and_so_it_goes_on(capsys, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "striate", "train", "lenet5", "digits", "--epochs", "15",
         "--batch-size", "200", "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    first = process.stderr.readline()
    assert first.startswith("epoch  1/15")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    *epochs, last = errors.splitlines()
    assert all(line.startswith("epoch ") for line in epochs)
    assert re.fullmatch(
        r"striate: stopped in epoch \d+, step \d+; all is saved, go on with "
        rf"`striate train --resume {re.escape(str(out))}`",
        last,
    )
    assert 1 <= len(Run(out).progress()) < 15
    assert said(capsys, "train", "--resume", str(out)) == f"{out}\n"
    assert [row["epoch"] for row in Run(out).progress()] == list(range(1, 16))


def test_ctrl_c_outside_training_is_one_line(capsys, tmp_path):
    """A named pipe that nobody writes to keeps the command waiting until the signal comes."""
    waiting = tmp_path / "recipe.yaml"
    os.mkfifo(waiting)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    assert refused(capsys, 130, "train", "--recipe", str(waiting)) == "striate: interrupted\n"
    timer.join()
