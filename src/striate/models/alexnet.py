"""AlexNet: Krizhevsky, Sutskever and Hinton (2012), and the later network of the same name.

Source: A. Krizhevsky, I. Sutskever and G. E. Hinton, "ImageNet classification with deep
convolutional neural networks", Advances in Neural Information Processing Systems 25, 2012.

    layer    output             parameters
    image    (N,   3, 227, 227)              a window of an image resized to 256
    conv1    (N,  96,  55,  55)      34,944  11x11 convolution, stride 4
    pool1    (N,  96,  27,  27)              after normalisation; 3x3 maximum, stride 2
    conv2    (N, 256,  27,  27)     307,456  5x5, two groups
    pool2    (N, 256,  13,  13)              after normalisation; 3x3 maximum, stride 2
    conv3    (N, 384,  13,  13)     885,120  3x3, reads the maps of both GPUs
    conv4    (N, 384,  13,  13)     663,936  3x3, two groups
    conv5    (N, 256,  13,  13)     442,624  3x3, two groups
    pool5    (N, 256,   6,   6)              3x3 maximum, stride 2
    fc6      (N, 4096)           37,752,832  dropout 0.5
    fc7      (N, 4096)           16,781,312  dropout 0.5
    fc8      (N, 1000)            4,097,000
    total                        60,965,224

The two groups are the paper's two GPUs. ``tower`` gives what one of them holds, and
``through_towers`` runs both, in one process or in two.

Departures from the paper, and what it leaves open:
    1. The image is 227 pixels wide. The paper says 224, from which an 11x11 convolution of
       stride 4 without padding does not make its 55x55 maps.
    2. Figure 2 prints 253,440 units after conv1; 55 x 55 x 96 are 290,400. Its other counts
       hold.
    3. Normalisation looks at neighbouring maps of the same GPU only, since the GPUs exchange
       maps before conv3 and the fully connected layers alone. The paper does not say so.
    4. Units that dropout keeps are doubled in training; the paper halves all at test time.
    5. The recipe takes one number off all pixels, about the mean of photographs; the paper
       takes off the mean image of its training set. It divides the rate by ten by itself when
       validation stalls; the authors did so by hand, three times.

    6. Training windows lie anywhere in the resized image, on one that is not square outside its
       middle square too, which is all that the paper keeps. On 256x256 there are 30 x 30 places
       for a window of 227, with mirror images 1,800; the paper counts 2,048 for 224.
    7. The paper's momentum holds the rate inside the velocity, ours outside: the same steps while
       the rate stays, others for a while after each fall.

``AlexNetTorchvision`` is the network that most people call AlexNet: one tower, 64 kernels in
conv1, no normalisation, dropout before fc6 and fc7. It has 61,100,840 parameters and the names
of torchvision's. Torchvision's averages maps of other sizes to 6x6; here only 224x224 is read,
larger images by ``to_dense()``. Recipe and initial weights (PyTorch's own) are no paper's.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn

from striate.errors import require_choice
from striate.fully_convolutional import FullyConvolutional, require_side, sliding_layers
from striate.layers import Dropout
from striate.normalization import LocalResponseNorm
from striate.recipes import Recipe

STARTS_AT_ONE = ("conv2", "conv4", "conv5", "fc6", "fc7")

# The GPUs exchange their halves before these layers.
EXCHANGES = ("conv3", "flatten", "fc7", "fc8")

# Halves of the towers that are here → for each of these towers, the halves of both, joined.
Exchange = Callable[[Sequence[Tensor]], list[Tensor]]


class AlexNet(nn.Module):
    """AlexNet as on the paper's two GPUs.

    Args:
        in_channels: Channels of the images; 3 in the paper. Others change only conv1.
        num_classes: Number of classes; 1000 in the paper.

    Shape:
        - images: ``(N, in_channels, 227, 227)``, float, bytes less about their mean: the
          normalisation's constants belong to that range
        - returns: logits, ``(N, num_classes)``

    Initial weights: normal with deviation 0.01; biases 1 in conv2, conv4, conv5, fc6 and fc7,
    0 in the others.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 1000) -> None:
        super().__init__()
        features: dict[str, nn.Module] = {
            "conv1": nn.Conv2d(in_channels, 96, kernel_size=11, stride=4),
            "relu1": nn.ReLU(inplace=True),
            "norm1": LocalResponseNorm(groups=2),
            "pool1": nn.MaxPool2d(kernel_size=3, stride=2),
            "conv2": nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=2),
            "relu2": nn.ReLU(inplace=True),
            "norm2": LocalResponseNorm(groups=2),
            "pool2": nn.MaxPool2d(kernel_size=3, stride=2),
            "conv3": nn.Conv2d(256, 384, kernel_size=3, padding=1),
            "relu3": nn.ReLU(inplace=True),
            "conv4": nn.Conv2d(384, 384, kernel_size=3, padding=1, groups=2),
            "relu4": nn.ReLU(inplace=True),
            "conv5": nn.Conv2d(384, 256, kernel_size=3, padding=1, groups=2),
            "relu5": nn.ReLU(inplace=True),
            "pool5": nn.MaxPool2d(kernel_size=3, stride=2),
        }
        classifier: dict[str, nn.Module] = {
            "flatten": nn.Flatten(),
            "fc6": nn.Linear(256 * 6 * 6, 4096),
            "relu6": nn.ReLU(inplace=True),
            "drop6": Dropout(0.5),
            "fc7": nn.Linear(4096, 4096),
            "relu7": nn.ReLU(inplace=True),
            "drop7": Dropout(0.5),
            "fc8": nn.Linear(4096, num_classes),
        }
        self.features = nn.Sequential(OrderedDict(features))
        self.classifier = nn.Sequential(OrderedDict(classifier))
        for path, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.01)
            else:
                nn.init.constant_(parameter, float(path.split(".")[1] in STARTS_AT_ONE))

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        require_side(images, 227, "AlexNet")
        logits: Tensor = self.classifier(self.features(images))
        return logits

    def to_dense(self) -> FullyConvolutional:
        """Give the form that reads larger images and averages the scores of its windows."""
        return FullyConvolutional(
            self.features, sliding_layers(self.classifier), (256, 6, 6), smallest=227
        )


