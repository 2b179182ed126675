"""The twelve networks of Springenberg et al. (2015), Tables 1 and 2."""

import pytest
import torch
from torch.nn import functional as F

from learning import learns_by_heart
from striate.layers import Dropout
from striate.models import NETWORKS, build, find_recipe
from striate.models.allcnn import AllCNN
from striate.schedules import learning_rate
from striate.tracing import trace

NAMES = [name for name in NETWORKS if NETWORKS[name].module == "allcnn"]

# Table 1 and 2 by hand: kernel size, maps and stride of what has a window; "pool" is 3x3, stride 2.
TOP = ["3x3-192/1", "1x1-192/1", "1x1-10/1"]
LAYERS = {
    "base_a": ["5x5-96/1", "pool", "5x5-192/1", "pool", *TOP],
    "strided_a": ["5x5-96/2", "5x5-192/2", *TOP],
    "convpool_a": ["5x5-96/1", "3x3-96/1", "pool", "5x5-192/1", "3x3-192/1", "pool", *TOP],
    "allcnn_a": ["5x5-96/1", "3x3-96/2", "5x5-192/1", "3x3-192/2", *TOP],
    "base_b": ["5x5-96/1", "1x1-96/1", "pool", "5x5-192/1", "1x1-192/1", "pool", *TOP],
    "strided_b": ["5x5-96/1", "1x1-96/2", "5x5-192/1", "1x1-192/2", *TOP],
    "convpool_b": ["5x5-96/1", "1x1-96/1", "3x3-96/1", "pool",
                   "5x5-192/1", "1x1-192/1", "3x3-192/1", "pool", *TOP],
    "allcnn_b": ["5x5-96/1", "1x1-96/1", "3x3-96/2", "5x5-192/1", "1x1-192/1", "3x3-192/2", *TOP],
    "base_c": ["3x3-96/1", "3x3-96/1", "pool", "3x3-192/1", "3x3-192/1", "pool", *TOP],
    "strided_c": ["3x3-96/1", "3x3-96/2", "3x3-192/1", "3x3-192/2", *TOP],
    "convpool_c": ["3x3-96/1", "3x3-96/1", "3x3-96/1", "pool",
                   "3x3-192/1", "3x3-192/1", "3x3-192/1", "pool", *TOP],
    "allcnn_c": ["3x3-96/1", "3x3-96/1", "3x3-96/2", "3x3-192/1", "3x3-192/1", "3x3-192/2", *TOP],
}  # fmt: skip


# Output of the last stage for which a size can go wrong: 32, 16, 8, and 6 for the average.
HALVED = {"stage1": (96, 16, 16), "stage2": (192, 8, 8), "conv1": (192, 6, 6), "conv3": (10, 6, 6)}


def spelled(network):
    """Name each layer of a network as the table above does."""
    words = []
    for layer in trace(network, (3, 32, 32)).layers:
        if layer.kind == "Conv2d":
            module = network.get_submodule(layer.name)
            (height, width), (stride, _) = module.kernel_size, module.stride
            words.append(f"{height}x{width}-{module.out_channels}/{stride}")
        elif layer.kind == "MaxPool2d":
            module = network.get_submodule(layer.name)
            words.append("pool" if (module.kernel_size, module.stride) == (3, 2) else "?")
        else:
            words.append(layer.kind.lower())
    return words


@pytest.mark.parametrize("name", NAMES)
def test_the_layers_are_those_of_the_tables_with_relu_and_dropout_where_the_paper_has_them(name):
    expected = ["dropout"]
    for word in LAYERS[name]:
        expected += [word] if word == "pool" else [word, "relu"]
        if word == "pool" or word.endswith("/2"):
            expected.append("dropout")
    network = build(name)
    assert spelled(network) == [*expected, "mean"]
    shares = [module.share for module in network.modules() if isinstance(module, Dropout)]
    assert shares == [0.2, 0.5, 0.5]


@pytest.mark.parametrize("name", NAMES)
def test_maps_are_halved_twice_and_the_average_is_over_6x6(name):
    layers = trace(build(name), (3, 32, 32)).layers
    seen = {layer.name.split(".")[0]: layer.output_shape for layer in layers}
    assert {stage: tuple(seen[stage]) for stage in HALVED} == HALVED


def test_all_cnn_c_computes_its_layers_one_after_another():
    torch.manual_seed(0)
    network = AllCNN().eval()
    x = images = torch.randn(3, 3, 12, 20)
    for stage in (network.stage1, network.stage2):
        for number, stride in ((1, 1), (2, 1), (3, 2)):
            conv = stage.get_submodule(f"conv{number}")
            x = F.relu(F.conv2d(x, conv.weight, conv.bias, stride, padding=1))
    for conv in (network.conv1, network.conv2, network.conv3):
        x = F.relu(F.conv2d(x, conv.weight, conv.bias))
    with torch.no_grad():
        assert torch.allclose(network(images), x.flatten(2).mean(dim=2), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_9_pixels_are_the_smallest_that_are_read(name):
    network = build(name).eval()
    assert network(torch.zeros(1, 3, 9, 9)).shape == (1, 10)
    message = r"9x9 or more, not \(1, 3, 20, 8\); resize the shorter side to 32"
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(1, 3, 20, 8))


def test_dropout_works_in_training_only():
    torch.manual_seed(1)
    network = AllCNN(stages="a", form="base")
    images = torch.randn(2, 3, 16, 16)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "foo"}, "form is 'foo'; choose one of 'base', 'strided', 'convpool', 'allcnn'"),
        ({"stages": "C"}, "stages is 'C'; choose one of 'a', 'b', 'c'"),
    ],
)
def test_stages_and_forms_that_do_not_exist_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AllCNN(**options)


def test_weights_are_drawn_by_their_fan_in():
    torch.manual_seed(2)
    network = AllCNN(stages="b", form="convpool")
    for layer, fan_in in ((network.stage1.conv1, 75), (network.stage2.conv3, 1728),
                          (network.conv2, 192)):  # fmt: skip
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.03)
        assert layer.bias.count_nonzero() == 0


def test_no_class_is_silent_at_the_start():
    torch.manual_seed(4)
    network = AllCNN()  # in training, where dropout doubles the squares of what it leaves
    logits = network(torch.randn(30, 3, 16, 16))
    assert (logits > 0).float().mean(dim=0).min() > 0.5


def test_every_parameter_learns_and_ten_images_can_be_learnt_by_heart():
    torch.manual_seed(3)
    network = AllCNN().eval()  # without dropout, which a few steps cannot average out
    learns_by_heart(network, torch.randn(10, 3, 10, 10), rate=0.01)


def test_the_published_course_of_the_rate():
    recipe = find_recipe("allcnn_c-cifar10")
    assert (recipe.epochs, recipe.momentum, recipe.weight_decay) == (350, 0.9, 0.001)
    assert (recipe.flip, recipe.crop_padding) == (False, 0)  # Table 3: no augmentation
    rates = [learning_rate(recipe, epoch, 1) for epoch in (199, 200, 250, 300, 349)]
    assert rates == pytest.approx([0.01, 0.001, 0.0001, 0.00001, 0.00001])
    augmented = find_recipe("allcnn_c-cifar10-augmented")
    assert augmented == recipe.replace(flip=True, crop_padding=5)
