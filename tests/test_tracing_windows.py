"""Convolutions, pooling, padding and resizing: shapes against running, fields against gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from following import follow
from striate.errors import UsageError
from striate.layers import Subsample
from striate.tracing import trace


def weights(*shape):
    return torch.rand(*shape, dtype=torch.float64) + 0.1


EXACT = {
    "conv1d": (lambda x: F.conv1d(x, weights(4, 3, 5), weights(4), 2, 1), (3, 17)),
    "conv2d unequal": (
        lambda x: F.conv2d(x, weights(4, 3, 2, 3), None, (1, 2), (0, 1)),
        (3, 7, 11),
    ),
    "conv2d dilated": (lambda x: F.conv2d(x, weights(2, 3, 3, 2), dilation=(2, 4)), (3, 7, 9)),
    "conv2d groups": (lambda x: F.conv2d(x, weights(6, 1, 3, 3), groups=3), (3, 5, 6)),
    "conv2d same": (lambda x: F.conv2d(x, weights(2, 3, 4, 3), padding="same"), (3, 5, 6)),
    "conv2d valid": (lambda x: F.conv2d(x, weights(2, 3, 4, 3), padding="valid"), (3, 5, 6)),
    "conv2d lists": (lambda x: F.conv2d(x, weights(2, 3, 2, 3), stride=[2]), (3, 5, 6)),
    "conv3d": (lambda x: F.conv3d(x, weights(2, 1, 2, 3, 1), padding=(1, 0, 0)), (1, 3, 4, 5)),
    "transposed 1d": (lambda x: F.conv_transpose1d(x, weights(3, 2, 4), stride=3), (3, 5)),
    "transposed 2d": (
        lambda x: F.conv_transpose2d(x, weights(4, 2, 3, 2), weights(4), 2, 1, 1, 2, (1, 3)),
        (4, 5, 6),
    ),
    "transposed 3d": (
        lambda x: F.conv_transpose3d(x, weights(1, 2, 2, 2, 2), stride=2),
        (1, 2, 3, 4),
    ),
    "transposed gaps": (lambda x: F.conv_transpose1d(x, weights(3, 2, 1), stride=3), (3, 5)),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 3, 2, 1), (2, 9)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, (2, 3), padding=(1, 0)), (2, 7, 8)),
    "avg_pool2d ceil": (lambda x: F.avg_pool2d(x, 2, 3, ceil_mode=True), (2, 7, 9)),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 2, stride=1), (1, 3, 4, 5)),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 4), (2, 9)),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (3, None)), (2, 7, 5)),
    "adaptive_avg_pool3d": (lambda x: F.adaptive_avg_pool3d(x, 1), (2, 3, 4, 5)),
    "pad constant": (lambda x: F.pad(x, (2, 1, 0, 3), value=-1.0), (2, 5, 6)),
    "pad to crop": (lambda x: F.pad(x, (-2, 1, 1, -3)), (2, 5, 6)),
    "pad reflect": (lambda x: F.pad(x, (2, 1, 4, 3), mode="reflect"), (2, 5, 6)),
    "pad replicate": (lambda x: F.pad(x, (7, 1, 0, 3), mode="replicate"), (2, 5, 6)),
    "pad circular": (lambda x: F.pad(x, (6, 1, 0, 3), mode="circular"), (2, 5, 6)),
    "pad 3d": (lambda x: F.pad(x, (1, 2, 2, 1, 0, 1), mode="reflect"), (2, 3, 4, 5)),
    "convolution over a mirror": (
        lambda x: F.conv1d(F.pad(x, (3, 3), mode="reflect"), weights(1, 2, 7)),
        (2, 9),
    ),
    "nearest": (lambda x: F.interpolate(x, scale_factor=2), (2, 5, 6)),
    "nearest odd": (lambda x: F.interpolate(x, size=(13, 4)), (2, 5, 6)),
    "nearest-exact": (lambda x: F.interpolate(x, size=(13, 4), mode="nearest-exact"), (2, 5, 6)),
    "nearest by 1.3": (lambda x: F.interpolate(x, scale_factor=1.3), (2, 17)),
    "nearest by 1.7": (lambda x: F.interpolate(x, scale_factor=1.7), (2, 7)),
    "nearest by 1.7, recomputed": (
        lambda x: F.interpolate(x, scale_factor=1.7, recompute_scale_factor=True),
        (2, 7),
    ),
    "linear by 3": (lambda x: F.interpolate(x, scale_factor=3, mode="linear"), (2, 7)),
    "bilinear corners": (
        lambda x: F.interpolate(x, size=(13, 4), mode="bilinear", align_corners=True),
        (2, 5, 6),
    ),
    "rows as channels": (
        lambda x: F.conv2d(x.transpose(1, 2), weights(2, 5, 2, 3), weights(2)),
        (4, 5, 7),
    ),
    "area": (lambda x: F.interpolate(x, size=(3, 4), mode="area"), (2, 5, 6)),
    "unbatched": (lambda x: F.conv2d(x[0], weights(4, 3, 3, 3)), (3, 5, 6)),
    "sequence of skips": (
        lambda x: (
            F.conv_transpose1d(F.avg_pool1d(x, 2), weights(2, 2, 2), stride=2)
            + F.conv1d(x, weights(2, 2, 5), padding=2)
        ),
        (2, 12),
    ),
}  # fmt: skip

CONTAINED = {
    "max_pool1d": (lambda x: F.max_pool1d(x, 3, 2, 1, 2), (2, 9)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), (2, 5, 7)),
    "max_pool2d ceil": (lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), (2, 5, 8)),
    "max_pool2d of torch": (lambda x: torch.max_pool2d(x, [3, 2], [], 1), (2, 5, 8)),
    "max_pool2d with indices": (lambda x: F.max_pool2d(x, 2, return_indices=True), (2, 5, 7)),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2, 1), (2, 3, 4, 5)),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, 3), (2, 5, 7)),
    "adaptive_max_pool1d": (lambda x: F.adaptive_max_pool1d(x, 3, return_indices=True), (2, 7)),
    "conv2d dilated, padded": (
        lambda x: F.conv2d(x, weights(2, 3, 2, 2), padding=2, dilation=3),
        (3, 7, 9),
    ),
    "bilinear": (lambda x: F.interpolate(x, size=(13, 4), mode="bilinear"), (2, 5, 6)),
    "bilinear by 0.7": (lambda x: F.interpolate(x, scale_factor=0.7, mode="bilinear"), (2, 11, 6)),
    "trilinear": (lambda x: F.interpolate(x, scale_factor=2, mode="trilinear"), (1, 2, 3, 4)),
    "bicubic": (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), (2, 7, 6)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", EXACT)
def test_intervals_end_where_the_gradients_end(name):
    torch.manual_seed(3)
    assert follow(*EXACT[name], exact=True).unknown == ()


@pytest.mark.parametrize("name", CONTAINED)
def test_intervals_contain_the_gradients(name):
    torch.manual_seed(3)
    assert follow(*CONTAINED[name], exact=False).unknown == ()


@pytest.mark.parametrize(
    ("pool", "shape"),
    [(nn.MaxPool1d, (2, 11)), (nn.MaxPool2d, (2, 9, 7)), (nn.MaxPool3d, (1, 5, 6, 7))],
)
@pytest.mark.parametrize("options", [{}, {"stride": 1, "padding": 1}, {"ceil_mode": True}])
def test_a_maximum_reads_the_window_of_the_average(pool, shape, options):
    average = getattr(nn, pool.__name__.replace("Max", "Avg"))
    one, other = (trace(kind(3, **options), shape) for kind in (pool, average))
    assert one.output_shape == other.output_shape
    for mine, yours in zip(one.dependence, other.dependence, strict=True):
        assert mine.intervals.first.tolist() == yours.intervals.first.tolist()
        assert mine.intervals.last.tolist() == yours.intervals.last.tolist()


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_every_padding_mode_of_a_layer_is_followed(mode):
    torch.manual_seed(5)
    layer = nn.Conv2d(2, 3, (3, 5), padding=(1, 2), padding_mode=mode).double()
    with torch.no_grad():
        layer.weight.abs_()
    follow(layer, (2, 7, 9), exact=True)


@pytest.mark.parametrize(
    ("layer", "shape", "connections", "multiply_adds"),
    [
        (nn.Conv2d(3, 8, 3, bias=False), (3, 32, 32), 194_400, 194_400),
        (nn.Conv2d(3, 8, 3), (3, 32, 32), 194_400 + 8 * 30 * 30, 194_400),
        (nn.Conv2d(4, 6, 5, padding=2, groups=2), (4, 7, 9), 63 * 6 * 51, 63 * 6 * 50),
        (nn.Conv1d(2, 3, 5, stride=2), (2, 11), 4 * 3 * 11, 4 * 3 * 10),
        (nn.Conv3d(1, 2, 3, dilation=2), (1, 5, 6, 7), 1 * 2 * 3 * 2 * 28, 1 * 2 * 3 * 2 * 27),
        (nn.ConvTranspose2d(8, 4, 2, stride=2, bias=False), (8, 16, 16), 32_768, 32_768),
        (nn.ConvTranspose2d(8, 4, 2, stride=2), (8, 16, 16), 32_768 + 4 * 32 * 32, 32_768),
        (nn.ConvTranspose1d(6, 4, 3, groups=2), (6, 5), 5 * 6 * 2 * 3 + 4 * 7, 5 * 6 * 2 * 3),
        (nn.Linear(3, 8, bias=False), (10, 10, 3), 2_400, 2_400),
        (nn.Linear(3, 8), (10, 10, 3), 2_400 + 800, 2_400),
        (nn.MaxPool2d(2), (3, 8, 8), 0, 0),
        (nn.AvgPool2d(2), (3, 8, 8), 0, 0),
        (nn.Upsample(scale_factor=2), (3, 8, 8), 0, 0),
    ],
)
def test_counts_are_the_closed_forms(layer, shape, connections, multiply_adds):
    result = trace(layer, shape)
    assert (result.connections, result.multiply_adds) == (connections, multiply_adds)


def test_a_kernel_that_is_itself_computed_from_the_image_is_named():
    result = follow(lambda x: F.conv2d(x, x[:, :, :2, :2]), (2, 5, 6), exact=False)
    assert result.unknown == ("conv2d",)
    assert [axis for axis, _ in result.dependence] == [None, None]


def test_antialiased_resizing_is_named():
    result = follow(
        lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True),
        (2, 8, 6),
        exact=False,
    )
    assert result.unknown == ("interpolate",)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Conv2d(3, 8, 3), (1, 9, 7), r"^Conv2d \(Conv2d\): 3 channels are needed, .*\(1, 9, 7"),
        (nn.Conv2d(3, 8, 3), (9,), r"3 channels are needed, not a map of shape \(9,\)"),
        (nn.ConvTranspose2d(3, 8, 3), (2, 9, 7), "3 channels are needed"),
        (nn.Conv2d(1, 8, 5), (1, 4, 7), r"a window of 5×5 does not fit a map of shape \(1, 4, 7\)"),
        (nn.MaxPool2d(5), (1, 4, 7), r"a window of 5×5 does not fit a map of shape \(1, 4, 7\)"),
        (nn.ReflectionPad2d(4), (1, 4, 7), "is too small for reflect by"),
        (nn.CircularPad2d(5), (1, 4, 7), "is too small for circular by"),
        (nn.ZeroPad2d(-2), (1, 4, 7), r"nothing would be left of a map of shape \(1, 4, 7\)"),
        (nn.Linear(400, 10), (256,), r"400 features are needed, not a map of shape \(256,\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_layer_and_shape(layer, shape, message):
    with pytest.raises(UsageError, match=message):
        trace(layer, shape)


@pytest.mark.parametrize(
    ("layer", "shape", "window"),
    [
        (nn.Conv1d(4, 6, 5, 3, dilation=2, groups=2), (4, 17), ("convolution", 5, 3, 2, 2)),
        (nn.ConvTranspose1d(4, 6, 2, 2), (4, 9), ("transposed convolution", 2, 2, 1, 1)),
        (nn.MaxPool1d(3, 2), (4, 9), ("max pooling", 3, 2, 1, 1)),
        (nn.AvgPool1d(4), (4, 9), ("average pooling", 4, 4, 1, 1)),
        (nn.AdaptiveAvgPool1d(3), (4, 11), ("average pooling", 5, 3, 1, 1)),
        (nn.AdaptiveMaxPool1d(1), (4, 11), ("max pooling", 11, 11, 1, 1)),
        (nn.Upsample(scale_factor=2), (4, 9), ("resizing", 1, 1, 1, 1)),
        (Subsample(4, 3, dims=1), (4, 9), ("average pooling", 3, 3, 1, 1)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_layer_says_what_it_slides_over_its_input(layer, shape, window):
    operation, *numbers, groups = window
    (traced,) = trace(layer, shape).layers
    assert traced.window == (operation, *((number,) for number in numbers), groups)


def test_a_layer_that_slides_nothing_or_two_windows_says_none():
    class Two(nn.Module):
        def forward(self, x):
            return F.avg_pool2d(F.max_pool2d(x, 2), 3)

    network = nn.Sequential(Two(), nn.Flatten(), nn.Linear(12, 5))
    assert [layer.window for layer in trace(network, (3, 12, 13)).layers] == [None, None, None]


@pytest.mark.parametrize("pool", [nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.MaxPool3d])
@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_window_larger_than_the_map_without_padding_is_refused_where_pytorch_does(pool, side):
    network, shape = pool(3, 1, 1), (2, *[side] * int(pool.__name__[-2]))
    try:
        expected = tuple(network(torch.zeros(1, *shape)).shape[1:])
    except RuntimeError:
        with pytest.raises(UsageError, match="does not fit a map of shape"):
            trace(network, shape)
        assert pool is nn.AvgPool3d
    else:
        assert trace(network, shape).output_shape == expected
