"""Our optimisers against PyTorch's."""

import pytest
import torch
from torch import nn

from striate.optimization import Optimizer, Role, update_average
from striate.recipes import Recipe

RECIPE = Recipe(network="lenet5", data="digits", epochs=10, learning_rate=0.1)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


SETTINGS = [
    ({"momentum": 0.0}, torch.optim.SGD, {}),
    ({"momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
    (
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.02},
        torch.optim.SGD,
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.02},
    ),
    ({"optimizer": "adamw", "weight_decay": 0.1}, torch.optim.AdamW, {"weight_decay": 0.1}),
    ({"optimizer": "adamw"}, torch.optim.AdamW, {"weight_decay": 0.0}),
]


@pytest.mark.parametrize(("fields", "rival", "options"), SETTINGS)
def test_weights_move_as_pytorch_moves_them(fields, rival, options):
    ours, theirs = small_network(), small_network()
    optimizer = Optimizer(ours.parameters(), RECIPE.replace(**fields))
    other = rival(theirs.parameters(), lr=0.1, **options)
    for step in range(25):
        x = torch.randn(7, 5, generator=torch.Generator().manual_seed(step))
        rate = 0.1 / (1 + step)
        other.param_groups[0]["lr"] = rate
        for network, update in (
            (ours, lambda rate=rate: optimizer.step(rate)),
            (theirs, other.step),
        ):
            network(x).square().sum().backward()
            update()
            network.zero_grad()
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, yours, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_decay_of_weights_leaves_biases_as_they_would_be_without_decay(name):
    fields = {"optimizer": name, "weight_decay": 0.3}
    every, weights, none = small_network(), small_network(), small_network()
    for network, decay in ((every, fields), (weights, fields | {"decay": "weights"}),
                           (none, fields | {"weight_decay": 0.0})):  # fmt: skip
        with torch.no_grad():
            network[0].bias.fill_(2.0)
        optimizer = Optimizer(network.parameters(), RECIPE.replace(**decay))
        network(torch.ones(2, 5)).square().sum().backward()
        optimizer.step(0.1)
    assert torch.equal(weights[0].bias, none[0].bias)
    assert torch.equal(weights[0].weight, every[0].weight)
    assert not torch.equal(weights[0].weight, none[0].weight)
    assert not torch.equal(every[0].bias, none[0].bias)


