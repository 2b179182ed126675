"""`striate evaluate` and `predict`: answers on stdout, talk on stderr, refusals in a line."""

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from commanding import refused, said
from striate import datasets
from striate.cli import run_command
from striate.datasets.idx import write_idx
from striate.runs import Run


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
    first, errors, _, header, *rows = printed.out.splitlines()
    rates = [f"{100 * report[name]:.2f} %" for name in ("error_rate", "top5_error")]
    assert errors == f"top-1 error {rates[0]}, top-5 error {rates[1]}, protocol single"
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
    files = "confusion.svg, mistakes.html, result.png, answers.csv and evaluation.json"
    assert printed.err == f"see {files} in {reader}\n"


def test_several_runs_are_an_ensemble_and_a_protocol_is_named(capsys, run, bars, tmp_path):
    other = str(tmp_path / "other")
    window = ("--image-size", "34", "--crop", "random", "--seed", "1", "--epochs", "1")
    said(capsys, "train", "lecun1990", bars, *window, "--out", other)
    report = json.loads(said(capsys, "evaluate", run, other, "--json"))
    assert [member["run"] for member in report["ensemble"]] == [run, other]
    assert report["network"] == "lecun1990"
    lines = said(capsys, "evaluate", run, other).splitlines()
    assert lines[0].startswith(f"ensemble of 2 runs on {bars}: ")
    error = f"error {100 * report['error_rate']:.2f} %"
    assert lines[1] == f"{error}, ensemble of lecun1990 (single), lecun1990 (single)"
    assert run_command(["evaluate", other, "--protocol", "ten-crop"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    *names, last = json.loads((Path(other) / "evaluation-ten-crop.json").read_text())["files"]
    assert printed.err == f"see {', '.join(names)} and {last} in {other}\n"
    assert all((Path(other) / name).is_file() and "ten-crop" in name for name in (*names, last))
    report = json.loads((Path(other) / "evaluation-ten-crop.json").read_text())
    assert lines[1] == f"error {100 * report['error_rate']:.2f} %, protocol ten-crop"
    line = refused(capsys, 2, "evaluate", run, "--protocol", "ten-crop")
    assert "ten-crop takes windows of larger images, but lecun1990 reads 28x28" in line


def test_of_many_classes_the_ten_with_the_lowest_recall_are_shown(capsys, tmp_path):
    folder, out = tmp_path / "letters", str(tmp_path / "run")
    folder.mkdir()
    images = torch.randint(0, 256, (78, 16, 16), generator=torch.Generator().manual_seed(6))
    for name, classes in (("train", 26), ("t10k", 23)):  # three classes are never tested
        write_idx(folder / f"{name}-images-idx3-ubyte", images[: 3 * classes].byte())
        write_idx(
            folder / f"{name}-labels-idx1-ubyte", (torch.arange(3 * classes) % classes).byte()
        )
    said(capsys, "train", "lecun1990", str(folder), "--epochs", "4", "--out", out)
    _, _, _, _, *rows, last = said(capsys, "evaluate", out).splitlines()
    assert last == "the 10 classes with the lowest recall of 26"
    recalls = {
        name: values["recall"] for name, values in Run(out).evaluation()["per_class"].items()
    }
    shown = [recalls[row.split()[0]] for row in rows]
    assert len(shown) == 10
    assert shown == sorted(value for value in recalls.values() if value is not None)[:10]
    assert [name for name, value in recalls.items() if value is None] == ["23", "24", "25"]


@pytest.mark.parametrize("command", ["evaluate {}", "predict {} {}.png"])
def test_the_threads_that_are_asked_for_are_used(capsys, reader, three, monkeypatch, command):
    counts = []

    def counting(run):
        counts.append(torch.get_num_threads())
        return network(run)

    network = Run.network
    monkeypatch.setattr(Run, "network", counting)
    arguments = command.replace("{}.png", str(three)).replace("{}", reader).split()
    for more, expected in ((["--threads", "3"], 3), ([], 1)):
        said(capsys, *arguments, *more)
        assert counts.pop() == expected
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    "command",
    ["evaluate {}", "predict {} a.png", "train --resume {}", "describe {}", "draw {} -o a.svg"],
)
def test_a_path_that_is_no_run_is_a_wrong_argument_of_every_command(capsys, tmp_path, command):
    for place, words in ((tmp_path / "no", "no does not exist; "), (tmp_path, "is not a run: it")):
        line = refused(capsys, 2, *(word.replace("{}", str(place)) for word in command.split()))
        assert words in line


def test_evaluate_refuses_data_that_do_not_fit(capsys, reader, bars, tmp_path):
    line = refused(capsys, 2, "evaluate", reader, "--data", "digts")
    assert "no data set is called 'digts'; did you mean 'digits'?" in line
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
            assert "good.png" in answered.replace("\n", "")
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


def test_a_path_that_is_missing_does_not_stop_the_others(capsys, reader, three, tmp_path):
    absent = str(tmp_path / "absent.png")
    assert run_command(["predict", reader, absent, str(three), "--json"]) == 3
    printed = capsys.readouterr()
    assert [each["path"] for each in json.loads(printed.out)] == [str(three)]
    assert printed.err.startswith(f"striate: {absent} does not exist")


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
    assert kept["top"] != answer["top"]


def test_a_run_that_labels_pixels_is_told_class_by_class_in_80_columns(capsys, cells, tmp_path):
    out = str(tmp_path / "run")
    choices = ("--width", "3", "--depth", "2", "--tile", "24,24", "--epochs", "1")
    where = ("--data-dir", str(cells))
    said(capsys, "train", "unet_padded", "isbi2012", *choices, *where, "--out", out)
    report = json.loads(said(capsys, "evaluate", out, "--json", *where))
    assert run_command(["evaluate", out, *where]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == (
        f"unet_padded on isbi2012, 6 test images: mean Dice {report['mean_dice']:.4f}, "
        f"mean IoU {report['mean_iou']:.4f}"
    )
    error = f"{100 * report['pixel_error']:.2f} %"
    assert lines[1] == f"pixel error {error} at threshold 0.5, protocol single"
    assert re.split(" {2,}", lines[2]) == ["class", "Dice", "IoU", "HD95 (pixels)", "surface Dice"]
    names = ("dice", "iou", "hausdorff95", "surface_dice")
    dice, iou, far, near = (report[name]["cell"] for name in names)
    expected = ["-" if value is None else f"{value:.4f}" for value in (dice, iou, near)]
    expected.insert(2, "-" if far is None else f"{far:.2f}")
    assert lines[3].split()[0] == "membrane"
    assert lines[3].split()[3:] == ["-", "-"]
    assert lines[4].split() == ["cell", *expected]
    assert lines[5] == "ISBI 2012 challenge, each at its best threshold:"
    membranes = report["membranes"]
    value, threshold = lines[7].split()[-2:]
    assert lines[7].startswith("V Rand, thinned ")
    assert value == f"{membranes['v_rand']:.4f}"
    assert float(threshold) == membranes["thresholds"]["v_rand"]
    assert lines[11].startswith("pixel error, at best ")
    assert len(lines) == 12
    assert printed.err == f"see confusion.svg, result.png and evaluation.json in {out}\n"
