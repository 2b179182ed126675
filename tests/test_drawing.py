"""Drawings of all kinds of networks: readable, complete, the same each time."""

from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sketching import NETWORKS_TO_DRAW, UNet, outside, overlapping, texts, told_parameters, traced
from striate.drawing import STYLES, draw
from striate.errors import UsageError
from striate.models import NETWORKS, build
from striate.tracing import trace


def trace_of(name):
    if name not in NETWORKS:
        return traced(name)
    with torch.device("meta"):  # its weights are not needed
        return trace(build(name), NETWORKS[name].input_shape)


@pytest.mark.parametrize("name", [*NETWORKS_TO_DRAW, *NETWORKS])
def test_no_text_lies_on_another_and_every_parameter_is_told(name):
    t = trace_of(name)
    drawn = 0
    for style in (None, *STYLES):
        try:
            svg = draw(t, name, style=style)
        except UsageError:
            assert style in ("blocks", "u")  # not every network has that form
            continue
        drawn += 1
        assert overlapping(svg) == []
        assert outside(svg) == []
        assert told_parameters(svg) == sum(layer.parameters for layer in t.layers)
        assert draw(t, name, style=style) == svg
    assert drawn >= 2


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("chain", "full connection"),  # blocks
        ("one dimension", "full connection"),
        ("three dimensions", "full connection"),
        ("features", "full connection"),
        ("residual", "+"),  # a graph
        ("inception", "concatenation, 14"),
        ("u", "copy"),  # a U
    ],
)
def test_the_style_is_chosen_by_the_form_of_the_network(name, word):
    assert word in texts(draw(traced(name), name))


def test_a_style_can_be_asked_for():
    t = traced("u")
    assert "concatenation, 24" in texts(draw(t, "u", style="graph"))
    assert draw(t, "u", style="u") == draw(t, "u")


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=80))
def test_any_title_and_any_name_of_a_layer_can_be_drawn(text):
    network = nn.Sequential()
    name = text.replace(".", "") or "a"
    if not hasattr(network, name):
        network.add_module(name, nn.Conv2d(1, 2, 3))
    network.add_module("last", nn.Conv2d(2 if len(network) else 1, 2, 3))
    for style in ("blocks", "graph"):
        svg = draw(trace(network, (1, 12, 12)), text, style=style)
        ElementTree.fromstring(svg)
        assert overlapping(svg) == []


def test_a_name_of_a_class_is_escaped():
    strange = type("<b>&Norm", (nn.Conv2d,), {})
    svg = draw(trace(nn.Sequential(strange(1, 2, 3)), (1, 8, 9)), "a < b & c")
    assert "a < b & c" in texts(svg)
    assert "<b>&Norm" in "".join(ElementTree.fromstring(svg).itertext())


def test_a_form_that_the_network_has_not_is_refused_with_the_remedy():
    t = traced("residual")
    with pytest.raises(UsageError, match=r"the network is no U: .*; take the style graph"):
        draw(t, "no u", style="u")
    with pytest.raises(UsageError, match=r"and 2\.shortcut does not read .*; take the style graph"):
        draw(t, "no chain", style="blocks")
    with pytest.raises(UsageError, match="style is 'block'; did you mean 'blocks'"):
        draw(t, "no style", style="block")
    with pytest.raises(UsageError, match="theme is 'black'; known: auto, dark, light"):
        draw(t, "no theme", theme="black")


def test_a_drawing_is_small():
    for name in ("152 layers", "growing"):
        assert len(draw(traced(name), name)) < 40_000
    assert len(draw(trace(UNet(), (1, 572, 572)), "U-Net")) < 40_000
