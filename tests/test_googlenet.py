"""GoogLeNet against Table 1 of Szegedy et al. (2014)."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.layers import Dropout, WithAuxiliary
from striate.models import build, find_recipe
from striate.models.googlenet import GoogLeNet
from striate.normalization import LocalResponseNorm
from striate.tracing import trace

# Exact, with a bias for each map, from the widths below and worked out beside the paper.
PARAMETERS = {
    "conv1": 9_472, "conv2": 4_160, "conv3": 110_784,
    "inception3a": 163_696, "inception3b": 388_736, "inception4a": 376_176,
    "inception4b": 449_160, "inception4c": 510_104, "inception4d": 605_376,
    "inception4e": 868_352, "inception5a": 1_043_456, "inception5b": 1_444_080,
    "fc": 1_025_000, "aux1": 3_188_840, "aux2": 3_190_888,
}  # fmt: skip
# Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
PAPER_WIDTHS = {
    "inception3a": (64, 96, 128, 16, 32, 32), "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64), "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64), "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128), "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
# Table 1, output size.
PAPER_MAPS = {
    "conv1.conv": (64, 112, 112), "maxpool1": (64, 56, 56), "conv3.conv": (192, 56, 56),
    "maxpool2": (192, 28, 28), "inception3a.cat": (256, 28, 28), "inception3b.cat": (480, 28, 28),
    "maxpool3": (480, 14, 14), "inception4a.cat": (512, 14, 14), "inception4b.cat": (512, 14, 14),
    "inception4c.cat": (512, 14, 14), "inception4d.cat": (528, 14, 14),
    "inception4e.cat": (832, 14, 14), "maxpool4": (832, 7, 7), "inception5a.cat": (832, 7, 7),
    "inception5b.cat": (1024, 7, 7), "avgpool": (1024, 1, 1), "fc": (1000,),
}  # fmt: skip
# Table 1, operations in millions. It prints 73 and 54 for 4a and 5a, which have 74 and 51.
MULTIPLY_ADDS = {
    "inception3a": 128, "inception3b": 304, "inception4a": 74, "inception4b": 88,
    "inception4c": 100, "inception4d": 119, "inception4e": 170, "inception5a": 51,
    "inception5b": 71,
}  # fmt: skip


def shapes_of(name, **options):
    with torch.device("meta"):
        return build(name, **options)


@pytest.fixture(scope="module")
def network():
    """The paper's network for ten classes, in evaluation."""
    torch.manual_seed(2014)
    return build("googlenet", num_classes=10).eval()


@pytest.fixture(scope="module")
def traced():
    return trace(shapes_of("googlenet"), (3, 224, 224))


def test_every_layer_has_its_parameters_and_there_are_6_998_552_without_auxiliary_classifiers():
    network = shapes_of("googlenet")
    counts = {
        name: sum(p.numel() for p in layer.parameters()) for name, layer in network.named_children()
    }
    assert {name: count for name, count in counts.items() if count} == PARAMETERS
    assert sum(counts.values()) - counts["aux1"] - counts["aux2"] == 6_998_552
    assert sum(counts.values()) == 13_378_280


def test_torchvision_s_has_6_624_904_parameters_and_13_004_888_with_auxiliary_classifiers():
    parameters = dict(shapes_of("googlenet_torchvision").named_parameters())
    alone = sum(p.numel() for name, p in parameters.items() if not name.startswith("aux"))
    assert (alone, sum(p.numel() for p in parameters.values())) == (6_624_904, 13_004_888)


@pytest.mark.parametrize(("name", "large"), [("googlenet", 5), ("googlenet_torchvision", 3)])
def test_every_module_has_the_widths_of_table_1_and_kernels_of_1_3_and_5(name, large):
    network = shapes_of(name)
    for module, widths in PAPER_WIDTHS.items():
        inception = network.get_submodule(module)
        layers = [layer for layer in inception.modules() if isinstance(layer, nn.Conv2d)]
        assert tuple(layer.out_channels for layer in layers) == widths
        assert [layer.kernel_size[0] for layer in layers] == [1, 1, 3, 1, large, 1]
        pool = inception.branch4[0]
        assert (pool.kernel_size, pool.stride, pool.padding) == (3, 1, 1)


