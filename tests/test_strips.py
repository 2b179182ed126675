"""Strips against the whole image: drawn networks, odd sizes, two and three dimensions."""

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from striate import build
from striate.errors import UsageError
from striate.strips import can_strip, evaluate_in_strips, recording, running
from striate.strips.fusing import fused
from striate.strips.scheduling import memory_needed

CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORMS = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAXIMA = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGES = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
LINEAR = {2: "bilinear", 3: "trilinear"}


def in_strips(network: nn.Module, image: Tensor, step: int) -> Tensor:
    """Evaluate with so many rows a step; rows of the image are asked for in order, once."""
    maps = fused(*recording.record(network, image.shape))
    read_to, rows = [0], []

    def read(first: int, last: int) -> Tensor:
        assert first == read_to[-1]
        read_to.append(last)
        return image[:, first:last]

    def write(first: int, last: int, logits: Tensor) -> None:
        assert first == sum(one.shape[1] for one in rows)
        assert logits.shape[1] == last - first
        rows.append(logits.clone())

    with torch.inference_mode():
        running.run(maps, step, torch.empty(0), read, write)
    assert read_to[-1] <= image.shape[1]
    return torch.cat(rows, 1)


def whole(network: nn.Module, image: Tensor) -> Tensor:
    network.eval()
    with torch.inference_mode():
        return network(image[None])[0]


def difference(network: nn.Module, image: Tensor, step: int) -> float:
    """Give the largest difference from the whole image, in units of the largest logit."""
    answer = whole(network, image)
    strips = in_strips(network, image, step)
    assert strips.shape == answer.shape
    return float((strips - answer).abs().max() / answer.abs().max())


