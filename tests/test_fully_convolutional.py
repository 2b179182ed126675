"""A fully connected head slid over larger maps equals the head on every window of them."""

import pytest
import torch
from torch import nn

from striate.errors import UsageError
from striate.fully_convolutional import FullyConvolutional, require_form, require_multiples


@pytest.fixture
def network():
    torch.manual_seed(2)
    features = nn.Sequential(nn.Conv2d(3, 6, kernel_size=5, stride=5), nn.ReLU())
    return nn.Sequential(features, nn.Linear(6 * 2 * 3, 9), nn.ReLU(), nn.Linear(9, 4))


def dense_form(network):
    features, *head = network
    return FullyConvolutional(features, head, (6, 2, 3), smallest=10)


def test_every_place_of_the_score_map_is_the_head_on_its_window(network):
    features, *head = network
    images = torch.randn(7, 3, 20, 25)
    maps = features(images)
    scores = dense_form(network).scores(images)
    assert scores.shape == (7, 4, 3, 3)
    for row in range(3):
        for column in range(3):
            window = maps[:, :, row : row + 2, column : column + 3].flatten(1)
            expected = nn.Sequential(*head)(window)
            assert torch.allclose(scores[:, :, row, column], expected, atol=1e-6)
    assert torch.allclose(dense_form(network)(images), scores.mean(dim=(2, 3)))


def test_the_weights_are_the_network_s_own(network):
    dense = dense_form(network)
    with torch.no_grad():
        network[1].weight.fill_(3.0)
    assert bool((dense.classifier[0].weight == 3.0).all())
    assert dense.classifier[0].weight.data_ptr() == network[1].weight.data_ptr()


def test_a_small_image_is_refused(network):
    with pytest.raises(ValueError, match=r"10x10 or more, not \(1, 3, 20, 9\); resize the shorter"):
        dense_form(network)(torch.zeros(1, 3, 20, 9))


def test_sides_that_are_no_multiples_are_refused_with_the_size_to_pad_to():
    require_multiples(torch.zeros(1, 1, 8, 4, 12), 4, "this network")
    words = "^this network reads sides that are multiples of 4, not 8x5x11; pad it to 8x8x12 by m"
    with pytest.raises(ValueError, match=words):
        require_multiples(torch.zeros(1, 1, 8, 5, 11), 4, "this network")


def test_networks_of_no_maps_or_levels_are_refused():
    require_form(1, 1, "a network")
    with pytest.raises(UsageError, match=r"^width is 0; a network needs 1 or more"):
        require_form(0, 1, "a network")
    with pytest.raises(UsageError, match=r"^depth is -1; a network needs 1 or more"):
        require_form(1, -1, "a network")
