"""LeNet-5 and its dense rivals: LeCun, Bottou, Bengio and Haffner (1998).

Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to
document recognition", Proceedings of the IEEE 86(11), 1998, pp. 2278-2324: section II-B,
Fig. 2, Table I. The paper's text was not at hand: its table, counts and criteria come from
secondary notes that agree with one another; what rests on memory alone is said below.

    layer    output            parameters  connections
    image    (N,   1, 32, 32)                           background -0.1, ink 1.175
    C1       (N,   6, 28, 28)         156      122,304  5x5 convolution
    S2       (N,   6, 14, 14)          12        5,880  2x2 subsampling
    C3       (N,  16, 10, 10)       1,516      151,600  5x5 convolution, Table I
    S4       (N,  16,  5,  5)          32        2,000  2x2 subsampling
    C5       (N, 120,  1,  1)      48,120       48,120  5x5 convolution
    F6       (N,  84)              10,164       10,164  fully connected
    output   (N,  10)                            840    distance to 10 fixed codes
    total                          60,000      340,908

Departures from the paper, and what it leaves open:
    1. The squashing of S2 and S4 is 1.7159 tanh(2x/3), as everywhere else; the paper calls
       it "sigmoidal" there.
    2. Subsampling starts as the plain average of each block; the paper does not say.
    3. The codes are two public transcriptions of Fig. 3, which agree; they were not compared
       with the print. The bar above 0, 2, 4 and 5 may be an artefact of theirs.
    4. Classes other than ten get codes drawn from a fixed seed, ±1, at Hamming distance 24 or
       more; other channel counts change only C1.
    5. The exact form of the criterion (``losses.MaximumAPosteriori``) and the initial weights
       in ±2.4 / F rest on memory; the value 10 of its rubbish penalty is ours.
    6. Trained by stochastic gradient descent with momentum, 64 images a step; the paper uses
       a stochastic diagonal Levenberg-Marquardt method, one pattern at a time.
"""

import itertools

import torch
from torch import Tensor, nn

from striate.layers import (
    ConnectionTableConv,
    RadialBasisOutput,
    Subsample,
    scaled_tanh,
    uniform_by_fan_in,
)
from striate.recipes import Recipe

# Table I, by column: the maps of S2 that each of the sixteen maps of C3 reads.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)

# Fig. 3: the digits as 7x12 bitmaps, twelve rows each.
DIGIT_BITMAPS = """
.#####. ....... ..###.. .##.##. ##...## ##...## ##...## ##...## .##.##. ..###.. ....... .......
...##.. ..###.. .####.. ...##.. ...##.. ...##.. ...##.. ...##.. ...##.. .###### ....... .......
.#####. ....... .#####. ##...## #....## ....##. ..###.. .##.... ##..... ####### ....... .......
####### .....## ....##. ...##.. ..####. .....## .....## .....## ##...## .#####. ....... .......
.#####. ....... ....... .##..## .##..## ###..## ##...## ##...## ##..### .###### .....## .....##
.#####. ....... ####### ##..... ##..... .####.. ..####. .....## ##...## .#####. ....... .......
..####. .##.... ##..... ##..... ######. ###..## ##...## ##...## ###..## .#####. ....... .......
####### .....## .....## ....##. ...##.. ...##.. ..##... ..##... ..##... ..##... ....... .......
.#####. ##...## ##...## ##...## .#####. ##...## ##...## ##...## ##...## .#####. ....... .......
.#####. ##..### ##...## ##...## ##..### .###### .....## .....## ....##. .####.. ....... .......
"""

CODE_LENGTH = 84
LEAST_DISTANCE = 24


def digit_codes() -> Tensor:
    """Give the ten digits' codes, (10, 84), ±1, +1 where the bitmap has ink."""
    rows = ["".join(line.split()) for line in DIGIT_BITMAPS.split("\n") if line]
    return torch.tensor([[1.0 if pixel == "#" else -1.0 for pixel in row] for row in rows])


def random_codes(num_classes: int) -> Tensor:
    """Draw codes for classes that are not digits: (num_classes, 84), ±1, always the same.

    Any two differ in at least 24 places.

    Raises:
        ValueError: No further code was found in a million draws.
    """
    generator = torch.Generator().manual_seed(1998)
    codes = torch.empty(0, CODE_LENGTH, device="cpu")  # values, also where weights have none
    for _ in range(1000):
        bits = torch.randint(0, 2, (1000, CODE_LENGTH), generator=generator, device="cpu")
        for code in bits * 2.0 - 1:
            if len(codes) == num_classes:
                return codes
            distances = (codes != code).sum(dim=1)
            if len(codes) == 0 or int(distances.min()) >= LEAST_DISTANCE:
                codes = torch.cat([codes, code[None]])
    raise ValueError(
        f"found codes for {len(codes)} classes, not {num_classes}; use lenet5_relu, "
        "whose output is linear"
    )


def _require_32(images: Tensor) -> None:
    if images.shape[2:] != (32, 32):
        raise ValueError(
            f"LeNet-5 reads images of 32x32, not {tuple(images.shape)}; "
            "pad 28x28 digits by 2 pixels of background on each side"
        )


