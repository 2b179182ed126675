"""Networks to draw, and drawings read back: their texts, the room of each, their tooltips."""

import re
from xml.etree import ElementTree

import torch
from torch import nn
from torch.nn import functional as F

from striate.drawing.svg import Box, text_room
from striate.tracing import Trace, trace

SVG = "{http://www.w3.org/2000/svg}"


def unit(channels_in, channels, kernel=3, stride=1):
    """Convolution, normalisation and activation."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """A bottleneck of a residual network."""

    def __init__(self, channels_in, channels, stride=1):
        super().__init__()
        self.one = unit(channels_in, channels, 1, stride)
        self.two = unit(channels, channels)
        self.three = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, 1), nn.BatchNorm2d(4 * channels)
        )
        fits = stride == 1 and channels_in == 4 * channels
        self.shortcut = nn.Identity() if fits else nn.Conv2d(channels_in, 4 * channels, 1, stride)

    def forward(self, x):
        return torch.relu(self.three(self.two(self.one(x))) + self.shortcut(x))


def residual(*depths, width=2, names=None):
    """A residual network with so many bottlenecks in each stage."""
    blocks = [unit(3, width, 7, 2), nn.MaxPool2d(3, 2, 1)]
    channels = width
    for stage, depth in enumerate(depths):
        for i in range(depth):
            blocks.append(Residual(channels, width * 2**stage, 2 if i == 0 and stage else 1))
            channels = 4 * width * 2**stage
    blocks += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 7)]
    network = nn.Sequential()
    for name, block in zip(names or range(len(blocks)), blocks, strict=True):
        network.add_module(str(name), block)
    return network


class Inception(nn.Module):
    """Four branches and what joins them."""

    def __init__(self, channels_in):
        super().__init__()
        self.branches = nn.ModuleList(
            [
                unit(channels_in, 4, 1),
                nn.Sequential(unit(channels_in, 3, 1), unit(3, 5)),
                nn.Sequential(unit(channels_in, 2, 1), unit(2, 3, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(channels_in, 2, 1)),
            ]
        )

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Dense(nn.Module):
    """Layers that read all before them, joined step by step or each time anew."""

    def __init__(self, depth, every=False):
        super().__init__()
        self.every = every
        self.layers = nn.ModuleList(nn.Conv2d(3 + 2 * i, 2, 3, padding=1) for i in range(depth))

    def forward(self, x):
        maps = [x]
        for layer in self.layers:
            maps.append(layer(torch.relu(x)))
            x = torch.cat(maps if self.every else [x, maps[-1]], dim=1)
        return x


class Gated(nn.Module):
    """Squeeze and excitation, with an activation written out by hand."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.down, self.up = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x):
        x = self.conv(x)
        x = x * torch.sigmoid(x)
        return x * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class UNet(nn.Module):
    """The U of Ronneberger et al. (2015), or a narrower one."""

    def __init__(self, width=64, depth=4, padding=0):
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            self._pair(before, after, padding)
            for before, after in zip([1, *widths], widths, strict=False)
        )
        up = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in up)
        self.up = nn.ModuleList(self._pair(a, b, padding) for a, b in up)
        self.last = nn.Conv2d(width, 2, 1)

    @staticmethod
    def _pair(before, after, padding):
        return nn.Sequential(
            *(nn.Conv2d(before, after, 3, padding=padding), nn.ReLU()),
            *(nn.Conv2d(after, after, 3, padding=padding), nn.ReLU()),
        )

    def forward(self, x):
        kept = []
        for level in self.down:
            x = level(F.max_pool2d(x, 2) if kept else x)
            kept.append(x)
        kept.pop()
        for rise, level in zip(self.rise, self.up, strict=True):
            x, copy = rise(x), kept.pop()
            cut = (copy.shape[-1] - x.shape[-1]) // 2
            copy = copy[:, :, cut : cut + x.shape[2], cut : cut + x.shape[3]]
            x = level(torch.cat([copy, x], dim=1))
        return self.last(x)


