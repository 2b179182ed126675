"""VGG against Tables 1 and 2 of Simonyan and Zisserman (2014)."""

import pytest
import torch
from torch import nn

from striate.layers import Dropout
from striate.models import build, find_recipe
from striate.models.vgg import VGG
from striate.normalization import LocalResponseNorm
from striate.tracing import trace

NAMES = {
    "vgg11": "A", "vgg11_lrn": "A-LRN", "vgg13": "B", "vgg16_c": "C", "vgg16": "D", "vgg19": "E",
}  # fmt: skip
# Table 1: weight layers; and, of each stage, the sides of its convolutions' kernels.
PAPER_LAYERS = {
    "vgg11": (11, "3 3 33 33 33"), "vgg11_lrn": (11, "3 3 33 33 33"),
    "vgg13": (13, "33 33 33 33 33"), "vgg16_c": (16, "33 33 331 331 331"),
    "vgg16": (16, "33 33 333 333 333"), "vgg19": (19, "33 33 3333 3333 3333"),
}  # fmt: skip
# Table 2, in millions.
PAPER_MILLIONS = {
    "vgg11": 133, "vgg11_lrn": 133, "vgg13": 133, "vgg16_c": 134, "vgg16": 138, "vgg19": 144,
}  # fmt: skip
EXACT_PARAMETERS = {
    "vgg11": 132_863_336, "vgg11_lrn": 132_863_336, "vgg13": 133_047_848,
    "vgg16_c": 133_638_952, "vgg16": 138_357_544, "vgg19": 143_667_240,
}  # fmt: skip
# 9 × inputs × outputs + outputs of the 3x3 convolutions of D, worked out by hand.
PARAMETERS_OF_D = [
    *(1_792, 36_928, 73_856, 147_584, 295_168, 590_080, 590_080, 1_180_160),
    *(2_359_808, 2_359_808, 2_359_808, 2_359_808, 2_359_808),
    *(102_764_544, 16_781_312, 4_097_000),
]
# Places of the convolutions in torchvision's features, and of the linear layers.
TORCHVISION_FEATURES = {
    "vgg11": (0, 3, 6, 8, 11, 13, 16, 18),
    "vgg13": (0, 2, 5, 7, 10, 12, 15, 17, 20, 22),
    "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    "vgg19": (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}


def shapes_of(name):
    with torch.device("meta"):
        return build(name)


@pytest.fixture(scope="module")
def network():
    """Network A-LRN for ten classes, in evaluation."""
    torch.manual_seed(2014)
    return build("vgg11_lrn", num_classes=10).eval()


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_has_the_layers_maps_and_parameters_of_the_paper(name):
    network = shapes_of(name)
    weight_layers, stages = PAPER_LAYERS[name]
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == weight_layers
    assert all(layer.padding == (layer.kernel_size[0] // 2,) * 2 for layer in layers[:-3])
    sides = ""
    for layer in network.features:
        sides += str(layer.kernel_size[0]) if isinstance(layer, nn.Conv2d) else ""
        sides += " " if isinstance(layer, nn.MaxPool2d) else ""
    assert sides.strip() == stages
    traced = trace(network, (3, 224, 224))
    pools = [tuple(layer.output_shape) for layer in traced.layers if layer.kind == "MaxPool2d"]
    assert pools == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)]
    assert (traced.parameters, traced.unknown) == (EXACT_PARAMETERS[name], ())
    assert round(traced.parameters / 1e6) == PAPER_MILLIONS[name]


def test_every_layer_of_d_has_the_parameters_of_its_maps():
    counts = [layer.parameters for layer in trace(shapes_of("vgg16"), (3, 224, 224)).layers]
    assert [count for count in counts if count] == PARAMETERS_OF_D


def test_three_3x3_convolutions_have_27_weights_where_a_7x7_has_49():
    c = 64
    stack = sum(nn.Conv2d(c, c, 3, bias=False).weight.numel() for _ in range(3))
    single = nn.Conv2d(c, c, 7, bias=False).weight.numel()
    assert (stack, single) == (27 * c * c, 49 * c * c)
    layers = trace(shapes_of("vgg16"), (3, 224, 224)).layers
    fields = {layer.name: layer.receptive_field for layer in layers}
    third = fields["features.14"][0] - fields["features.9"][0]
    assert third == 6 * 4  # three 3x3 at distances of 4 pixels widen the field as a 7x7 does


@pytest.mark.parametrize("name", TORCHVISION_FEATURES)
def test_the_parameters_have_torchvision_s_names(name):
    expected = [
        f"{layer}.{kind}"
        for layer in (
            *(f"features.{place}" for place in TORCHVISION_FEATURES[name]),
            *(f"classifier.{place}" for place in (0, 3, 6)),
        )
        for kind in ("weight", "bias")
    ]
    assert list(shapes_of(name).state_dict()) == expected


@pytest.mark.parametrize("name", NAMES)
def test_only_a_lrn_normalises_and_only_after_its_first_convolution(name):
    kinds = [type(layer).__name__ for layer in shapes_of(name).features]
    assert kinds.count("LocalResponseNorm") == (name == "vgg11_lrn")
    if name == "vgg11_lrn":
        assert kinds[:4] == ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"]


def test_two_dropouts_of_one_half_stand_after_the_hidden_layers(network):
    order = [type(layer).__name__ for layer in network.classifier]
    assert order == ["Linear", "ReLU", "Dropout"] * 2 + ["Linear"]
    shares = [layer.share for layer in network.classifier if isinstance(layer, Dropout)]
    assert shares == [0.5, 0.5]
    maps = torch.rand(3, 512 * 7 * 7)
    assert torch.equal(network.classifier(maps), network.classifier(maps))
    network.classifier.train()
    assert not torch.equal(network.classifier(maps), network.classifier(maps))
    network.eval()


def test_initial_weights_are_glorot_s_and_biases_zero(network):
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            units, inputs, *window = layer.weight.shape
            bound = (6 / ((units + inputs) * torch.Size(window).numel())) ** 0.5
            assert 0.99 * bound < layer.weight.abs().max() <= bound
            assert layer.bias.count_nonzero() == 0


def test_every_parameter_of_a_lrn_gets_a_gradient_and_every_layer_is_as_written(network):
    images = 50 * torch.randn(2, 3, 224, 224)
    logits = network(images)
    logits.square().sum().backward()
    silent = [name for name, p in network.named_parameters() if not p.grad.abs().max() > 0]
    assert silent == []
    x = images
    for layer in network.features:
        if isinstance(layer, nn.Conv2d):
            x = nn.functional.conv2d(x, layer.weight, layer.bias, padding=1).clamp(min=0)
        elif isinstance(layer, LocalResponseNorm):
            x = nn.functional.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)
        elif isinstance(layer, nn.MaxPool2d):
            x = torch.stack(
                [x[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
            ).amax(dim=0)
    fc6, fc7, fc8 = (network.classifier[place] for place in (0, 3, 6))
    plain = fc8(fc7(fc6(x.flatten(1)).clamp(min=0)).clamp(min=0))
    assert (plain - logits).abs().max() < 1e-5 * logits.abs().max()
    network.zero_grad(set_to_none=True)


@torch.no_grad()
def test_dense_evaluation_is_the_network_at_224_and_its_head_on_every_window_of_larger_maps(
    network,
):
    dense = network.to_dense()
    image = 50 * torch.randn(1, 3, 224, 224)
    logits = network(image)
    assert (dense(image) - logits).abs().max() < 1e-5 * logits.abs().max()
    larger = 50 * torch.randn(1, 3, 224 + 32, 224 + 64 + 31)  # 31 pixels make no further place
    maps = network.features(larger)
    scores = dense.scores(larger)
    assert scores.shape == (1, 10, 2, 3)
    for row in range(2):
        for column in range(3):
            window = maps[:, :, row : row + 7, column : column + 7].flatten(1)
            difference = scores[:, :, row, column] - network.classifier(window)
            assert difference.abs().max() < 1e-5 * scores.abs().max()
    assert torch.equal(dense(larger), scores.mean(dim=(2, 3)))


def test_the_dense_form_of_d_has_the_paper_s_convolutions_and_no_more_parameters():
    network = shapes_of("vgg16")
    head = [layer for layer in network.to_dense().classifier if isinstance(layer, nn.Conv2d)]
    assert [tuple(layer.weight.shape) for layer in head] == [
        (4096, 512, 7, 7), (4096, 4096, 1, 1), (1000, 4096, 1, 1),
    ]  # fmt: skip
    assert sum(p.numel() for p in network.to_dense().parameters()) == 138_357_544


def test_a_configuration_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="configuration is 'F'; choose one of 'A', 'A-LRN', 'B'"):
        VGG(configuration="F")


def test_other_sizes_are_refused_with_the_remedy():
    network = shapes_of("vgg16")
    images = torch.zeros(1, 3, 256, 224, device="meta")
    with pytest.raises(ValueError, match=r"224x224, not \(1, 3, 256, 224\); resize the shorter .*"):
        network(images)
    assert network.to_dense()(images).shape == (1, 1000)
    with pytest.raises(ValueError, match=r"224x224 or more, not \(1, 3, 223, 300\)"):
        network.to_dense()(torch.zeros(1, 3, 223, 300, device="meta"))


def test_the_recipe_standardises_its_input():
    assert find_recipe("vgg16").input_range is None
