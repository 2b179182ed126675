"""Batch normalisation over processes against PyTorch's own over the whole batch."""

import pytest
import torch
from torch import nn

from distributing import NORMALIZED, normalization
from striate.batch_statistics import WholeBatchNorm, over_processes


@pytest.mark.parametrize(("rows", "axes"), NORMALIZED)
def test_two_processes_normalise_as_one_does_forward_and_backward(over_two, rows, axes):
    """With one row, one of the two processes has none."""
    two, one = over_two["normalization"][rows, axes], normalization(rows, axes)
    for name in ("answer", "gradient", "weight", "bias"):
        torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-5)
    first, second = two["states"]
    assert list(first) == list(one["states"][0])
    for name, expected in one["states"][0].items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
def test_alone_it_is_pytorch_s_own(momentum, affine):
    own = nn.BatchNorm2d(3, momentum=momentum, affine=affine)
    ours = WholeBatchNorm(nn.BatchNorm2d(3, momentum=momentum, affine=affine))
    for _ in range(3):
        x = torch.randn(5, 3, 2, 7)
        torch.testing.assert_close(ours(x), own(x))
    for name, expected in own.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], expected)
    torch.testing.assert_close(ours.eval()(x), own.eval()(x))


def test_its_gradients_are_those_of_finite_differences():
    torch.manual_seed(6)
    layer = WholeBatchNorm(nn.BatchNorm1d(2, track_running_stats=False))
    x, direction = torch.randn(5, 2, requires_grad=True), torch.randn(5, 2)
    (layer(x) * direction).sum().backward()
    for row, column in ((0, 0), (3, 1)):
        step = torch.zeros(5, 2)
        step[row, column] = 1e-2
        rise = ((layer(x + step) - layer(x - step)) * direction).sum() / 2e-2
        assert x.grad[row, column].item() == pytest.approx(rise.item(), abs=2e-3)


def test_low_precision_is_measured_in_single():
    x = (100 + torch.randn(64, 2)).bfloat16()
    answer = WholeBatchNorm(nn.BatchNorm1d(2))(x)
    assert answer.dtype == torch.bfloat16
    expected = nn.BatchNorm1d(2)(x.float())
    torch.testing.assert_close(answer.float(), expected, atol=2e-2, rtol=2e-2)


def test_one_value_for_each_map_is_refused():
    with pytest.raises(ValueError, match=r"one value for each map .* larger batch_size"):
        WholeBatchNorm(nn.BatchNorm1d(2))(torch.zeros(1, 2))


def test_without_other_processes_a_network_stays_as_it_is():
    network = nn.Sequential(nn.BatchNorm2d(3))
    over_processes(network)
    assert type(network[0]) is nn.BatchNorm2d
