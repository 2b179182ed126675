"""Residual and plain networks against the tables of He et al. (2015), and computed another way."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from peering import in_peers
from striate.models import NETWORKS, build, find_recipe
from striate.models.resnet import (
    BasicBlock,
    Bottleneck,
    CifarResNet,
    PaddedShortcut,
    ResNet,
)
from striate.schedules import learning_rate
from striate.tracing import trace

IMAGE = (3, 224, 224)

# Table 1, FLOPs, which the paper counts as multiply-adds; those of CIFAR follow from its layers.
PAPER_MULTIPLY_ADDS = {
    "resnet18": 1.8e9, "resnet34": 3.6e9,
    "resnet50": 3.8e9, "resnet101": 7.6e9, "resnet152": 11.3e9,
}  # fmt: skip
CIFAR_MULTIPLY_ADDS = {"resnet20": 40.6e6, "resnet56": 125.5e6, "resnet110": 252.9e6}

# Table 1 and section 4.2: maps and their size after each stage.
BASIC_STAGES = {
    "conv1": (64, 112, 112), "maxpool": (64, 56, 56), "layer1": (64, 56, 56),
    "layer2": (128, 28, 28), "layer3": (256, 14, 14), "layer4": (512, 7, 7),
}  # fmt: skip
WIDE_STAGES = BASIC_STAGES | {
    "layer1": (256, 56, 56), "layer2": (512, 28, 28), "layer3": (1024, 14, 14),
    "layer4": (2048, 7, 7),
}  # fmt: skip
CIFAR_STAGES = {"conv1": (16, 32, 32), "layer1": (16, 32, 32), "layer2": (32, 16, 16),
                "layer3": (64, 8, 8)}  # fmt: skip


def of_names(*names):
    """Build networks without memory for their weights: for tests that count."""
    with torch.device("meta"):
        return [build(name) for name in names]


def last_of_stages(name, input_shape=None):
    """Give the shape of the last layer whose name begins with each stage's."""
    (network,) = of_names(name)
    layers = trace(network, input_shape or NETWORKS[name].input_shape).layers
    return {layer.name.split(".")[0]: tuple(layer.output_shape) for layer in layers}


def weight_layers(network):
    """Count the convolutions and linear layers on the main path: not those of shortcuts."""
    kinds = (nn.Conv2d, nn.Linear)
    modules = network.named_modules()
    return sum(isinstance(m, kinds) for name, m in modules if "downsample" not in name)


def projections(network):
    return sum(isinstance(m, nn.Conv2d) for n, m in network.named_modules() if "downsample" in n)


@pytest.mark.parametrize(("name", "count"), PAPER_MULTIPLY_ADDS.items())
def test_multiply_adds_are_those_of_table_1(name, count):
    (network,) = of_names(name)
    assert trace(network, IMAGE).multiply_adds == pytest.approx(count, abs=0.15e9)


@pytest.mark.parametrize(("name", "count"), CIFAR_MULTIPLY_ADDS.items())
def test_multiply_adds_of_the_networks_for_cifar(name, count):
    (network,) = of_names(name)
    assert trace(network, (3, 32, 32)).multiply_adds == pytest.approx(count, abs=0.05e6)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        *((name, BASIC_STAGES) for name in ("resnet34", "resnet18_a", "resnet34_c", "plain34")),
        *((name, WIDE_STAGES) for name in ("resnet50", "resnet152", "resnet50_v1_5")),
        *((name, CIFAR_STAGES) for name in ("resnet20", "plain56")),
    ],
)
def test_every_stage_has_the_maps_of_the_paper(name, stages):
    seen = last_of_stages(name)
    assert {stage: seen[stage] for stage in stages} == stages


@pytest.mark.parametrize("name", [n for n in NETWORKS if NETWORKS[n].module == "resnet"])
def test_the_number_in_a_name_counts_the_layers_with_weights(name):
    (network,) = of_names(name)
    digits = name.removeprefix("resnet").removeprefix("plain").split("_")[0]
    assert weight_layers(network) == int(digits)


