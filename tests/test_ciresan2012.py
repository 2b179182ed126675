"""N4: map sizes and counts, typed from the paper's facts."""

import pytest

from striate.models import NETWORKS, outline
from striate.tracing import trace


@pytest.mark.parametrize(
    ("name", "sides"),
    [("n4", [92, 46, 42, 21, 18, 9, 6, 3]), ("ciresan65", [62, 31, 28, 14, 10, 5])],
)
def test_maps_have_the_sizes_of_the_table(name, sides):
    layers = trace(outline(name), NETWORKS[name].input_shape).layers
    kinds = ("Conv2d", "MaxPool2d")
    assert [layer.output_shape for layer in layers if layer.kind in kinds] == [
        (48, side, side) for side in sides
    ]
