"""Weights of pixels: against distances measured pair by pair, and by their symmetries."""

import numpy as np
import pytest
from scipy import ndimage

from striate.models.unet_borders import border_weights, separate_cells


def pieces(mask):
    """Each cell as the list of its pixels, grown one neighbour at a time."""
    left = {tuple(p): mask[tuple(p)] for p in np.argwhere((mask != 0) & (mask != 255))}
    while left:
        start = next(iter(left))
        kind, cell, edge = left.pop(start), [start], [start]
        while edge:
            here = edge.pop()
            for axis in range(mask.ndim):
                for step in (-1, 1):
                    near = tuple(c + step * (a == axis) for a, c in enumerate(here))
                    if left.get(near) == kind:
                        del left[near]
                        cell.append(near)
                        edge.append(near)
        yield np.array(cell)


def plainly(mask, balance, w0, sigma):
    """The same by the distance from every pixel to every pixel of every cell."""
    cells = list(pieces(mask))
    weights = np.zeros(mask.shape)
    for place in np.ndindex(mask.shape):
        if mask[place] == 255:
            continue
        weights[place] = balance[mask[place]]
        distances = sorted(np.sqrt(((c - place) ** 2).sum(axis=1)).min() for c in cells)
        if len(distances) > 1:
            weights[place] += w0 * np.exp(-(sum(distances[:2]) ** 2) / (2 * sigma**2))
    return weights


@pytest.mark.parametrize("shape", [(23, 31), (7, 11, 9)])
@pytest.mark.parametrize("seed", [0, 1])
def test_weights_are_those_of_distances_measured_pair_by_pair(shape, seed):
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.standard_normal(shape), 1.0)
    mask = np.digitize(smooth, [0.12, 0.3] if len(shape) == 2 else [0.1, 0.2]).astype(np.uint8)
    mask[random.random(shape) < 0.02] = 255
    assert len(list(pieces(mask))) > 4
    for sigma in (1.5, 5.0):  # the shorter leaves cells out of each other's reach
        weights = border_weights(mask, w0=7.0, sigma=sigma, balance=(0.5, 1.25, 2.0))
        expected = plainly(mask, (0.5, 1.25, 2.0), 7.0, sigma)
        np.testing.assert_allclose(weights, expected, rtol=2e-6, atol=1e-6)


def test_by_default_classes_weigh_the_same_and_the_mean_is_one():
    mask = np.zeros((9, 13), np.uint8)
    mask[2:5, 3:7] = 3  # one cell alone, so no pixel lies between two
    mask[8, 0] = 255
    weights = border_weights(mask)
    assert weights[mask == 0].sum() == pytest.approx(weights[mask == 3].sum())
    assert weights[mask != 255].mean() == pytest.approx(1)
    assert weights[8, 0] == 0


def test_a_gap_weighs_the_more_the_narrower_it_is():
    def middle_of_a_gap(width):
        mask = np.zeros((1, 40), np.uint8)
        mask[0, 10] = mask[0, 11 + width] = 1
        return border_weights(mask, balance=(1, 1))[0, 11 + width // 2]

    # Distances to both sides of a gap add up to its width plus 1.
    for width in (1, 4, 9):
        assert middle_of_a_gap(width) == pytest.approx(1 + 10 * np.exp(-((width + 1) ** 2) / 50))


def test_touching_cells_come_apart_whatever_their_numbers():
    instances = np.zeros((9, 11), np.int64)
    instances[1:8, 1:5] = 2**60 + 1
    instances[1:8, 5:9] = 2**60
    mask = separate_cells(instances)
    assert mask[1:8, 1:4].all()
    assert not mask[:, 4:6].any()
    assert ndimage.label(mask, np.ones((3, 3)))[1] == 2
    assert (mask <= (instances != 0)).all()
    alone = np.where(instances == 2**60, 0, instances)
    assert np.array_equal(separate_cells(alone), alone != 0)


def test_an_image_without_cells_or_without_classes_has_its_weights_too():
    assert np.array_equal(border_weights(np.zeros((3, 5), np.uint8)), np.ones((3, 5)))
    assert not border_weights(np.full((3, 5), 255, np.uint8)).any()
