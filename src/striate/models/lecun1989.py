"""The first network trained end to end on zip codes: LeCun et al. (1989), and its dense rival.

Source: Y. LeCun, B. Boser, J. S. Denker, D. Henderson, R. E. Howard, W. Hubbard and
L. D. Jackel, "Backpropagation applied to handwritten zip code recognition", Neural
Computation 1(4), 1989, pp. 541-551.

    layer   output           parameters           connections
    image   (N,  1, 16, 16)                                    background -1, ink +1
    H1      (N, 12,  8,  8)    300 +   768   1,068      19,968  5x5 convolution, stride 2
    H2      (N, 12,  4,  4)  2,400 +   192   2,592      38,592  5x5 convolution, stride 2,
                                                               8 of the 12 maps of H1 each
    H3      (N, 30)                          5,790       5,790  fully connected
    output  (N, 10)                            310         310  fully connected
    total                                    9,760      64,660

Weights are shared within a map, biases are not: each unit has its own, hence the 768 and 192.
Windows that hang over the border read -1. Every unit, those of the output included, is
squashed by 1.7159 tanh(2x/3). Trained towards +1 for the class and -1 for the others.

The rival of the same paper, 256-40-10 fully connected, has 10,690 weights.

Departures from the paper:
    1. The paper does not say which 8 maps of H1 each map of H2 reads. Ours: three groups of
       four, each group leaving out one third of H1, so that every map of H1 has 8 readers.
    2. Biases start at 0: the rule ±2.4 / F is stated for weights.
    3. The order of the patterns changes from pass to pass; the paper's is constant.
    4. Trained by plain stochastic gradient descent; the paper scales each weight's step by
       the diagonal of the Hessian.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.layers import ConnectionTableConv, scaled_tanh, uniform_by_fan_in
from striate.recipes import Recipe

H2_TABLE = tuple(
    tuple(i for i in range(12) if i // 4 != left_out) for left_out in (2, 0, 1) for _ in range(4)
)


class LeCun1989(nn.Module):
    """The network of 1989, 9,760 parameters.

    Args:
        in_channels: Channels of the images; 1 in the paper. More widen only H1.
        num_classes: Number of classes; 10 in the paper.

    Shape:
        - images: ``(N, in_channels, 16, 16)``, float, background -1 and ink +1
        - returns: ``(N, num_classes)``, squashed to ±1.7159; the largest wins
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.h1 = nn.Conv2d(in_channels, 12, kernel_size=5, stride=2, bias=False)
        self.h1_bias = nn.Parameter(torch.zeros(12, 8, 8))
        self.h2 = ConnectionTableConv(12, H2_TABLE, kernel_size=5, stride=2, bias=False)
        self.h2_bias = nn.Parameter(torch.zeros(12, 4, 4))
        self.h3 = nn.Linear(12 * 4 * 4, 30)
        self.output = nn.Linear(30, num_classes)
        for layer in (self.h1, self.h3, self.output):
            uniform_by_fan_in(layer)
        nn.init.zeros_(self.h3.bias)
        nn.init.zeros_(self.output.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        if images.shape[2:] != (16, 16):
            raise ValueError(
                f"the network of 1989 reads images of 16x16, not {tuple(images.shape)}; "
                "resize them first"
            )
        x = scaled_tanh(self.h1(F.pad(images, (2, 2, 2, 2), value=-1.0)) + self.h1_bias)
        x = scaled_tanh(self.h2(F.pad(x, (2, 2, 2, 2), value=-1.0)) + self.h2_bias)
        x = scaled_tanh(self.h3(x.flatten(1)))
        return scaled_tanh(self.output(x))


class LeCun1989ReLU(nn.Module):
    """The network of 1989 as one would write it today; not in the paper, 80,378 parameters.

    Two 5x5 convolutions of stride 2 and two fully connected layers, as there; but every map
    reads all maps, biases are shared, units are rectified after batch normalisation, maps
    and hidden units are more, and windows stay inside the border.

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.

    Shape:
        - images: ``(N, in_channels, 28, 28)``, float, mean near 0 and variance near 1
        - returns: logits, ``(N, num_classes)``
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.h1 = nn.Conv2d(in_channels, 16, kernel_size=5, stride=2, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.h2 = nn.Conv2d(16, 32, kernel_size=5, stride=2, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.h3 = nn.Linear(32 * 4 * 4, 128, bias=False)
        self.norm3 = nn.BatchNorm1d(128)
        self.output = nn.Linear(128, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        x = torch.relu(self.norm1(self.h1(images)))
        x = torch.relu(self.norm2(self.h2(x)))
        x = torch.relu(self.norm3(self.h3(x.flatten(1))))
        logits: Tensor = self.output(x)
        return logits


class Dense1989(nn.Module):
    """The rival of 1989: 256-40-10, fully connected, 10,690 weights.

    Args:
        in_channels: Channels of the images; 1 in the paper.
        num_classes: Number of classes; 10 in the paper.

    Shape:
        - images: ``(N, in_channels, 16, 16)``, float, background -1 and ink +1
        - returns: ``(N, num_classes)``, squashed to ±1.7159; the largest wins
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_channels * 256, 40)
        self.output = nn.Linear(40, num_classes)
        for layer in (self.hidden, self.output):
            uniform_by_fan_in(layer)
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        x = scaled_tanh(self.hidden(images.flatten(1)))
        return scaled_tanh(self.output(x))


_PUBLISHED = Recipe(
    network="lecun1989",
    data="usps",
    epochs=23,
    batch_size=1,
    validation=0,
    loss="squared-error",
    learning_rate=0.003,
    momentum=0,
    schedule="cosine",
    input_range=(-1, 1),
    channels_last=False,
)

_QUICK = _PUBLISHED.replace(batch_size=8, learning_rate=0.02, validation=0.1)

_TODAY = Recipe(
    network="lecun1989_relu",
    data="mnist",
    batch_size=256,
    label_smoothing=0.1,
    learning_rate=0.3,
    nesterov=True,
)

RECIPES = {
    # 23 passes, one pattern at a time, as in the paper; order, rate and its course are ours.
    "lecun1989-usps": _PUBLISHED,
    "dense1989-usps": _PUBLISHED.replace(network="dense1989"),
    "lecun1989": _QUICK,
    "lecun1989_relu": _TODAY.replace(epochs=20, shift=2, rotation=10, scale=0.1, shear=0.1),
    # The fastest way to 99 % on MNIST: all 60,000 images, nothing to choose, two passes.
    "mnist-99": _TODAY.replace(epochs=2, validation=0),
    "dense1989": _QUICK.replace(network="dense1989"),
}
