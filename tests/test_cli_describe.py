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


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 4, 3)

    def forward(self, x):
        y = self.conv(x)
        if y.mean() > 0:  # line GATE
            return y
        return -y


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.gated = Gated()

    def forward(self, x):
        return self.gated(x)


class Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.sizes = {}["sizes"]  # line FAIL


def wide(width):
    return nn.Linear(width, width)


def leaving():
    raise SystemExit(3)


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
        ("{}:smal --input 1x9", "{} has no 'smal'; did you mean 'small'?"),
        ("absent.nets:a --input 1x9", "absent.nets:a: ModuleNotFoundError: No module named"),
        ("{}:broken --input 1x9", "{}:broken: KeyError: 'no such"),
        ("{}:Asking --input 1x9", "{}:Asking: KeyError: 'map'"),
        ("{}:ready --input 3x9", "Conv1d (Conv1d): 4 channels are needed, not a map of shape (3"),
        (":small --input 1x9", ":small is half of package.module:factory; give both"),
        ("{}: --input 1x9", "{}: is half of package.module:factory; give both"),
        ("{}:wide --input 9", "{}:wide cannot be called without arguments (missing a required"),
        ("{}:leaving --input 9", "{}:leaving: SystemExit: 3 (of_mine/nets.py:"),
        ("of_mine/nets.py:small", "a module is needed, not a file; type of_mine.nets:small\n"),
        ("../of_mine/nets.py:a", "a file; go to ../of_mine and type nets:a\n"),
        ("of_mine/nets.py", "type of_mine.nets:NAME, NAME being the function or class in it"),
        ("of_mine.nets", "of_mine.nets is a module of Python; type of_mine.nets:NAME, NAME"),
        ("./of_mine", "./of_mine is not a run: it has no recipe.yaml; give the name of a network"),
        ("runs/absent", "runs/absent does not exist; give the name of a network, a run folder"),
        ("absent", "no network is called 'absent'; did you mean"),
    ],
)
def test_what_cannot_be_described_is_refused_in_a_line(capsys, own, words, message):
    line = refused(capsys, 2, "describe", *words.replace("{}", own).split())
    assert message.replace("{}", own) in line


def line_of(mark):
    (number,) = [n for n, line in enumerate(OWN.splitlines(), 1) if f"# line {mark}" in line]
    return f"(of_mine/nets.py:{number})\n"


def test_a_network_that_asks_for_values_is_refused_with_the_line_that_asks(capsys, own):
    line = refused(capsys, 2, "describe", f"{own}:Outer", "--input", "3x9")
    assert line.startswith("striate: gated.bool: a condition needs the values of a map, but only ")
    assert "let sizes decide, or give a network without this step" in line
    assert line.endswith(line_of("GATE"))
    assert "meta" not in line


def test_the_line_of_an_exception_in_one_s_own_code_is_named(capsys, own):
    line = refused(capsys, 2, "describe", f"{own}:Failing", "--input", "3x9")
    assert line.endswith(f":Failing: KeyError: 'sizes' {line_of('FAIL')}")
    line = refused(capsys, 2, "describe", f"{own}:Outer", "--input", "5x9")
    assert "gated.conv (Conv1d): 3 channels are needed" in line
    assert "(of_mine/nets.py:" in line


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


@pytest.mark.parametrize("shape", ["64", "1x64", "1x1x32x32"])
def test_an_input_needs_the_axes_of_the_network(capsys, run, shape):
    for network in ("lenet5", run):
        line = refused(capsys, 2, "describe", network, "--input", shape)
        assert f"--input is '{shape}'; write channels, height and width as 3x224x224" in line


def test_a_run_that_labels_pixels_is_described_with_its_channels_and_tile(capsys, mask_run):
    assert described(capsys, mask_run)["input_shape"] == [1, 24, 32]
    assert described(capsys, mask_run, "--input", "1x64x64")["input_shape"] == [1, 64, 64]


def test_what_a_network_prints_is_no_part_of_the_json(capsys, own):
    assert described(capsys, f"{own}:Loud", "--input", "4")["parameters"] == 0
