"""Small networks that label pixels, drawn at random or made by hand, for several test files."""

import itertools

import torch
from hypothesis import strategies as st
from torch import nn

CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORMALIZATIONS = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOLINGS = {
    "max": {2: nn.MaxPool2d, 3: nn.MaxPool3d},
    "average": {2: nn.AvgPool2d, 3: nn.AvgPool3d},
}


def cropped(maps, sizes):
    """Cut maps to sizes, as much before as behind."""
    for axis, size in enumerate(sizes, start=2):
        maps = maps.narrow(axis, (maps.shape[axis] - size) // 2, size)
    return maps


class Skipping(nn.Module):
    """Layers and a path around them, both cropped to the smaller of the two, and joined."""

    def __init__(self, inner, join):
        super().__init__()
        self.inner, self.join = inner, join

    def forward(self, x):
        inner = self.inner(x)
        sizes = [min(pair) for pair in zip(x.shape[2:], inner.shape[2:], strict=True)]
        x, inner = cropped(x, sizes), cropped(inner, sizes)
        return torch.cat([x, inner], 1) if self.join == "cat" else x + inner


class Level(nn.Module):
    """A pooling, layers, and the way back up."""

    def __init__(self, down, inner, up):
        super().__init__()
        self.down, self.inner, self.up = down, inner, up

    def forward(self, x):
        return self.up(self.inner(self.down(x)))


def a_layer(draw, dims, maps):
    """Draw a layer that keeps the number of maps, and never makes them larger."""

    def each(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(dims))

    kind = draw(st.sampled_from(["convolution"] * 3 + ["norm", "relu", "max", "average"]))
    if kind == "norm":
        return NORMALIZATIONS[dims](maps)
    if kind == "relu":
        return nn.ReLU()
    kernel = each(1, 4 if dims == 2 else 3)
    if kind in POOLINGS:
        padding = tuple(draw(st.integers(0, (k - 1) // 2)) for k in kernel)
        return POOLINGS[kind][dims](kernel, 1, padding)
    dilation = each(1, 2)
    padding = tuple(
        draw(st.sampled_from([0, d * (k - 1) // 2])) for k, d in zip(kernel, dilation, strict=True)
    )
    mode = draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate"]))
    return CONVOLUTIONS[dims](
        maps, maps, kernel, padding=padding, dilation=dilation, padding_mode=mode
    )


def some_layers(draw, dims, maps, depth):
    """Draw layers one after the other, with levels and skips among them."""
    layers = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["layer", "layer", "level", "skip"])) if depth else "layer"
        if kind == "layer":
            layers.append(a_layer(draw, dims, maps))
        elif kind == "level":
            layers.append(a_level(draw, dims, maps, depth - 1))
        else:
            join = draw(st.sampled_from(["add", "cat"]))
            layers.append(Skipping(some_layers(draw, dims, maps, depth - 1), join))
            if join == "cat":
                layers.append(CONVOLUTIONS[dims](2 * maps, maps, 1))
    return nn.Sequential(*layers)


def a_level(draw, dims, maps, depth):
    factor = draw(st.integers(2, 3))
    down = draw(st.sampled_from(["max", "average", "strided", "wide"]))
    if down == "strided":
        way_down = CONVOLUTIONS[dims](maps, maps, factor, factor)
    elif down == "wide":
        way_down = CONVOLUTIONS[dims](maps, maps, factor + 1, factor, 1)
    else:
        way_down = POOLINGS[down][dims](factor)
    up = draw(st.sampled_from(["transposed", "wide", "nearest", "linear"]))
    if up == "transposed":
        way_up = TRANSPOSED[dims](maps, maps, factor, factor)
    elif up == "wide":
        way_up = TRANSPOSED[dims](maps, maps, factor + 2, factor, 1)
    else:
        mode = {"nearest": "nearest", "linear": {2: "bilinear", 3: "trilinear"}[dims]}[up]
        way_up = nn.Upsample(scale_factor=factor, mode=mode)
    # What may have grown is cropped to the path beside it.
    return Skipping(Level(way_down, some_layers(draw, dims, maps, depth), way_up), "add")


@st.composite
def networks(draw, dims):
    """Draw a network of double precision that labels pixels, of one channel."""
    maps = draw(st.integers(1, 3))
    return settled(
        nn.Sequential(
            CONVOLUTIONS[dims](1, maps, draw(st.integers(1, 3))),
            some_layers(draw, dims, maps, depth=2),
            CONVOLUTIONS[dims](maps, draw(st.integers(1, 4)), 1),
        ).double()
    )


class UNet(nn.Module):
    """Two convolutions a level, halved and doubled; padded, or cropped as in the paper."""

    def __init__(self, levels=3, width=2, *, padding=0, dims=2, channels=1, classes=3):
        super().__init__()
        conv, up = CONVOLUTIONS[dims], TRANSPOSED[dims]
        widths = [width * 2**level for level in range(levels)]

        def twice(maps, out):
            return nn.Sequential(
                *(conv(maps, out, 3, padding=padding), nn.ReLU(inplace=True)),
                *(conv(out, out, 3, padding=padding), nn.ReLU(inplace=True)),
            )

        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList([twice(channels, width), *(twice(a, b) for a, b in pairs)])
        self.up = nn.ModuleList(up(b, a, 2, 2) for a, b in pairs)
        self.merge = nn.ModuleList(twice(2 * a, a) for a, _ in pairs)
        self.pool = POOLINGS["max"][dims](2)
        self.head = conv(width, classes, 1)

    def forward(self, x):
        skips = []
        for level in self.down[:-1]:
            skips.append(level(x))
            x = self.pool(skips[-1])
        x = self.down[-1](x)
        for up, merge, skip in reversed(list(zip(self.up, self.merge, skips, strict=True))):
            x = up(x)
            x = merge(torch.cat([cropped(skip, x.shape[2:]), x], 1))
        return self.head(x)


def settled(network, seed=0):
    """Give batch normalisations something to normalise by, and go into evaluation."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()