def test_at_a_constant_rate_weights_and_biases_move_by_alexnet_s_rule():
    """v <- 0.9 v - 0.0005 e w - e g; w <- w + v: there the rate is inside the velocity."""
    network, rate = small_network(), 0.05
    optimizer = Optimizer(network.parameters(), RECIPE.replace(momentum=0.9, weight_decay=0.0005))
    plain = [parameter.detach().clone().double() for parameter in network.parameters()]
    velocities = [torch.zeros_like(weights) for weights in plain]
    for step in range(25):
        x = torch.randn(7, 5, generator=torch.Generator().manual_seed(step))
        network(x).square().sum().backward()
        for parameter, weights, velocity in zip(
            network.parameters(), plain, velocities, strict=True
        ):
            velocity.mul_(0.9).sub_(0.0005 * rate * weights + rate * parameter.grad)
            weights.add_(velocity)
        optimizer.step(rate)
    for parameter, weights in zip(network.parameters(), plain, strict=True):
        assert torch.allclose(parameter.double(), weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
def test_muon_moves_by_the_formula(channels_last):
    """A convolution is the matrix (maps, inputs times window); biases and the head move by SGD."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 20, 3), nn.Flatten(), nn.Linear(20, 4), nn.Linear(4, 3))
    if channels_last:
        network.to(memory_format=torch.channels_last)
    roles = [Role(), Role(), Role(0.5), Role(), Role(1.0, False), Role(1.0, False)]
    plain = [parameter.detach().clone().double() for parameter in network.parameters()]
    velocities = [torch.zeros_like(weights) for weights in plain]
    recipe = RECIPE.replace(optimizer="muon", momentum=0.8, weight_decay=0.1)
    optimizer = Optimizer(network.parameters(), recipe, roles)
    for step in range(4):
        x = torch.randn(7, 2, 3, 3, generator=torch.Generator().manual_seed(step))
        network(x).square().sum().backward()
        for place, parameter in enumerate(network.parameters()):
            gradient = parameter.grad.double()
            velocities[place] = 0.8 * velocities[place] + gradient
            direction = gradient + 0.8 * velocities[place]
            rate = 0.02 * roles[place].factor
            plain[place] *= 1 - rate * 0.1
            if place in (0, 2):
                rows = direction.shape[0]
                matrix = direction.reshape(rows, -1)
                left, values, right = torch.linalg.svd(matrix, full_matrices=False)
                values = values / matrix.norm()
                for _ in range(5):
                    values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
                direction = (left * values @ right).reshape(direction.shape)
                rate *= max(1.0, rows / matrix.shape[1]) ** 0.5
            plain[place] -= rate * direction
        optimizer.step(0.02)
    for parameter, weights in zip(network.parameters(), plain, strict=True):
        assert torch.allclose(parameter.double(), weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_factor_scales_the_rate_of_its_parameter_alone(optimizer):
    """As PyTorch's parameter groups do."""
    ours, theirs = small_network(), small_network()
    recipe = RECIPE.replace(optimizer=optimizer, weight_decay=0.1)
    mine = Optimizer(ours.parameters(), recipe, [Role(0.25), Role(), Role(0.25), Role(3.0)])
    groups = [
        {"params": [parameter], "lr": 0.05 * factor}
        for parameter, factor in zip(theirs.parameters(), (0.25, 1, 0.25, 3), strict=True)
    ]
    rivals = {"sgd": (torch.optim.SGD, {"momentum": 0.9}), "adamw": (torch.optim.AdamW, {})}
    kind, options = rivals[optimizer]
    rival = kind(groups, weight_decay=0.1, **options)
    for step in range(5):
        x = torch.randn(7, 5, generator=torch.Generator().manual_seed(step))
        for network, update in ((ours, lambda: mine.step(0.05)), (theirs, rival.step)):
            network.zero_grad()
            network(x).square().sum().backward()
            update()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("fields", [*(fields for fields, _, _ in SETTINGS), {"optimizer": "muon"}])
def test_a_loaded_state_goes_on_to_the_same_bits(fields):
    def steps(network, optimizer, numbers):
        for number in numbers:
            generator = torch.Generator().manual_seed(number)
            network(torch.randn(7, 5, generator=generator)).square().sum().backward()
            optimizer.step(0.05)

    recipe = RECIPE.replace(**fields)
    whole = small_network()
    steps(whole, Optimizer(whole.parameters(), recipe), range(9))
    first = small_network()
    before = Optimizer(first.parameters(), recipe)
    steps(first, before, range(4))
    second = small_network()
    second.load_state_dict(first.state_dict())
    after = Optimizer(second.parameters(), recipe)
    after.load_state(before.state())
    steps(second, after, range(4, 9))
    for one, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_weights_without_a_gradient_still_decay_and_frozen_ones_stay():
    network = small_network()
    network[0].bias.requires_grad_(False)
    frozen = network[0].bias.clone()
    before = network[2].weight.clone()
    Optimizer(network.parameters(), RECIPE.replace(momentum=0, weight_decay=0.5)).step(0.1)
    assert torch.allclose(network[2].weight, before * 0.95)
    assert torch.equal(network[0].bias, frozen)


@pytest.mark.parametrize("clip", [0.01, 0.5, 1e6])
def test_a_long_gradient_is_shortened_as_pytorch_shortens_it(clip):
    torch.manual_seed(0)
    ours, theirs = small_network(), small_network()
    theirs.load_state_dict(ours.state_dict())
    fields = {"learning_rate": 0.1, "momentum": 0.9, "clip": clip}
    optimizer = Optimizer(ours.parameters(), Recipe(network="lenet5", data="digits", **fields))
    rival = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    images = torch.randn(7, 5)
    for _ in range(3):
        ours(images).square().sum().backward()
        theirs(images).square().sum().backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        optimizer.step(0.1)
        rival.step()
        rival.zero_grad()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, rtol=1e-4, atol=1e-6)


def test_the_average_follows_and_takes_buffers_over():
    network, average = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    nn.init.constant_(network.weight, 5.0)
    network.running_mean.fill_(7.0)
    update_average(average, network, decay=0.75, steps=10**6)
    assert average.weight.tolist() == [2.0] * 3  # 0.75 × 1 + 0.25 × 5
    assert average.running_mean.tolist() == [7.0] * 3
    fresh = nn.BatchNorm1d(3)
    update_average(fresh, network, decay=0.999, steps=1)
    assert fresh.weight[0] > 4  # the first steps forget the initial weights
