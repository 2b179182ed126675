"""GoogLeNet: Szegedy et al. (2014), and torchvision's network of the same name.

Source: C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D. Erhan, V. Vanhoucke
and A. Rabinovich, "Going deeper with convolutions", Conference on Computer Vision and Pattern
Recognition, 2015, pp. 1-9, arXiv:1409.4842: section 5, Table 1, Fig. 3. The body of Table 1 was
not at hand; its widths rest on memory and are confirmed by every output depth and by torchvision's
parameter totals.

    layer            output              parameters
    image            (N,    3, 224, 224)
    conv1            (N,   64, 112, 112)      9,472  7x7, stride 2
    pool, norm       (N,   64,  56,  56)             3x3 maximum, stride 2
    conv2            (N,   64,  56,  56)      4,160  1x1
    conv3            (N,  192,  56,  56)    110,784  3x3
    norm, pool       (N,  192,  28,  28)
    inception3a      (N,  256,  28,  28)    163,696
    inception3b      (N,  480,  28,  28)    388,736
    pool             (N,  480,  14,  14)
    inception4a      (N,  512,  14,  14)    376,176  aux1 reads it
    inception4b      (N,  512,  14,  14)    449,160
    inception4c      (N,  512,  14,  14)    510,104
    inception4d      (N,  528,  14,  14)    605,376  aux2 reads it
    inception4e      (N,  832,  14,  14)    868,352
    pool             (N,  832,   7,   7)
    inception5a      (N,  832,   7,   7)  1,043,456
    inception5b      (N, 1024,   7,   7)  1,444,080
    average          (N, 1024)                       dropout 40 %
    fc               (N, 1000)            1,025,000
    total                                 6,998,552
    aux1             (N, 1000)            3,188,840  in training only, dropout 70 %
    aux2             (N, 1000)            3,190,888
    with both                            13,378,280

Departures from the paper, and what it leaves open:
    1. Table 1, as we remember it, prints 2.7K parameters for conv1, which has 9,472, and 34M
       operations, where we count 118M; the column agrees with its own rows to 10 % only, and
       says nothing of biases. Ours has one a map.
    2. Where the two normalisations stand rests on memory; their constants are AlexNet's.
    3. Initial weights are not given; ours are normal by the fan-in, after He et al. 2015,
       biases 0.
    4. The average is taken over the whole map, 7x7 at the paper's size, so that evaluation
       reads images of any size from 32. In training the auxiliary classifiers read 224 only.
    5. Base rate, batch, weight decay and epochs are not given; the recipe's are ours. The
       learning rate falls by 4 % every 8 epochs and the weights are averaged, as in the paper;
       the decay of that average is ours, and photometric distortions are left out.
       Steps are synchronous, one interpolation serves all, and images are mirrored; the paper has
       asynchronous steps and random interpolation. Of areas drawn uniformly, those that do not
       fit the image are drawn again, so that small ones are more frequent.
    6. Input: each colour is standardised by the mean and deviation of the training images. The
       paper, as we remember it, takes off the mean and does not divide.

``googlenet_torchvision`` is torchvision's, whose weights are what people have: batch
normalisation in place of biases and of response normalisation, 3x3 where the paper has 5x5, a
2x2 pool before inception5a, auxiliary classifiers on an average of 4x4, dropout 20 %: 6,624,904
parameters, with both classifiers 13,004,888. Its published weights read images in [-1, 1], which
is what torchvision's ``transform_input`` makes of its own standardised ones; the recipe's
``input_range`` says so, and there is no such switch here.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.fully_convolutional import require_least
from striate.layers import Dropout, WithAuxiliary, normal_by_fan_in
from striate.normalization import LocalResponseNorm
from striate.recipes import Recipe

SMALLEST = 32


class ConvReLU(nn.Module):
    """A convolution and a ReLU, with batch normalisation between them as in torchvision's.

    Args:
        in_channels: Number of input maps.
        out_channels: Number of output maps.
        kernel_size: Side of the kernels; the padding keeps the size at stride 1.
        stride: Distance between neighbouring windows.
        batch_norm: Normalise, in place of a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        batch_norm: bool,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            bias=not batch_norm,
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001) if batch_norm else None

    def forward(self, x: Tensor) -> Tensor:
        """Give the rectified maps."""
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        return F.relu(x, inplace=True)


class Inception(nn.Module):
    """Four branches side by side, their maps one after the other.

    Args:
        in_channels: Number of input maps.
        widths: As in a row of Table 1: maps of the 1x1 branch, of the reduction and the 3x3
            convolution, of the reduction and the 5x5 convolution, and after the pooling.
        torchvision: Batch normalisation, and 3x3 in the place of 5x5.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], *, torchvision: bool) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pooled = widths
        large = 3 if torchvision else 5
        self.branch1 = ConvReLU(in_channels, one, 1, batch_norm=torchvision)
        self.branch2 = nn.Sequential(
            ConvReLU(in_channels, reduce3, 1, batch_norm=torchvision),
            ConvReLU(reduce3, three, 3, batch_norm=torchvision),
        )
        self.branch3 = nn.Sequential(
            ConvReLU(in_channels, reduce5, 1, batch_norm=torchvision),
            ConvReLU(reduce5, five, large, batch_norm=torchvision),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1),
            ConvReLU(in_channels, pooled, 1, batch_norm=torchvision),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Give the maps of all branches."""
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(x) for branch in branches], dim=1)


