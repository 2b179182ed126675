"""Random networks: receptive fields, in extent and position, against numerical gradients."""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from striate.errors import UsageError
from striate.tracing import trace

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
AVERAGES = {1: F.avg_pool1d, 2: F.avg_pool2d}


class Pool(nn.Module):
    def __init__(self, dims, kernel, stride, padding, ceil):
        super().__init__()
        self.pool, self.options = AVERAGES[dims], (kernel, stride, padding, ceil)

    def forward(self, x):
        return self.pool(x, *self.options)


class Branches(nn.Module):
    """A skip around layers, or two paths side by side, cropped to the smaller of the two."""

    def __init__(self, one, other, join):
        super().__init__()
        self.one, self.other, self.join = one, other, join

    def forward(self, x):
        one, other = self.one(x), self.other(x)
        self.cropped = 0
        for axis in range(2, x.ndim):
            side = min(one.shape[axis], other.shape[axis])
            self.cropped = max(self.cropped, one.shape[axis] - side, other.shape[axis] - side)
            one = one.narrow(axis, (one.shape[axis] - side) // 2, side)
            other = other.narrow(axis, other.shape[axis] - side, side)
        return one + other if self.join == "add" else torch.cat([one, other], 1)


def a_layer(draw, dims, maps):
    """Draw a layer of ``maps`` channels in and out; windows differ along the axes."""

    def each(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(dims))

    kind = draw(st.sampled_from(["convolution", "convolution", "pool", "transposed", "upsample"]))
    if kind == "convolution":
        return CONVOLUTIONS[dims](maps, maps, each(1, 4), each(1, 3), each(0, 2), each(1, 3))
    if kind == "transposed":
        stride, kernel = each(1, 3), each(1, 4)
        extra = tuple(min(s - 1, draw(st.integers(0, 1))) for s in stride)
        return TRANSPOSED[dims](maps, maps, kernel, stride, each(0, 1), extra)
    if kind == "upsample":
        return nn.Upsample(scale_factor=draw(st.integers(2, 3)))
    kernel = draw(st.integers(2, 4))
    options = (
        kernel,
        draw(st.integers(1, 3)),
        draw(st.integers(0, kernel // 2)),
        draw(st.booleans()),
    )
    return Pool(dims, *options)


@st.composite
def networks(draw):
    dims = draw(st.sampled_from([1, 1, 2]))
    maps, layers = 1, []
    for _ in range(draw(st.integers(1, 4))):
        if maps < 4 and draw(st.booleans()):
            join = draw(st.sampled_from(["add", "cat"]))
            one = nn.Sequential(
                *(a_layer(draw, dims, maps) for _ in range(draw(st.integers(1, 2))))
            )
            other = a_layer(draw, dims, maps) if draw(st.booleans()) else nn.Identity()
            layers.append(Branches(one, other, join))
            maps *= 2 if join == "cat" else 1
        else:
            layers.append(a_layer(draw, dims, maps))
    network = nn.Sequential(*layers).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(0.5, 1)  # positive, so that nothing cancels
    sides = tuple(
        draw(st.integers(70, 121) if dims == 1 else st.integers(28, 39)) for _ in range(dims)
    )
    return network, (1, *sides)


def check(network, shape, place_of):
    """Compare the interval of one index along each axis with the inputs that move it.

    Padding and crops inside the network cut intervals short near the borders, so the ends must
    agree where the border is farther than one field and all that was cropped.

    Returns:
        Whether that was so along every axis.
    """
    result = trace(network, shape)
    image = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    output = network(image)
    assert tuple(output.shape[1:]) == result.output_shape
    crop = sum(branch.cropped for branch in network.modules() if isinstance(branch, Branches))
    far = 0
    for axis, (carried, intervals) in enumerate(result.dependence):
        assert carried == axis + 2
        index = place_of(output.shape[carried])
        along = output.select(carried, index).sum()
        (slopes,) = torch.autograd.grad(along, image, retain_graph=True)
        others = [other for other in range(slopes.ndim) if other != axis + 2]
        seen = slopes.abs().sum(others).nonzero().flatten().tolist()
        first, last = int(intervals.first[index]), int(intervals.last[index])
        side, field = shape[1 + axis], result.layers[-1].receptive_field[axis]
        if not seen:
            continue
        assert last - first + 1 <= field
        assert max(first, 0) <= seen[0] <= seen[-1] <= min(last, side - 1)
        margin = field + crop * result.alignment[axis]
        if margin <= first <= last < side - margin:
            assert (first, last) == (seen[0], seen[-1])
            far += 1
    return far == len(result.dependence)


def test_fields_begin_and_end_with_the_inputs_that_have_a_gradient():
    compared = []

    @settings(max_examples=150, deadline=None)
    @given(networks(), st.data())
    def try_networks(drawn, data):
        network, shape = drawn
        try:
            size = max(trace(network, shape).output_shape)
        except UsageError:
            assume(False)
        assume(size < 400)
        # The middle half, so that many fields lie inside the image.
        exact = check(
            network, shape, lambda side: data.draw(st.integers(side // 4, (3 * side - 1) // 4))
        )
        if exact:
            compared.append(shape)

    try_networks()
    assert len(compared) >= 30