def test_the_maps_have_the_sizes_and_the_modules_the_operations_of_table_1(traced):
    layers = {layer.name: layer for layer in traced.layers}
    assert {name: tuple(layers[name].output_shape) for name in PAPER_MAPS} == PAPER_MAPS
    millions = {
        module: round(
            sum(layer.multiply_adds for name, layer in layers.items() if name.startswith(module))
            / 1e6
        )
        for module in MULTIPLY_ADDS
    }
    assert millions == MULTIPLY_ADDS
    assert traced.unknown == ()


def test_it_is_22_layers_deep(network):
    # "22 layers deep when counting only layers with parameters"
    depth = 0
    for name, layer in network.named_children():
        branches = list(layer.children()) if "inception" in name else [layer]
        if "aux" not in name:
            depth += max(
                sum(isinstance(part, nn.Conv2d | nn.Linear) for part in branch.modules())
                for branch in branches
            )
    assert depth == 22


def test_response_normalisation_stands_after_the_first_pool_and_before_the_second(network):
    order = [name for name, layer in network.named_children() if "incep" not in name]
    assert order[:7] == ["conv1", "maxpool1", "norm1", "conv2", "conv3", "norm2", "maxpool2"]
    kinds = [type(layer) for layer in network.modules()]
    assert kinds.count(LocalResponseNorm) == 2
    called = []
    hooks = [
        layer.register_forward_hook(lambda _l, _i, _o, name=name: called.append(name))
        for name, layer in network.named_children()
    ]
    with torch.no_grad():
        network(torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    assert called[:7] == order[:7]


@pytest.mark.parametrize(("name", "share"), [("googlenet", 0.4), ("googlenet_torchvision", 0.2)])
def test_dropout_is_the_paper_s_and_70_percent_in_the_auxiliary_classifiers(name, share):
    network = shapes_of(name)
    shares = {n: layer.share for n, layer in network.named_modules() if isinstance(layer, Dropout)}
    assert shares == {"dropout": share, "aux1.dropout": 0.7, "aux2.dropout": 0.7}


def test_in_training_the_auxiliary_classifiers_answer_too_and_all_parameters_learn(network):
    images = 50 * torch.randn(2, 3, 224, 224)
    network.train()
    answer = network(images)
    network.eval()
    assert isinstance(answer, WithAuxiliary)
    shapes = [logits.shape for logits in (answer.logits, *answer.auxiliary)]
    assert shapes == [(2, 10)] * 3
    first, second = answer.auxiliary
    loss = answer.logits.square().sum() + 0.3 * (first.square().sum() + second.square().sum())
    loss.backward()
    silent = [name for name, p in network.named_parameters() if not p.grad.abs().max() > 0]
    assert silent == []


@torch.no_grad()
def test_an_auxiliary_classifier_averages_5x5_every_3_and_reads_4a_or_4d(network):
    read = {}
    for name in ("inception4a", "inception4d", "aux1", "aux2"):
        network.get_submodule(name).register_forward_hook(
            lambda _layer, inputs, output, name=name: read.update({name: (inputs[0], output)})
        )
    images = torch.randn(1, 3, 224, 224)
    network.train()
    for layer in network.modules():
        if isinstance(layer, Dropout):
            layer.eval()
    answer = network(images)
    network.eval()
    assert torch.equal(read["aux1"][0], read["inception4a"][1])
    assert torch.equal(read["aux2"][0], read["inception4d"][1])
    maps, aux = read["aux2"][0], network.aux2
    rows = [maps[:, :, 3 * i : 3 * i + 5].mean(dim=2) for i in range(4)]
    pooled = torch.stack(
        [torch.stack([row[:, :, 3 * j : 3 * j + 5].mean(dim=2) for j in range(4)], dim=2)
         for row in rows], dim=2,
    )  # fmt: skip
    x = F.relu(F.conv2d(pooled, aux.conv.conv.weight, aux.conv.conv.bias))
    plain = aux.fc2(F.relu(aux.fc1(x.flatten(1))))
    assert (answer.auxiliary[1] - plain).abs().max() < 1e-5 * plain.abs().max()


def test_a_module_is_its_four_branches_one_after_the_other(network):
    module = network.inception4a
    x = torch.randn(2, 480, 7, 9)

    def convolved(unit, maps):
        convolution = unit.conv
        return F.relu(
            F.conv2d(maps, convolution.weight, convolution.bias, padding=convolution.padding)
        )

    pooled = F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, stride=1)
    expected = [
        convolved(module.branch1, x),
        convolved(module.branch2[1], convolved(module.branch2[0], x)),
        convolved(module.branch3[1], convolved(module.branch3[0], x)),
        convolved(module.branch4[1], pooled),
    ]
    assert torch.allclose(module(x), torch.cat(expected, dim=1), atol=1e-5)


