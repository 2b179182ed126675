"""The network that learns CIFAR-10 in seconds: Jordan (2024), airbench94.

Source: K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498, 2024, and
its program `airbench94.py` in the public repository KellerJordan/cifar10-airbench, at 01a2367.
[read] marks what was read in that program; of the paper itself its abstract and introduction.

    layer     output             what it is                                             [read]
    image     (N,   3, 32, 32)
    whiten    (N,  24, 31, 31)   2x2 convolution with biases, no padding; its weights stay; GELU
    group1    (N,  64, 15, 15)   3x3 convolution, 2x2 max pooling, batch norm, GELU,
    group2    (N, 256,  7,  7)   3x3 convolution, batch norm, GELU
    group3    (N, 256,  3,  3)
    pool      (N, 256)           3x3 max pooling: the largest value of each map
    fc        (N,  10)           without biases, divided by 9

    1,971,640 parameters, 1.97 million in a review of the paper, and the 1,152 scales of batch
    norm, which stay 1: biases 24 + 1,152, whiten 288, 3x3 convolutions 1,967,616, fc 2,560.

How it begins and trains [read]:
    - whiten: the eigenvectors of the second moments of the 2x2 patches of 5,000 training images,
      each divided by the root of its eigenvalue (and 0.0005), and their negatives.
    - Other convolutions: of as many maps as come in, each starts as a copy of one; the rest as
      PyTorch draws them. No biases.
    - Batch norm: no scale, epsilon 1e-12; of the running statistics 0.4 is new at each step.
    - 9.9 epochs of 1,024 images, the last incomplete batch left out; cross-entropy, summed, with
      label smoothing 0.2; Nesterov's momentum 0.85; learning rate 11.5 and decay 0.0153 for 1,024
      images, which of a mean loss and PyTorch's momentum are 1.5 and 0.00133.
    - Biases of batch norm: 64 times the rate, at the decay of the rest.
    - The rate rises from 0.2 to 1 of itself in 23 % of the steps and falls to 0.07.
    - Every fifth step from the fourth epoch on weights and an average of them are made one
      (lookahead), the average keeping up to 0.95^5.
    - Each image is mirrored or not at random once, then the other way every epoch; it is moved by
      up to 2 pixels, its edge reflected.
    - At test time scores of six views: the image, the image moved by a pixel up and left, down and
      right, and their mirror images; those that are not moved count twice.
    - Half precision, channels last.

Departures of recipe cifar10-94 (each would change the result a little; none was measured alone):
    1. The rate rises from 0 in 30 % of the run and falls to 0.
    2. A moving average in place of lookahead: the network that trains never takes it back.
    3. No bias is decayed; those of whiten learn to the end, not for three epochs only.
    4. What an image moves in from beyond its edge is the background colour, not its reflection.
    5. The last, incomplete batch of an epoch trains too; 10 epochs in place of 9.9.
    6. bfloat16 where the program has float16; weights and their updates are float32.
    7. Eigenvectors are of the first images in the epoch's order, changed as in training.

Recipe cifar10-10min is ours: three quarters as wide, batches of 512. Tried for 300 s of two cores
on 5,000 held-out training images: 92.1 %, half as wide 91.2 %.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.fully_convolutional import require_least
from striate.recipes import Recipe

SMALLEST = 18  # [pixels]; of 17 nothing would be left to pool
SCALE = 1 / 9  # of the scores
EPSILON = 5e-4  # beside the eigenvalues of the patches

# Of batch norm: what of the running statistics is new at each step.
NEW_SHARE = 0.4


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Make a 3x3 convolution whose first maps are copies of those that come in."""
    layer = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight.data[:in_channels])
    return layer


def _normalization(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels, eps=1e-12, momentum=NEW_SHARE)
    layer.weight.requires_grad = False
    return layer


class Group(nn.Module):
    """Two convolutions, the first pooled, each normalised."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, channels)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = _normalization(channels)
        self.conv2 = _convolution(channels, channels)
        self.norm2 = _normalization(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the maps and make new ones."""
        x = F.gelu(self.norm1(self.pool(self.conv1(x))))
        return F.gelu(self.norm2(self.conv2(x)))


class Jordan2024(nn.Module):
    """The paper's network for 94 % on CIFAR-10, or a narrower one.

    Args:
        in_channels: Channels of the images; 3 in the paper.
        num_classes: Number of classes; 10 in the paper.
        width: Maps of the first group, a quarter of those of the others; 64 in the paper.

    Shape:
        - images: ``(N, in_channels, H, W)``, float, mean 0 and variance 1, H and W at least 18;
          32x32 in the paper
        - returns: logits, ``(N, num_classes)``

    Source:
        Jordan, 2024; `airbench94.py`.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 10, *, width: int = 64) -> None:
        super().__init__()
        whitened = 2 * 4 * in_channels
        self.whiten = nn.Conv2d(in_channels, whitened, 2)
        self.whiten.weight.requires_grad = False
        nn.init.zeros_(self.whiten.get_parameter("bias"))
        self.group1 = Group(whitened, width)
        self.group2 = Group(width, 4 * width)
        self.group3 = Group(4 * width, 4 * width)
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.fc = nn.Linear(4 * width, num_classes, bias=False)

    @torch.no_grad()
    def initialize_from(self, images: Tensor) -> None:
        """Let the first convolution whiten the 2x2 patches of images.

        Args:
            images: ``(N, in_channels, H, W)``, some thousands, as the network reads them.
        """
        patches = F.unfold(images, 2).transpose(1, 2).flatten(0, 1).double()
        moments = patches.T @ patches / len(patches)
        values, vectors = torch.linalg.eigh(moments)  # vectors in columns, the smallest first
        rows = (vectors / (values + EPSILON).sqrt()).flip(1).T
        kernels = rows.reshape(-1, *self.whiten.weight.shape[1:])
        self.whiten.weight.copy_(torch.cat([kernels, -kernels]))

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        require_least(images, SMALLEST, "this network", usual=32)
        x = F.gelu(self.whiten(images))
        x = self.group3(self.group2(self.group1(x)))
        logits: Tensor = self.fc(self.pool(x).flatten(1))
        return SCALE * logits


_NORMS = tuple(f"group{group}.norm{norm}" for group in (1, 2, 3) for norm in (1, 2))

_OWN = Recipe(
    network="airbench94",
    data="cifar10",
    epochs=10,
    batch_size=1024,
    label_smoothing=0.2,
    learning_rate=1.5,
    momentum=0.85,
    nesterov=True,
    weight_decay=0.00133,
    decay="weights",
    layer_rates=dict.fromkeys(_NORMS, 64.0),
    precision="auto",
    flip=True,
    alternate=True,
    crop_padding=2,
    protocol="shifts",
    view_average="scores",
)

RECIPES = {
    "airbench94": _OWN,
    "airbench94_narrow": _OWN.replace(network="airbench94_narrow"),
    "cifar10-94": _OWN.replace(validation=0, ema=0.95),
    # On a processor time ends it, and the rate runs out with the time. Where that is for few
    # steps, half the batch at the same rate for each image learns more.
    "cifar10-10min": _OWN.replace(
        network="airbench94_narrow",
        validation=0,
        time=600.0,
        epochs=100,
        batch_size=512,
        learning_rate=0.75,
    ),
}
