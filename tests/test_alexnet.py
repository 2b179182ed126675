"""AlexNet against the numbers of Krizhevsky, Sutskever and Hinton (2012), and its two towers."""

import json
import os

import pytest
import torch
from torch import distributed, multiprocessing, nn

from striate.models import build
from striate.models.alexnet import (
    EXCHANGES,
    AlexNet,
    exchange_between_processes,
    exchange_here,
    through_towers,
    tower,
)
from striate.normalization import LocalResponseNorm
from striate.tracing import trace

# From the paper's kernel sizes and numbers of maps, worked out by hand.
PAPER_PARAMETERS = {
    "conv1": 34_944, "conv2": 307_456, "conv3": 885_120, "conv4": 663_936, "conv5": 442_624,
    "fc6": 37_752_832, "fc7": 16_781_312, "fc8": 4_097_000,
}  # fmt: skip
# Printed in Figure 2, but for the first: it prints 253,440 where 55 × 55 × 96 are 290,400.
PAPER_UNITS = {
    "conv1": 290_400, "conv2": 186_624, "conv3": 64_896, "conv4": 64_896, "conv5": 43_264,
    "fc6": 4_096, "fc7": 4_096, "fc8": 1_000,
}  # fmt: skip
# Section 3.5: "kernels of size 11×11×3", "5×5×48", "3×3×256", "3×3×192", "3×3×192".
PAPER_KERNELS = {
    "conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3), "conv5": (256, 192, 3, 3),
}  # fmt: skip
PAPER_MAPS = {
    "conv1": (96, 55, 55), "pool1": (96, 27, 27), "conv2": (256, 27, 27), "pool2": (256, 13, 13),
    "conv3": (384, 13, 13), "conv5": (256, 13, 13), "pool5": (256, 6, 6),
}  # fmt: skip


@pytest.fixture(scope="module")
def network():
    """AlexNet for ten classes in evaluation, its weights strong enough for every layer to tell."""
    return strong_network()


def strong_network() -> AlexNet:
    torch.manual_seed(2012)
    network = AlexNet(num_classes=10).eval()
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter)
        else:
            nn.init.normal_(parameter)
    return network


def two_images() -> torch.Tensor:
    return 50 * torch.randn(2, 3, 227, 227, generator=torch.Generator().manual_seed(7))


def objective(logits: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits / 100, torch.tensor([3, 8]))


def relative_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.fixture(scope="module")
def traced():
    with torch.device("meta"):
        network = AlexNet()
    return trace(network, (3, 227, 227))


def test_every_layer_has_the_parameters_units_and_maps_of_the_paper(traced):
    layers = {layer.name.split(".")[-1]: layer for layer in traced.layers}
    assert {name: layers[name].parameters for name in PAPER_PARAMETERS} == PAPER_PARAMETERS
    units = {name: torch.Size(layers[name].output_shape).numel() for name in PAPER_UNITS}
    assert units == PAPER_UNITS
    assert {name: tuple(layers[name].output_shape) for name in PAPER_MAPS} == PAPER_MAPS
    assert (traced.parameters, traced.unknown) == (60_965_224, ())
    assert traced.multiply_adds // 10**6 == 724


def test_without_its_two_groups_it_would_have_62_378_344_parameters(network):
    kernels = {name: tuple(p.shape) for name, p in network.features.named_parameters()}
    assert {name: kernels[f"{name}.weight"] for name in PAPER_KERNELS} == PAPER_KERNELS
    doubled = sum(network.features.get_submodule(f"conv{i}").weight.numel() for i in (2, 4, 5))
    assert 60_965_224 + doubled == 62_378_344


def test_normalisation_follows_the_relu_of_conv1_and_conv2_and_pooling_follows_it(network):
    order = [name for name, _ in network.features.named_children()]
    assert order[:8] == [f"{kind}{i}" for i in (1, 2) for kind in ("conv", "relu", "norm", "pool")]
    assert [name for name in order if "norm" in name] == ["norm1", "norm2"]
    assert isinstance(network.features.norm1, LocalResponseNorm)
    pools = [layer for name, layer in network.features.named_children() if "pool" in name]
    assert [(pool.kernel_size, pool.stride) for pool in pools] == [(3, 2)] * 3


def test_initial_weights_have_deviation_0_01_and_five_layers_start_at_bias_1():
    torch.manual_seed(1)
    network = AlexNet(num_classes=10)
    starts = {}
    for name in PAPER_PARAMETERS:
        layer = (network.features if "conv" in name else network.classifier).get_submodule(name)
        tolerance = 5 * 0.01 / layer.weight.numel() ** 0.5
        assert abs(layer.weight.std().item() - 0.01) < tolerance
        assert abs(layer.weight.mean().item()) < tolerance
        starts[name] = set(layer.bias.tolist())
    ones = ("conv2", "conv4", "conv5", "fc6", "fc7")
    assert starts == {name: {1.0} if name in ones else {0.0} for name in PAPER_PARAMETERS}


@pytest.mark.parametrize("name", ["alexnet", "alexnet_torchvision"])
def test_dropout_of_half_the_hidden_units_is_active_in_training_only(name):
    network = build(name, num_classes=10)
    maps = torch.rand(3, 256, 6, 6)
    head = nn.Sequential(nn.Flatten(), *network.classifier) if "_" in name else network.classifier
    assert not torch.equal(head(maps), head(maps))
    zeros = []
    for layer in head:
        if type(layer).__name__ == "Dropout":
            layer.register_forward_hook(
                lambda _layer, _inputs, output: zeros.append((output == 0).float().mean().item())
            )
    for parameter in head.parameters():  # so that nothing else is zero
        nn.init.constant_(parameter, float(parameter.dim() == 1))
    head(maps)
    assert zeros == pytest.approx([0.5, 0.5], abs=0.02)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.uniform_()
    head.eval()
    assert torch.equal(head(maps), head(maps))


