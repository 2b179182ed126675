"""The networks of Scherer et al. (2010), which differ in their pooling alone."""

import pytest
import torch
from torch.nn import functional as F

from learning import learns_by_heart
from striate.models import NETWORKS, build
from striate.models.scherer2010 import Scherer2010
from striate.tracing import trace

NAMES = [name for name in NETWORKS if NETWORKS[name].module == "scherer2010"]

# Section 3 and Fig. 1, corrected by the text: 32 maps and 5 outputs for NORB.
PAPER_MAPS = {
    "scherer_norb": {"c1": (16, 92, 92), "p2": (16, 23, 23), "c3": (32, 18, 18),
                     "p4": (32, 6, 6), "f5": (100,), "output": (5,)},
    "scherer_caltech": {"c1": (16, 125, 125), "p2": (16, 25, 25), "c3": (128, 20, 20),
                        "p4": (128, 4, 4), "output": (102,)},
    "scherer_mnist": {"c1": (112, 20, 20), "p2": (112, 4, 4), "output": (10,)},
    "scherer_jittered": {"c1": (16, 104, 104), "p2": (16, 20, 20), "c3": (32, 13, 13),
                         "p4": (32, 5, 5), "f5": (100,), "output": (6,)},
}  # fmt: skip


def maps(network, input_shape):
    """Give the shape of each named layer; of a pooling with its squashing, the last."""
    return {
        layer.name.split(".")[1]: tuple(layer.output_shape)
        for layer in trace(network, input_shape).layers
        if not layer.name.split(".")[1].startswith(("tanh", "flatten"))
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_has_the_maps_of_the_paper(name):
    seen = maps(build(name), NETWORKS[name].input_shape)
    assert seen == PAPER_MAPS[name.removesuffix("_subsampling")]


def test_figure_1_as_printed_would_have_268_850_parameters():
    # 64 maps instead of 32 and six outputs instead of five, by the layers of the network itself.
    sizes = {name: p.numel() for name, p in build("scherer_norb").named_parameters()}
    assert sum(sizes.values()) == 135_085
    printed = sizes["layers.c1.weight"] + sizes["layers.c1.bias"]
    printed += 2 * (sizes["layers.c3.weight"] + sizes["layers.c3.bias"])
    printed += 2 * sizes["layers.f5.weight"] + sizes["layers.f5.bias"] + 6 * (100 + 1)
    assert printed == 268_850


def test_pooling_is_the_only_difference_two_parameters_a_map():
    for name, pooled in (("scherer_norb", 16 + 32), ("scherer_caltech", 16 + 128)):
        plain = dict(build(name).named_parameters())
        other = dict(build(f"{name}_subsampling").named_parameters())
        extra = {n: p.numel() for n, p in other.items() if n not in plain}
        assert {n: p.shape for n, p in plain.items()} == {n: other[n].shape for n in plain}
        assert sum(extra.values()) == 2 * pooled
        assert {n.split(".")[1] for n in extra} == {"p2", "p4"}


@pytest.mark.parametrize("pooling", ["max", "subsampling", "average"])
def test_the_network_for_norb_computes_its_layers_one_after_another(pooling):
    torch.manual_seed(0)
    network = Scherer2010(3, 7, pooling=pooling).eval()
    x = images = torch.randn(2, 3, 96, 96)
    layers = network.layers
    for conv, pool, block in ((layers.c1, layers.p2, 4), (layers.c3, layers.p4, 3)):
        x = torch.tanh(F.conv2d(x, conv.weight, conv.bias))
        blocks = x.unfold(2, block, block).unfold(3, block, block)
        if pooling == "max":
            x = blocks.amax(dim=(4, 5))
        elif pooling == "average":
            x = blocks.mean(dim=(4, 5))
        else:
            torch.nn.init.normal_(pool[0].coefficient)
            torch.nn.init.normal_(pool[0].bias)
            beta, bias = pool[0].coefficient * block**2, pool[0].bias
            averages = blocks.mean(dim=(4, 5))
            x = torch.tanh(averages * beta[:, None, None] + bias[:, None, None])
    torch.nn.init.normal_(layers.f5.weight, std=0.1)  # so that some units saturate
    x = torch.tanh(F.linear(x.flatten(1), layers.f5.weight, layers.f5.bias))
    plain = F.linear(x, layers.output.weight, layers.output.bias)
    assert torch.allclose(network(images), plain, atol=1e-5)


def test_subsampling_begins_as_the_squashed_average():
    x = torch.randn(2, 112, 20, 20)
    pool = Scherer2010(1, 10, task="mnist", pooling="subsampling").layers.p2
    assert torch.allclose(pool(x), torch.tanh(F.avg_pool2d(x, 5)), atol=1e-6)


def test_windows_of_the_jittered_network_overlap_by_4_and_3():
    layers = build("scherer_jittered").layers
    assert layers.p2.kernel_size - layers.p2.stride == 4
    assert layers.p4.kernel_size - layers.p4.stride == 3


def test_every_parameter_learns_and_ten_images_can_be_learnt_by_heart():
    torch.manual_seed(1)
    network = Scherer2010(1, 10, task="mnist", pooling="subsampling")
    learns_by_heart(network, torch.randn(10, 1, 28, 28), rate=0.02)


def test_initial_weights_fill_plus_or_minus_2_4_by_fan_in():
    torch.manual_seed(2)
    layers = build("scherer_norb").layers
    for layer, fan_in in ((layers.c1, 50), (layers.c3, 576), (layers.f5, 1152)):
        assert 0.9 * 2.4 / fan_in < layer.weight.abs().max() <= 2.4 / fan_in


def test_another_size_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"reads images of 96x96, not \(1, 2, 95, 96\); resize"):
        build("scherer_norb")(torch.zeros(1, 2, 95, 96))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "x"}, "task is 'x'; choose one of 'norb', 'caltech', 'mnist', 'jittered'"),
        ({"pooling": "mean"}, "pooling is 'mean'; choose one of 'max', 'subsampling', 'average'"),
        ({"task": "jittered", "pooling": "average"}, "windows of average cannot overlap"),
        ({"task": "jittered", "pooling": "subsampling"}, "windows of subsampling cannot overlap"),
    ],
)
def test_a_task_or_a_pooling_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Scherer2010(**options)