class AlexNetTorchvision(nn.Module):
    """The network that torchvision calls AlexNet; not the paper's, 61,100,840 parameters.

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.

    Shape:
        - images: ``(N, in_channels, 224, 224)``, float, mean near 0 and variance near 1
        - returns: logits, ``(N, num_classes)``

    Source:
        ``torchvision.models.alexnet``, after A. Krizhevsky, "One weird trick for parallelizing
        convolutional neural networks", 2014.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.classifier = nn.Sequential(
            Dropout(0.5),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        require_side(images, 224, "torchvision's AlexNet")
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits

    def to_dense(self) -> FullyConvolutional:
        """Give the form that reads larger images and averages the scores of its windows."""
        return FullyConvolutional(
            self.features, sliding_layers(self.classifier), (256, 6, 6), smallest=224
        )


class Tower(nn.Module):
    """What one of the two GPUs holds: half of the kernels or units of every layer.

    Attributes:
        sections: The layers between two exchanges, five times.
    """

    def __init__(self, sections: Sequence[nn.Module]) -> None:
        super().__init__()
        self.sections = nn.ModuleList(sections)


def tower(network: AlexNet, rank: int) -> Tower:
    """Cut one of two towers out of AlexNet; its weights are copies, its mode the network's.

    Args:
        network: Whose weights to take.
        rank: 0 for the first half of each layer's kernels or units, 1 for the second.

    Raises:
        ValueError: The rank is neither 0 nor 1, or the number of classes is odd.
    """
    require_choice("rank", rank, (0, 1))
    classes = network.get_parameter("classifier.fc8.bias").numel()
    if classes % 2:
        raise ValueError(f"{classes} classes cannot be halved; two towers need an even number")
    sections = [nn.Sequential()]
    for name, layer in (*network.features.named_children(), *network.classifier.named_children()):
        if name in EXCHANGES:
            sections.append(nn.Sequential())
        sections[-1].add_module(name, _half(layer, rank))
    return Tower(sections).train(network.training)


def _half(layer: nn.Module, rank: int) -> nn.Module:
    half: nn.Module
    if isinstance(layer, nn.Conv2d):
        half = nn.Conv2d(
            layer.in_channels // layer.groups,
            layer.out_channels // 2,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            device=layer.weight.device,
        )
    elif isinstance(layer, nn.Linear):
        half = nn.Linear(layer.in_features, layer.out_features // 2, device=layer.weight.device)
    elif isinstance(layer, LocalResponseNorm):
        return LocalResponseNorm()
    else:  # neither weights nor anything that depends on the number of maps
        return Dropout(layer.share) if isinstance(layer, Dropout) else layer
    with torch.no_grad():
        for own, whole in zip(half.parameters(), layer.parameters(), strict=True):
            own.copy_(whole.chunk(2)[rank])
    return half


def through_towers(towers: Sequence[Tower], images: Tensor, exchange: Exchange) -> Tensor:
    """Score each class by two towers that exchange their maps where the paper's GPUs do.

    Args:
        towers: Those of this process: both, or one of them.
        images: ``(N, C, 227, 227)``, the same in both processes.
        exchange: ``exchange_here`` with both towers, ``exchange_between_processes`` with one.

    Returns:
        logits, ``(N, num_classes)``, equal in both processes. Since both have a loss then, each
        takes half of it before its backward pass.

    Example:
        >>> network = AlexNet(num_classes=10).eval()
        >>> towers = [tower(network, rank) for rank in (0, 1)]
        >>> images = torch.randn(1, 3, 227, 227)
        >>> logits = through_towers(towers, images, exchange_here)
        >>> torch.allclose(logits, network(images), rtol=1e-4)
        True
    """
    require_side(images, 227, "AlexNet")
    wholes = [images] * len(towers)
    for sections in zip(*(tower.sections for tower in towers), strict=True):
        wholes = exchange([section(x) for section, x in zip(sections, wholes, strict=True)])
    return wholes[0]


def exchange_here(halves: Sequence[Tensor]) -> list[Tensor]:
    """Join the halves of both towers, which are in this process."""
    return [torch.cat(list(halves), dim=1)] * len(halves)


def exchange_between_processes(halves: Sequence[Tensor]) -> list[Tensor]:
    """Join the half of this process's tower with the other's, by ``torch.distributed``."""
    return [_Joined.apply(half) for half in halves]  # type: ignore[no-untyped-call]


class _Joined(torch.autograd.Function):
    """The halves of all processes, in the order of their ranks; gradients return to each."""

    @staticmethod
    def forward(ctx: Any, half: Tensor) -> Tensor:
        halves = [torch.empty_like(half.contiguous()) for _ in range(distributed.get_world_size())]
        distributed.all_gather(halves, half.contiguous())
        return torch.cat(halves, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size(), dim=1)[distributed.get_rank()]


# Batch, rates, decay, epochs and augmentation are the paper's.
_PUBLISHED = Recipe(
    network="alexnet",
    data="imagenet",
    epochs=90,
    batch_size=128,
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="plateau",
    plateau_factor=0.1,
    image_size=256,
    input_range=(-115, 140),
    crop="random",
    flip=True,
    pca_color=0.1,
    protocol="ten-crop",
)

RECIPES = {
    "alexnet": _PUBLISHED,
    "alexnet_torchvision": _PUBLISHED.replace(network="alexnet_torchvision", input_range=None),
}
