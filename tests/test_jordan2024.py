"""The network of Jordan (2024) and how it begins and trains."""

import pytest
import torch
from torch.nn import functional as F

from learning import learns_by_heart
from striate.display import Silent
from striate.models import build, find_recipe, with_defaults
from striate.models.jordan2024 import Jordan2024
from striate.recipes import Recipe
from striate.schedules import learning_rate
from striate.task_making import prepare
from striate.tracing import trace


def test_the_maps_are_those_of_the_program():
    layers = trace(build("airbench94"), (3, 32, 32)).layers
    shapes = {layer.name: tuple(layer.output_shape) for layer in layers if layer.name}
    assert [shapes[name] for name in ("whiten", "group1.conv1", "group1.pool", "group1.norm2")] == [
        *((24, 31, 31), (64, 31, 31), (64, 15, 15), (64, 15, 15)),
    ]
    assert [shapes[f"group{number}.norm2"] for number in (2, 3)] == [(256, 7, 7), (256, 3, 3)]
    assert (shapes["pool"], shapes["fc"]) == ((256, 1, 1), (10,))


def test_1_97_million_parameters_move_and_those_of_whitening_and_the_scales_do_not():
    network = build("airbench94")
    frozen = {name: p.numel() for name, p in network.named_parameters() if not p.requires_grad}
    moving = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert frozen.pop("whiten.weight") == 2 * 12 * 12
    assert sorted(frozen.values()) == [64, 64, 256, 256, 256, 256]
    assert round((moving + 288) / 1e6, 2) == 1.97


def test_the_layers_compute_one_after_another():
    torch.manual_seed(0)
    network = Jordan2024(width=3).eval()
    images = torch.randn(5, 3, 32, 32)
    x = F.gelu(F.conv2d(images, network.whiten.weight, network.whiten.bias))
    for group in (network.group1, network.group2, network.group3):
        x = F.max_pool2d(F.conv2d(x, group.conv1.weight, padding=1), 2)
        x = F.gelu(F.batch_norm(x, torch.zeros(x.shape[1]), torch.ones(x.shape[1]), eps=1e-12))
        x = F.conv2d(x, group.conv2.weight, padding=1)
        x = F.gelu(F.batch_norm(x, torch.zeros(x.shape[1]), torch.ones(x.shape[1]), eps=1e-12))
    expected = F.max_pool2d(x, 3).flatten(1) @ network.fc.weight.T / 9
    with torch.no_grad():
        assert torch.allclose(network(images), expected, atol=1e-5)


def test_the_first_convolution_whitens_the_patches_that_it_is_shown():
    torch.manual_seed(1)
    images = torch.randn(7, 3, 19, 20) @ torch.randn(20, 20) + 0.7
    network = Jordan2024()
    network.initialize_from(images)
    answers = F.conv2d(images, network.whiten.weight).transpose(0, 1).flatten(1)
    moments = answers[:12] @ answers[:12].T / answers.shape[1]
    assert torch.allclose(moments, torch.eye(12), atol=2e-3)
    assert torch.equal(network.whiten.weight[12:], -network.whiten.weight[:12])
    lengths = network.whiten.weight[:12].flatten(1).norm(dim=1)
    assert lengths.tolist() == sorted(lengths.tolist())  # the strongest direction comes first


def test_convolutions_begin_as_copies_of_their_maps():
    torch.manual_seed(2)
    network = build("airbench94")
    maps = torch.randn(2, 64, 5, 6)
    copied = F.conv2d(maps, network.group2.conv1.weight, padding=1)
    assert torch.equal(copied[:, :64], maps)
    drawn = network.group2.conv1.weight[64:]
    assert drawn.std().item() == pytest.approx((1 / (3 * 64 * 9)) ** 0.5, rel=0.02)


def test_every_parameter_that_moves_learns_and_ten_images_can_be_learnt_by_heart():
    torch.manual_seed(3)
    network = Jordan2024(width=8)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    learns_by_heart(network, torch.randn(10, 3, 20, 20), rate=0.3)


def test_images_below_18_pixels_are_refused():
    network = Jordan2024(width=2).eval()
    assert network(torch.zeros(1, 3, 18, 18)).shape == (1, 10)
    with pytest.raises(ValueError, match=r"18x18 or more, not \(1, 3, 20, 17\)"):
        network(torch.zeros(1, 3, 20, 17))


def test_a_run_begins_with_patches_of_its_images_whitened():
    recipe = Recipe(network="airbench94", data="digits", batch_size=500)
    prepared = prepare(with_defaults(recipe), recipe.model_fields_set, Silent())
    images = torch.cat([batch.images for batch in prepared.task.batches(0, 0)])
    network = Jordan2024(in_channels=1)
    network.initialize_from(images)
    assert torch.equal(prepared.network.whiten.weight, network.whiten.weight)


def test_the_rate_and_the_decay_are_the_programs_for_a_mean_loss():
    recipe = find_recipe("cifar10-94")
    gain = 1 + 1 / (1 - recipe.momentum)  # the step of Nesterov's momentum beside that of none
    assert recipe.learning_rate == pytest.approx(11.5 / gain, abs=1e-3)
    decay = recipe.learning_rate * recipe.weight_decay
    assert decay == pytest.approx(0.0153 / gain, rel=5e-3)
    assert (recipe.nesterov, recipe.label_smoothing, recipe.decay) == (True, 0.2, "weights")
    assert (recipe.flip, recipe.alternate, recipe.crop_padding) == (True, True, 2)
    assert list(recipe.layer_rates.values()) == [64] * 6
    assert (recipe.protocol, recipe.view_average, recipe.validation) == ("shifts", "scores", 0)


def test_ten_minutes_of_a_processor_have_the_same_rate_for_each_image_and_run_out_with_the_time():
    own, short = find_recipe("cifar10-94"), find_recipe("cifar10-10min")
    assert short.learning_rate / short.batch_size == own.learning_rate / own.batch_size
    assert (short.network, short.time, short.validation) == ("airbench94_narrow", 600, 0)
    late = learning_rate(short, 100, 98, elapsed=590.0)
    assert late == pytest.approx(short.learning_rate * (10 / 600) / 0.7)
