"""`striate predict` with a run that labels pixels: what is printed, and what is refused."""

import json
from inspect import signature

import numpy as np
import pytest
import tifffile
from PIL import Image

from commanding import refused, said
from striate.cli import run_command
from striate.cli.results import predict
from striate.mask_prediction import Labeller
from striate.tiled_prediction import predict_tiled


@pytest.fixture
def image(tmp_path) -> str:
    return drawn(tmp_path / "image.png", (40, 60))


def drawn(path, size) -> str:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(5).integers(0, 256, size, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def test_shares_are_printed_in_lines_of_80_columns_that_break_no_name(
    capsys, mask_run, tmp_path, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        drawn(tmp_path / "a_folder_with_a_long_name" / f"{name}.png", (20, 30))
    assert run_command(["predict", mask_run, "a_folder_with_a_long_name"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == "a_folder_with_a_long_name/a.png → labels/a.png"
    assert lines[1].startswith("  membrane ")
    assert lines[1].endswith(" %")
    assert lines[4].startswith("2 images: membrane ")
    assert max(map(len, lines)) <= 80
    assert printed.err == ""  # one tile each


def test_a_plan_of_several_tiles_is_said_once_in_80_columns(
    capsys, mask_run, tmp_path, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        drawn(tmp_path / "images" / f"{name}.png", (300, 200))
    assert run_command(["predict", mask_run, "images", "--memory", "600KB"]) == 0
    told = capsys.readouterr().err
    assert told.count("tiles of up to") == 1
    assert " % of them repeated" in " ".join(told.split())
    assert max(map(len, told.splitlines())) <= 80


def test_what_is_missing_among_several_is_named_at_the_end(capsys, mask_run, image, tmp_path):
    out = tmp_path / "out"
    arguments = ["predict", mask_run, str(tmp_path / "absent.png"), image, "-o", str(out), "--json"]
    assert run_command(arguments) == 3
    printed = capsys.readouterr()
    assert [each["path"] for each in json.loads(printed.out)] == [image]
    assert printed.err.splitlines()[-1].startswith(f"striate: {tmp_path / 'absent.png'} does not")
    assert (out / "image.png").is_file()


def test_a_file_that_does_not_fit_is_refused_in_one_line(capsys, mask_run, tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "rgb.png")
    out = ("-o", str(tmp_path / "l.png"))
    told = refused(capsys, 3, "predict", mask_run, str(tmp_path / "rgb.png"), *out)
    assert "rgb.png has 3 channels, the run reads 1; convert it to grey" in told


def test_a_wrong_protocol_is_refused_before_anything_is_said(capsys, mask_run, image):
    assert "of pixels there are" in refused(
        capsys, 2, "predict", mask_run, image, "--protocol", "dense"
    )


def test_a_cluster_that_is_none_is_refused_in_one_line(capsys, mask_run, image, tmp_path):
    for more, told in (
        (("--cluster", "nonsense", "-o", str(tmp_path / "l.zarr")), "cluster 'nonsense': a sched"),
        (("--cluster", "local:2", "-o", str(tmp_path / "l.png")), "give -o l.zarr"),
    ):
        assert told in refused(capsys, 2, "predict", mask_run, image, *more)


def test_probabilities_are_named_and_not_replaced(capsys, mask_run, image, tmp_path):
    out = tmp_path / "l.png"
    shares = tmp_path / "l.probabilities.tif"
    arguments = ("predict", mask_run, image, "-o", str(out), "--probabilities")
    assert f"  probabilities → {shares}\n" in said(capsys, *arguments)
    out.unlink()
    assert f"{shares} exists; replace it with" in refused(capsys, 2, *arguments)
    (done,) = json.loads(said(capsys, *arguments, "--overwrite", "--json"))
    assert done["probabilities"] == str(shares)


def test_all_ways_in_have_one_default_of_memory():
    defaults = [
        signature(function).parameters["memory"].default
        for function in (predict, Labeller.__init__, predict_tiled)
    ]
    assert defaults == ["1GB"] * 3


def test_labels_and_their_counts_agree(capsys, mask_run, cells, tmp_path):
    file = str(cells / "isbi2012" / "train-volume.tif")
    text = said(capsys, "predict", mask_run, file, "-o", str(tmp_path / "out"), "--json")
    (done,) = json.loads(text)
    labels = tifffile.imread(done["out"])
    assert done["pixels"]["cell"] == int((labels == 1).sum())
    assert refused(capsys, 2, "predict", mask_run, file, "-o", str(tmp_path / "out"))
