"""U-Net: the paper's sizes and counts, its legal sizes, padding."""

from striate.models import NETWORKS, outline
from striate.tracing import trace


def sides(name):
    """The side behind every convolution, pooling and up-convolution."""
    layers = trace(outline(name), NETWORKS[name].input_shape).layers
    counted = [one for one in layers if one.parameters or one.kind.startswith("max_pool")]
    return [layer.output_shape[-1] for layer in counted]


def test_sizes_are_the_paper_s():
    assert sides("unet") == [
        *(570, 568, 284, 282, 280, 140, 138, 136, 68, 66, 64, 32, 30, 28),
        *(56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388, 388),
    ]