class Sides(nn.Module):
    """Two paths side by side, cropped to the smaller of the two."""

    def __init__(self, one, other, join):
        super().__init__()
        self.one, self.other, self.join = one, other, join

    def forward(self, x):
        one, other = self.one(x), self.other(x)
        for axis in range(2, x.ndim):
            side = min(one.shape[axis], other.shape[axis])
            one = one.narrow(axis, (one.shape[axis] - side) // 2, side)
            index = (slice(None),) * axis + (slice(other.shape[axis] - side, None),)
            other = other[index]
        if self.join == "cat":
            return torch.cat([one, other], 1)
        return one + other if self.join == "add" else one * torch.sigmoid(other)


class Padded(nn.Module):
    def __init__(self, amounts):
        super().__init__()
        self.amounts = amounts

    def forward(self, x):
        return F.pad(x, self.amounts, value=0.5)


def a_layer(draw, dims, maps):
    def each(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(dims))

    kinds = "convolution convolution max average transposed resize norm relu in_place pad soft"
    kind = draw(st.sampled_from(kinds.split()))
    if kind == "convolution":
        numbers = (each(1, 4), each(1, 3), each(0, 3), each(1, 3))
        groups = draw(st.sampled_from([1, maps]))
        return CONVOLUTIONS[dims](maps, maps, *numbers, groups=groups, bias=draw(st.booleans()))
    if kind == "transposed":
        stride, kernel, dilation = each(1, 3), each(1, 4), each(1, 2)
        extra = tuple(min(s - 1, draw(st.integers(0, 2))) for s in stride)
        groups = draw(st.sampled_from([1, maps]))
        more = {"groups": groups, "dilation": dilation}
        return TRANSPOSED[dims](maps, maps, kernel, stride, each(0, 1), extra, **more)
    if kind == "max":
        kernel = each(2, 4)
        padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
        return MAXIMA[dims](kernel, each(1, 3), padding, each(1, 2), ceil_mode=draw(st.booleans()))
    if kind == "average":
        kernel = each(2, 4)
        padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
        return AVERAGES[dims](kernel, each(1, 3), padding)
    if kind == "resize":
        factor = draw(st.sampled_from([2, 3, 1.5, 0.6]))
        mode = draw(st.sampled_from(["nearest", "nearest-exact", LINEAR[dims]]))
        corners = draw(st.booleans()) if mode == LINEAR[dims] else None
        return nn.Upsample(scale_factor=factor, mode=mode, align_corners=corners)
    if kind == "norm":
        norm = NORMS[dims](maps)
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        return norm
    if kind == "pad":
        return Padded([draw(st.integers(0, 2)) for _ in range(2 * dims)])
    if kind == "soft":
        return nn.Softmax(dim=1)
    return nn.ReLU(inplace=kind == "in_place")


@st.composite
def networks(draw):
    dims = draw(st.sampled_from([2, 2, 3]))
    maps = draw(st.sampled_from([1, 2]))
    first, layers = maps, []
    for _ in range(draw(st.integers(1, 5))):
        if maps < 8 and draw(st.integers(0, 2)) == 0:
            join = draw(st.sampled_from(["add", "cat", "mul"]))
            depth = draw(st.integers(1, 3))
            one = nn.Sequential(*(a_layer(draw, dims, maps) for _ in range(depth)))
            # What is in place may write into what the other path reads.
            other = nn.Sequential(nn.Dropout(), a_layer(draw, dims, maps), nn.Identity())
            layers.append(Sides(one, other if draw(st.booleans()) else nn.Identity(), join))
            maps *= 2 if join == "cat" else 1
        else:
            layers.append(a_layer(draw, dims, maps))
    image = torch.randn(
        first, *(draw(st.integers(5, 40 if dims == 2 else 14)) for _ in range(dims))
    )
    return nn.Sequential(nn.Identity(), *layers), image


@given(drawn=networks(), step=st.integers(1, 19), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=150)
def test_drawn_networks_in_strips_equal_the_whole_image(drawn, step, seed):
    network, image = drawn
    torch.manual_seed(seed)
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    try:
        answer = whole(network, image.clone())
    except RuntimeError:
        return  # the image is too small for the windows
    if answer.numel() == 0:
        return  # PyTorch lets a padded transposed convolution answer with nothing
    if (reason := can_strip(network, image.shape)) is not None:
        assert "written into under another name" in reason
        return
    strips = in_strips(network, image, step)
    assert strips.shape == answer.shape
    # A maximum over padding alone is minus infinity in both.
    finite = answer.isfinite()
    assert torch.equal(strips[~finite], answer[~finite])
    largest = answer[finite].abs().max() if finite.any() else 0
    torch.testing.assert_close(
        strips[finite], answer[finite], rtol=0, atol=1e-5 * float(largest) + 1e-30
    )


def with_statistics(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network


@pytest.mark.parametrize(
    ("name", "options", "shape", "step"),
    [
        ("unet_padded", {"width": 3, "depth": 3}, (1, 88, 56), 8),
        ("unet_padded", {"width": 3, "depth": 2, "normalization": "batch"}, (1, 52, 36), 5),
        ("unet", {"width": 2, "depth": 4}, (1, 252, 220), 32),
        ("unet3d", {"width": 2, "depth": 2}, (1, 36, 12, 20), 4),
        ("vnet", {}, (1, 32, 16, 16), 16),
    ],
)
def test_the_shipped_networks_in_strips_equal_the_whole_image(name, options, shape, step):
    torch.manual_seed(3)
    network = with_statistics(build(name, **options))
    assert difference(network, torch.randn(shape), step) <= 1e-5


@pytest.mark.parametrize("step", [1, 2, 7])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "more", "dilation"),
    [
        *((2, 2, 0, 0, 1), (3, 2, 1, 1, 1), (1, 3, 0, 2, 1), (2, 3, 0, 2, 1)),
        *((2, 1, 1, 2, 3), (4, 3, 2, 1, 2)),
    ],
)
def test_transposed_convolutions_give_their_last_rows_too(
    kernel, stride, padding, more, dilation, step
):
    torch.manual_seed(kernel)
    numbers = (kernel, stride, padding, more)
    network = nn.ConvTranspose2d(2, 3, *numbers, dilation=dilation)
    assert difference(network, torch.randn(2, 9, 7), step) <= 1e-5


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, bias=False, groups=2),
        nn.Conv2d(4, 6, 3),
        nn.ConvTranspose2d(4, 6, 3),
        nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False),
    ],
    ids=repr,
)
def test_normalization_goes_into_the_weights_before_it(layer, affine):
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(6, affine=affine)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    network, image = with_statistics(nn.Sequential(layer, norm)), torch.randn(4, 9, 7)
    assert len(fused(*recording.record(network, image.shape))) == 2
    assert difference(network, image, 3) <= 1e-5


