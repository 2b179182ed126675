"""What strips are not enough for is refused by the layer's name; the rest is read off a run."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate import build
from striate.errors import UsageError
from striate.strips import can_strip
from striate.strips.fusing import fused
from striate.strips.making import slices
from striate.strips.recording import record


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def written_under_another_name(x):
    y = x * 2
    z = y[:, :, 1:]
    F.relu(y, inplace=True)
    return z


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: F.group_norm(x, 1), "group_norm): needs the whole map at once"),
        (lambda x: F.adaptive_avg_pool2d(x, 1), "needs the whole map at once"),
        (lambda x: x - x.mean(dim=(2, 3), keepdim=True), "(mean): needs the whole map at once"),
        (lambda x: x.flip(2), "(flip): is not known in strips"),
        (lambda x: x.transpose(2, 3), "(transpose): needs the whole map at once"),
        (lambda x: x + torch.ones(9, 1), "(add): treats rows differently by their place"),
        (lambda x: torch.cat([x, x], 2), "joins maps along axis 2"),
        (lambda x: x[:, :, ::2], "slices without steps along the rows"),
        (lambda x: x[:, 0], "needs the whole map at once"),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "pads by reflect"),
        (lambda x: F.pad(x, (0, 0, -1, 0)), "cuts rows off by padding"),
        (lambda x: F.dropout(x, 0.5), "drops units at random"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), "resizes by bicubic"),
        (lambda x: F.avg_pool2d(x, 2, ceil_mode=True), "fewer values at the border"),
        (lambda x: x.double(), "gives torch.float64"),
        (lambda x: x[:, :, :1] + x, "(add): reads other rows than its own"),
        (lambda x: x.split(1, dim=1)[0], "(split): is not known in strips"),
        (lambda x: (x, x), "returned a tuple; strips need one map"),
        (lambda x: torch.ones(1, 2, 9, 7), "returned what does not depend on the image"),
        (lambda x: F.conv2d(x, torch.ones(1, 3, 1, 1)), "3 channels are needed"),
        (written_under_another_name, "written into under another name"),
    ],
)
def test_what_strips_cannot_do_is_refused(function, reason):
    assert reason in can_strip(Calls(function), (2, 9, 7))


def test_the_layer_is_named_and_the_network_left_as_it_was():
    network = build("unet_padded", width=2, depth=1, normalization="instance").train()
    reason = can_strip(network, (1, 16, 16))
    assert reason == f"{first_instance_norm(network)} (instance_norm): needs the whole map at once"
    assert all(module.training for module in network.modules())
    assert torch.nn.modules.module._global_forward_pre_hooks == {}
    assert torch.nn.modules.module._global_forward_hooks == {}


def first_instance_norm(network):
    modules = network.named_modules()
    return next(name for name, one in modules if isinstance(one, nn.InstanceNorm2d))


def test_weights_of_another_type_are_refused():
    assert "weights of torch.float64; strips are float32" in can_strip(
        nn.Conv2d(1, 1, 3).double(), (1, 9, 7)
    )


def test_a_shape_without_two_or_three_spatial_axes_is_refused():
    assert "(C, H, W) or (C, D, H, W) is needed" in can_strip(nn.Identity(), (1, 9))


def test_a_size_that_the_network_refuses_is_told_in_its_words():
    with pytest.raises(ValueError, match="multiples of 4, not 18x16"):
        can_strip(build("unet_padded", width=2, depth=2), (1, 18, 16))


def test_what_the_answer_does_not_need_is_left_out_and_what_follows_a_map_joins_it():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.path = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Tanh())
            self.head = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            x = self.path(x)
            self.head(x)
            return self.head(x.clone())

    maps, answer = record(Two(), (1, 9, 7))
    assert [one.name for one in maps] == [
        *("image", "path.0", "path.1", "path.2", "path.3", "head", "Two", "head"),
    ]
    left = fused(maps, answer)
    assert [one.name for one in left] == ["image", "path.0", "head"]
    assert [one.kind for one in left[1].after] == ["relu", "tanh", "clone"]


def test_maps_that_are_read_again_are_not_written_over():
    def function(x):
        y = x + 1
        return torch.cat([y.clone().relu_(), y], 1)

    maps = fused(*record(Calls(function), (1, 9, 7)))
    assert len(maps) == 4
    assert [len(one.after) for one in maps] == [0, 0, 1, 0]


def test_an_index_is_spelled_out():
    shape = (1, 3, 9, 7)
    assert slices((slice(None), slice(1, None), slice(2, -2)), shape)[2] == slice(2, 7, 1)
    assert slices((Ellipsis, slice(1, 99)), shape)[3] == slice(1, 7, 1)
    assert slices((Ellipsis, 0), shape) is None
    assert slices((None, Ellipsis), shape) is None


def test_a_network_without_layers_is_named_itself():
    with pytest.raises(UsageError, match=r"Calls \(softmax\): needs the whole map at once"):
        record(Calls(lambda x: F.softmax(x, dim=2)), (1, 9, 7))