@torch.no_grad()
def test_evaluation_reads_other_sizes_and_averages_over_the_whole_map(network):
    maps = []
    hook = network.inception5b.register_forward_hook(lambda _l, _i, output: maps.append(output))
    logits = network(torch.randn(1, 3, 160, 224))
    hook.remove()
    assert maps[0].shape == (1, 1024, 5, 7)
    plain = network.fc(maps[0].mean(dim=(2, 3)))
    assert (logits - plain).abs().max() < 1e-5 * plain.abs().max()
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize("name", ["googlenet", "googlenet_torchvision"])
def test_images_that_leave_no_map_are_refused_and_in_training_all_that_the_heads_do_not_fit(name):
    network = shapes_of(name)
    with pytest.raises(ValueError, match=r"32x32 or more, not \(1, 3, 31, 64\); resize"):
        network.eval()(torch.zeros(1, 3, 31, 64, device="meta"))
    smallest = torch.zeros(1, 3, 32, 32, device="meta")
    assert network.eval()(smallest).shape == (1, 1000)
    network.train()
    if name == "googlenet":
        with pytest.raises(ValueError, match=r"in training .* 224x224, not \(1, 3, 32, 32\); its"):
            network(smallest)
    else:
        assert network(torch.zeros(2, 3, 64, 96, device="meta")).auxiliary[0].shape == (2, 1000)


def test_initial_weights_have_deviation_root_2_by_the_fan_in_and_biases_are_zero(network):
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            deviation = (2 / layer.weight[0].numel()) ** 0.5
            assert layer.weight.std().item() == pytest.approx(deviation, rel=0.1)
            assert layer.bias.count_nonzero() == 0


def test_torchvision_s_learns_four_images_by_heart():
    torch.manual_seed(3)
    network = GoogLeNet(num_classes=4, torchvision=True)
    images, targets = torch.randn(4, 3, 64, 64), torch.arange(4)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.002)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        logits, auxiliary = network(images)
        loss = F.cross_entropy(logits, targets)
        (loss + 0.3 * sum(F.cross_entropy(a, targets) for a in auxiliary)).backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4


def test_the_recipe_multiplies_the_rate_by_0_96_every_8_epochs():
    recipe = find_recipe("googlenet")
    shares = {epoch: share for epoch, share in recipe.milestones.items() if epoch <= 24}
    assert shares == pytest.approx({8: 0.96, 16: 0.9216, 24: 0.884736})
    assert len(recipe.milestones) == (recipe.epochs - 1) // 8
    assert (recipe.auxiliary, recipe.crop, recipe.protocol) == (0.3, "area", "144-crop")
