"""The dense form answers every window of an image as the classifier does window by window."""

import itertools

import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import striate
from striate.dense_form import dense
from striate.layers import ConnectionTableConv, Dropout, ScaledTanh, Subsample, tell_dropout
from striate.models.lenet5 import C3_TABLE
from striate.normalization import LocalResponseNorm
from striate.tiled_prediction import predict_tiled, whole
from striate.tiling.memory import peak_bytes

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
MAXIMA = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGES = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


def window_by_window(network, images, sides):
    """Answer each window by the network itself: ``(N, K, *positions)``."""
    positions = [n - w + 1 for n, w in zip(images.shape[2:], sides, strict=True)]
    answers = []
    for corner in itertools.product(*map(range, positions)):
        cut = [slice(c, c + w) for c, w in zip(corner, sides, strict=True)]
        answers.append(network(images[(..., *cut)]))
    return torch.stack(answers, dim=-1).unflatten(-1, positions)


def assert_equal(network, images, window, *, gradients=True):
    """Compare answers, and the gradients of weights and image, to 1e-5 of the largest."""
    dims = images.ndim - 2
    sides = (window,) * dims if isinstance(window, int) else window
    form = dense(network, window)
    images = images.clone().requires_grad_()
    expected = window_by_window(network, images, sides)
    with torch.no_grad():
        in_groups = form(images)
    answers = form(images)
    largest = expected.abs().max().item()
    assert answers.shape == expected.shape
    assert (answers - expected).abs().max() <= 1e-5 * largest
    assert (in_groups - expected).abs().max() <= 1e-5 * largest
    if gradients:
        slopes = torch.rand_like(expected.detach())
        inputs = [images, *network.parameters()]
        wanted = torch.autograd.grad((expected * slopes).sum(), inputs, allow_unused=True)
        got = torch.autograd.grad((answers * slopes).sum(), inputs, allow_unused=True)
        for one, other in zip(wanted, got, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert (one - other).abs().max() <= 1e-5 * one.abs().max() + 1e-9


class Sum(nn.Module):
    """Two paths, cropped to the shorter and added or joined."""

    def __init__(self, one, other, join):
        super().__init__()
        self.one, self.other, self.join = one, other, join

    def forward(self, x):
        one, other = self.one(x), self.other(x)
        for axis in range(2, x.ndim):
            side = min(one.shape[axis], other.shape[axis])
            one = one.narrow(axis, (one.shape[axis] - side) // 2, side)
            other = other.narrow(axis, other.shape[axis] - side, side)
        return one + other if self.join == "add" else torch.cat([one, other], 1)


def a_layer(draw, dims, maps, sides):
    """Draw a layer of ``maps`` channels that fits into a map; give it and the map's new sides."""

    def each(most):
        return tuple(draw(st.integers(1, min(most, side))) for side in sides)

    kind = draw(st.sampled_from(["convolution", "convolution", "max", "max", "average", "norm"]))
    if kind == "norm":
        return draw(st.sampled_from([nn.ReLU(), nn.Tanh(), nn.LocalResponseNorm(3)])), sides
    kernel = each(3)
    stride = tuple(draw(st.integers(1, 3)) for _ in sides)
    holes = (1,) * dims
    if kind != "average":
        holes = tuple(
            draw(st.integers(1, 2)) if 2 * (k - 1) < side else 1
            for k, side in zip(kernel, sides, strict=True)
        )
    if kind == "convolution":
        layer = CONVOLUTIONS[dims](maps, maps, kernel, stride, dilation=holes, groups=1)
    elif kind == "max":
        layer = MAXIMA[dims](kernel, stride, dilation=holes)
    else:
        layer = AVERAGES[dims](kernel, stride)
    axes = zip(sides, kernel, stride, holes, strict=True)
    return layer, tuple((n - h * (k - 1) - 1) // s + 1 for n, k, s, h in axes)


@st.composite
def classifiers(draw):
    """Draw a classifier of windows, the window, and how many positions an image shall have."""
    dims = draw(st.sampled_from([1, 2, 2, 3]))
    most = {1: 30, 2: 17, 3: 9}[dims]
    sides = window = tuple(draw(st.integers(2, most)) for _ in range(dims))
    layers: list[nn.Module] = [CONVOLUTIONS[dims](2, 4, 1)]
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.integers(0, 4)) == 0 and min(sides) > 2:
            join = draw(st.sampled_from(["add", "cat"]))
            path = CONVOLUTIONS[dims](4, 4, 3)
            layers.append(Sum(path, nn.Identity(), join))
            if join == "cat":
                layers.append(CONVOLUTIONS[dims](8, 4, 1))
            sides = tuple(side - 2 for side in sides)
        layer, sides = a_layer(draw, dims, 4, sides)
        layers.append(layer)
    size = 4 * int(torch.tensor(sides).prod())
    if draw(st.booleans()):
        layers += [nn.Flatten(), nn.Linear(size, 5), nn.ReLU(), nn.Linear(5, 3)]
    else:
        pools = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
        layers += [pools[dims](1), nn.Flatten(), nn.Linear(4, 3)]
    positions = tuple(draw(st.integers(1, {1: 12, 2: 6, 3: 3}[dims])) for _ in range(dims))
    return nn.Sequential(*layers), window, positions


def test_every_window_of_random_networks_is_answered_alike():
    parted = []

    @settings(max_examples=60, deadline=None)
    @given(classifiers(), st.integers(0, 99))
    def try_networks(drawn, seed):
        network, window, positions = drawn
        torch.manual_seed(seed)
        network = network.double()
        sizes = [w + p - 1 for w, p in zip(window, positions, strict=True)]
        images = torch.randn(2, 2, *sizes, dtype=torch.float64)
        assert_equal(network, images, window)
        program = dense(network, window).program(images)
        event(f"alignment {max(program.alignment)}")
        parted.append(max(program.alignment))

    try_networks()
    assert sum(n > 1 for n in parted) >= 10
    assert sum(n == 1 for n in parted) >= 5


def small(activation=nn.ReLU):
    torch.manual_seed(3)
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 4), nn.MaxPool2d(2), activation(), nn.Conv2d(6, 5, 3), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(5 * 2 * 2, 7), nn.ReLU(inplace=True), nn.Linear(7, 3)),
    )


