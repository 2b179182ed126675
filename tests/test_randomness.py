"""The hash is a function of its arguments, and looks random."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from striate.randomness import hashes, integers, normals, order, uniforms

MANY = torch.arange(40_000)


@given(seed=st.integers(0, 2**63), epoch=st.integers(0, 10_000), start=st.integers(0, 2**40))
def test_an_image_s_numbers_do_not_depend_on_its_batch(seed, epoch, start):
    images = torch.arange(start, start + 9)
    together = uniforms(seed, epoch, images, "shift", 3)
    alone = torch.cat([uniforms(seed, epoch, image[None], "shift", 3) for image in images.flip(0)])
    assert torch.equal(together, alone.flip(0))
    assert 0 <= together.min() <= together.max() < 1


@given(epoch=st.integers(0, 500), length=st.integers(1, 300))
def test_the_order_has_every_image_once(epoch, length):
    assert sorted(order(7, epoch, length).tolist()) == list(range(length))


def test_seed_epoch_purpose_and_place_each_give_other_numbers():
    tables = [
        hashes(0, 0, MANY, "a", 2),
        hashes(1, 0, MANY, "a", 2),
        hashes(0, 1, MANY, "a", 2),
        hashes(0, 0, MANY, "b", 2),
    ]
    everything = torch.cat([table.flatten() for table in tables])
    assert len(torch.unique(everything)) == len(everything)


def test_uniform_numbers_are_uniform_and_uncorrelated():
    drawn = uniforms(3, 5, MANY, "test", 3).double()
    counts = torch.histc(drawn.flatten(), bins=20, min=0, max=1)
    expected = drawn.numel() / 20
    assert (((counts - expected) ** 2) / expected).sum() < 43.8  # chi-squared, 19, p = 0.001
    neighbours = torch.cat([drawn, drawn.roll(1, dims=0)], dim=1)
    correlation = torch.corrcoef(neighbours.T) - torch.eye(6)
    assert correlation.abs().max() < 0.025  # 5 standard deviations


def test_consecutive_seeds_and_epochs_are_uncorrelated():
    columns = [uniforms(seed, epoch, MANY, "x", 1) for seed in range(3) for epoch in range(3)]
    correlation = torch.corrcoef(torch.cat(columns, dim=1).T.double()) - torch.eye(9)
    assert correlation.abs().max() < 0.025


def test_normal_numbers_have_the_moments_of_the_normal_distribution():
    drawn = normals(3, 5, MANY, "test", 2).double()
    assert drawn.isfinite().all()
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        assert abs((drawn**power).mean() - moment) < 0.15
    assert abs((drawn.abs() < 1.96).double().mean() - 0.95) < 0.005


def test_whole_numbers_are_uniform_below_their_bound_one_for_all_or_one_each():
    drawn = integers(3, 5, MANY, "test", 2, 9)
    counts = torch.bincount(drawn.flatten(), minlength=9).double()
    assert len(counts) == 9
    assert (((counts - 80_000 / 9) ** 2) / (80_000 / 9)).sum() < 26.1  # chi-squared, 8, p = 0.001
    below = torch.tensor([4, 1])
    each = integers(3, 5, MANY, "test", 2, below)
    assert [sorted(set(column)) for column in each.T.tolist()] == [[0, 1, 2, 3], [0]]


def test_no_two_epochs_have_the_same_order():
    orders = {tuple(order(0, epoch, 12).tolist()) for epoch in range(50)}
    assert len(orders) == 50
