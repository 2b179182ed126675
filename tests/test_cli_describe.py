"""`striate describe`: names, runs, a person's own networks; table, JSON, Markdown; refusals."""

import json
import sys

import pytest

from commanding import refused, said

OWN = """
import torch
from torch import nn


def small():
    return nn.Sequential(nn.Conv3d(2, 3, 3), nn.ReLU(), nn.MaxPool3d(2))


ready = nn.Conv1d(4, 5, 3)
number = lambda: 3


def broken():
    raise KeyError("no such\\nlayer")


class Asking(nn.Module):
    def forward(self, x):
        return {}["map"]


class Loud(nn.Module):
    def forward(self, x):
        print("loud")
        return x + 1
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "of_mine").mkdir()
    (tmp_path / "of_mine" / "nets.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    yield "of_mine.nets"
    for name in ("of_mine", "of_mine.nets"):
        sys.modules.pop(name, None)


def described(capsys, *arguments):
    return json.loads(said(capsys, "describe", *arguments, "--json"))


def test_a_network_of_one_s_own_is_described(capsys, own):
    places = list(sys.path)
    volume = described(capsys, f"{own}:small", "--input", "2x9x8x7")
    assert volume["network"] == f"{own}:small"
    assert (volume["parameters"], volume["input_shape"]) == (3 * 55, [2, 9, 8, 7])
    assert volume["layers"][-1]["output_shape"] == [3, 3, 3, 2]
    assert volume["cut"] == ["2"]
    line = described(capsys, f"{own}:ready", "--input", "4x20")
    assert line["layers"][0]["receptive_field"] == [3]
    assert sys.path == places
    assert "Conv3d" in said(capsys, "describe", f"{own}:small", "--input", "2x9x9x9")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{}:small", "{}:small does not say what it reads; add --input, as --input 3x224x224"),
        ("{}:number --input 1x9", "{}:number gives a int; a torch.nn.Module, or a function"),
        ("{}:absent --input 1x9", "{}:absent: AttributeError: module '{}' has no attribute"),
        ("absent.nets:a --input 1x9", "absent.nets:a: ModuleNotFoundError: No module named"),
        ("{}:broken --input 1x9", "{}:broken: KeyError: 'no such"),
        ("{}:Asking --input 1x9", "{}:Asking: KeyError: 'map'"),
        ("{}:ready --input 3x9", "Conv1d (Conv1d): 4 channels are needed, not a map of shape (3"),
        (":small --input 1x9", ":small: ValueError: Empty module name"),
    ],
)
def test_what_cannot_be_described_is_refused_in_a_line(capsys, own, words, message):
    line = refused(capsys, 2, "describe", *words.replace("{}", own).split())
    assert message.replace("{}", own) in line


def test_what_is_not_used_in_evaluation_is_named(capsys):
    text = said(capsys, "describe", "googlenet")
    assert "Not used in evaluation: aux1, aux2 (6,379,728 parameters)." in text
    assert described(capsys, "googlenet")["unused"] == {"aux1": 3_188_840, "aux2": 3_190_888}


def test_deep_networks_are_legible(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for name, blocks in (("resnet152", "layer3.1 … layer3.35, 35"), ("resnet1202", "199")):
        lines = said(capsys, "describe", name).splitlines()
        assert len(lines) < 100
        assert any(f"{blocks} alike" in line for line in lines)
        assert max(map(len, lines)) <= 80
    assert len(said(capsys, "describe", "resnet152", "--all").splitlines()) > 300


def test_markdown_and_sizes(capsys):
    text = said(capsys, "describe", "lenet5", "--markdown", "--sizes", "36")
    assert "| `c1` | Conv2d | 6×28×28 | 5 | 156 | 122,304 | 117,600 |" in text
    assert "Input sizes, of the sides 1 to 36: exactly 32." in text
    sizes = described(capsys, "lenet5", "--sizes", "36")["input_sizes"]
    assert sizes == {
        "least": 1, "most": 36, "accepted": [32], "whole": [32], "rule": "exactly 32",
    }  # fmt: skip
    assert "ask for one" in refused(capsys, 2, "describe", "lenet5", "--json", "--markdown")
    assert "'--sizes'" in refused(capsys, 2, "describe", "lenet5", "--sizes", "0")


def test_one_number_is_no_input_of_a_network_that_reads_maps(capsys):
    line = refused(capsys, 2, "describe", "lenet5", "--input", "64")
    assert "--input is '64'; write channels, height and width as 3x224x224" in line


def test_what_a_network_prints_is_no_part_of_the_json(capsys, own):
    assert described(capsys, f"{own}:Loud", "--input", "4")["parameters"] == 0
