"""Layers against plain loops and closed forms."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from striate.layers import (
    ConnectionTableConv,
    Counts,
    Dropout,
    RadialBasisOutput,
    ScaledTanh,
    Subsample,
    normal_by_fan_in,
    scaled_tanh,
    tell_dropout,
    uniform_by_fan_in,
)

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TABLE = [(0, 1), (2,), (0, 1, 2), (1,)]


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_connection_table_is_a_sum_of_single_convolutions(dims, stride):
    torch.manual_seed(0)
    layer = ConnectionTableConv(3, TABLE, 3, stride=stride, dims=dims)
    x = torch.randn(5, 3, *(9, 8, 7)[:dims])
    pair = 0
    for j, inputs in enumerate(TABLE):
        expected = layer.bias[j]
        for i in inputs:
            kernel = layer.kernels[pair][None, None]
            expected = expected + CONVOLUTIONS[dims](x[:, i : i + 1], kernel, stride=stride)[:, 0]
            pair += 1
        assert torch.allclose(layer(x)[:, j], expected, atol=1e-5)
    assert pair == len(layer.kernels) == 7


def test_what_the_table_leaves_out_gets_no_gradient_and_has_no_weight():
    layer = ConnectionTableConv(3, TABLE, 3, bias=False)
    x = torch.randn(1, 3, 5, 5, requires_grad=True)
    layer(x)[:, 1].sum().backward()
    assert x.grad[0, :2].count_nonzero() == 0
    assert x.grad[0, 2].count_nonzero() > 0
    assert [name for name, _ in layer.named_parameters()] == ["kernels"]


def test_a_table_counts_its_kernels_only():
    assert ConnectionTableConv(3, TABLE, 5).counts((1, 4, 6, 2)) == Counts(12 * (7 * 25 + 4), 2100)
    assert ConnectionTableConv(3, TABLE, 5, bias=False).counts((1, 4, 6, 2)) == Counts(2100, 2100)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([(0,), ()], r"table\[1\] is \(\): name at least one map"),
        ([(0, 0)], r"table\[0\] is \(0, 0\): name at least one map, each once"),
        ([(0, 3)], r"table\[0\] is \(0, 3\): input maps run from 0 to 2"),
        ([(-1,)], r"table\[0\] is \(-1,\): input maps run from 0 to 2"),
    ],
)
def test_a_table_that_names_no_map_twice_the_same_or_one_too_many_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        ConnectionTableConv(3, table, 3)


@settings(deadline=None, max_examples=25)
@given(
    dims=st.integers(1, 3),
    kernel=st.integers(1, 3),
    channels=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_subsampling_is_sum_times_coefficient_plus_bias(dims, kernel, channels, seed):
    torch.manual_seed(seed)
    sizes = (7, 5, 6)[:dims]
    layer = Subsample(channels, kernel, dims)
    nn.init.normal_(layer.coefficient)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, channels, *sizes)
    output = layer(x)
    assert output.shape == (2, channels, *(size // kernel for size in sizes))
    for place in itertools.product(*(range(size // kernel) for size in sizes)):
        block = x
        for axis, p in enumerate(place, start=2):
            block = block.narrow(axis, p * kernel, kernel)
        expected = block.flatten(2).sum(dim=2) * layer.coefficient + layer.bias
        assert torch.allclose(output[(slice(None), slice(None), *place)], expected, atol=1e-4)


def test_subsampling_begins_as_the_average_and_has_two_parameters_a_map():
    layer = Subsample(6)
    x = torch.randn(3, 6, 8, 4)
    assert torch.allclose(layer(x), F.avg_pool2d(x, 2))
    assert sum(p.numel() for p in layer.parameters()) == 12
    assert layer.counts((1, 6, 14, 14)) == Counts(5_880, 4_704)


def test_radial_basis_units_measure_distances():
    codes = torch.randn(4, 11)
    x = torch.randn(7, 11)
    assert torch.allclose(RadialBasisOutput(codes)(x), -(torch.cdist(x, codes) ** 2), atol=1e-4)
    assert RadialBasisOutput(codes).counts((1, 4)) == Counts(44, 44)
    assert list(RadialBasisOutput(codes).parameters()) == []


def test_lecun_s_tanh_maps_one_to_one_and_saturates_at_1_7159():
    x = torch.tensor([-1e9, -1.0, 0.0, 1.0, 1e9])
    assert scaled_tanh(x).tolist() == pytest.approx([-1.7159, -1, 0, 1, 1.7159], abs=2e-5)
    assert torch.equal(ScaledTanh()(x), scaled_tanh(x))


def test_initial_weights_fill_their_range():
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 50, 5)
    uniform_by_fan_in(layer)
    for parameter in layer.parameters():
        assert 0.9 * 0.024 < parameter.abs().max() <= 0.024
    assert layer.weight.mean().abs() < 0.001


@pytest.mark.parametrize("bias", [True, False])
def test_normal_initial_weights_have_the_deviation_of_their_fan_in(bias):
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 50, 5, bias=bias)
    normal_by_fan_in(layer)
    assert layer.weight.std().item() == pytest.approx((2 / 200) ** 0.5, rel=0.03)
    assert layer.weight.abs().max() > 3 * layer.weight.std()
    assert not bias or layer.bias.count_nonzero() == 0


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    ("padding", "mode", "name"),
    [
        (0, "zeros", None),
        ("same", "zeros", "constant"),
        (2, "zeros", "constant"),
        ("same", "reflect", "reflect"),
        (2, "reflect", "reflect"),
    ],
)
def test_every_padding_of_the_deck_is_a_setting_of_pytorch_s_convolution(dims, padding, mode, name):
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    layer = convolution(2, 3, 5, padding=padding, padding_mode=mode)
    x = torch.randn(1, 2, *(7, 9, 6)[:dims])
    framed = x if name is None else F.pad(x, (2, 2) * dims, mode=name)
    assert torch.allclose(layer(x), CONVOLUTIONS[dims](framed, layer.weight, layer.bias), atol=1e-5)
    assert layer(x).shape[2:] == (x.shape[2:] if name else tuple(s - 4 for s in x.shape[2:]))


INDICES = torch.tensor([40, 7, 3, 99])


@pytest.mark.parametrize("shape", [(7,), (3, 5, 4), (2, 3, 4, 5)])
def test_an_image_s_dropout_mask_is_its_own_in_any_batch(shape):
    layer = Dropout(0.4)
    ones = torch.ones(4, *shape)

    def masks(indices, *, seed=1, epoch=2):
        tell_dropout([layer], seed, epoch, indices)
        return layer(ones[: len(indices)])

    together = masks(INDICES)
    assert torch.equal(masks(INDICES.flip(0)).flip(0), together)
    assert torch.equal(masks(INDICES[2:3]), together[2:3])
    for other in (masks(INDICES, seed=2), masks(INDICES, epoch=3), masks(INDICES + 1)):
        assert not torch.equal(other, together)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.5, 0.7])
def test_dropout_drops_its_share_and_keeps_the_expected_sum(share):
    layer = Dropout(share)
    tell_dropout([layer], 0, 0, torch.arange(400))
    units = layer(torch.full((400, 1001), 3.0))
    dropped = (units == 0).double()
    assert abs(dropped.mean() - share) < 0.003  # 4 standard deviations
    assert dropped.mean(dim=0).std() < 1.2 * (share * (1 - share) / 400) ** 0.5
    kept = units[units != 0]
    assert torch.allclose(kept, torch.tensor(3.0 / (1 - share)))


def test_neighbouring_units_and_images_are_dropped_independently():
    layer = Dropout(0.5)
    tell_dropout([layer], 0, 0, torch.arange(300))
    kept = layer(torch.ones(300, 900)).sub(1)
    for other in (kept.roll(1, dims=1), kept.roll(1, dims=0), kept.roll((1, 1), dims=(0, 1))):
        assert abs((kept * other).mean()) < 0.01  # 5 standard deviations


def test_layers_and_uses_of_a_layer_get_masks_of_their_own():
    layers, ones = [Dropout(0.5), Dropout(0.5)], torch.ones(4, 50)
    tell_dropout(layers, 0, 0, INDICES)
    drawn = [layers[0](ones), layers[0](ones), layers[1](ones), layers[1](ones)]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(drawn, 2))
    tell_dropout(layers, 0, 0, INDICES)
    again = [layers[0](ones), layers[0](ones), layers[1](ones), layers[1](ones)]
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))


def test_the_memory_format_does_not_change_the_mask():
    layer, maps = Dropout(0.5), torch.rand(4, 3, 6, 5)
    tell_dropout([layer], 0, 0, INDICES)
    plain = layer(maps)
    tell_dropout([layer], 0, 0, INDICES)
    last = layer(maps.contiguous(memory_format=torch.channels_last))
    assert torch.equal(plain, last)
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_dropout_passes_gradients_through_the_units_it_keeps():
    layer, units = Dropout(0.5), torch.rand(4, 60, requires_grad=True)
    tell_dropout([layer], 0, 0, INDICES)
    kept = layer(units)
    kept.sum().backward()
    assert torch.equal(units.grad, (kept != 0) * 2.0)


def test_dropout_changes_nothing_in_evaluation_and_is_torch_s_where_it_was_told_nothing():
    layer, units = Dropout(0.5), torch.rand(4, 60)
    torch.manual_seed(3)
    free = layer(units)
    torch.manual_seed(3)
    assert torch.equal(free, F.dropout(units, 0.5))
    tell_dropout([layer], 0, 0, INDICES)
    assert layer.eval()(units) is units
    assert Dropout(0).train()(units) is units


def test_dropout_refuses_other_images_than_it_was_told_of_and_shares_that_are_none():
    layer = Dropout(0.5)
    tell_dropout([layer], 0, 0, INDICES)
    with pytest.raises(ValueError, match="Dropout was told of 4 images and meets 8; keep the"):
        layer(torch.ones(8, 5))
    for share in (1, -0.1, 50):
        with pytest.raises(ValueError, match=f"share is {share}; give the part"):
            Dropout(share)
