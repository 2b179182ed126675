"""Words in the boxes, as the figures of the papers have them."""

from dataclasses import replace

import pytest
from torch import nn

from sketching import UNet, residual, unit
from striate.drawing.steps import steps
from striate.drawing.wording import around, caption, heading, tooltip, usual
from striate.tracing import trace


def head(network, shape=(4, 24, 36), channels=None):
    before, step = steps(trace(network, shape))[-2:]
    return heading(step, before.shape, channels)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Conv2d(4, 64, 7, 2), "7×7 conv, 64, /2"),
        (nn.Conv2d(4, 8, (1, 7), (1, 2)), "1×7 conv, 8, /1×2"),
        (nn.Conv2d(4, 8, 3, groups=2), "3×3 conv, 8, 2 groups"),
        (nn.Conv2d(4, 4, 3, groups=4), "3×3 depthwise conv, 4"),
        (nn.Conv2d(4, 8, 3, dilation=2), "3×3 conv, 8, dilation 2"),
        (nn.ConvTranspose2d(4, 2, 2, 2), "2×2 transposed conv, 2, ×2"),
        (nn.MaxPool2d(3, 2), "3×3 max pool, /2"),
        (nn.AvgPool2d(2), "2×2 average pool, /2"),
        (nn.AdaptiveAvgPool2d(1), "global average pool"),
        (nn.Upsample(scale_factor=3), "resize, ×3"),
        (nn.Upsample(size=(30, 50)), "resize to 30×50"),
        (nn.Linear(36, 1500), "linear, 1,500"),
    ],
    ids=str,
)
def test_a_box_says_kernel_maps_and_stride(layer, words):
    assert head(layer) == words


def test_a_range_of_maps_or_none_can_be_said_instead():
    assert head(nn.Conv2d(4, 8, 3), channels="8…64") == "3×3 conv, 8…64"
    assert head(nn.Conv2d(4, 8, 3, 2), channels="") == "3×3 conv, /2"


def test_what_most_convolutions_have_is_said_once():
    found = steps(trace(residual(1, 1, width=4), (3, 64, 64)))
    most = usual(found)
    assert most == ((), ("batch norm", "ReLU"))
    said = {step.name: around(step, most) for step in found}
    assert said["0.0"] == ("", "")
    assert said["2.three.0"] == ("", "batch norm")
    assert said["2.shortcut"] == ("", "nothing after it")
    assert said["2.add"] == ("", "ReLU")


def test_two_convolutions_make_no_custom():
    assert usual(steps(trace(nn.Sequential(unit(4, 4), unit(4, 4)), (4, 8, 9)))) is None


def test_the_caption_tells_what_the_drawing_cannot_show():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.head = nn.Conv2d(3, 2, 1), nn.Linear(10, 100)

        def forward(self, x):
            return self.used(x).cumsum(2)

    facts, idle, unknown = caption(trace(Idle(), (3, 10, 20)))
    assert facts == "input 3×10×20 · 1,108 parameters · ≥ 1,200 multiply-adds"
    assert idle == "1,100 of the parameters are in layers that did not run."
    assert unknown == "Could not be followed, and not counted: cumsum."
    (facts,) = caption(trace(UNet(2, 2, 1), (1, 16, 16)))
    assert "≥" not in facts


def test_the_pointer_is_told_name_class_shape_and_parameters():
    _, step = steps(trace(nn.Sequential(nn.Conv2d(3, 2, 1)), (3, 10, 20)))
    assert tooltip(step) == "0 (Conv2d): 2×10×20, 8 parameters"
    assert tooltip(step, [step] * 36) == "0 (Conv2d): 2×10×20, 8 parameters, and 35 more like it"
    wider = replace(step, parameters=20)
    told = "0 (Conv2d): 2×10×20, and 2 more of its form, 48 parameters in all"
    assert tooltip(step, [step, wider, wider]) == told
