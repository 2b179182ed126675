"""Normalisation against the papers' formulas."""

import pytest
import torch
from torch import nn

from striate.normalization import LocalResponseNorm


@pytest.mark.parametrize("groups", [1, 2])
def test_response_normalisation_is_the_formula_of_alexnet_section_3_3(groups):
    torch.manual_seed(0)
    x = 100 * torch.randn(2, 14, 3, 5)  # 14 maps: the window of 5 meets both ends
    last = 14 // groups
    expected = torch.empty_like(x)
    for i in range(14):
        start = last * (i // last)
        neighbours = range(max(start, i - 2), min(start + last - 1, i + 2) + 1)
        total = sum(x[:, j] ** 2 for j in neighbours)
        expected[:, i] = x[:, i] / (2 + 1e-4 * total) ** 0.75
    assert torch.allclose(LocalResponseNorm(groups)(x), expected, rtol=1e-5)


def test_response_normalisation_is_pytorch_s_with_alpha_times_5():
    torch.manual_seed(0)
    x = 100 * torch.randn(2, 7, 3, 5)
    pytorch = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    assert torch.allclose(LocalResponseNorm()(x), pytorch(x), rtol=1e-5)
    wrong = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)
    assert not torch.allclose(LocalResponseNorm()(x), wrong(x), rtol=1e-2)
