"""All-convolutional networks and their rivals with pooling: Springenberg and others (2015).

Source: J. T. Springenberg, A. Dosovitskiy, T. Brox and M. Riedmiller, "Striving for simplicity:
the all convolutional net", ICLR 2015 workshop track, arXiv:1412.6806: Tables 1 to 4. Table 3 was
read in a replication's notes, Tables 1 and 2 in re-implementations that agree with its counts.

    layer    output             A          B               C
    image    (N,   3, 32, 32)
    stage1   (N,  96, 32, 32)   5x5        5x5, 1x1        3x3, 3x3
             (N,  96, 16, 16)   3x3 max pooling, stride 2, or another form: see below
    stage2   (N, 192, 16, 16)   5x5        5x5, 1x1        3x3, 3x3
             (N, 192,  8,  8)   as in stage 1
    conv1    (N, 192,  6,  6)   3x3 convolution without padding
    conv2    (N, 192,  6,  6)   1x1 convolution
    conv3    (N,  10,  6,  6)   1x1 convolution
             (N,  10)           mean of each map

    form      what halves the maps                       A          B          C
    base      3x3 max pooling                      839,242    885,610    954,730
    strided   the convolution before, no pooling   839,242    885,610    954,730
    convpool  a 3x3 convolution, then pooling    1,254,250  1,300,618  1,369,738
    allcnn    a 3x3 convolution of stride 2      1,254,250  1,300,618  1,369,738

The paper gives 1.3M parameters for C and Strided-C, which its own layers cannot have.

Departures from the paper, and what it leaves open:
    1. Convolutions keep the size of their maps, but for the first 3x3 of the top, and pooling
       has padding 1: so the average is over 6x6, as the paper says. Padding is not spelled out.
    2. Initial weights: not given. Here N(0, sqrt(2 / fan-in)), after He et al. 2015, biases 0;
       those of the last ten maps start at 4, so that at first the ReLU behind them lets all
       classes through. Softmax does not see what is added to all.
    3. Input: each channel is standardised by the mean and deviation of the training images. The
       paper whitens the images and normalises their contrast as Goodfellow et al. 2013 do.
    4. The learning rate is 0.01 for all; in the paper it is, for each network, one of 0.25, 0.1,
       0.05 and 0.01, and replications could train with none but
       the last (0.05 with batches of 256).
    5. Batches of 128 images; the paper does not say.
    6. ReLU stands behind the last ten maps too: "ReLU everywhere" is taken at its word.
    7. The augmentation of Table 4 moves an image by up to 5 pixels; what comes in is ours.
"""

from collections import OrderedDict
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import require_choice
from striate.fully_convolutional import require_least
from striate.layers import Dropout, normal_by_fan_in
from striate.models import names_of
from striate.recipes import Recipe

# Kernel sizes of the convolutions of a stage.
STAGES = {"a": (5,), "b": (5, 1), "c": (3, 3)}

SMALLEST = 9  # [pixels]; of 8 the last 3x3 convolution would have 2 left

# Where the biases of the last ten maps start: well above what their weights add at first.
LAST_BIAS = 4.0

Form = Literal["base", "strided", "convpool", "allcnn"]


def _stage(
    in_channels: int, channels: int, kernel_sizes: tuple[int, ...], form: Form
) -> nn.Sequential:
    """Put together the convolutions of a stage, what halves its maps, and dropout."""
    pooled = form in ("base", "convpool")
    if form in ("convpool", "allcnn"):
        kernel_sizes = (*kernel_sizes, 3)
    layers: dict[str, nn.Module] = {}
    for number, kernel_size in enumerate(kernel_sizes, start=1):
        stride = 1 if pooled or number < len(kernel_sizes) else 2
        layers[f"conv{number}"] = nn.Conv2d(
            in_channels, channels, kernel_size, stride, padding=kernel_size // 2
        )
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        in_channels = channels
    if pooled:
        layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(OrderedDict(layers, dropout=Dropout(0.5)))


class AllCNN(nn.Module):
    """One of the paper's twelve networks for CIFAR-10.

    Args:
        in_channels: Channels of the images; 3 in the paper.
        num_classes: Number of classes; 10 in the paper.
        stages: Which convolutions a stage has: the paper's base "a", "b" or "c".
        form: What halves the maps; see the table above.

    Shape:
        - images: ``(N, in_channels, H, W)``, float, mean 0 and variance 1, H and W at least 9;
          32x32 in the paper
        - returns: logits, ``(N, num_classes)``, none below 0

    Raises:
        ValueError: There are no such stages or there is no such form.

    Source:
        Springenberg et al., 2015, Tables 1 and 2.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 10,
        *,
        stages: Literal["a", "b", "c"] = "c",
        form: Form = "allcnn",
    ) -> None:
        super().__init__()
        require_choice("stages", stages, STAGES)
        require_choice("form", form, get_args(Form))
        self.dropout = Dropout(0.2)
        self.stage1 = _stage(in_channels, 96, STAGES[stages], form)
        self.stage2 = _stage(96, 192, STAGES[stages], form)
        self.conv1 = nn.Conv2d(192, 192, 3)
        self.conv2 = nn.Conv2d(192, 192, 1)
        self.conv3 = nn.Conv2d(192, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                normal_by_fan_in(module)
        nn.init.constant_(self.conv3.get_parameter("bias"), LAST_BIAS)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        require_least(images, SMALLEST, "this network", usual=32)
        x = self.stage2(self.stage1(self.dropout(images)))
        for convolution in (self.conv1, self.conv2, self.conv3):
            x = F.relu(convolution(x), inplace=True)
        logits: Tensor = x.mean(dim=(2, 3))
        return logits


_OWN = Recipe(
    network="allcnn_c",
    data="cifar10",
    epochs=50,
    batch_size=128,
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=0.001,
    flip=True,
    crop_padding=5,
)
_PUBLISHED = _OWN.replace(
    epochs=350,
    validation=0,
    schedule="step",
    milestones={200: 0.1, 250: 0.01, 300: 0.001},
    flip=False,
    crop_padding=0,
)

# The last is the paper's Table 4: flipped and moved by up to 5 pixels.
RECIPES = {
    **{name: _OWN.replace(network=name) for name in names_of("AllCNN")},
    **{f"{name}-cifar10": _PUBLISHED.replace(network=name) for name in names_of("AllCNN")},
    "allcnn_c-cifar10-augmented": _PUBLISHED.replace(flip=True, crop_padding=5),
}
