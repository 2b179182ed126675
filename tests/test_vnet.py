"""V-Net: the paper's table and the released network's counts, and answers a second way."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.errors import UsageError
from striate.models import NETWORKS, build, outline
from striate.models.vnet import PAPER, RELEASED
from striate.tracing import trace

# L1 to L5, R4 to R1.
EXACT = (5, 22, 72, 172, 372, 468, 516, 532, 548)
PRINTED = (5, 22, 72, 172, 372, 476, 528, 546, 551)
MAPS = (16, 32, 64, 128, 256, 256, 128, 64, 32)


def stages(name):
    """The last layer of each stage."""
    last = {}
    for layer in trace(outline(name), NETWORKS[name].input_shape).layers:
        if layer.name.startswith("first") or ".stage." in layer.name:
            last[layer.name.rpartition("stage.")[0] or "first"] = layer
    return list(last.values())


def test_stages_have_the_maps_and_sizes_of_the_figure():
    halvings = (0, 1, 2, 3, 4, 3, 2, 1, 0)
    for name in ("vnet", "vnet_released"):
        assert [layer.output_shape for layer in stages(name)] == [
            (maps, 64 >> h, 128 >> h, 128 >> h) for maps, h in zip(MAPS, halvings, strict=True)
        ]


def test_fields_are_what_the_weights_reach():
    assert [layer.receptive_field for layer in stages("vnet")] == [(s,) * 3 for s in EXACT]
    traced = trace(outline("vnet"), (1, 64, 128, 128))
    assert traced.layers[-1].receptive_field == (548,) * 3


def test_the_paper_s_fields_follow_from_a_deconvolution_counted_as_a_coarse_step():
    field, step, found = 1, 1, []
    for level, convolutions in enumerate(PAPER):
        if level:
            field, step = field + step, 2 * step
        field += 4 * step * convolutions
        found.append(field)
    for convolutions in reversed(PAPER[:-1]):
        # Two taps of the coarser grid, one step apart; exactly, each output reads one of them.
        field, step = field + step // 2, step // 2
        field += 4 * step * convolutions
        found.append(field)
    assert tuple(found) == PRINTED


@pytest.mark.parametrize(
    ("name", "counts"), [("vnet", (1, 2, 3, 3, 3)), ("vnet_released", (1, 1, 2, 3, 3))]
)
def test_each_stage_has_the_convolutions_of_its_version(name, counts):
    layers = trace(outline(name), NETWORKS[name].input_shape).layers
    large = [one.output_shape[0] for one in layers if one.window and one.window.kernel == (5,) * 3]
    wide = zip(MAPS, (*counts, *reversed(counts[:-1])), strict=True)
    last = [2] if name == "vnet_released" else []
    assert large == [maps for maps, count in wide for _ in range(count)] + last
    assert counts == (RELEASED if last else PAPER)


# ---------------------------------------------------------------- a second way


def plainly(network, volumes, counts, width, released):
    """V-Net by functions alone, from the tensors that the network holds, by name."""
    state = network.state_dict()

    def convolve(x, name, **options):
        return F.conv3d(x, state[f"{name}.weight"], state[f"{name}.bias"], **options)

    def squash(x, name):
        slope = state[f"{name}.weight"].view(-1, 1, 1, 1)
        return torch.where(x > 0, x, slope * x)

    def stage(x, added, name, count):
        for number in range(count):
            x = convolve(x, f"{name}.conv.{number}", padding=2)
            if number == count - 1:
                x = x + added
            x = squash(x, f"{name}.prelu.{number}")
        return x

    channels = volumes.shape[1]
    copies = torch.stack([volumes[:, i % channels] for i in range(width)], dim=1)
    levels = [stage(volumes, copies, "first", counts[0])]
    for number, count in enumerate(counts[1:]):
        name = f"contracting.{number}"
        x = squash(convolve(levels[-1], f"{name}.down", stride=2), f"{name}.prelu")
        levels.append(stage(x, x, f"{name}.stage", count))
    x = levels.pop()
    for number, count in enumerate(reversed(counts[:-1])):
        name = f"expanding.{number}"
        up = state[f"{name}.up.weight"], state[f"{name}.up.bias"]
        x = squash(F.conv_transpose3d(x, *up, stride=2), f"{name}.prelu")
        x = torch.cat([x, levels.pop()], dim=1)
        x = stage(x, x, f"{name}.stage", count)
    if released:
        x = squash(convolve(x, "output.0", padding=2), "output.1")
    return convolve(x, "output.2" if released else "output.0")


@pytest.mark.parametrize("name", ["vnet", "vnet_released"])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_network_is_the_one_by_functions(name, channels):
    torch.manual_seed(4)
    network = build(name, in_channels=channels, num_classes=3, width=3, depth=2).double().eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:  # biases and slopes
            nn.init.normal_(parameter, std=0.3)
    volumes = torch.randn(2, channels, 4, 12, 8, dtype=torch.double)
    counts = {"vnet": (1, 2, 3), "vnet_released": (1, 1, 2)}[name]
    expected = plainly(network, volumes, counts, 3, released=name == "vnet_released")
    assert expected.shape == (2, 3, 4, 12, 8)
    torch.testing.assert_close(network(volumes), expected)


def test_weights_begin_with_the_deviation_of_a_unit_s_inputs_and_slopes_at_a_quarter():
    torch.manual_seed(0)
    network = build("vnet", width=8, depth=2)
    up, down = network.expanding[0].up.weight, network.contracting[1].down.weight
    assert up.std().item() == pytest.approx((2 / 32) ** 0.5, rel=0.1)
    assert down.std().item() == pytest.approx((2 / (16 * 8)) ** 0.5, rel=0.1)
    slopes = [m.weight for m in network.modules() if isinstance(m, nn.PReLU)]
    assert all((slope == 0.25).all() for slope in slopes)
    # One a map: 8; 16 and 16, 16; 32 and 3 of 32; up to 16, 2 of 32; up to 8, 16.
    assert sum(slope.numel() for slope in slopes) == 8 + 3 * 16 + 4 * 32 + 16 + 2 * 32 + 8 + 16


def test_a_deeper_network_goes_on_with_the_last_stage_and_a_shallower_one_ends_earlier():
    for depth in (1, 3, 5):
        network = outline("vnet", width=2, depth=depth)
        side = 2**depth
        traced = trace(network, (1, side, side, 3 * side))
        assert traced.output_shape == (2, side, side, 3 * side)
        assert len(network.contracting) == len(network.expanding) == depth
    assert len(network.contracting[4].stage.conv) == 3


def test_a_size_width_or_depth_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="multiples of 4, not 35x51x36; pad it to 36x52x36 by mi"):
        build("vnet", width=1, depth=2)(torch.zeros(1, 1, 35, 51, 36))
    with pytest.raises(UsageError, match="width is 0; a V-Net needs 1 or more"):
        build("vnet", width=0)
    with pytest.raises(UsageError, match="depth is 0; a V-Net needs 1 or more"):
        build("vnet_released", depth=0)