def test_projections_are_where_maps_grow_or_everywhere_or_nowhere():
    # 3 of the 16 blocks of ResNet-34 widen their maps; C projects in the 13 others too.
    counts = {n: projections(b) for n in ("resnet34", "resnet34_a", "resnet34_c", "plain34")
              for b in of_names(n)}  # fmt: skip
    assert counts == {"resnet34": 3, "resnet34_a": 0, "resnet34_c": 16, "plain34": 0}
    assert projections(*of_names("resnet50")) == 4  # the first stage widens from 64 to 256


def test_a_plain_network_has_the_weights_of_its_residual_twin_and_adds_nothing():
    for plain, residual in (("plain34", "resnet34_a"), ("plain110", "resnet110")):
        without, with_shortcuts = of_names(plain, residual)
        shapes = [{n: p.shape for n, p in network.state_dict().items()}
                  for network in (without, with_shortcuts)]  # fmt: skip
        assert shapes[0] == shapes[1]
        input_shape = NETWORKS[plain].input_shape
        kinds = {layer.kind for layer in trace(without, input_shape).layers}
        assert kinds.isdisjoint({"add", "PaddedShortcut"})


def test_a_plain_network_computes_its_layers_one_after_another():
    torch.manual_seed(5)
    network = CifarResNet(depth=8, shortcuts="none")
    x = images = torch.randn(3, 3, 12, 20)
    pairs = [("conv1", "bn1")] + [
        (f"layer{stage}.0.conv{i}", f"layer{stage}.0.bn{i}") for stage in (1, 2, 3) for i in (1, 2)
    ]
    for convolution, norm in pairs:
        x = F.relu(network.get_submodule(norm)(network.get_submodule(convolution)(x)))
    plain = network.fc(x.mean(dim=(2, 3)))
    assert torch.allclose(network(images), plain, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 6), (7, 5)])
def test_shortcut_a_is_a_convolution_by_an_identity_of_fewer_rows(size):
    x = torch.randn(3, 5, *size)
    kernel = torch.eye(9, 5)[:, :, None, None]  # maps 5 to 8 read nothing
    shortcut = PaddedShortcut(extra_maps=4, stride=2)
    assert torch.equal(shortcut(x), F.conv2d(x, kernel, stride=2))


@pytest.mark.parametrize("shortcuts", ["A", "B", "C"])
def test_a_block_adds_what_its_layers_say(shortcuts):
    torch.manual_seed(0)
    block = BasicBlock(5, 9, 2, shortcuts)
    x = torch.randn(3, 5, 8, 6)
    residual = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    if shortcuts == "A":
        beside = F.conv2d(x, torch.eye(9, 5)[:, :, None, None], stride=2)
    else:
        beside = block.downsample[1](F.conv2d(x, block.downsample[0].weight, stride=2))
    assert torch.allclose(block(x), F.relu(residual + beside), atol=1e-6)


@pytest.mark.parametrize("stride_in_3x3", [False, True])
def test_a_bottleneck_computes_its_layers_one_after_another(stride_in_3x3):
    torch.manual_seed(7)
    block = Bottleneck(5, 3, 2, "B", stride_in_3x3=stride_in_3x3)
    images = torch.randn(3, 5, 8, 6)
    first, second = (1, 2) if stride_in_3x3 else (2, 1)
    x = F.relu(block.bn1(F.conv2d(images, block.conv1.weight, stride=first)))
    x = F.relu(block.bn2(F.conv2d(x, block.conv2.weight, stride=second, padding=1)))
    x = block.bn3(F.conv2d(x, block.conv3.weight))
    beside = block.downsample[1](F.conv2d(images, block.downsample[0].weight, stride=2))
    assert torch.allclose(block(images), F.relu(x + beside), atol=1e-6)


def test_the_stem_is_a_7x7_convolution_rectified_and_3x3_pooling_both_of_stride_2():
    torch.manual_seed(8)
    network = ResNet(depth=18).eval()
    images = torch.randn(2, 3, 36, 44)
    x = F.relu(network.bn1(F.conv2d(images, network.conv1.weight, stride=2, padding=3)))
    x = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 2).unfold(3, 3, 2).amax(dim=(4, 5))
    maps = []
    network.layer1.register_forward_pre_hook(lambda _layer, inputs: maps.append(inputs[0].clone()))
    with torch.no_grad():
        network(images)
        assert torch.allclose(maps[0], x, atol=1e-5)


