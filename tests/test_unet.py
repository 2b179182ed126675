"""U-Net: the paper's sizes and counts, its legal sizes, and its answers computed a second way."""

import math
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.errors import UsageError
from striate.layers import Dropout
from striate.models import NETWORKS, build, outline
from striate.models.unet import (
    UNet,
    UNetPadded,
    legal_side,
)
from striate.tracing import trace
from striate.tracing.sizes import legal_sizes

# Fig. 1, from left to right: behind each convolution, pooling and up-convolution.
SIDES = (
    *(570, 568, 284, 282, 280, 140, 138, 136, 68, 66, 64, 32, 30, 28),
    *(56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388, 388),
)
MAPS = (
    *(64, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512, 512, 1024, 1024),
    *(512, 512, 512, 256, 256, 256, 128, 128, 128, 64, 64, 64, 2),
)


def built(name, **options):
    """A network with weights of its own everywhere, also in biases and normalisation."""
    torch.manual_seed(3)
    network = build(name, **options)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.5)
    return network.eval()


def shapes(name):
    layers = trace(outline(name), NETWORKS[name].input_shape).layers
    counted = [one for one in layers if one.parameters or one.kind.startswith("max_pool")]
    return [layer.output_shape for layer in counted]


# ---------------------------------------------------------------- what the paper prints


def test_maps_and_sides_are_those_of_the_figure():
    assert shapes("unet") == [(maps, side, side) for maps, side in zip(MAPS, SIDES, strict=True)]


def test_there_are_23_convolutions_and_92_pixels_are_lost_on_each_side():
    traced = trace(outline("unet"), (1, 572, 572))
    kinds = Counter(layer.kind for layer in traced.layers)
    assert kinds["Conv2d"] + kinds["ConvTranspose2d"] == 23
    assert traced.output_shape == (2, 572 - 2 * 92, 572 - 2 * 92)


def test_initial_weights_have_the_deviation_of_a_unit_s_inputs():
    torch.manual_seed(0)
    network = build("unet", width=16)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    for layer in layers:
        up = isinstance(layer, nn.ConvTranspose2d)
        inputs = layer.in_channels * (1 if up else math.prod(layer.kernel_size))
        slack = 4 / math.sqrt(2 * layer.weight.numel())  # four of its own deviations
        assert layer.weight.std().item() == pytest.approx((2 / inputs) ** 0.5, rel=slack)
        assert not layer.bias.any()
    wide = [m for m in outline("unet").modules() if isinstance(m, nn.Conv2d)]
    assert math.prod(wide[1].weight.shape[1:]) == 576  # 3x3 of 64 maps


def test_dropout_is_the_layer_whose_masks_a_run_decides_at_the_end_of_the_way_down():
    network = outline("unet")
    assert [m.share for m in network.modules() if isinstance(m, Dropout)] == [0.5]
    names = [layer.name for layer in trace(network, (1, 572, 572)).layers]
    below = names.index("paths.dropout")
    assert names[below - 1].startswith("paths.contracting.4")
    assert names[below + 1] == "paths.expanding.0.up"


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize("depth", [4, 3, 1])
def test_legal_sides_are_those_at_which_every_pooling_meets_an_even_side(depth):
    network = outline("unet", width=1, depth=depth)
    step = 2**depth
    legal = legal_sizes(network, (1, 572, 572), most=260)
    assert legal.accepted == legal.whole
    expected = []
    for side in range(1, 261):
        at, ends = side, side
        for _ in range(depth):
            at, ends = (at - 4) / 2, (ends - 4) / 2
        ends = at - 4
        for _ in range(depth):
            ends = 2 * ends - 4
        if at == int(at) and ends > 0:
            expected.append(side)
    assert list(legal.accepted) == expected
    assert all((side + 4) % step == 0 for side in expected)
    assert [legal_side(side, depth) for side in range(1, expected[-1] + 1)] == [
        min(one for one in expected if one >= side) for side in range(1, expected[-1] + 1)
    ]


def test_legal_sides_are_16k_plus_12():
    assert str(legal_sizes(outline("unet"), (1, 572, 572), most=640)) == ("16k+12, from 188")


def test_another_side_is_refused_with_the_next_legal_one():
    with pytest.raises(
        ValueError, match=r"sides of 16k\+12 from 188 on, not 512x189; pad it to 524x204 by mirr"
    ):
        build("unet", width=1)(torch.zeros(1, 1, 512, 189))
    with pytest.raises(ValueError, match="multiples of 8, not 17x16x9; pad it to 24x16x16 by mirr"):
        build("unet3d", width=1)(torch.zeros(1, 1, 17, 16, 9))


