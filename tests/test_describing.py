"""The table of a trace, as a person sees it at 80 columns."""

import re

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.nn import functional as F

from striate.describing import DEFINITIONS, Description, to_markdown
from striate.layers import ConnectionTableConv, Subsample
from striate.tracing import trace
from striate.tracing.sizes import legal_sizes


class Block(nn.Module):
    def __init__(self, maps):
        super().__init__()
        self.conv = nn.Conv2d(maps, maps, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(maps)

    def forward(self, x):
        return F.relu(x + self.norm(self.conv(x)))


def lenet():
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.Tanh(), Subsample(6), nn.Tanh()),
        *(ConnectionTableConv(6, [(0, 1), (2, 3, 4, 5)], 5), nn.Tanh(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(), nn.Linear(50, 10)),
    )


def deep():
    return nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3), *(Block(64) for _ in range(50)))


def printed(network, shape, name="network", width=80, **options):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(Description(trace(network, shape), name, **options))
    return capture.get()


def test_a_small_network_looks_like_this():
    lines = [line.strip() for line in printed(lenet(), (1, 32, 32), "small").splitlines()]
    assert [line for line in lines if line] == [
        "small, input 1×32×32",
        "layer                   output  field  parameters  connections  mult-adds",
        "─" * 73,
        "0 Conv2d               6×28×28      5         156      122,304    117,600",
        "2 Subsample            6×14×14      6          12        5,880      4,704",
        "4 ConnectionTableConv  2×10×10     14         152       15,200     15,000",
        "6 MaxPool2d              2×5×5     16           –            –          –",
        "7 Flatten                   50     32           –            –          –",
        "9 Linear                    10     32         510          510        500",
        "─" * 73,
        "total                                         830      143,894    137,804",
        "Parameters: trainable values, those of a shared layer once. Connections: inputs",
        "multiplied by a weight, plus one for each bias. Multiply-adds: products alone.",
        "Field: input pixels that a unit depends on, padding among them. Connections,",
        "multiply-adds and memory are those of one example.",
        "Memory: 33.7 kB of maps kept for the way back in training, at most 37.6 kB of",
        "maps at once in evaluation; weights not among them.",
        "Tell places of the input apart, or may: 9.",
        "Not shown: 4 layers that count nothing and change no shape.",
    ]


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (lenet, (1, 32, 32)),
        (deep, (3, 224, 224)),
        (lambda: nn.Sequential(nn.Conv3d(16, 256, 5), nn.Conv3d(256, 256, 5)), (16, 128, 128, 128)),
    ],
)
def test_eighty_columns_hold_every_number_and_line(network, shape):
    text = printed(network(), shape, folded=False)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    result = trace(network(), shape)
    assert f"{result.parameters:,}" in text
    millions = "M mult-adds" in text
    assert millions == (result.multiply_adds >= 10**12)
    for layer in result.layers:
        if layer.multiply_adds:
            exact = f"{layer.multiply_adds:,}"
            assert (f"{layer.multiply_adds / 1e6:,.1f}" if millions else exact) in text


def test_the_columns_add_up_to_the_totals():
    rows = [line.split() for line in printed(deep(), (3, 64, 64), folded=False).splitlines()]
    numbers = [row[-3:] for row in rows if len(row) > 3 and re.fullmatch("[0-9,]+|–", row[-1])]
    columns = [[int(n.replace(",", "")) for n in c if n != "–"] for c in zip(*numbers, strict=True)]
    assert len(numbers) == 1 + 100 + 1
    for column in columns:
        assert sum(column[:-1]) == column[-1]


def test_layers_of_a_block_stand_under_its_name():
    text = printed(deep(), (3, 64, 64), folded=False)
    assert re.search(r"\n1\n  conv Conv2d +64×32×32 +11 ", text)
    assert "1.conv" not in text
    assert "Not shown: 100 layers" in text


def test_blocks_alike_are_folded_with_the_sums_of_their_counts():
    text = printed(deep(), (3, 64, 64))
    assert len(text.splitlines()) < 25
    assert "\n1 … 50, 50 alike\n" in text
    (conv,) = re.findall(r"\n  conv .*", text)
    result = trace(deep(), (3, 64, 64))
    convolutions = [layer for layer in result.layers if layer.name.endswith(".conv")]
    for count in (
        sum(layer.parameters for layer in convolutions),
        sum(layer.multiply_adds for layer in convolutions),
    ):
        assert f" {count:,}" in conv
    assert f" {convolutions[-1].receptive_field[0]:,} " in conv
    assert "Blocks alike: the sums of their counts, the field of the last." in text
    assert "alike" not in printed(lenet(), (1, 32, 32))