@pytest.mark.parametrize("block", [BasicBlock(8, 8, 1, "A"), Bottleneck(32, 8, 1, "B")])
def test_a_block_with_a_residual_of_zero_is_the_identity(block):
    last = block.bn3 if isinstance(block, Bottleneck) else block.bn2
    nn.init.zeros_(last.weight)
    x = torch.randn(3, block.conv1.in_channels, 6, 4)
    assert torch.equal(block(x), F.relu(x))
    plain = BasicBlock(8, 8, 1, "none")
    nn.init.zeros_(plain.bn2.weight)
    assert plain(torch.randn(3, 8, 6, 4)).count_nonzero() == 0


def test_the_stride_of_a_bottleneck_is_in_the_first_convolution_or_in_the_3x3():
    for name, strides in (("resnet50", (2, 1)), ("resnet50_v1_5", (1, 2))):
        (network,) = of_names(name)
        for stage in (network.layer2, network.layer3, network.layer4):
            first = stage[0]
            assert (first.conv1.stride[0], first.conv2.stride[0]) == strides
            assert first.conv3.stride == (1, 1)
            assert {c.stride for b in stage[1:] for c in (b.conv1, b.conv2)} == {(1, 1)}


def test_v1_5_has_the_names_and_shapes_of_v1_and_computes_something_else():
    torch.manual_seed(1)
    first, second = ResNet(depth=50).eval(), ResNet(depth=50, stride_in_3x3=True).eval()
    second.load_state_dict(first.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(first(images), second(images), rtol=0.01)


MOVED = """
import json, torch, torchvision_cpu, torchvision, striate

torch.manual_seed(0)
images = torch.randn(2, 3, 96, 128)
ours = striate.build("resnet50").eval()
for key, tensor in ours.state_dict().items():  # as if trained
    if key.endswith("running_mean"):
        tensor.normal_(0, 0.1)
    elif key.endswith("running_var"):
        tensor.uniform_(0.5, 1.5)
with torch.device("meta"):
    theirs = torchvision.models.resnet50().eval()
theirs.load_state_dict(ours.state_dict(), strict=True, assign=True)
with torch.no_grad():
    logits, answers = ours(images), [theirs(images)]
    for stage in (theirs.layer2, theirs.layer3, theirs.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    answers.append(theirs(images))
print(json.dumps([((logits - a).abs().max() / a.abs().max()).item() for a in answers]))
"""


def test_v1_is_torchvision_s_network_with_the_strides_moved_and_not_without():
    as_it_is, moved = json.loads(in_peers(MOVED))
    assert as_it_is > 0.01
    assert moved < 1e-5


def test_weights_are_drawn_by_their_fan_in_and_norms_begin_as_they_are():
    torch.manual_seed(2)
    network = ResNet(depth=18)
    for layer, fan_in in (
        (network.conv1, 147),
        (network.layer4[1].conv2, 4608),
        (network.layer4[0].downsample[0], 256),
        (network.fc, 512),
    ):
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.03)
        assert layer.weight.abs().max() > 3 * layer.weight.std()  # not uniform
    assert network.fc.bias.count_nonzero() == 0
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.bias is None for m in convolutions)
    assert len(norms) == len(convolutions) == 20  # 17 and three projections


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "plain20"])
def test_images_of_any_size_are_read(name):
    network = build(name, num_classes=7).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 45, 70)).shape == (2, 7)


def test_the_score_of_a_larger_image_is_the_mean_of_the_scores_of_its_places():
    torch.manual_seed(3)
    network = CifarResNet(depth=8).eval()
    images = torch.randn(2, 3, 36, 44)
    with torch.no_grad():
        maps = network.layer3(
            network.layer2(network.layer1(F.relu(network.bn1(network.conv1(images)))))
        )
        places = F.linear(maps.movedim(1, -1), network.fc.weight, network.fc.bias)
        assert torch.allclose(network(images), places.mean(dim=(1, 2)), atol=1e-5)