class LeNet5(nn.Module):
    """LeNet-5 as published.

    Args:
        in_channels: Channels of the images; 1 in the paper. More widen only C1.
        num_classes: Number of classes; 10 in the paper, whose codes are the digits'.

    Shape:
        - images: ``(N, in_channels, 32, 32)``, float, background -0.1 and ink 1.175, which
          brings the mean near 0 and the variance near 1
        - returns: logits, ``(N, num_classes)``: minus the squared distance of F6 to each
          class's code, so that the smallest distance wins
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(in_channels, 6, kernel_size=5)
        self.s2 = Subsample(6)
        self.c3 = ConnectionTableConv(6, C3_TABLE, kernel_size=5)
        self.s4 = Subsample(16)
        self.c5 = nn.Conv2d(16, 120, kernel_size=5)
        self.f6 = nn.Linear(120, CODE_LENGTH)
        self.output = RadialBasisOutput(
            digit_codes() if num_classes == 10 else random_codes(num_classes)
        )
        for layer in (self.c1, self.c5, self.f6):
            uniform_by_fan_in(layer)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        _require_32(images)
        x = scaled_tanh(self.c1(images))
        x = scaled_tanh(self.s2(x))
        x = scaled_tanh(self.c3(x))
        x = scaled_tanh(self.s4(x))
        x = scaled_tanh(self.c5(x))
        x = scaled_tanh(self.f6(x.flatten(1)))
        logits: Tensor = self.output(x)
        return logits


class LeNet5ReLU(nn.Module):
    """LeNet-5 as people write it today; not in the paper, 61,706 parameters.

    ReLU, max pooling, every map of C3 reading all of S2, a linear output layer, PyTorch's
    initial weights. The maximum is taken before the ReLU: the two commute, and a quarter of
    the units is left for the ReLU.

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.

    Shape:
        - images: ``(N, in_channels, 32, 32)``, float, mean near 0 and variance near 1
        - returns: logits, ``(N, num_classes)``
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(in_channels, 6, kernel_size=5)
        self.c3 = nn.Conv2d(6, 16, kernel_size=5)
        self.c5 = nn.Conv2d(16, 120, kernel_size=5)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, num_classes)
        self.pool = nn.MaxPool2d(2)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        _require_32(images)
        x = torch.relu(self.pool(self.c1(images)))
        x = torch.relu(self.pool(self.c3(x)))
        x = torch.relu(self.c5(x))
        x = torch.relu(self.f6(x.flatten(1)))
        logits: Tensor = self.output(x)
        return logits


class Dense1998(nn.Module):
    """The fully connected rivals of LeNet-5: 28x28-300-10, or 28x28-300-100-10 and others.

    Args:
        in_channels: Channels of the images; 1 in the paper.
        num_classes: Number of classes; 10 in the paper.
        hidden: Units of each hidden layer.

    Shape:
        - images: ``(N, in_channels, 28, 28)``, float, background -0.1 and ink 1.175
        - returns: ``(N, num_classes)``, squashed to ±1.7159; the largest wins
    """

    def __init__(
        self, in_channels: int = 1, num_classes: int = 10, hidden: tuple[int, ...] = (300,)
    ) -> None:
        super().__init__()
        sizes = (in_channels * 28 * 28, *hidden, num_classes)
        layers = [nn.Linear(before, after) for before, after in itertools.pairwise(sizes)]
        for layer in layers:
            uniform_by_fan_in(layer)
        self.layers = nn.ModuleList(layers)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        x = images.flatten(1)
        for layer in self.layers:
            x = scaled_tanh(layer(x))
        return x


# 20 passes, criterion, codes and initial weights as far as the paper is known (see above);
# momentum, batch, rate and its course are ours, chosen on 10,000 held-out training images.
_PUBLISHED = Recipe(
    network="lenet5",
    data="mnist",
    epochs=20,
    batch_size=64,
    validation=0,
    loss="map",
    learning_rate=0.003,
    schedule="cosine",
    input_range=(-0.1, 1.175),
    channels_last=False,
)

RECIPES = {
    "lenet5-mnist": _PUBLISHED,
    "lenet5-mnist-distorted": _PUBLISHED.replace(
        epochs=40, shift=2, scale=0.1, squeeze=0.1, shear=0.2
    ),
    "lenet5": Recipe(
        network="lenet5",
        data="mnist",
        loss="map",
        batch_size=64,
        learning_rate=0.003,
        input_range=(-0.1, 1.175),
        shift=2,
        rotation=10,
        scale=0.1,
        shear=0.1,
    ),
    "lenet5_relu": Recipe(
        network="lenet5_relu",
        data="mnist",
        epochs=20,
        nesterov=True,
        shift=2,
        rotation=10,
        scale=0.1,
        shear=0.1,
    ),
    "dense300": Recipe(
        network="dense300", data="mnist", loss="squared-error", input_range=(-0.1, 1.175)
    ),
    "dense300_100": Recipe(
        network="dense300_100", data="mnist", loss="squared-error", input_range=(-0.1, 1.175)
    ),
}
