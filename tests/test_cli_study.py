"""`striate study`: the table and the JSON say the same, refusals in a line."""

import json
import re

import pytest

from commanding import refused, said
from striate.cli import run_command
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
    ],
)
def test_what_cannot_be_studied_is_one_line(capsys, arguments, words):
    assert words in refused(capsys, 2, "study", *arguments)


def test_every_study_has_its_line():
    assert list(STUDIES) == ["denker1988"]
    assert all(STUDIES.values())
