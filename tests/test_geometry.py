"""Output sizes against plain loops, and against PyTorch's own pooling and convolution."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from striate.geometry import output_size, transposed_size

SIZES, KERNELS, STRIDES = st.integers(1, 13), st.integers(1, 5), st.integers(1, 4)
PADDINGS, DILATIONS = st.integers(0, 4), st.integers(1, 3)


@given(SIZES, KERNELS, STRIDES, PADDINGS, DILATIONS)
def test_output_size_counts_the_windows_that_fit(size, kernel, stride, padding, dilation):
    places = range(-padding, size + padding)
    fitting = [p for p in places[::stride] if p + dilation * (kernel - 1) in places]
    counted = output_size(size, kernel, stride=stride, padding=padding, dilation=dilation)
    assert max(counted, 0) == len(fitting)


@given(SIZES, KERNELS, STRIDES, PADDINGS, DILATIONS)
def test_ceil_mode_counts_as_pytorch_does(size, kernel, stride, padding, dilation):
    padding = min(padding, kernel // 2)  # PyTorch refuses more
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    counted = output_size(size, kernel, **options, ceil=True)
    if counted < 1:
        with pytest.raises(RuntimeError, match="Invalid computed output size"):
            F.max_pool1d(torch.zeros(1, 1, size), kernel, **options, ceil_mode=True)
    else:
        pooled = F.max_pool1d(torch.zeros(1, 1, size), kernel, **options, ceil_mode=True)
        assert counted == pooled.shape[2]


@given(SIZES, KERNELS, STRIDES, DILATIONS, st.integers(0, 2), st.integers(0, 3))
def test_a_transposed_convolution_writes_one_window_for_each_input(
    size, kernel, stride, dilation, padding, more
):
    written = {i * stride + k * dilation for i in range(size) for k in range(kernel)}
    counted = transposed_size(
        size, kernel, stride=stride, padding=padding, output_padding=more, dilation=dilation
    )
    assert counted == max(written) + 1 - 2 * padding + more


def test_the_sizes_of_lenet5_are_those_of_its_figure():
    sides = [32]
    for kernel, stride in ((5, 1), (2, 2), (5, 1), (2, 2), (5, 1)):
        sides.append(output_size(sides[-1], kernel, stride=stride))
    assert sides == [32, 28, 14, 10, 5, 1]