@pytest.mark.parametrize("sizes", [(15, 15), (16, 21), (22, 18)])
def test_both_forms_equal_the_windows_in_single_precision(sizes):
    network = small()
    images = torch.randn(3, 1, *sizes)
    assert_equal(network, images, 15)
    expected = window_by_window(network, images, (15, 15))
    form = dense(network, 15)
    for spreads in (False, True):
        program = form._follow(images, spreads=spreads)
        assert max(program.alignment) == (1 if spreads else 4)
        for at_once in (False, True):
            answers = program.run(images, expected.shape[2:], at_once=at_once)
            assert torch.allclose(answers, expected, atol=1e-6)


def test_the_form_with_fewer_products_is_taken():
    form = dense(small(), 15)
    assert form.program(torch.zeros(1, 1, 18, 22)).alignment == (4, 4)  # 4 × 8 positions
    assert form.program(torch.zeros(1, 1, 15, 15)).alignment == (1, 1)  # one; parted, sixteen
    assert form.program(torch.zeros(1, 1, 99, 99)).alignment == (4, 4)  # 85; parted, 88
    once = nn.Sequential(nn.Conv2d(1, 2, 4, stride=4), nn.MaxPool2d(2), nn.Flatten())
    program = dense(once, (11, 8)).program(torch.zeros(1, 1, 18, 15))
    assert program.alignment == (4, 4)  # one place is left, and not parted again


def test_the_papers_network_answers_its_windows():
    network = striate.build("n4").eval()
    image = torch.randn(1, 1, 103, 98, generator=torch.Generator().manual_seed(0))
    answers = dense(network, 95)(image)
    assert answers.shape == (1, 2, 9, 4)
    for row, column in ((0, 0), (8, 3), (5, 2)):
        expected = network(image[:, :, row : row + 95, column : column + 95])
        difference = (answers[:, :, row, column] - expected).abs().max()
        assert difference <= 1e-5 * answers.abs().max()