def test_the_columns_of_a_folded_table_add_up_too():
    rows = [line.split() for line in printed(deep(), (3, 64, 64)).splitlines()]
    numbers = [row[-3:] for row in rows if len(row) > 3 and re.fullmatch("[0-9,]+|–", row[-1])]
    for column in zip(*numbers, strict=True):
        *each, total = (int(n.replace(",", "").replace("–", "0")) for n in column)
        assert sum(each) == total


def test_blocks_that_differ_are_not_folded_and_layers_never_are():
    def block(kernel):
        return nn.Sequential(nn.Conv2d(2, 2, kernel, padding=kernel // 2), nn.BatchNorm2d(2))

    stages = nn.Sequential(nn.Sequential(*(block(k) for k in (3, 3, 5, 3, 3, 3))), nn.ReLU())
    text = printed(stages, (2, 9, 9))
    assert re.findall(r"^0\.\d.*$", text, re.M) == [
        "0.0 … 0.1, 2 alike", "0.2", "0.3 … 0.5, 3 alike",
    ]  # fmt: skip
    layers = nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1) for _ in range(5)))
    assert "alike" not in printed(layers, (2, 9, 9))


def test_what_a_trace_warns_of_stands_below():
    class Headed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.aux = nn.MaxPool2d(2), nn.Linear(5, 300)

        def forward(self, x):
            return self.body(x)

    text = printed(Headed(), (2, 9, 9))
    assert "Not used in evaluation: aux (1,800 parameters)." in text
    assert "Leave rows or columns at the far end unread: layers body." in text
    network = nn.Conv2d(2, 3, 3)
    sizes = legal_sizes(network, (2, 9, 9), most=12)
    assert "Input sizes, of the sides 1 to 12: any from 3." in printed(
        network, (2, 9, 9), sizes=sizes
    )


def test_a_kind_that_does_not_fit_stands_on_a_line_of_its_own():
    text = printed(nn.Sequential(nn.AdaptiveAvgPool2d(1)), (3, 64, 64), width=68)
    assert re.search(r"\n0 +3×1×1 .*\nAdaptiveAvgPool2d *\n", text)


def test_long_names_are_folded_and_lose_no_letter():
    inner = nn.ModuleDict({"a_very_long_name_of_a_layer_in_a_network": nn.Conv2d(1, 2, 3)})
    inner.forward = inner["a_very_long_name_of_a_layer_in_a_network"].__call__
    text = printed(nn.Sequential(inner), (1, 512, 512), width=60)
    letters = re.sub(r"[^a-z_]", "", text)
    assert "a_very_long" in letters
    assert "…" not in text


def test_a_function_is_named_once():
    class Flat(nn.Module):
        def forward(self, x):
            return torch.flatten(x, 1)

    rows = [line.split() for line in printed(Flat(), (2, 3, 4)).splitlines()]
    assert ["flatten", "24", "3×4", "–", "–", "–"] in rows


def test_fields_of_unequal_sides_are_written_out():
    network = nn.Conv2d(1, 2, (3, 5), dilation=(1, 2))
    assert " 3×9 " in printed(network, (1, 16, 16))


def test_layers_that_could_not_be_followed_are_named():
    text = printed(nn.Sequential(nn.GRU(5, 4)), (3, 5))
    assert "Could not be followed, and not counted: 0. Connections and multiply-adds are" in text
    plain = printed(lenet(), (1, 32, 32))
    assert "Could not be followed" not in plain
    assert "≥" not in plain


def test_sums_that_a_layer_is_missing_from_are_at_least_what_is_said():
    network = nn.Sequential(nn.Linear(5, 4), nn.GRU(4, 3))
    lines = [line.split() for line in printed(network, (3, 5)).splitlines()]
    assert ["total", "105", "≥", "72", "≥", "60"] in lines
    lines = [line.split() for line in printed(network[1:], (3, 4)).splitlines()]
    assert ["total", "81", "≥", "0", "≥", "0"] in lines
    markdown = to_markdown(trace(network, (3, 5)))
    assert "| **total** |  |  |  | **105** | **≥ 72** | **≥ 60** |" in markdown
    assert "Connections and multiply-adds are therefore at least (≥) these." in markdown


def test_markdown_has_every_layer_and_the_totals():
    result = trace(lenet(), (1, 32, 32))
    lines = to_markdown(result).splitlines()
    assert len(lines) == 2 + len(result.layers) + 1 + 4
    assert {line.count("|") for line in lines[:-4]} == {8}
    assert lines[3] == "| `1` | Tanh | 6×28×28 | 5 | 0 | 0 | 0 |"
    assert lines[4] == "| `2` | Subsample | 6×14×14 | 6 | 12 | 5,880 | 4,704 |"
    assert lines[-5] == "| **total** |  |  |  | **830** | **143,894** | **137,804** |"
    assert lines[-3] == DEFINITIONS