# ---------------------------------------------------------------- a second way


def plainly(network, x, padding, normalize=None):
    """The U by functions alone, from the tensors that the network holds, in their order."""
    tensors = list(network.parameters())
    convolve, transpose, pool = (
        (F.conv2d, F.conv_transpose2d, F.max_pool2d)
        if x.ndim == 4
        else (F.conv3d, F.conv_transpose3d, F.max_pool3d)
    )

    def pair(x):
        for _ in range(2):
            if normalize is None:
                x = convolve(x, tensors.pop(0), tensors.pop(0), padding=padding)
            else:
                x = convolve(x, tensors.pop(0), padding=padding)
                x = normalize(x, tensors.pop(0), tensors.pop(0))
            x = x.clamp(min=0)
        return x

    levels = [pair(x)]
    for _ in range(network.depth):
        levels.append(pair(pool(levels[-1], 2)))
    x = levels.pop()
    while levels:
        x = transpose(x, tensors.pop(0), tensors.pop(0), stride=2)
        kept = levels.pop()
        for axis in range(2, x.ndim):
            cut = (kept.shape[axis] - x.shape[axis]) // 2
            kept = kept.index_select(axis, torch.arange(cut, cut + x.shape[axis]))
        x = pair(torch.cat([kept, x], dim=1))
    x = convolve(x, tensors.pop(0), tensors.pop(0))
    assert tensors == []
    return x


def by_batch(x, weight, bias):
    """Evaluation's batch norm with running mean 0 and variance 1."""
    per_map = (-1, *(1,) * (x.ndim - 2))
    return x / math.sqrt(1 + 1e-5) * weight.view(per_map) + bias.view(per_map)


def by_map(x, weight, bias):
    axes, per_map = tuple(range(2, x.ndim)), (-1, *(1,) * (x.ndim - 2))
    mean = x.mean(dim=axes, keepdim=True)
    variance = x.var(dim=axes, correction=0, keepdim=True)
    normal = (x - mean) / (variance + 1e-5).sqrt()
    return normal * weight.view(per_map) + bias.view(per_map)


def test_the_unpadded_u_is_the_one_by_functions():
    network = built("unet", in_channels=2, num_classes=5, width=3, depth=2)
    images = torch.randn(2, 2, 60, 64)
    expected = plainly(network, images, padding=0)
    assert expected.shape == (2, 5, 20, 24)
    torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize(
    ("normalization", "plain"),
    # Of 2 and of 4 maps, "group" makes as many groups as maps.
    [("none", None), ("batch", by_batch), ("instance", by_map), ("group", by_map)],
)
@pytest.mark.parametrize("name", ["unet_padded", "unet3d"])
def test_the_padded_u_is_the_one_by_functions(name, normalization, plain):
    options = {"width": 2, "depth": 1, "normalization": normalization}
    network = built(name, in_channels=2, num_classes=3, **options)
    images = torch.randn(2, 2, *((10, 6, 8) if name == "unet3d" else (14, 10)))
    expected = plainly(network, images, padding=1, normalize=plain)
    assert expected.shape == (2, 3, *images.shape[2:])
    torch.testing.assert_close(network(images), expected)


def test_groups_are_eight_or_as_many_as_divide_the_maps():
    network = outline("unet_padded", width=12, depth=1, normalization="group")
    groups = [m for m in network.modules() if isinstance(m, nn.GroupNorm)]
    assert [(g.num_groups, g.num_channels) for g in groups[:4]] == [
        (4, 12), (4, 12), (8, 24), (8, 24)
    ]  # fmt: skip


def test_inside_the_padded_u_answers_as_the_unpadded_one_does():
    # With one pooling, whose windows lie alike in both; with more they do not.
    padded, unpadded = UNetPadded(width=3, depth=1).eval(), UNet(width=3, depth=1).eval()
    unpadded.load_state_dict(padded.state_dict())
    images = torch.randn(1, 1, 40, 36)
    answer, inside = unpadded(images), padded(images)[:, :, 8:-8, 8:-8]
    torch.testing.assert_close(answer[:, :, 3:-3, 3:-3], inside[:, :, 3:-3, 3:-3])


def test_a_width_depth_or_normalization_that_is_none_is_refused():
    with pytest.raises(UsageError, match="width is 0; a U-Net needs 1 or more"):
        build("unet", width=0)
    with pytest.raises(UsageError, match="depth is -1; a U-Net needs 1 or more"):
        build("unet3d", depth=-1)
    with pytest.raises(UsageError, match="normalization is 'bacth'; did you mean 'batch'"):
        build("unet_padded", normalization="bacth")
