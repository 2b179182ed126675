"""Tensors to a network: what must fit, what is adapted, and by which rule."""

import re

import pytest
import torch

from striate.errors import UsageError
from striate.models import NETWORKS, build
from striate.weights_fitting import (
    adapt_channels,
    fit_of,
    layout_of,
    load_tensors,
    shapes_of,
    translate_timm,
    twins_of,
)

SMALL = ("lecun1989", "lecun1990", "lenet5", "dense300", "resnet20", "allcnn_c", "scherer_norb")


def built(name, seed, **changes):
    torch.manual_seed(seed)
    return build(name, **changes).eval()


def assert_same_but(ours, theirs, names=()):
    """Compare two networks' tensors; those that are named must differ."""
    state = ours.state_dict()
    unlike = {n for n, t in theirs.state_dict().items() if not torch.equal(t, state[n])}
    assert unlike == set(names)


# ---------------------------------------------------------------- what depends on what


def test_the_image_is_read_by_the_first_layer_and_classes_are_told_by_the_last():
    for name, inputs, head in (
        ("resnet50", {"conv1.weight"}, {"fc.weight", "fc.bias"}),
        ("vgg16", {"features.0.weight"}, {"classifier.6.weight", "classifier.6.bias"}),
        ("lenet5", {"c1.weight"}, {"output.codes"}),
        ("allcnn_c", {"stage1.conv1.weight"}, {"conv3.weight", "conv3.bias"}),
        (
            "googlenet_torchvision",
            {"conv1.conv.weight"},
            {f"{layer}.{kind}" for layer in ("fc", "aux1.fc2", "aux2.fc2") for kind in KINDS},
        ),
    ):
        layout = layout_of(name)
        assert set(layout.inputs) == inputs, name
        assert set(layout.head) == head, name


KINDS = ("weight", "bias")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_an_input_and_a_head_and_the_layout_foretells_other_sizes(name):
    network = NETWORKS[name]
    layout = layout_of(name)
    assert layout.inputs
    assert layout.head
    assert layout.inputs.keys().isdisjoint(layout.head)
    channels, classes = network.input_shape[0] + 2, network.num_classes + 3
    assert layout.resized(channels, classes) == shapes_of(name, channels, classes)


def test_twins_have_all_names_and_shapes_in_common_and_nobody_else_has():
    by_shape: dict[tuple, set[str]] = {}
    for name in NETWORKS:
        by_shape.setdefault(tuple(sorted(shapes_of(name).items())), set()).add(name)
    groups = [group for group in by_shape.values() if len(group) > 1]
    for group in groups:
        for name in group:
            assert {name, *twins_of(name)} == group
    # The papers' pairs: the stride's place, shortcuts without weights, pooling against stride.
    assert {"resnet50", "resnet50_v1_5"} in groups
    assert {"resnet20", "plain20"} in groups
    assert {"base_a", "strided_a"} in groups
    assert twins_of("resnet18") == twins_of("vgg11") == twins_of("googlenet") == []


# ---------------------------------------------------------------- loading


@pytest.mark.parametrize("name", SMALL)
def test_weights_that_fit_are_loaded_to_the_bit(name):
    trained, network = built(name, 1), built(name, 2)
    count = len(trained.state_dict())
    notes = load_tensors(network, name, trained.state_dict(), source="trained.pth")
    assert notes == [f"{count} of {count} tensors"]
    assert_same_but(network, trained)
    images = torch.rand(3, *NETWORKS[name].input_shape)
    assert torch.equal(network(images), trained(images))


@pytest.mark.parametrize("name", SMALL)
def test_a_new_head_keeps_the_body_s_weights(name):
    trained, network, fresh = (
        built(name, 1), built(name, 2, num_classes=13), built(name, 2, num_classes=13)
    )  # fmt: skip
    notes = load_tensors(network, name, trained.state_dict(), source="trained.pth")
    classes = NETWORKS[name].num_classes
    assert notes[1:] == [f"head new for 13 classes, trained.pth has {classes}"]
    state, head = network.state_dict(), set(layout_of(name).head)
    for key, tensor in trained.state_dict().items():
        kept = fresh.state_dict()[key] if key in head else tensor
        assert torch.equal(state[key], kept), key
    assert_same_but(network, fresh, set(state) - head - unlearnt(fresh, trained))