class Auxiliary(nn.Module):
    """A classifier on the way, which helps the first stages to learn and is not asked later.

    Args:
        in_channels: Number of maps it reads.
        num_classes: Number of classes.
        torchvision: Batch normalisation, and an average to 4x4 maps of whatever size.
    """

    def __init__(self, in_channels: int, num_classes: int, *, torchvision: bool) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4) if torchvision else nn.AvgPool2d(5, stride=3)
        self.conv = ConvReLU(in_channels, 128, 1, batch_norm=torchvision)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.dropout = Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Score each class."""
        x = self.conv(self.pool(x)).flatten(1)
        x = self.dropout(F.relu(self.fc1(x), inplace=True))
        logits: Tensor = self.fc2(x)
        return logits


class GoogLeNet(nn.Module):
    """GoogLeNet with both auxiliary classifiers.

    Args:
        in_channels: Channels of the images; 3 in the paper. Others change only conv1.
        num_classes: Number of classes; 1000 in the paper.
        torchvision: Build torchvision's network instead of the paper's.

    Shape:
        - images: ``(N, in_channels, 224, 224)``, float. In evaluation H and W may be anything
          from 32; torchvision's also in training
        - returns: logits, ``(N, num_classes)``; in training ``WithAuxiliary`` with those of
          aux1 and aux2
    """

    def __init__(
        self, in_channels: int = 3, num_classes: int = 1000, *, torchvision: bool = False
    ) -> None:
        super().__init__()
        self.torchvision = torchvision

        def norm() -> nn.Module:
            return nn.Identity() if torchvision else LocalResponseNorm()

        def pool(side: int = 3) -> nn.Module:
            return nn.MaxPool2d(kernel_size=side, stride=2, ceil_mode=True)

        def inception(maps: int, *widths: int) -> nn.Module:
            return Inception(maps, widths, torchvision=torchvision)

        self.conv1 = ConvReLU(in_channels, 64, 7, stride=2, batch_norm=torchvision)
        self.maxpool1 = pool()
        self.norm1 = norm()
        self.conv2 = ConvReLU(64, 64, 1, batch_norm=torchvision)
        self.conv3 = ConvReLU(64, 192, 3, batch_norm=torchvision)
        self.norm2 = norm()
        self.maxpool2 = pool()
        self.inception3a = inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = pool()
        self.inception4a = inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = pool(2 if torchvision else 3)
        self.inception5a = inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = Auxiliary(512, num_classes, torchvision=torchvision)
        self.aux2 = Auxiliary(528, num_classes, torchvision=torchvision)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = Dropout(0.2 if torchvision else 0.4)
        self.fc = nn.Linear(1024, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                normal_by_fan_in(layer)
                if torchvision:
                    nn.init.trunc_normal_(layer.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor | WithAuxiliary:
        """Score each class; in training, by the auxiliary classifiers too."""
        self._require(images)
        x = self.norm1(self.maxpool1(self.conv1(images)))
        x = self.maxpool2(self.norm2(self.conv3(self.conv2(x))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        first = self.inception4a(x)
        second = self.inception4d(self.inception4c(self.inception4b(first)))
        x = self.maxpool4(self.inception4e(second))
        x = self.inception5b(self.inception5a(x))
        x = self.dropout(self.avgpool(x).flatten(1))
        logits: Tensor = self.fc(x)
        if self.training:
            return WithAuxiliary(logits, (self.aux1(first), self.aux2(second)))
        return logits

    def _require(self, images: Tensor) -> None:
        require_least(images, SMALLEST, "GoogLeNet", usual=224)
        if self.training and not self.torchvision and images.shape[2:] != (224, 224):
            raise ValueError(
                f"in training GoogLeNet reads images of 224x224, not {tuple(images.shape)}; its "
                "auxiliary classifiers fit no other: take a window of 224x224"
            )


# Momentum, course of the rate, averaged weights, crops and protocol are the paper's.
_PUBLISHED = Recipe(
    network="googlenet",
    data="imagenet",
    epochs=240,
    batch_size=128,
    auxiliary=0.3,
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=2e-4,
    schedule="step",
    milestones={epoch: round(0.96 ** (epoch // 8), 6) for epoch in range(8, 240, 8)},
    ema=0.9999,
    image_size=256,
    crop="area",
    flip=True,
    protocol="144-crop",
)

RECIPES = {
    "googlenet": _PUBLISHED,
    "googlenet_torchvision": _PUBLISHED.replace(
        network="googlenet_torchvision", input_range=(-1, 1)
    ),
}
