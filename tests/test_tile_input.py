"""How values of images meet a network that labels pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from striate.errors import DataError
from striate.tile_input import Statistics, TileSpec, as_trained, standardize, statistics

SPEC = TileSpec(
    channels=2, tile=(4, 4), intensity="set", mean=(10, 20), std=(2, 5), dtype="uint8",
    modalities=("", ""),
)  # fmt: skip


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.integers(0, 10_000))
def test_statistics_of_pieces_are_those_of_the_whole(lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    pieces = [50 + 1e4 * torch.rand(2, n, generator=generator) for n in lengths]
    together = torch.cat(pieces, dim=1).double().numpy()
    if together.shape[1]:
        mean, std = statistics(pieces)
        assert np.allclose(mean, together.mean(axis=1), rtol=1e-9)
        assert np.allclose(std, np.where(together.std(axis=1) > 0, together.std(axis=1), 1))


def test_a_constant_channel_is_not_divided_by_zero():
    assert statistics([torch.full((1, 3, 3), 7)]) == Statistics((7.0,), (1.0,))


def test_each_channel_is_standardised_by_the_set_the_image_or_what_ct_keeps():
    image = torch.tensor([[10.0, 14.0], [10.0, 90.0]])
    assert standardize(image, SPEC).tolist() == [[0, 2], [-2, 14]]
    own = Statistics((14.0, 50.0), (4.0, 40.0))
    by_itself = SPEC.model_copy(update={"intensity": "image"})
    assert standardize(image, by_itself, own).tolist() == [[-1, 0], [-1, 1]]
    ct = SPEC.model_copy(update={"intensity": "ct", "low": (12.0, 20.0), "high": (13.0, 30.0)})
    assert standardize(image, ct).tolist() == [[1, 1.5], [0, 2]]


def test_sixteen_bits_are_brought_to_the_range_of_bytes_and_back():
    image = torch.tensor([[0, 65535], [257, 514]], dtype=torch.int32)
    values, note = as_trained(image, "uint16", SPEC, "a.tif")
    assert values.tolist() == [[0, 255], [1, 2]]
    assert note == "uint16 brought to the range of uint8"
    assert as_trained(image, "uint8", SPEC, "a.png") == (image, None)


def test_what_has_no_fixed_way_between_is_refused():
    with pytest.raises(DataError, match=r"scan.tif has 1 channels, the run reads 2"):
        as_trained(torch.zeros(1, 3), "uint8", SPEC, "scan.tif")
    with pytest.raises(DataError, match=r"stores float32, the training images uint8.*--intensity"):
        as_trained(torch.zeros(2, 3), "float32", SPEC, "scan.tif")
    by_itself = SPEC.model_copy(update={"intensity": "image"})
    image = torch.zeros(2, 3)
    assert as_trained(image, "float32", by_itself, "scan.tif") == (image, None)
