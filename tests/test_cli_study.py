"""`striate study`: the table and the JSON say the same, refusals in a line."""

import json
import re

import pytest
import torch

from commanding import refused, said
from striate.cli import run_command
from striate.datasets.idx import write_idx
from striate.studies import STUDIES

CALL = ("study", "denker1988", "--data", "digits", "--sizes", "200,all")


def test_the_table_shows_the_figures_of_the_json_beside_the_paper_s(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = json.loads(said(capsys, *CALL, "--json"))
    assert run_command(CALL) == 0
    printed = capsys.readouterr()
    assert max(map(len, printed.out.splitlines())) <= 80
    first, *lines = printed.out.splitlines()
    assert first == "Denker et al. 1988 on digits: 1,497 training images, 300 test images"
    for name, answers in result["inputs"].items():
        for classifier, answer in answers.items():
            (line,) = [one for one in lines if re.match(f"{name} +{classifier}  ", one)]
            assert f"{100 * answer['error_rate']:.2f} %" in line
            assert f"{100 * answer['tuned_on_test']['rejected']:.1f} %" in line
    assert re.search(r"network of the paper +6 % +14 % +not in the paper", printed.out)
    assert "The paper: at least 5 for all three;" in printed.out
    assert [row["train_images"] for row in result["sizes"]] == [200, 1_497]
    assert "features of 1,797 of 1,797 images" in printed.err


def test_a_seed_gives_the_same_figures_again(capsys):
    one, two = (json.loads(said(capsys, *CALL, "--seed", "3", "--json")) for _ in range(2))
    assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_pictures_are_drawn_instead(capsys, tmp_path):
    out = said(capsys, "study", "denker1988", "--data", "digits", "--pictures", str(tmp_path))
    assert out.split() == [str(tmp_path / "stages.png"), str(tmp_path / "templates.png")]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "stages.png", tmp_path / "templates.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("denker1998",), "no study is called 'denker1998'; did you mean 'denker1988'?"),
        (("denker1988", "--sizes", "many"), "--sizes is 'many'; write whole numbers as 500,1000"),
        (("denker1988", "--sizes", "9", "--data", "digits"), "a training size is 9; the least"),
        (("denker1988", "--data", "digts"), "no data set is called 'digts'; did you mean 'digits'"),
        (("denker1988", "--pictures", "/absent"), "/absent is not a folder; make it first"),
        (("denker1988", "--pictures", ".", "--json"), "measures nothing; leave out --json"),
        (
            ("denker1988", "--pictures", ".", "--sizes", "500", "--seed", "0"),
            "measures nothing; leave out --sizes and --seed",
        ),
    ],
)
def test_what_cannot_be_studied_is_one_line(capsys, arguments, words):
    assert words in refused(capsys, 2, "study", *arguments)


def test_every_study_has_its_line():
    assert list(STUDIES) == ["denker1988"]
    assert all(STUDIES.values())


def test_images_of_any_size_are_studied_and_larger_curves_said(capsys, tmp_path):
    pages = torch.zeros(60, 1, 90, 70, dtype=torch.uint8)
    pages[::2, 0, 40, 9:60] = 255  # lines a pixel wide
    pages[1::2, 0, 9:80, 30] = 255
    for part in ("train", "t10k"):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", pages[:, 0])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", torch.arange(60).byte() % 2)
    call = ("study", "denker1988", "--data", str(tmp_path), "--sizes", "50,70,all", "--json")
    assert run_command(call) == 0
    printed = capsys.readouterr()
    assert "left out of the learning curve, for want of training images: 70" in printed.err
    answers = json.loads(printed.out)["inputs"]["features"].values()
    assert [answer["test_errors"] for answer in answers] == [0, 0, 0]
