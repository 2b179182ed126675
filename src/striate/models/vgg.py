"""VGG, the networks A to E of Simonyan and Zisserman (2014).

Source: K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image
recognition", International Conference on Learning Representations, 2015, arXiv:1409.1556:
sections 2 and 3, Tables 1 and 2.

    stage    output            A            B            C            D            E
    image    (N,   3, 224, 224)
    1        (N,  64, 112, 112) 64          64 64        64 64        64 64        64 64
    2        (N, 128,  56,  56) 128         128 128      128 128      128 128      128 128
    3        (N, 256,  28,  28) 256 ×2      256 ×2       256 ×2 (1)   256 ×3       256 ×4
    4        (N, 512,  14,  14) 512 ×2      512 ×2       512 ×2 (1)   512 ×3       512 ×4
    5        (N, 512,   7,   7) 512 ×2      512 ×2       512 ×2 (1)   512 ×3       512 ×4
    weight layers               11          13           16           16           19
    parameters                  132,863,336 133,047,848  133,638,952  138,357,544  143,667,240

Convolutions are 3x3 with padding 1; (1) is one more of 1x1. Each stage ends in a 2x2 maximum,
each convolution and hidden layer in a ReLU. Then 4096, 4096 and 1000 units, dropout 0.5 on the
first two. A-LRN is A with AlexNet's normalisation after the first convolution. Names of the
parameters are torchvision's, so that its weights of vgg11 (A), vgg13 (B), vgg16 (D) and vgg19
(E) load.

Departures from the paper, and what it leaves open:
    1. Initial weights are Glorot's for every network: uniform, biases 0. The paper first
       trained A from normal weights of variance 0.01 and started the deeper networks from its
       layers; afterwards the authors found that Glorot's weights suffice without that.
    2. Other sizes than 224x224 are refused, larger ones read by ``to_dense()``, the paper's
       dense evaluation. Torchvision averages other maps to 7x7 instead.
    3. Input: each colour is standardised by the mean and deviation of the training images. The
       paper, as we remember it, takes off the mean and does not divide. The "RGB shift" is taken
       for AlexNet's along the principal colours. The recipe trains at one scale, S = 256.
    4. The paper's best figures average dense and multi-crop evaluation; a run is evaluated by one
       protocol at a time. At the smallest of its scales, 150-crop repeats views, since windows of
       224 lie in an image of 224 in one place.
    5. The rate falls by itself when validation stalls; the paper's fell three times, over
       370,000 steps, which are 74 epochs of 1.28 million images.
"""

from torch import Tensor, nn

from striate.errors import require_choice
from striate.fully_convolutional import FullyConvolutional, require_side, sliding_layers
from striate.layers import Dropout
from striate.models import names_of
from striate.normalization import LocalResponseNorm
from striate.recipes import Recipe

# Table 1: maps of each 3x3 convolution; c1 before the maps of a 1x1; M is pooling.
CONFIGURATIONS = {
    "A": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "A-LRN": "64 LRN M 128 M 256 256 M 512 512 M 512 512 M",
    "B": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "C": "64 64 M 128 128 M 256 256 c1-256 M 512 512 c1-512 M 512 512 c1-512 M",
    "D": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "E": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


class VGG(nn.Module):
    """A network of Table 1.

    Args:
        in_channels: Channels of the images; 3 in the paper. Others change only the first layer.
        num_classes: Number of classes; 1000 in the paper.
        configuration: A, A-LRN, B, C, D or E.

    Shape:
        - images: ``(N, in_channels, 224, 224)``, float
        - returns: logits, ``(N, num_classes)``

    Raises:
        ValueError: There is no such configuration.
    """

    def __init__(
        self, in_channels: int = 3, num_classes: int = 1000, *, configuration: str = "D"
    ) -> None:
        super().__init__()
        require_choice("configuration", configuration, CONFIGURATIONS)
        self.features = nn.Sequential(*_layers(in_channels, CONFIGURATIONS[configuration]))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            Dropout(0.5),
            nn.Linear(4096, num_classes),
        )
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        require_side(images, 224, "VGG")
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits

    def to_dense(self) -> FullyConvolutional:
        """Give the paper's dense evaluation: larger images, the scores averaged over places.

        The first fully connected layer becomes a 7x7 convolution, the others 1x1.

        Source:
            Section 3.2.
        """
        head = sliding_layers(self.classifier)
        return FullyConvolutional(self.features, head, (512, 7, 7), smallest=224)


def _layers(maps: int, configuration: str) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for entry in configuration.split():
        if entry == "M":
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        elif entry == "LRN":
            layers.append(LocalResponseNorm())
        else:
            outputs = int(entry.removeprefix("c1-"))
            side = 1 if entry.startswith("c1-") else 3
            layers += [
                nn.Conv2d(maps, outputs, kernel_size=side, padding=side // 2),
                nn.ReLU(inplace=True),
            ]
            maps = outputs
    return layers


# Batch, rate, momentum, decay and epochs are the paper's.
_PUBLISHED = Recipe(
    network="vgg16",
    data="imagenet",
    epochs=74,
    batch_size=256,
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="plateau",
    plateau_factor=0.1,
    image_size=256,
    crop="random",
    flip=True,
    pca_color=0.1,
    protocol="dense",
)

RECIPES = {name: _PUBLISHED.replace(network=name) for name in names_of("VGG")}