@pytest.mark.parametrize(("name", "side"), [("alexnet", 227), ("alexnet_torchvision", 224)])
def test_other_sizes_are_refused_with_the_remedy(name, side):
    with torch.device("meta"):
        network = build(name)
        images = torch.zeros(1, 3, 225, 225)
    message = rf"reads images of {side}x{side}, not \(1, 3, 225, 225\); resize the shorter side"
    with pytest.raises(ValueError, match=message):
        network(images)
    if name == "alexnet":
        with pytest.raises(ValueError, match=message):
            through_towers([tower(network, 0), tower(network, 1)], images, exchange_here)


@pytest.mark.parametrize(("name", "side"), [("alexnet", 227), ("alexnet_torchvision", 224)])
def test_the_dense_form_equals_the_network_on_its_size_and_reads_larger_images(name, side):
    torch.manual_seed(5)
    network = build(name, num_classes=10).eval()
    dense = network.to_dense()
    with torch.no_grad():
        images = torch.randn(2, 3, side, side)
        assert relative_difference(dense(images), network(images)) < 1e-5
    with torch.device("meta"):
        shape = dense.to("meta").scores(torch.zeros(2, 3, side + 32, side + 96)).shape
    assert shape == (2, 10, 2, 4)  # a place more for every 32 pixels


def test_the_towers_hold_half_of_every_layer(network):
    halves = [tower(network, rank) for rank in (0, 1)]
    sizes = [[p.numel() for p in half.parameters()] for half in halves]
    assert sizes[0] == sizes[1] == [p.numel() // 2 for p in network.parameters()]
    assert [next(iter(dict(s.named_children()))) for s in halves[0].sections[1:]] == [*EXCHANGES]
    assert not any(half.training for half in halves)


def test_two_towers_that_exchange_their_maps_are_the_grouped_network(network):
    images = two_images()
    logits = network(images)
    objective(logits).backward()
    towers = [tower(network, rank) for rank in (0, 1)]
    joined = through_towers(towers, images, exchange_here)
    objective(joined).backward()
    assert relative_difference(joined, logits) < 1e-5
    for whole, *halves in zip(
        network.parameters(), *(half.parameters() for half in towers), strict=True
    ):
        assert whole.grad.abs().max() > 0
        assert relative_difference(torch.cat([p.grad for p in halves]), whole.grad) < 1e-5


def test_a_tower_that_hears_nothing_of_the_other_is_another_network(network):
    images = two_images()

    def deaf(halves):
        return [torch.cat([half, half], dim=1) for half in halves]

    towers = [tower(network, rank) for rank in (0, 1)]
    with torch.no_grad():
        alone = through_towers(towers, images, deaf)
        assert relative_difference(alone, network(images)) > 0.01


def half_of_alexnet(rank: int, folder: str) -> None:
    """Be one of two processes: compare this tower's logits and gradients with the network's."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    network = strong_network()
    images = two_images()
    logits = network(images)
    objective(logits).backward()
    own = tower(network, rank)
    joined = through_towers([own], images, exchange_between_processes)
    (objective(joined) / 2).backward()
    differences = {"logits": relative_difference(joined, logits)}
    for (name, whole), half in zip(network.named_parameters(), own.parameters(), strict=True):
        differences[name] = relative_difference(half.grad, whole.grad.chunk(2)[rank])
    with open(f"{folder}/{rank}.json", "w") as file:  # noqa: PTH123
        json.dump(differences, file)
    distributed.destroy_process_group()


def test_two_processes_with_a_tower_each_are_the_grouped_network(tmp_path):
    multiprocessing.spawn(half_of_alexnet, (str(tmp_path),), nprocs=2)
    for rank in (0, 1):
        differences = json.loads((tmp_path / f"{rank}.json").read_text())
        assert len(differences) == 17
        assert {name: d for name, d in differences.items() if not d < 1e-5} == {}


@pytest.mark.parametrize("rank", [-1, 2])
def test_there_are_two_towers(rank):
    with torch.device("meta"):
        network = AlexNet()
    with pytest.raises(ValueError, match=f"rank is {rank}; choose one of 0, 1"):
        tower(network, rank)


def test_an_odd_number_of_classes_cannot_be_halved():
    with torch.device("meta"):
        network = AlexNet(num_classes=7)
    with pytest.raises(ValueError, match="7 classes cannot be halved; two towers need an even"):
        tower(network, 0)


def test_the_network_of_torchvision_has_its_names_and_counts():
    with torch.device("meta"):
        network = build("alexnet_torchvision")
    shapes = {name: tuple(p.shape) for name, p in network.state_dict().items()}
    weights = {name: shape for name, shape in shapes.items() if name.endswith("weight")}
    assert weights == {
        "features.0.weight": (64, 3, 11, 11),
        "features.3.weight": (192, 64, 5, 5),
        "features.6.weight": (384, 192, 3, 3),
        "features.8.weight": (256, 384, 3, 3),
        "features.10.weight": (256, 256, 3, 3),
        "classifier.1.weight": (4096, 9216),
        "classifier.4.weight": (4096, 4096),
        "classifier.6.weight": (1000, 4096),
    }
    assert sum(p.numel() for p in network.parameters()) == 61_100_840
    layers = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
    steps = [(layer.stride[0], layer.padding[0]) for layer in layers]
    assert steps == [(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)]
