"""Frozen parts stay to the bit; learning rates fall from the classifier to the image."""

import pytest
import torch
from torch import nn

from striate.display import Silent
from striate.errors import UsageError
from striate.fine_tuning import head_of, stages, tune
from striate.models import build
from striate.recipes import Recipe
from striate.training import train


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return build("resnet18", 3, 5)


class Notebook(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def fresh(**fields):
    network = build("resnet20", 1, 3).train()
    recipe = Recipe(network="resnet20", data="digits", **fields)
    return network, tune(network, recipe)


def test_stages_are_blocks_with_their_normalisation_and_lose_no_parameter(resnet):
    names = stages(resnet)
    assert len(names) == 10  # the first layer, two blocks in each of four rows, the classifier
    assert names[0] == ["conv1.weight", "bn1.weight", "bn1.bias"]
    assert names[1][0] == "layer1.0.conv1.weight"
    assert [name for stage in names for name in stage] == [n for n, _ in resnet.named_parameters()]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("lenet5_relu", {"output.weight", "output.bias"}),
        ("lenet5", {"f6.weight", "f6.bias"}),  # its output's codes are fixed
        ("vgg11", {"classifier.6.weight", "classifier.6.bias"}),
    ],
)
def test_the_head_is_what_grows_with_the_classes_or_the_last_stage(name, head):
    with torch.device("meta"):
        network = build(name)
    assert head_of(name, network, {}) == head


def test_rates_fall_from_the_classifier_to_the_image_and_names_overrule():
    rates = {"layer1": 0.5, "layer1.0.conv2": 0.125}
    network, roles = fresh(layer_decay=0.5, layer_rates=rates)
    factors = {n: r.factor for (n, _), r in zip(network.named_parameters(), roles, strict=True)}
    assert factors["fc.weight"] == factors["fc.bias"] == 1
    assert factors["layer3.2.conv1.weight"] == factors["layer3.2.bn2.bias"] == 0.5
    assert factors["layer3.1.conv1.weight"] == 0.25
    assert factors["conv1.weight"] == factors["bn1.weight"] == 0.5**10
    assert factors["layer1.0.conv1.weight"] == factors["layer1.2.bn2.weight"] == 0.5
    assert factors["layer1.0.conv2.weight"] == 0.125


def test_what_is_frozen_needs_no_gradient_and_its_batch_norm_evaluates():
    network, _ = fresh(freeze=("conv1", "bn1", "layer1", "layer2.0.bn1"))
    moving = {name for name, p in network.named_parameters() if p.requires_grad}
    assert not any(name.startswith(("conv1", "bn1", "layer1.", "layer2.0.bn1")) for name in moving)
    assert {"layer2.0.conv1.weight", "layer2.0.bn2.weight", "fc.bias"} <= moving
    modes = {n: m.training for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    frozen = {name for name, training in modes.items() if not training}
    inside = {name for name in modes if name.startswith("layer1.")}
    assert frozen == {"bn1", "layer2.0.bn1", *inside}


def test_all_but_head_leaves_the_classifier():
    network, _ = fresh(freeze=("all-but-head",))
    assert [n for n, p in network.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    assert not network.bn1.training
    assert network.training


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"freeze": ("layr1",)}, r"freeze: the network has no part 'layr1'; did you mean 'layer1'"),
        ({"freeze": ("all-but-last",)}, r"did you mean 'all-but-head'\?"),
        ({"freeze": ("q",)}, r"no part 'q'; known: all-but-head, bn1, conv1, fc, layer1"),
        ({"layer_rates": {"layer9": 0.1}}, r"layer_rates: the network has no part 'layer9'; did"),
        ({"freeze": ("conv1", "bn1", "layer1", "layer2", "layer3", "fc")}, r"leaves nothing of re"),
        ({"freeze": ("all-but-head",), "layer_decay": 0.5}, r"layer_decay does nothing: only the"),
        ({"freeze": ("fc",), "layer_rates": {"fc": 2}}, r"layer_rates: fc is frozen; leave it"),
    ],
)
def test_what_does_not_fit_is_refused(fields, words):
    with pytest.raises(UsageError, match=words):
        fresh(**fields)


def test_without_a_wish_nothing_is_looked_up():
    assert fresh()[1] is None


def test_a_run_keeps_frozen_parts_to_the_bit_and_says_how_much_trains(recipe, tmp_path):
    notebook = Notebook()
    first = train(recipe.replace(epochs=1), tmp_path / "first")
    tuned = recipe.replace(weights=str(first.path), freeze=("h1",), ema=0.9, weight_decay=0.1)
    run = train(tuned, tmp_path / "tuned", display=notebook)
    before, after = first.network().state_dict(), run.network().state_dict()
    sizes = {name: parameter.numel() for name, parameter in run.network().named_parameters()}
    same = {name for name in sizes if torch.equal(before[name], after[name])}
    assert same == {name for name in sizes if name.startswith("h1.")}
    frozen, total = sum(sizes[name] for name in same), sum(sizes.values())
    assert any(f"{total - frozen:,} of {total:,} parameters train" in n for n in notebook.notes)