def test_subsampling_and_connection_tables_have_a_dense_form():
    network = striate.build("lenet5")
    assert isinstance(network.c3, ConnectionTableConv)
    assert_equal(network.double(), torch.randn(1, 1, 35, 33, dtype=torch.float64), 32)
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 6, 3), Subsample(6), ScaledTanh(), ConnectionTableConv(6, C3_TABLE, 3)),
        *(LocalResponseNorm(), Subsample(16), nn.Conv2d(16, 4, 2), nn.Flatten()),
    )
    assert_equal(network.double(), torch.randn(2, 1, 18, 15, dtype=torch.float64), 14)


class Functions(nn.Module):
    """What networks write in their own ``forward``."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.one, self.short = nn.Conv2d(6, 6, 3, stride=2), nn.Conv2d(6, 6, 1, stride=2)
        self.scale = nn.Parameter(torch.rand(6, 1, 1) + 1)
        self.head, self.norm1 = nn.Linear(18, 4), nn.BatchNorm1d(4)
        nn.init.normal_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)

    def forward(self, x):
        assert x.shape[2:] == (19, 19)
        x = self.norm(self.stem(x)).relu_()
        out = F.leaky_relu(self.one(x))
        out += self.short(x[:, :, 1:-1, 1:-1])
        left, right = (out * self.scale).chunk(2, dim=1)
        out = torch.cat([right, left - 1, torch.sigmoid(left)], dim=1).softmax(dim=1)
        deep = F.max_pool2d(out, 2).mean((2, 3))
        center = out[:, :, 1, 2]
        joined = torch.cat([deep, center], dim=1).view(x.shape[0], -1)
        return F.log_softmax(self.norm1(self.head(joined)), dim=1)


def test_skips_joints_crops_and_functions_are_followed():
    torch.manual_seed(1)
    network = Functions().double().eval()
    assert_equal(network, torch.randn(2, 2, 24, 21, dtype=torch.float64), 19)


def test_paths_that_stride_alike_by_other_steps_meet():
    torch.manual_seed(2)
    twice = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 4, 1), nn.AvgPool2d(2, divisor_override=3))
    network = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), Sum(twice, nn.Conv2d(4, 4, 4, stride=4), "add"), nn.Tanh()),
        *(nn.Flatten(), nn.Linear(16, 3)),
    )
    assert_equal(network.double(), torch.randn(2, 2, 13, 14, dtype=torch.float64), 10)


def test_equal_places_of_a_window_send_gradients_where_the_window_does():
    network = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 2, 2), nn.Flatten())
    images = torch.randint(0, 2, (2, 1, 7, 8), generator=torch.Generator().manual_seed(0))
    assert_equal(network.double(), images.double(), 4)


def test_a_form_trains_its_network():
    network = small(nn.Tanh)
    form = dense(network, 15)
    before = [p.clone() for p in network.parameters()]
    form(torch.randn(2, 1, 20, 20)).square().mean().backward()
    with torch.no_grad():
        for parameter in form.parameters():
            assert parameter.grad is not None
            parameter -= 0.1 * parameter.grad
    changed = [not torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True)]
    assert all(changed)
    assert_equal(network, torch.randn(1, 1, 17, 16), 15)
    half = network.to(torch.float64)
    assert form(torch.zeros(1, 1, 15, 15, dtype=torch.float64)).dtype == half[0].weight.dtype


def test_a_frozen_part_stays_frozen():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            with torch.no_grad():
                x = self.body(x)
            return self.head(x).flatten(1)

    network = Frozen()
    dense(network, 3)(torch.rand(1, 1, 5, 5)).sum().backward()
    assert network.body.weight.grad is None
    assert network.head.weight.grad is not None


def test_the_caller_s_network_is_as_it_was():
    network = nn.Sequential(small(), nn.Identity())
    calls = []
    pool = network[0][1]
    pool.register_forward_hook(lambda *_: calls.append(len(pool._forward_hooks)))
    network[0].eval()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    own = [
        {key: value.copy() if isinstance(value, dict) else value for key, value in vars(m).items()}
        for m in network.modules()
    ]
    form = dense(network, 15)
    form(torch.rand(1, 1, 16, 16))
    form.eval()
    form.train()
    now = [vars(module) for module in network.modules()]
    assert [list(one) for one in now] == [list(one) for one in own]
    for one, other in zip(now, own, strict=True):
        assert all(one[key] == other[key] for key in other)
    assert network.training
    assert not network[0][2].training
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert set(calls) == {1}  # hooks are part of what a network does; none is added to them


def test_a_layer_that_is_there_twice_is_one_in_the_twin():
    layer = nn.Conv2d(2, 2, 3)
    network = nn.Sequential(layer, nn.ReLU(), layer, nn.Flatten())
    form = dense(network, 5)
    assert form.network[0] is form.network[2]
    assert form.network[0] is not layer
    assert form.network[0].weight is layer.weight
    assert_equal(network, torch.randn(1, 2, 6, 8), 5)


def test_dropout_draws_in_training_and_rests_in_evaluation():
    network = small()
    network.insert(6, nn.Dropout(0.5))
    form = dense(network, 15)
    images = torch.randn(2, 1, 21, 19)
    first, second = form(images), form(images)
    assert form.training
    assert not torch.equal(first, second)
    with torch.no_grad():
        assert not torch.equal(form(images), form(images))
    form.eval()
    assert network.training
    assert torch.equal(form(images), form(images))
    network.eval()
    assert_equal(network, images, 15)
    assert not dense(network, 15).training


def test_dropout_that_was_told_of_its_images_gives_each_its_own_masks():
    network = small()
    network.insert(6, Dropout(0.5))
    network.insert(3, Dropout(0.2))
    form = dense(network, 15)
    images = torch.randn(2, 1, 21, 19)
    layers = [module for module in form.modules() if isinstance(module, Dropout)]

    def answers(chosen):
        tell_dropout(layers, seed=0, epoch=0, indices=torch.tensor(chosen))
        return form(images[chosen])

    assert len(layers) == 2
    both = answers([0, 1])
    assert torch.equal(both, answers([0, 1]))
    with torch.no_grad():
        assert torch.allclose(both[1:], answers([1]), atol=1e-6)
        assert torch.allclose(both, answers([0, 1]), atol=1e-6)
    assert not torch.allclose(both, form.eval()(images))


def test_a_trace_sees_the_window_and_the_memory_of_the_fragments():
    form = dense(small(), 15)
    traced = striate.trace(form, (1, 30, 26))
    assert traced.output_shape == (3, 16, 12)
    assert traced.halo == ((7, 7), (7, 7))
    assert traced.layers[-1].receptive_field == (15, 15)
    assert traced.alignment == (1, 1)
    assert not traced.unused
    assert traced.parameters == sum(p.numel() for p in form.parameters())
    first, second = 27 * 23 * 6 * 16, 4 * 11 * 9 * 5 * 6 * 9  # of four fragments of 13 × 11
    heads = 16 * 12 * (5 * 4 * 7 + 7 * 3)
    assert traced.multiply_adds == first + second + heads
    assert 27 * 23 * 6 * 4 < peak_bytes(form, (1, 30, 26)) < 8 * 27 * 23 * 6 * 4


def test_a_traced_form_is_cut_into_tiles():
    form = dense(small(), 15).eval()
    image = torch.randn(1, 33, 29)
    answers = whole(form, image)
    assert answers.shape == (3, 33, 29)
    mirrored = F.pad(image[None], (7, 7, 7, 7), mode="reflect")
    assert torch.allclose(answers, form(mirrored)[0], atol=1e-5)
    tiled = predict_tiled(form, image, memory="60KB", return_logits=True)
    assert torch.allclose(answers, tiled, atol=1e-5)
