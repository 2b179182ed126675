"""What a cut spoils, by hand and against what really changes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from following import Calling
from striate.tiling.seams import mixing_layers, spoiled, step, uneven_layers
from striate.tracing import trace


def conv(kernel, **options):
    return nn.Conv2d(1, 1, kernel, bias=False, **options)


def really_spoiled(network, length, grid):
    """Compare the ends of a short input with the same places of a long one.

    All weights are positive and so are the inputs, so that nothing cancels.
    """
    network = network.double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(0.5, 1)
        image = torch.rand(1, 1, 4 * length, 24, dtype=torch.float64) + 1
        wide = network(image)[0, 0]
        inner = network(image[:, :, length : 2 * length])[0, 0]
    assert length % grid == 0
    same = (inner - wide[length : length + len(inner)]).abs().amax(1) < 1e-12
    (places,) = same.nonzero(as_tuple=True)
    return int(places[0]), len(inner) - 1 - int(places[-1])


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(conv(3, padding=1), conv(5, padding=2)),
        nn.Sequential(conv(3), conv(5, padding=2)),
        nn.Sequential(conv(3), conv(3)),
        nn.Sequential(conv(3, padding=2, dilation=2), nn.AvgPool2d(3, 1, 1)),
        conv(5, padding=2, padding_mode="reflect"),
        nn.Sequential(conv(3, padding=1, padding_mode="replicate"), conv(3, padding=1)),
        Calling(lambda x: F.avg_pool2d(x[:, :, 5:-5], 3, 1, 1)),  # zeros that lie inside the image
        Calling(lambda x: x + F.pad(x[:, :, 4:-2], (0, 0, 4, 2))),
        Calling(lambda x: F.avg_pool2d(x.flip(2), (3, 1), 1, (1, 0)).flip(2)),
    ],
)
def test_it_is_what_changes_when_the_input_is_cut(network):
    result = trace(network, (1, 40, 24))
    assert step(result, 0) == 1
    assert spoiled(result, 0) == really_spoiled(network, 40, 1)


def test_a_mirror_inside_the_image_counts_where_a_wider_path_hides_it():
    def both(x):
        mirrored = F.pad(x[:, :, 5:-5], (0, 0, 1, 1), mode="reflect")
        return F.avg_pool2d(x, (13, 1), 1) + F.avg_pool2d(mirrored, (5, 1), 1)

    result = trace(Calling(both), (1, 40, 24))
    assert really_spoiled(Calling(both), 40, 1) == (1, 1)
    assert spoiled(result, 0) == (5, 5)  # not fewer: by the trace they might depend on it


def test_behind_pooling_too():
    network = nn.Sequential(
        *(conv(3, padding=1), nn.AvgPool2d(4), conv(3, padding=1)),
        nn.ConvTranspose2d(1, 1, 4, 4, bias=False),
    )
    result = trace(network, (1, 40, 24))
    assert step(result, 0) == 4
    assert really_spoiled(network, 40, 4) == (8, 8)
    assert spoiled(result, 0) == (8, 8)


def test_a_crop_to_join_maps_is_no_end():
    """In the unpadded U-Net nothing is read beyond an end, and no output is spoiled."""
    network = Calling(
        lambda x: torch.cat([x[:, :, 2:-2, 2:-2], F.avg_pool2d(F.avg_pool2d(x, 3, 1), 3, 1)], 1)
    )
    assert spoiled(trace(network, (1, 40, 24)), 0) == (0, 0)


def test_circular_padding_has_no_step():
    result = trace(conv(3, padding=1, padding_mode="circular"), (1, 40, 24))
    assert step(result, 0) == 0
    assert uneven_layers(result, 0) == ("Conv2d",)


def test_a_layer_is_named_that_mixes_and_not_those_that_pass_it_on():
    network = nn.Sequential(conv(3), nn.AdaptiveAvgPool2d(1), nn.ReLU(), nn.Sigmoid())
    assert mixing_layers(trace(network, (1, 40, 24)), 0) == ("1 (AdaptiveAvgPool2d)",)
    assert mixing_layers(trace(conv(3), (1, 40, 24)), 0) == ()


def test_what_the_answer_does_not_use_is_not_asked():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = conv(3), nn.GroupNorm(1, 1)

        def forward(self, x):
            x = self.layer(x)
            self.norm(x)
            return x

    result = trace(Auxiliary(), (1, 40, 24))
    assert mixing_layers(result, 0) == ()
    assert step(result, 0) == 1


def test_an_answer_at_another_pace_has_no_step():
    assert step(trace(nn.MaxPool2d(2), (1, 40, 24)), 0) == 0
    assert step(trace(nn.Upsample(scale_factor=2), (1, 40, 24)), 0) == 0
