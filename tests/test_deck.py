"""The figures of docs/deck.md that can be counted, counted on the networks themselves."""

import re
from pathlib import Path

import pytest
import torch

from striate.layers import ConnectionTableConv
from striate.models import build
from striate.models.lenet5 import C3_TABLE
from striate.tracing import trace

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


def parameters(name: str) -> int:
    return sum(parameter.numel() for parameter in build(name).parameters())


def layer(name: str, path: str):
    """Trace a network without weights and give one of its layers."""
    network = find_network(name)
    traced = trace(outline(name), network.input_shape)
    return next(layer for layer in traced.layers if layer.name == path)


def test_the_slide_s_table_1_has_58_crosses_and_differs_in_14_cells():
    right = {(row, column) for column, rows in enumerate(C3_TABLE) for row in rows}
    slide = {(row, column) for row, columns in enumerate(SLIDE_TABLE) for column in columns}
    assert (len(slide), len(right), len(slide ^ right)) == (58, 60, 14)
    assert {row for row, _ in slide ^ right} == {3, 4, 5}
    columns = [tuple(row for row in range(6) if (row, j) in slide) for j in range(16)]
    wired = ConnectionTableConv(6, columns, kernel_size=5)
    assert sum(parameter.numel() for parameter in wired.parameters()) == 1_466
    assert "58 crosses" in PAGE and "1,466" in PAGE and "14 cells" in PAGE


def test_the_formula_of_the_slide_is_not_the_paper_s_count_of_c1():
    assert 32 * 32 * 25 * 6 == 153_600
    assert layer("lenet5", "c1").connections == 122_304
    assert "153,600" in PAGE and "122,304" in PAGE