def test_the_answer_of_a_network_that_is_one_crop_is_the_crop():
    class Crop(nn.Module):
        def forward(self, x):
            return x[..., 2:-3, 1:]

    assert torch.equal(in_strips(Crop(), image := torch.randn(2, 11, 7), 2), image[:, 2:-3, 1:])


class Products(torch.overrides.TorchFunctionMode):
    """Counts what convolutions multiply."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        if func.__name__ == "conv2d":
            self.total += answer.numel() * args[1][0].numel()
        if func.__name__ == "conv_transpose2d":
            self.total += args[0].numel() * args[1][0].numel()
        return answer


@pytest.mark.parametrize("step", [4, 8, 32])
def test_no_product_is_computed_twice(step):
    network, image = build("unet_padded", width=2, depth=2), torch.randn(1, 64, 24)
    with Products() as once:
        whole(network, image)
    with Products() as counted:
        in_strips(network, image, step)
    assert counted.total == once.total > 0


def test_rows_take_no_more_memory_than_was_said():
    network, image = build("unet_padded", width=2, depth=3), torch.randn(1, 400, 24)
    maps, most = fused(*recording.record(network, image.shape)), 0
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    before = weights | {one.untyped_storage().data_ptr() for one in tensors_alive()}
    _, said = memory_needed(maps, 16)

    def write(first, last, logits):
        nonlocal most
        alive = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors_alive()}
        most = max(most, sum(one.nbytes() for key, one in alive.items() if key not in before))

    with torch.inference_mode():
        running.run(maps, 16, torch.empty(0), lambda first, last: image[:, first:last], write)
    assert said / 3 < most <= said < image.numel() * 4 * 16


def tensors_alive():
    return [
        one
        for one in gc.get_objects()
        if type(one) is Tensor and one.device.type == "cpu" and one.layout == torch.strided
    ]


def test_evaluation_chooses_its_strips_by_memory_and_leaves_the_network_as_it_was():
    network = with_statistics(build("unet_padded", width=2, depth=2, normalization="batch")).train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    image, heights = torch.randn(1, 320, 1024), {}
    for memory in (10**8, 3 * 10**6):
        rows = []
        evaluate_in_strips(
            *(network, image.shape, lambda first, last: image[:, first:last]),
            lambda first, last, logits, rows=rows: rows.append(logits.clone()),
            memory=memory,
        )
        heights[memory] = max(one.shape[1] for one in rows)
        assert network.training
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
        answer = whole(network, image)
        assert float((torch.cat(rows, 1) - answer).abs().max()) <= 1e-5 * float(answer.abs().max())
        network.train()
    assert heights[10**8] > heights[3 * 10**6]


def test_too_little_memory_is_refused_with_what_is_needed():
    image = torch.randn(1, 64, 1024)
    with pytest.raises(UsageError, match=r"strips of one row take 1 MiB, .* allow 1 MiB"):
        evaluate_in_strips(
            *(build("unet_padded", width=2, depth=2), image.shape),
            *(lambda first, last: image[:, first:last], lambda first, last, logits: None),
            memory=10**5,
        )
