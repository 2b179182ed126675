"""Residual networks and their plain counterparts: He, Zhang, Ren and Sun (2015).

Source: K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition",
CVPR 2016, arXiv:1512.03385: sections 3.3, 3.4 and 4, Table 1, Fig. 3 and Fig. 5.

ImageNet; a block is two 3x3 convolutions (18, 34) or 1x1, 3x3, 1x1 (50, 101, 152):

    stage    output               blocks: 18  34  50  101  152
    image    (N,    3, 224, 224)
    conv1    (N,   64, 112, 112)                                7x7 convolution, stride 2
    maxpool  (N,   64,  56,  56)                                3x3 max pooling, stride 2
    layer1   (N,   64,  56,  56)           2   3   3    3    3  256 maps in 50, 101, 152
    layer2   (N,  128,  28,  28)           2   4   4    4    8  512
    layer3   (N,  256,  14,  14)           2   6   6   23   36  1024
    layer4   (N,  512,   7,   7)           2   3   3    3    3  2048
    avgpool  (N,  512,   1,   1)                                mean of each map
    fc       (N, 1000)                                          fully connected

    parameters           18          34          50          101         152
    shortcuts A  11,515,688  21,623,848                                       plain: the same
    shortcuts B  11,689,512  21,797,672  25,557,032   44,549,160  60,192,808
    shortcuts C  12,043,816  22,716,840

CIFAR-10, depth 6n + 2, shortcuts A every two 3x3 convolutions:

    stage    output            blocks   depth       parameters, plain the same
    conv1    (N, 16, 32, 32)            20 (n = 3)     269,722
    layer1   (N, 16, 32, 32)   n        32 (5)         464,154
    layer2   (N, 32, 16, 16)   n        44 (7)         658,586
    layer3   (N, 64,  8,  8)   n        56 (9)         853,018
    avgpool  (N, 64,  1,  1)            110 (18)     1,727,962
    fc       (N, 10)                    1202 (200)  19,421,274

Parameters are named as in torchvision. Its ResNet-18 and 34 are those with shortcuts B; its 50,
101 and 152 are "v1.5": the stride of a block stands in the 3x3 convolution instead of the first
1x1, which changes no shape of a weight, so v1.5 weights fit v1 and compute something else there.

Departures from the paper, and what it leaves open:
    1. Initial weights: the paper cites He et al. 2015, which as remembered allows the fan-in or
       the fan-out as n in N(0, sqrt(2 / n)). Here it is the fan-in, also in the last layer, whose
       biases start at 0; torchvision takes the fan-out.
    2. Shortcuts A append their maps of zeros after the others; the paper does not say where.
    3. That the stride of a bottleneck stands in its first 1x1 rests on memory.
    4. Input: each channel is standardised by its mean and deviation over the training images;
       the paper subtracts a mean image.
    5. CIFAR schedules count whole epochs of 391 steps: the rate falls after 82 and 123 of 164
       epochs (32,062 and 48,093 of 64,124 steps); the paper says 32k, 48k and 64k. At depth 110
       the first rate of 0.01 lasts one epoch; the paper's ends at 80 % training error, about 400
       steps. Depth 1202 is trained in the same way; whether the paper did so is not known here.
    6. The validation error decides when the rate falls on ImageNet; "plateau" is 5 epochs
       without improvement. 120 epochs are 600,600 steps; the paper says up to 60e4.
    7. The protocol is ten-crop, of the paper's Tables 2 and 3, from a shorter side of 256. Its
       Table 4 averages the scores of whole images at five sizes: ``protocol="multi-scale"``.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import require_choice
from striate.layers import normal_by_fan_in
from striate.models import names_of
from striate.recipes import Recipe

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}

Shortcuts = Literal["A", "B", "C", "none"]


class PaddedShortcut(nn.Module):
    """Shortcut A: every ``stride``-th pixel, then maps of zeros; it has no parameters.

    Args:
        extra_maps: How many maps of zeros are appended.
        stride: Distance between the pixels that are kept.

    Shape:
        - input: ``(N, C, H, W)``
        - output: ``(N, C + extra_maps, ceil(H / stride), ceil(W / stride))``

    Source:
        He et al., 2015, section 3.3, option A.
    """

    def __init__(self, extra_maps: int, stride: int) -> None:
        super().__init__()
        self.extra_maps = extra_maps
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Take pixels, append zeros."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra_maps))

    def extra_repr(self) -> str:
        """Show what ``print(network)`` should say."""
        return f"extra_maps={self.extra_maps}, stride={self.stride}"


def _convolution(in_channels: int, channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    padding = kernel_size // 2
    return nn.Conv2d(in_channels, channels, kernel_size, stride, padding, bias=False)


def _downsample(
    shortcuts: Shortcuts, in_channels: int, channels: int, stride: int
) -> nn.Module | None:
    """Make what a block's input passes through beside the residual; None is the identity."""
    same = stride == 1 and in_channels == channels
    if shortcuts == "none" or (same and shortcuts != "C"):
        return None
    if shortcuts == "A":
        return PaddedShortcut(channels - in_channels, stride)
    return nn.Sequential(_convolution(in_channels, channels, 1, stride), nn.BatchNorm2d(channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut around them, or without: a plain network's.

    Args:
        in_channels: Maps of the input.
        width: Maps of each convolution.
        stride: Of the first convolution and of the shortcut.
        shortcuts: The paper's option, or "none".

    Shape:
        - input: ``(N, in_channels, H, W)``
        - output: ``(N, width, ceil(H / stride), ceil(W / stride))``, rectified

    Raises:
        ValueError: There are no such shortcuts.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, shortcuts: Shortcuts) -> None:
        super().__init__()
        require_choice("shortcuts", shortcuts, get_args(Shortcuts))
        self.conv1 = _convolution(in_channels, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(shortcuts, in_channels, width, stride)
        self.is_residual = shortcuts != "none"

    def forward(self, x: Tensor) -> Tensor:
        """Compute the residual, add the shortcut, rectify."""
        maps: Tensor = F.relu(self.bn1(self.conv1(x)), inplace=True)
        maps = self.bn2(self.conv2(maps))
        if self.is_residual:
            maps.add_(x if self.downsample is None else self.downsample(x))
        return F.relu(maps, inplace=True)


class Bottleneck(nn.Module):
    """Convolutions 1x1, 3x3 and 1x1, the last four times as wide, and a shortcut around them.

    Args:
        in_channels: Maps of the input.
        width: Maps of the first two convolutions.
        stride: Of the shortcut, and of the 3x3 or the first 1x1 convolution.
        shortcuts: The paper's option.
        stride_in_3x3: Which of the two: False is the paper's, True torchvision's "v1.5".

    Shape:
        - input: ``(N, in_channels, H, W)``
        - output: ``(N, 4 * width, ceil(H / stride), ceil(W / stride))``, rectified

    Raises:
        ValueError: There are no such shortcuts around a bottleneck.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        shortcuts: Shortcuts,
        *,
        stride_in_3x3: bool = False,
    ) -> None:
        super().__init__()
        require_choice("shortcuts", shortcuts, "ABC")
        self.conv1 = _convolution(in_channels, width, 1, 1 if stride_in_3x3 else stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3, stride if stride_in_3x3 else 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _convolution(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _downsample(shortcuts, in_channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the residual, add the shortcut, rectify."""
        maps: Tensor = F.relu(self.bn1(self.conv1(x)), inplace=True)
        maps = F.relu(self.bn2(self.conv2(maps)), inplace=True)
        maps = self.bn3(self.conv3(maps))
        maps.add_(x if self.downsample is None else self.downsample(x))
        return F.relu(maps, inplace=True)


Block = Callable[[int, int, int, Shortcuts], BasicBlock | Bottleneck]


def _stage(
    in_channels: int, width: int, stride: int, *, count: int, block: Block, shortcuts: Shortcuts
) -> nn.Sequential:
    """Put blocks of one width one after another; the first has the stride."""
    first = block(in_channels, width, stride, shortcuts)
    channels = width * first.expansion
    others = [block(channels, width, 1, shortcuts) for _ in range(count - 1)]
    return nn.Sequential(first, *others)


def _draw_weights(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            normal_by_fan_in(module)


class ResNet(nn.Module):
    """A residual or plain network for ImageNet.

    Args:
        in_channels: Channels of the images; 3 in the paper.
        num_classes: Number of classes; 1000 in the paper.
        depth: Number of layers with weights: 18, 34, 50, 101 or 152.
        shortcuts: The paper's option A, B or C; "none" is a plain network, of basic blocks.
        stride_in_3x3: Where a bottleneck has its stride: see ``Bottleneck``.

    Shape:
        - images: ``(N, in_channels, H, W)``, float, mean 0 and variance 1; 224x224 in the
          paper, any size is read
        - returns: logits, ``(N, num_classes)``

    Raises:
        ValueError: There is no network of that depth, or none with these shortcuts or blocks.

    Source:
        He et al., 2015, sections 3.3 and 4.1, Table 1.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        *,
        depth: int = 50,
        shortcuts: Shortcuts = "B",
        stride_in_3x3: bool = False,
    ) -> None:
        super().__init__()
        require_choice("depth", depth, BLOCKS)
        block: Block = BasicBlock
        if depth >= 50:
            if shortcuts == "none":
                raise ValueError(f"plain networks have depth 18 or 34, not {depth}")
            block = partial(Bottleneck, stride_in_3x3=stride_in_3x3)
        elif stride_in_3x3:
            raise ValueError(f"stride_in_3x3 is of depth 50, 101 and 152, not {depth}")
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stage = partial(_stage, block=block, shortcuts=shortcuts)
        counts, wider = BLOCKS[depth], 4 if depth >= 50 else 1
        self.layer1 = stage(64, 64, 1, count=counts[0])
        self.layer2 = stage(64 * wider, 128, 2, count=counts[1])
        self.layer3 = stage(128 * wider, 256, 2, count=counts[2])
        self.layer4 = stage(256 * wider, 512, 2, count=counts[3])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * wider, num_classes)
        _draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(images)), inplace=True))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


class CifarResNet(nn.Module):
    """A residual or plain network for CIFAR-10.

    Args:
        in_channels: Channels of the images; 3 in the paper.
        num_classes: Number of classes; 10 in the paper.
        depth: Number of layers with weights, 6n + 2: 20, 32, 44, 56, 110 or 1202 in the paper.
        shortcuts: "A" in the paper; "none" is a plain network.

    Shape:
        - images: ``(N, in_channels, H, W)``, float, mean 0 and variance 1; 32x32 in the paper,
          any size is read
        - returns: logits, ``(N, num_classes)``

    Raises:
        ValueError: The depth is not 6n + 2, or there are no such shortcuts.

    Source:
        He et al., 2015, section 4.2.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 10,
        *,
        depth: int = 20,
        shortcuts: Shortcuts = "A",
    ) -> None:
        super().__init__()
        count, rest = divmod(depth - 2, 6)
        if count < 1 or rest:
            raise ValueError(f"depth is {depth}; choose 6n + 2: 8, 14, 20, 26, 32, ...")
        stage = partial(_stage, count=count, block=BasicBlock, shortcuts=shortcuts)
        self.conv1 = _convolution(in_channels, 16, 3)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = stage(16, 16, 1)
        self.layer2 = stage(16, 32, 2)
        self.layer3 = stage(32, 64, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)
        _draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


_IMAGENET = Recipe(
    network="resnet50",
    data="imagenet",
    epochs=120,
    batch_size=256,
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    schedule="plateau",
    image_size=256,
    crop="random",
    side_range=(256, 480),
    flip=True,
    pca_color=0.1,
    protocol="ten-crop",
    view_average="scores",
    scales=(224, 256, 384, 480, 640),
)

_CIFAR = Recipe(
    network="resnet20",
    data="cifar10",
    epochs=164,
    batch_size=128,
    validation=0,
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    schedule="step",
    milestones={82: 0.1, 123: 0.01},
    flip=True,
    crop_padding=4,
)
# From depth 110 on, an epoch at a tenth of the rate comes first.
_DEEP_CIFAR = _CIFAR.replace(milestones={0: 0.1, 1: 1.0, 82: 0.1, 123: 0.01})

# Not the paper's: a shorter course for any small colour images, with a validation part.
_SHORT = _CIFAR.replace(epochs=30, validation=0.1, schedule="one-cycle", milestones={})

RECIPES = {
    **{name: _IMAGENET.replace(network=name) for name in names_of("ResNet")},
    **{name: _SHORT.replace(network=name) for name in names_of("CifarResNet")},
    **{
        f"{name}-cifar10": (_DEEP_CIFAR if name.endswith(("110", "1202")) else _CIFAR).replace(
            network=name
        )
        for name in names_of("CifarResNet")
    },
}