def unlearnt(*networks):
    """Name the tensors that no seed changes: normalisation as it begins, biases of 0."""
    one, other = (network.state_dict() for network in networks)
    return {name for name in one if torch.equal(one[name], other.get(name, torch.zeros(0)))}


@pytest.mark.parametrize("name", ["lecun1990", "dense300", "resnet20", "scherer_norb"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_an_image_that_is_the_same_in_all_channels_gives_the_same_answer(name, channels):
    trained, network = built(name, 1), built(name, 2, in_channels=channels)
    before, *size = NETWORKS[name].input_shape
    notes = load_tensors(network, name, trained.state_dict(), source="trained.pth")
    changed = [f"input adapted from {before} to {channels} channels"] * (before != channels)
    assert notes[1:] == changed
    grey = torch.rand(3, 1, *size)
    ours, theirs = (
        each(grey.expand(-1, count, *size))
        for each, count in ((network, channels), (trained, before))
    )
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    assert not torch.equal(ours, torch.zeros_like(ours))


def test_the_rule_of_the_channels_in_numbers():
    rgb = torch.tensor([[6.0, 10.0, 30.0]])
    assert adapt_channels(rgb, 1).tolist() == [[46.0]]
    assert adapt_channels(rgb, 2).tolist() == [[36.0, 10.0]]
    assert adapt_channels(rgb, 3) is rgb
    assert adapt_channels(rgb, 5).tolist() == [[3.0, 5.0, 30.0, 3.0, 5.0]]
    assert adapt_channels(torch.tensor([[9.0]]), 3).tolist() == [[3.0, 3.0, 3.0]]
    pixels = torch.tensor([[1.0, 2.0, 5.0, 7.0]])  # two channels of two pixels
    assert adapt_channels(pixels, 1, each=2).tolist() == [[6.0, 9.0]]
    assert adapt_channels(pixels, 3, each=2).tolist() == [[0.5, 1.0, 5.0, 7.0, 0.5, 1.0]]


def test_a_file_without_head_leaves_the_head_and_says_so():
    trained, network, fresh = built("resnet20", 1), built("resnet20", 2), built("resnet20", 2)
    body = {k: v for k, v in trained.state_dict().items() if not k.startswith("fc.")}
    notes = load_tensors(network, "resnet20", body, source="body.pth")
    assert notes[1:] == ["head new for 10 classes, body.pth has none"]
    assert torch.equal(network.fc.weight, fresh.fc.weight)
    assert torch.equal(network.conv1.weight, trained.conv1.weight)


def test_counters_of_batch_normalisation_may_be_missing():
    trained, network = built("resnet20", 1), built("resnet20", 2)
    older = {k: v for k, v in trained.state_dict().items() if "num_batches_tracked" not in k}
    assert len(older) < len(trained.state_dict())
    load_tensors(network, "resnet20", older, source="older.pth")
    assert_same_but(network, trained)


def test_auxiliary_classifiers_may_be_missing_and_begin_anew():
    with torch.device("meta"):
        trained = build("googlenet_torchvision").state_dict()
    layout = layout_of("googlenet_torchvision")
    whole = fit_of(layout, trained)
    assert (whole.misfits(), whole.anew, whole.classes) == ("", frozenset(), 1000)
    plain = {name: tensor for name, tensor in trained.items() if not name.startswith("aux")}
    fit = fit_of(layout, plain)
    assert fit.misfits() == ""
    assert fit.anew == trained.keys() - plain.keys()
    half = {name: tensor for name, tensor in plain.items() if not name.startswith("inception5b.b")}
    assert re.match(
        r"\d+ tensors missing \(inception5b\.branch1\.conv\.weight, ",
        fit_of(layout, half).misfits(),
    )


def test_a_googlenet_without_them_is_loaded_and_its_own_stay():
    name = "googlenet_torchvision"
    trained, network, fresh = built(name, 1), built(name, 2), built(name, 2)
    plain = {k: v for k, v in trained.state_dict().items() if not k.startswith("aux")}
    notes = load_tensors(network, name, plain, source="plain.pth")
    assert notes == [
        f"{len(plain)} of {len(trained.state_dict())} tensors",
        "auxiliary classifiers new",
    ]
    state = network.state_dict()
    for key, tensor in fresh.state_dict().items():
        assert torch.equal(state[key], plain.get(key, tensor)), key
    assert not torch.equal(state["fc.weight"], fresh.fc.weight)
    assert not torch.equal(state["aux2.fc2.weight"], trained.aux2.fc2.weight)


# ---------------------------------------------------------------- what is refused


@pytest.fixture
def trained():
    return built("resnet20", 1).state_dict()


def refused(name, tensors, **changes):
    """Give the words of the refusal, after looking that the network is as it was."""
    network, before = built(name, 2, **changes), built(name, 2, **changes)
    with pytest.raises(UsageError, match=rf"file\.pth does not fit {name}: ") as refusal:
        load_tensors(network, name, tensors, source="file.pth")
    assert_same_but(network, before)
    text = str(refusal.value)
    assert "\n" not in text
    return text


def test_a_missing_and_an_unexpected_tensor_are_named(trained):
    trained["layer1.0.conv9.weight"] = trained.pop("layer1.0.conv1.weight")
    assert refused("resnet20", trained) == (
        "file.pth does not fit resnet20: 1 tensor missing (layer1.0.conv1.weight), 1 tensor not "
        "expected (layer1.0.conv9.weight); it fits no network of `striate models`"
    )


def test_a_wrong_shape_is_named_with_the_right_one(trained):
    trained["layer3.0.conv1.weight"] = torch.zeros(64, 31, 3, 3)
    trained["bn1.bias"] = torch.zeros(17)
    assert (
        "resnet20: 2 tensors of a wrong shape (bn1.bias is 17, needed 16, layer3.0.conv1.weight is "
        "64x31x3x3, needed 64x32x3x3);"
    ) in refused("resnet20", trained)


def test_head_and_input_are_adapted_by_their_count_only(trained):
    for name, shape in (
        ("fc.weight", (10, 63)), ("fc.bias", (11,)), ("conv1.weight", (16, 3, 5, 5)),
        ("conv1.weight", (16,)),
    ):  # fmt: skip
        text = refused("resnet20", {**trained, name: torch.zeros(shape)}, num_classes=7)
        assert f"1 tensor of a wrong shape ({name} is " in text
    assert "1 tensor missing (fc.bias)" in refused(
        "resnet20", {k: v for k, v in trained.items() if k != "fc.bias"}
    )


def test_many_names_are_counted_and_the_first_named_and_the_right_network_told(trained):
    text = refused("resnet32", trained)
    assert re.search(
        r"60 tensors missing \(layer1\.3\.conv1\.weight, layer1\.3\.bn1\.weight, "
        r"layer1\.3\.bn1\.bias, \.\.\.\); it fits resnet20 and plain20$", text
    ), text  # fmt: skip
    seven = built("resnet20", 1, in_channels=2, num_classes=7).state_dict()
    assert refused("lecun1990", seven).endswith("it fits resnet20 and plain20")


def test_names_of_timm_s_vgg_are_translated_and_others_left_alone():
    theirs = {
        "features.0.bias": torch.zeros(64),
        "pre_logits.fc1.weight": torch.arange(2 * 3 * 7 * 7).reshape(2, 3, 7, 7),
        "pre_logits.fc1.bias": torch.zeros(2),
        "pre_logits.fc2.weight": torch.zeros(2, 2, 1, 1),
        "head.fc.weight": torch.zeros(5, 2),
    }
    ours = translate_timm(theirs)
    assert {name: tuple(tensor.shape) for name, tensor in ours.items()} == {
        "features.0.bias": (64,), "classifier.0.weight": (2, 147), "classifier.0.bias": (2,),
        "classifier.3.weight": (2, 2), "classifier.6.weight": (5, 2),
    }  # fmt: skip
    assert ours["classifier.0.weight"][1].tolist() == list(range(147, 294))
    other = {"head.fc.weight": torch.zeros(5, 2)}
    assert translate_timm(other) == other


def test_a_head_of_several_layers_takes_another_number_of_classes_throughout():
    trained = built("vnet_released", 1, width=2, depth=1)
    network = built("vnet_released", 2, width=2, depth=1, num_classes=5)
    options = {"width": 2, "depth": 1}
    notes = load_tensors(
        network, "vnet_released", trained.state_dict(), source="trained.pth", options=options
    )
    assert notes[1:] == ["head new for 5 classes, trained.pth has 2"]
    assert network.output[2].weight.shape == (5, 5, 1, 1, 1)
    assert torch.equal(network.first.conv[0].weight, trained.first.conv[0].weight)
