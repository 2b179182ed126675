"""The U: what is one, and its figure against the paper's."""

from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from sketching import SVG, UNet, outside, overlapping, texts, tips, traced
from striate.drawing import draw
from striate.drawing.steps import steps
from striate.drawing.ushape import find_u
from striate.errors import UsageError
from striate.models import build
from striate.tracing import trace

# Fig. 1 of Ronneberger et al. (2015): sizes and maps, typed in from the paper.
SIZES = [
    *(572, 570, 568, 284, 282, 280, 140, 138, 136, 68, 66, 64, 32, 30, 28),
    *(56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388),
]
MAPS = [
    *(1, 64, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512, 512, 1024, 1024),
    *(1024, 512, 512, 512, 256, 256, 256, 128, 128, 128, 64, 64, 2),
]


def test_the_u_has_the_sizes_and_maps_of_the_paper_s_figure():
    svg = draw(trace(UNet(), (1, 572, 572)), "U-Net")
    said = texts(svg)
    assert [int(t.partition("×")[0]) for t in said if t.count("×") == 1 and t[0].isdigit()
            and "conv" not in t and "pool" not in t] == SIZES  # fmt: skip
    assert [int(t.replace(",", "")) for t in said if t.replace(",", "").isdigit()] == MAPS
    assert "copy and crop" in said
    assert "2×2 transposed conv, ×2" in said
    assert overlapping(svg) == outside(svg) == []


def test_four_copies_go_across_and_every_bar_is_led_to():
    t = trace(UNet(), (1, 572, 572))
    found = steps(t)
    u = find_u(found)
    assert [u.levels[source] for source, _ in u.copies] == [3, 2, 1, 0]
    assert max(u.levels) == 4
    svg = draw(t, "U-Net")
    skips = [p for p in ElementTree.fromstring(svg).iter(f"{SVG}path") if p.get("class") == "skip"]
    legend = 5
    assert len(skips) == 4 + 1
    # An arrow to each bar but the input's, one for each copy, and the legend's.
    bars = len(found) - len(u.inside)
    assert tips(svg) == (bars - 1) + 4 + legend


def test_bars_on_one_level_have_their_upper_ends_in_line():
    svg = draw(traced("u"), "u")
    bars = [r for r in ElementTree.fromstring(svg).iter(f"{SVG}rect") if r.get("class") != "paper"]
    assert len({bar.get("y") for bar in bars}) == 4


@pytest.mark.parametrize("name", ["residual", "inception", "gated", "chain", "features"])
def test_other_networks_are_no_u(name):
    assert find_u(steps(traced(name))) is None


def test_lenet5_and_an_encoder_with_a_decoder_but_no_copies_are_no_u():
    assert find_u(steps(trace(build("lenet5"), (1, 32, 32)))) is None
    network = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ConvTranspose2d(4, 1, 2, 2))
    assert find_u(steps(trace(network, (1, 32, 32)))) is None


def test_copies_that_are_added_make_a_u_too():
    class Added(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.down = nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 8, 2, 2)
            self.low, self.up = nn.Conv3d(8, 8, 3, padding=1), nn.ConvTranspose3d(8, 4, 2, 2)

        def forward(self, x):
            x = self.first(x)
            low = self.down(x)
            return x + self.up(torch.relu(self.low(low) + low))

    t = trace(Added(), (1, 8, 10, 12))
    assert find_u(steps(t)).copies == ((1, 6),)
    said = texts(draw(t, "added"))
    assert "addition" in said
    assert "copy" in said
    assert "8×10×12" in said


class Gated(nn.Module):
    """Squeeze and excitation: down to one pixel and, multiplied, up again."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 16, 3, padding=1)
        self.gate = nn.Sequential(
            *(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1)),
            nn.Sigmoid(),
        )
        self.last = nn.Conv2d(16, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.maps(x)
        return self.last(maps * self.gate(maps))


class Tokens(nn.Module):
    """Patches as tokens, with a table of positions and an encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, stride=8)
        self.table = nn.Parameter(torch.zeros(1, 16, 32))
        self.encoder = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.table
        return self.head(self.encoder(tokens).mean(1))


@pytest.mark.parametrize(("network", "side"), [(Gated(), 16), (Tokens(), 32)])
def test_a_gate_and_a_transformer_are_no_u_and_are_drawn(network, side):
    t = trace(network, (3, side, side))
    assert find_u(steps(t)) is None
    assert texts(draw(t, "of a person"))
    with pytest.raises(UsageError, match="the network is no U"):
        draw(t, "of a person", style="u")