@pytest.mark.parametrize("name", ["resnet20", "plain20", "resnet18_c"])
def test_every_parameter_has_a_gradient(name):
    torch.manual_seed(4)
    network = build(name)
    F.cross_entropy(network(torch.randn(4, 3, 32, 32)), torch.arange(4)).backward()
    assert [n for n, p in network.named_parameters() if not p.grad.count_nonzero()] == []


def test_a_few_images_are_learnt_by_heart():
    torch.manual_seed(6)
    network = CifarResNet()
    images, targets = torch.randn(10, 3, 16, 16), torch.arange(10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(12):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), targets)
        loss.backward()
        optimizer.step()
    assert network(images).argmax(dim=1).tolist() == targets.tolist()


def test_the_published_course_of_the_rate_on_cifar_10():
    recipe = find_recipe("resnet20-cifar10")
    assert (recipe.batch_size, recipe.momentum, recipe.weight_decay) == (128, 0.9, 1e-4)
    steps = -(-50_000 // recipe.batch_size)
    paper = {0: 0.1, 31_000: 0.1, 33_000: 0.01, 47_000: 0.01, 49_000: 0.001, 63_900: 0.001}
    assert {s: learning_rate(recipe, s, steps) for s in paper} == pytest.approx(paper)
    assert recipe.epochs * steps == pytest.approx(64_000, abs=steps / 2)
    deep = find_recipe("resnet110-cifar10")
    rates = [learning_rate(deep, step, steps) for step in (0, 390, 391, 33_000)]
    assert rates == pytest.approx([0.01, 0.01, 0.1, 0.01])


@pytest.mark.parametrize("name", ["resnet18", "plain34", "resnet152"])
def test_the_published_recipe_for_imagenet(name):
    recipe = find_recipe(name)
    assert (recipe.batch_size, recipe.learning_rate, recipe.momentum) == (256, 0.1, 0.9)
    assert (recipe.weight_decay, recipe.schedule, recipe.plateau_factor) == (1e-4, "plateau", 0.1)
    assert (recipe.crop, recipe.side_range, recipe.flip) == ("random", (256, 480), True)
    assert (recipe.pca_color, recipe.protocol) == (0.1, "ten-crop")
    assert recipe.scales == (224, 256, 384, 480, 640)
    steps = -(-1_281_167 // recipe.batch_size)  # training images of ILSVRC-2012
    assert recipe.epochs * steps == pytest.approx(600_000, abs=steps)


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (ResNet, {"depth": 20}, "depth is 20; choose one of 18, 34, 50, 101, 152"),
        (ResNet, {"depth": 50, "shortcuts": "none"}, "plain networks have depth 18 or 34, not 50"),
        (ResNet, {"depth": 34, "stride_in_3x3": True}, "is of depth 50, 101 and 152, not 34"),
        (CifarResNet, {"depth": 18}, r"depth is 18; choose 6n \+ 2: 8, 14, 20"),
        (CifarResNet, {"depth": 2}, r"depth is 2; choose 6n \+ 2: 8, 14, 20"),
        (ResNet, {"depth": 18, "shortcuts": "a"}, "is 'a'; choose one of 'A', 'B', 'C', 'none'"),
        (ResNet, {"shortcuts": None}, "shortcuts is None; choose one of 'A', 'B', 'C'$"),
        (CifarResNet, {"shortcuts": "b"}, "is 'b'; choose one of 'A', 'B', 'C', 'none'"),
    ],
)
def test_a_depth_or_shortcuts_that_do_not_exist_are_refused(network, options, message):
    with pytest.raises(ValueError, match=message):
        network(**options)


def test_the_recipe_averages_the_scores_of_its_scales_as_the_paper_does():
    assert find_recipe("resnet152").view_average == "scores"


def test_a_bottleneck_without_a_shortcut_is_refused():
    with pytest.raises(ValueError, match="shortcuts is 'none'; choose one of 'A', 'B', 'C'"):
        Bottleneck(32, 8, 1, "none")