def traced(name: str) -> Trace:
    """Trace one of the networks by name."""
    network, shape = NETWORKS_TO_DRAW[name]()
    return trace(network, shape)


NETWORKS_TO_DRAW = {
    "residual": lambda: (residual(2, 2), (3, 32, 48)),
    "152 layers": lambda: (residual(3, 8, 36, 3), (3, 64, 64)),
    "inception": lambda: (
        nn.Sequential(unit(3, 6), Inception(6), Inception(14), nn.AdaptiveAvgPool2d(1)),
        (3, 12, 14),
    ),
    "growing": lambda: (nn.Sequential(Dense(100), nn.Conv2d(203, 5, 1)), (3, 8, 9)),
    "dense": lambda: (nn.Sequential(Dense(30, every=True), nn.Conv2d(63, 5, 1)), (3, 8, 9)),
    "gated": lambda: (nn.Sequential(nn.Conv2d(3, 6, 3), Gated(6), Gated(6)), (3, 12, 14)),
    "u": lambda: (UNet(3, 3, 1), (1, 48, 64)),
    "chain": lambda: (
        nn.Sequential(
            *(nn.Conv2d(3, 40, 5, 2), nn.ReLU(), nn.Conv2d(40, 40, 3, groups=2), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(40 * 6 * 8, 19), nn.Dropout(), nn.Linear(19, 4)),
        ),
        (3, 32, 40),
    ),
    "one dimension": lambda: (
        nn.Sequential(nn.Conv1d(2, 5, 7, 2), nn.AvgPool1d(3), nn.Flatten(), nn.Linear(50, 3)),
        (2, 66),
    ),
    "three dimensions": lambda: (
        nn.Sequential(nn.Conv3d(1, 4, 3), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(480, 3)),
        (1, 10, 12, 14),
    ),
    "features": lambda: (nn.Sequential(nn.Linear(30, 64), nn.Tanh(), nn.Linear(64, 3)), (30,)),
}


def rooms(svg: str) -> list[tuple[str, Box]]:
    """Give each text of a drawing, and the room that it takes."""
    return [
        (
            text.text or "",
            text_room(
                (float(text.get("x")), float(text.get("y"))),
                text.text or "",
                float(text.get("font-size")),
                anchor=text.get("text-anchor", "start"),
                bold="bold" in text.get("class"),
            ),
        )
        for text in ElementTree.fromstring(svg).iter(f"{SVG}text")
    ]


def texts(svg: str) -> list[str]:
    """Give each text of a drawing."""
    return [text for text, _ in rooms(svg)]


def overlapping(svg: str) -> list[tuple[str, str]]:
    """Name the texts that lie on one another."""
    found = rooms(svg)
    return [
        (one, other)
        for i, (one, a) in enumerate(found)
        for other, b in found[i + 1 :]
        if a.left < b.right and b.left < a.right and a.top < b.bottom and b.top < a.bottom
    ]


def outside(svg: str) -> list[str]:
    """Name the texts that leave the picture."""
    x, y, width, height = map(float, ElementTree.fromstring(svg).get("viewBox").split())
    return [
        text
        for text, room in rooms(svg)
        if room.left < x or room.right > x + width or room.top < y or room.bottom > y + height
    ]


def tooltips(svg: str) -> list[str]:
    """Give what the pointer is told, line by line."""
    groups = ElementTree.fromstring(svg).iter(f"{SVG}g")
    return [line for g in groups for line in g.find(f"{SVG}title").text.split("\n")]


def told_parameters(svg: str) -> int:
    """Add the parameters that the tooltips tell, as often as their layers come."""
    total = 0
    for line in tooltips(svg):
        count = re.search(r", ([\d,]+) parameters", line)
        more = re.search(r", and (\d+) more like it", line)
        if count:
            total += int(count[1].replace(",", "")) * (1 + int(more[1] if more else 0))
    return total


def tips(svg: str) -> int:
    """Count the heads of arrows."""
    paths = ElementTree.fromstring(svg).iter(f"{SVG}path")
    return sum(path.get("class").endswith("-tip") for path in paths)
