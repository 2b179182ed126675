"""Blocks of maps, read back from the SVG, against the figures of the papers."""

from xml.etree import ElementTree

import pytest
from torch import nn

from sketching import SVG, overlapping, texts
from striate.drawing import draw
from striate.drawing.blocks import is_chain, runs
from striate.drawing.steps import steps
from striate.drawing.volumes import Scale, scale_of, volume_of
from striate.models import build
from striate.tracing import trace

# The words of Fig. 2 of LeCun et al. (1998), typed in from the paper's layer table.
LENET5 = [
    *("C1: feature maps", "6@28×28", "S2: feature maps", "6@14×14", "C3: feature maps", "16@10×10"),
    *("S4: feature maps", "16@5×5", "C5: layer", "120", "F6: layer", "84", "output", "10"),
]


class Two(nn.Sequential):
    """Five convolutions in two groups, as on the two GPUs of 2012, at a third of the width."""

    def __init__(self):
        super().__init__(
            *(nn.Conv2d(3, 32, 11, 4), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(32, 84, 5, padding=2, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(84, 128, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(128, 128, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Flatten(), nn.Linear(128 * 36, 50), nn.Dropout(), nn.Linear(50, 10)),
        )


def bodies(svg):
    """Give, block by block, the corners of what is drawn of it."""
    groups = ElementTree.fromstring(svg).iter(f"{SVG}g")
    return [[path.get("d") for path in group.iter(f"{SVG}path")] for group in groups]


def test_lenet5_has_the_words_of_the_paper_s_figure():
    said = texts(draw(trace(build("lenet5"), (1, 32, 32)), "lenet5"))
    assert [text for text in said if text in LENET5] == LENET5
    operations = ["convolutions", "subsampling"] * 2 + ["full connection"] * 2
    assert [text for text in said if text in operations] == operations
    assert "radial basis output" in said


def test_each_map_of_lenet5_is_a_sheet():
    sheets = bodies(draw(trace(build("lenet5"), (1, 32, 32)), "lenet5"))
    assert [len(block) for block in sheets] == [1, 6, 6, 16, 16, 1, 1, 1]


def test_1x1x4096_and_224x224x3_can_both_be_seen():
    scale = scale_of([(3, 224, 224), (512, 7, 7), (4096,), (10,)])
    image, deep, long, short = (
        volume_of(shape, scale) for shape in ((3, 224, 224), (512, 7, 7), (4096,), (10,))
    )
    assert not scale.sheets
    assert min(v.height for v in (image, deep, long, short)) >= 9
    assert max(v.height for v in (image, deep, long, short)) <= 200
    assert image.height > deep.height
    assert long.height > short.height


def test_sides_follow_the_square_root():
    scale = Scale(side=400, units=1, sheets=True)
    assert scale.length(100) == scale.length(400) / 2
    assert volume_of((1, 100, 400), scale).width == 2 * volume_of((1, 400, 100), scale).width


def test_grouped_convolutions_stand_in_two_rows():
    svg = draw(trace(Two(), (3, 227, 227)), "two")
    faces = [len(block) for block in bodies(svg)]
    # Input, five layers of the convolutional part in two towers of three faces, pooling between.
    assert faces == [3, *[6] * 7, 1, 1]
    assert texts(svg).count("2 groups") == 2
    assert "11×11, stride 4" in texts(svg)
    assert "ReLU, LRN" in texts(svg)


def test_a_window_has_the_share_of_the_map_that_its_kernel_has():
    network = nn.Sequential(nn.Conv2d(1, 2, (5, 10)), nn.Flatten(), nn.Linear(32 * 11, 3))
    svg = draw(trace(network, (1, 20, 20)), "window")
    (image, *_), (window,) = bodies(svg), windows(svg)
    (left, top), _, (right, bottom), _ = corners(image[0])
    (x0, y0), _, (x1, y1), _ = corners(window)
    assert (x1 - x0) / (right - left) == pytest.approx(10 / 20, abs=0.01)
    assert (y1 - y0) / (bottom - top) == pytest.approx(5 / 20, abs=0.01)


def windows(svg):
    paths = ElementTree.fromstring(svg).iter(f"{SVG}path")
    return [path.get("d") for path in paths if path.get("class") == "window"]


def corners(path):
    return [tuple(map(float, place.split())) for place in path.strip("MZ").split("L")]


def test_equal_layers_stand_together_and_are_counted():
    layers = [nn.Conv2d(40, 40, 3, padding=1) for _ in range(7)]
    network = nn.Sequential(nn.Conv2d(3, 40, 5), *layers, nn.MaxPool2d(2))
    found = steps(trace(network, (3, 12, 14)))
    assert is_chain(found)
    assert [len(run) for run in runs(found)] == [1, 1, 7, 1]
    svg = draw(trace(network, (3, 12, 14)), "seven")
    assert "7 × convolutions" in texts(svg)
    assert [len(block) for block in bodies(svg)] == [3, 3, 9, 3]  # three of the seven are drawn


def test_a_long_chain_is_broken_into_rows():
    layers = [m for i in range(9) for m in (nn.Conv1d(2**i, 2 ** (i + 1), 1), nn.MaxPool1d(2))]
    svg = draw(trace(nn.Sequential(*layers), (1, 512)), "long")
    root = ElementTree.fromstring(svg)
    assert float(root.get("width")) <= 1500
    assert overlapping(svg) == []
    right = [p for p in root.iter(f"{SVG}path") if p.get("class") == "line-tip"]
    assert len(right) >= 1


def test_names_that_come_twice_are_left_out():
    class Named(nn.Module):
        def __init__(self, *names):
            super().__init__()
            self.names = names
            for name in names:
                self.add_module(name, nn.Conv2d(2, 2, 3))

        def forward(self, x):
            for name in self.names:
                x = torch_relu_once(self.get_submodule(name)(x))
            return x

    assert "conv1" in texts(draw(trace(Named("conv1", "fc2"), (2, 12, 14)), "names"))
    twice = nn.Sequential(Named("conv1"), nn.MaxPool2d(2), Named("conv1"))
    assert "conv1" not in texts(draw(trace(twice, (2, 12, 14)), "names"))


def torch_relu_once(x):
    return x.relu()
