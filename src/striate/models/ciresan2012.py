"""Membranes found pixel by pixel, from the window around each: Ciresan and others (2012).

Source: D. C. Ciresan, A. Giusti, L. M. Gambardella and J. Schmidhuber, "Deep neural networks
segment neuronal membranes in electron microscopy images", NIPS 25, 2012, pp. 2843-2851. Its full
text was not at hand: N4's layers are those on which three independent implementations agree.

    layer    N4, window 95                 ours, window 65
    image    (N,  1, 95, 95)               (N,  1, 65, 65)
    c1       (N, 48, 92, 92)  4x4          (N, 48, 62, 62)  4x4
    p1       (N, 48, 46, 46)  2x2 max      (N, 48, 31, 31)
    c2       (N, 48, 42, 42)  5x5          (N, 48, 28, 28)  4x4
    p2       (N, 48, 21, 21)               (N, 48, 14, 14)
    c3       (N, 48, 18, 18)  4x4          (N, 48, 10, 10)  5x5
    p3       (N, 48,  9,  9)               (N, 48,  5,  5)
    c4       (N, 48,  6,  6)  4x4
    p4       (N, 48,  3,  3)
    f5       (N, 200)                      (N, 200)
    output   (N, 2)                        (N, 2)
    parameters           219,290                   335,978

A window answers for the pixel at its middle.

Departures from the paper, and what it leaves open:
    1. The activation is not known here: implementers took tanh or ReLU. Here ReLU, behind
       pooling, which gives the same maps as before it: the maximum keeps the order.
    2. The network for windows of 65 is ours: from memory, the paper's other three networks have
       such windows, but their layers are not known here.
    3. Initial weights: not known here. N(0, sqrt(2 / fan-in)) of He et al. 2015, biases 0.
"""

from collections import OrderedDict
from typing import Literal

from torch import Tensor, nn

from striate.layers import normal_by_fan_in
from striate.recipes import Recipe

MAPS = 48
HIDDEN = 200
# Side of the window → kernel sizes of the convolutions.
KERNEL_SIZES = {95: (4, 5, 4, 4), 65: (4, 4, 5)}


class Ciresan2012(nn.Module):
    """N4, or our network for smaller windows: the class of the pixel at a window's middle.

    Args:
        in_channels: Channels of the images; 1 in the paper.
        num_classes: Number of classes; 2 in the paper.
        window: Side of the window [pixels]: 95 is N4's, 65 ours.

    Shape:
        - windows: ``(N, in_channels, window, window)``, float, mean 0 and variance 1
        - returns: logits, ``(N, num_classes)``

    Raises:
        ValueError: In use, the window has another side.

    Source:
        Ciresan et al., 2012.
    """

    def __init__(
        self, in_channels: int = 1, num_classes: int = 2, *, window: Literal[95, 65] = 95
    ) -> None:
        super().__init__()
        side: int = window
        self.window = window
        layers: dict[str, nn.Module] = {}
        channels = in_channels
        for number, kernel_size in enumerate(KERNEL_SIZES[window], start=1):
            layers[f"c{number}"] = nn.Conv2d(channels, MAPS, kernel_size)
            layers[f"p{number}"] = nn.MaxPool2d(2)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            channels, side = MAPS, (side - kernel_size + 1) // 2
        layers["flatten"] = nn.Flatten()
        layers["f5"] = nn.Linear(MAPS * side**2, HIDDEN)
        layers["relu5"] = nn.ReLU(inplace=True)
        layers["output"] = nn.Linear(HIDDEN, num_classes)
        self.layers = nn.Sequential(OrderedDict(layers))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                normal_by_fan_in(layer)

    def forward(self, windows: Tensor) -> Tensor:
        """Score the classes of the pixel at each window's middle."""
        if windows.shape[2:] != (self.window, self.window):
            raise ValueError(
                f"this network reads windows of {self.window}x{self.window}, not "
                f"{tuple(windows.shape)}; striate.dense gives its answers for a whole image"
            )
        logits: Tensor = self.layers(windows)
        return logits


# Epochs are the paper's, from memory; the rest is ours.
_OWN = Recipe(
    network="n4",
    data="isbi2012",
    epochs=30,
    batch_size=128,
    learning_rate=0.01,
    momentum=0.9,
)

RECIPES = {"n4": _OWN, "ciresan65": _OWN.replace(network="ciresan65")}
