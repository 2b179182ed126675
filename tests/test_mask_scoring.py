"""Probabilities of every pixel: one view, and the mean over turned and mirrored views."""

import pytest
import torch

from striate.errors import UsageError
from striate.mask_scoring import VIEWS, check_views, probabilities
from striate.models import build
from striate.tiled_prediction import whole


def drawn(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("unet_padded", 1, 3, width=4, depth=2).eval()


def plainly(network, image):
    with torch.no_grad():
        return whole(network, image).softmax(dim=0)


def test_one_view_is_the_softmax_of_the_whole_image(network):
    image = drawn(1, 21, 34)
    shares = probabilities(network, image)
    assert shares.shape == (3, 21, 34)
    assert torch.allclose(shares, plainly(network, image), atol=1e-5)
    assert torch.allclose(shares.sum(dim=0), torch.ones(21, 34), atol=1e-5)


def undone(shares, quarters, mirrored):
    """Turn an answer back a quarter at a time, transposing and mirroring."""
    for _ in range(quarters):
        shares = shares.transpose(-2, -1).flip(-1)  # a quarter clockwise
    return shares.flip(-1) if mirrored else shares


@pytest.mark.parametrize(("size", "quarters"), [((19, 19), (0, 1, 2, 3)), ((18, 23), (0, 2))])
def test_turns_are_the_mean_over_views_turned_back(network, size, quarters):
    image = drawn(1, *size)
    expected = torch.zeros(3, *size)
    for mirrored in (False, True):
        view = image.flip(-1) if mirrored else image
        for count in range(4):
            if count in quarters:
                expected += undone(plainly(network, view), count, mirrored)
            view = view.flip(-1).transpose(-2, -1)  # a quarter anticlockwise
    expected /= 2 * len(quarters)
    turned = probabilities(network, image, "turns")
    assert torch.allclose(turned, expected, atol=1e-5)
    assert (turned - plainly(network, image)).abs().max() > 1e-3


def test_turned_views_of_a_turned_image_answer_the_turned_answer(network):
    image = drawn(1, 20, 20)
    shares = probabilities(network, image, "turns")
    turned = probabilities(network, image.rot90(1, (1, 2)), "turns")
    assert torch.allclose(turned, shares.rot90(1, (1, 2)), atol=1e-5)


def test_a_volume_is_shown_slice_by_slice_to_a_network_of_images(network):
    volume = drawn(1, 3, 17, 18)
    for protocol in VIEWS:
        shares = probabilities(network, volume, protocol)
        assert shares.shape == (3, 3, 17, 18)
        for number in range(3):
            alone = probabilities(network, volume[:, number], protocol)
            assert torch.allclose(shares[:, number], alone, atol=1e-5)


def test_a_protocol_of_whole_images_is_refused():
    for protocol in VIEWS:
        check_views(protocol)
    with pytest.raises(UsageError, match="protocol ten-crop is for labels of whole images; of pi"):
        check_views("ten-crop")
