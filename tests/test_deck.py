"""The figures of docs/deck.md that can be counted, counted on the networks themselves."""

import math
from functools import lru_cache
from pathlib import Path

import pytest
from torch import nn

from striate.geometry import output_size
from striate.layers import ConnectionTableConv
from striate.models import find_network, outline
from striate.models.lenet5 import C3_TABLE
from striate.tracing import Layer, Trace, trace

PAGE = (Path(__file__).parents[1] / "docs" / "deck.md").read_text("utf-8")

# The slide's Table I as its text has it: for each map of S2, the maps of C3 with a cross.
SLIDE_TABLE = (
    (0, 4, 5, 6, 9, 10, 11, 12, 14, 15),
    (0, 1, 5, 6, 7, 10, 11, 12, 13, 15),
    (0, 1, 2, 6, 7, 8, 11, 13, 14, 15),
    (1, 2, 3, 7, 8, 9, 10, 13, 15),
    (2, 3, 4, 8, 9, 10, 11, 13, 14, 15),
    (4, 5, 6, 9, 10, 11, 12, 14, 15),
)


@lru_cache
def traced(name: str) -> Trace:
    return trace(outline(name), find_network(name).input_shape)


def layer(name: str, path: str) -> Layer:
    return next(layer for layer in traced(name).layers if layer.name == path)


def kernels(name: str) -> set[int]:
    modules = outline(name).modules()
    return {module.kernel_size[0] for module in modules if isinstance(module, nn.Conv2d)}


def test_the_slide_s_table_1_has_58_crosses_and_differs_in_14_cells():
    right = {(row, column) for column, rows in enumerate(C3_TABLE) for row in rows}
    slide = {(row, column) for row, columns in enumerate(SLIDE_TABLE) for column in columns}
    assert (len(slide), len(right), len(slide ^ right)) == (58, 60, 14)
    assert {row for row, _ in slide ^ right} == {3, 4, 5}
    columns = [tuple(row for row in range(6) if (row, j) in slide) for j in range(16)]
    wired = ConnectionTableConv(6, columns, kernel_size=5)
    assert sum(parameter.numel() for parameter in wired.parameters()) == 1_466


# What the page prints, typed in, and what the networks have.
COUNTED = {
    "153,600": lambda: 32 * 32 * 25 * 6,
    "122,304": lambda: layer("lenet5", "c1").connections,
    "1,516": lambda: layer("lenet5", "c3").parameters,
    "98,442": lambda: traced("lecun1990").connections,
    "2,578": lambda: traced("lecun1990").parameters,
    "64,660": lambda: traced("lecun1989").connections,
    "9,760": lambda: traced("lecun1989").parameters,
    "13,378,280": lambda: traced("googlenet").parameters,
    "6,998,552": lambda: sum(layer.parameters for layer in traced("googlenet").layers),
    "9,472": lambda: layer("googlenet", "conv1.conv").parameters,
    "19,421,274": lambda: traced("resnet1202").parameters,
    "290,400": lambda: math.prod(layer("alexnet", "features.conv1").output_shape),
    "135,085": lambda: traced("scherer_norb").parameters,
    "954,730": lambda: traced("base_c").parameters,
    "48,120": lambda: 400 * 120 + 120,
}


@pytest.mark.parametrize("figure", COUNTED)
def test_a_figure_of_the_page_is_what_is_counted(figure):
    assert figure in PAGE
    assert f"{COUNTED[figure]():,}" == figure


def test_the_drawn_network_of_scherer_s_figure_1_would_have_other_parameters():
    first, second = 16 * (2 * 25 + 1), 64 * (16 * 36 + 1)
    assert first + second + 100 * (64 * 36 + 1) + 6 * 101 == 268_850
    assert "268,850" in PAGE


def test_vgg_c_has_1x1_convolutions_and_googlenet_no_2x2():
    assert kernels("vgg16") == kernels("vgg19") == {3}
    assert kernels("vgg16_c") == {1, 3}
    assert kernels("googlenet") == {1, 3, 5, 7}


def test_without_pooling_layers_all_cnn_has_as_many_parameters_as_its_control():
    for model in "abc":
        assert traced(f"allcnn_{model}").parameters == traced(f"convpool_{model}").parameters
        assert traced(f"strided_{model}").parameters == traced(f"base_{model}").parameters


def test_an_image_of_224_does_not_give_alexnet_s_55_columns():
    assert output_size(224, 11, stride=4) == 54
    assert output_size(227, 11, stride=4) == 55
