"""The graph of layers, read back from the SVG."""

import re
from xml.etree import ElementTree

import pytest
import torch

from sketching import NETWORKS_TO_DRAW, SVG, overlapping, texts, tips, tooltips, traced
from striate.drawing import draw
from striate.drawing.folding import folded
from striate.drawing.steps import steps
from striate.models import build
from striate.tracing import trace


def graph(name):
    return draw(traced(name), name, style="graph")


@pytest.mark.parametrize("name", NETWORKS_TO_DRAW)
def test_there_is_an_arrow_for_every_edge_and_a_tooltip_for_every_box(name):
    found = steps(traced(name))
    folds = folded(found)
    drawn = {i for fold in folds for i in fold.drawn}
    summed = sum(bool(fold.summary) for fold in folds)
    svg = graph(name)
    assert tips(svg) == sum(len(found[i].inputs) for i in drawn) + summed
    assert len(tooltips(svg)) == len(drawn) + summed


def test_repeats_are_framed_and_counted():
    svg = graph("152 layers")
    counts = [text for text in texts(svg) if re.fullmatch(r"× \d+", text)]
    assert counts == ["× 2", "× 7", "× 35", "× 2"]
    frames = ElementTree.fromstring(svg).iter(f"{SVG}rect")
    assert sum(frame.get("class") == "frame" for frame in frames) == 4


def test_152_layers_fit_a_page_that_a_person_can_read():
    root = ElementTree.fromstring(graph("152 layers"))
    assert max(float(root.get("width")), float(root.get("height"))) <= 1100
    assert min(float(text.get("font-size")) for text in root.iter(f"{SVG}text")) >= 10


def test_branches_stand_side_by_side_above_what_joins_them():
    svg = graph("inception")
    assert [text for text in texts(svg) if text.startswith("concat")] == [
        "concatenation, 14",
        "concatenation, 14",
    ]
    for word in ("1×1 conv, 4", "3×3 conv, 5", "5×5 conv, 3", "3×3 max pool"):
        assert texts(svg).count(word) == 2


def test_a_skip_is_told_from_the_way_beside_it_and_dotted_where_it_changes():
    paths = [p.get("class") for p in ElementTree.fromstring(graph("residual")).iter(f"{SVG}path")]
    assert paths.count("skip") == 2  # the other two blocks have a convolution on that way
    assert paths.count("skip-tip") == 2


def test_a_skip_that_changes_its_shape_on_the_way_is_dotted():
    with torch.device("meta"):
        t = trace(build("resnet20"), (3, 32, 32))  # shortcuts by padding where maps double
    paths = [p.get("class") for p in ElementTree.fromstring(draw(t, "resnet20")).iter(f"{SVG}path")]
    assert (paths.count("skip"), paths.count("skip dotted")) == (7, 2)


@pytest.mark.parametrize("name", NETWORKS_TO_DRAW)
def test_between_two_boxes_there_is_room_for_an_arrow(name):
    found = [
        [float(r.get(key)) for key in ("x", "y", "width", "height")]
        for r in ElementTree.fromstring(graph(name)).iter(f"{SVG}rect")
        if r.get("class") not in ("paper", "frame")
    ]
    assert len(found) > 2
    for i, (x0, y0, w0, h0) in enumerate(found):
        for x1, y1, w1, h1 in found[:i]:
            beside = max(x0, x1) - min(x0 + w0, x1 + w1)
            below = max(y0, y1) - min(y0 + h0, y1 + h1)
            assert beside >= 17 or below >= 21


def test_what_is_too_tangled_is_one_box_that_says_what_it_holds():
    said = texts(graph("growing"))
    assert overlapping(graph("growing")) == []
    assert any("× 100" in text or "100 ×" in text for text in said)
