"""U-Net: a pixel's class from its surroundings at every scale: Ronneberger et al. (2015).

Source: O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical
image segmentation", MICCAI 2015, LNCS 9351, pp. 234-241, arXiv:1505.04597: sections 2 and 3,
Fig. 1, Eq. 1 and 2.

    contracting                          expanding
    image  (N,    1, 572, 572)
    pair   (N,   64, 568, 568)  cut to   (N, 128, 392, 392)  pair  (N,  64, 388, 388)
    pool   (N,   64, 284, 284)
    pair   (N,  128, 280, 280)  cut to   (N, 256, 200, 200)  pair  (N, 128, 196, 196)
    pool   (N,  128, 140, 140)
    pair   (N,  256, 136, 136)  cut to   (N, 512, 104, 104)  pair  (N, 256, 100, 100)
    pool   (N,  256,  68,  68)
    pair   (N,  512,  64,  64)  cut to   (N, 1024, 56, 56)   pair  (N, 512,  52,  52)
    pool   (N,  512,  32,  32)
    pair   (N, 1024,  28,  28)  dropout
    output (N,    2, 388, 388)  1x1 convolution of the last pair's 64 maps

A pair is two 3x3 convolutions without padding, each followed by ReLU; pooling is 2x2, maximum;
upward a 2x2 up-convolution doubles the side and halves the maps, which are joined to those of
the same level, cut to their size. 23 convolutions, 31,030,658 parameters (the paper prints
none). 92 pixels are lost on each side. Legal sides are 16k + 12 from 188 on: at those every
pooling meets an even side, as the paper asks.

Departures from the paper, and what it leaves open:
    1. Dropout: where at the end of the contracting path, and its rate, are not known here. One
       layer behind the lowest pair, rate 0.5.
    2. Initial weights of the up-convolutions: the paper's N(0, sqrt(2 / N)) with N the inputs of
       a unit, which for 2x2 at stride 2 is the number of maps. Biases start at 0; not given.
    3. Test: the paper averages the answers for 7 rotated versions of the image and does not
       print the angles. ``--protocol turns`` averages what is exact, without interpolation: the
       4 right angles of the image and of its mirror image, 8 in all with the image itself.
    4. Learning rate and length of the training are not printed; the recipes' are ours.
    5. Training: the paper shifts, rotates, changes grey values and bends. That tiles are also
       mirrored and turned by right angles (``turns``) is ours.
    6. Loss: Eq. 1 sums weight times cross-entropy over the pixels; here the sum is divided by
       that of the weights, so that the learning rate does not depend on their scale.
    7. ``UNetPadded`` is not the paper's: zero padding keeps the size, and normalisation and
       volumes are options.
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import UsageError, did_you_mean
from striate.fully_convolutional import require_form, require_multiples, require_sides
from striate.layers import Dropout, normal_by_fan_in
from striate.recipes import Recipe

Normalization = Literal["none", "batch", "instance", "group"]

# How often a pair without padding narrows a map [pixels of its level].
PAIR = 4
# Maps of a group are as many as this allows, for normalization "group".
GROUPS = 8

_CONVOLUTIONS: dict[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP_CONVOLUTIONS = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOLINGS = {2: F.max_pool2d, 3: F.max_pool3d}
_BATCH_NORMS = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE_NORMS = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


class Form(NamedTuple):
    """What all levels of a U have in common."""

    dims: int = 2
    padded: bool = False
    normalization: Normalization = "none"


def _normalization(channels: int, form: Form) -> list[nn.Module]:
    if form.normalization == "batch":
        return [_BATCH_NORMS[form.dims](channels)]
    if form.normalization == "instance":
        return [_INSTANCE_NORMS[form.dims](channels, affine=True)]
    if form.normalization == "group":
        return [nn.GroupNorm(math.gcd(GROUPS, channels), channels)]
    return []


def _pair(in_channels: int, channels: int, form: Form) -> nn.Sequential:
    """Two 3x3 convolutions, each with its normalisation and ReLU."""
    layers: list[nn.Module] = []
    for inputs in (in_channels, channels):
        convolution = _CONVOLUTIONS[form.dims](
            inputs,
            channels,
            kernel_size=3,
            padding=int(form.padded),
            bias=form.normalization == "none",
        )
        normal_by_fan_in(convolution)
        layers += [convolution, *_normalization(channels, form), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Rise(nn.Module):
    """A step of the expanding path: up-convolution, joining, a pair of convolutions."""

    def __init__(self, channels: int, form: Form) -> None:
        super().__init__()
        self.up = _UP_CONVOLUTIONS[form.dims](2 * channels, channels, kernel_size=2, stride=2)
        nn.init.normal_(self.up.weight, std=math.sqrt(2 / (2 * channels)))
        nn.init.zeros_(self.up.get_parameter("bias"))
        self.pair = _pair(2 * channels, channels, form)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Join what comes from below with the same level of the contracting path, cut to fit."""
        x = self.up(x)
        for axis in range(2, x.ndim):
            side = x.shape[axis]
            cut = (level.shape[axis] - side) // 2
            level = level.narrow(axis, cut, side)
        joined: Tensor = self.pair(torch.cat([level, x], dim=1))
        return joined


class TwoPaths(nn.Module):
    """The U itself: images to the maps that the last convolution reads."""

    def __init__(self, in_channels: int, width: int, depth: int, form: Form) -> None:
        super().__init__()
        self.pool = _POOLINGS[form.dims]
        widths = [width * 2**level for level in range(depth + 1)]
        self.contracting = nn.ModuleList(
            _pair(before, after, form)
            for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        self.dropout = Dropout(0.5)
        self.expanding = nn.ModuleList(Rise(channels, form) for channels in widths[-2::-1])

    def forward(self, x: Tensor) -> Tensor:
        """Go down and up again."""
        levels: list[Tensor] = []
        for pair in self.contracting:
            x = pair(self.pool(x, 2) if levels else x)
            levels.append(x)
        x = self.dropout(levels.pop())
        for rise in self.expanding:
            x = rise(x, levels.pop())
        return x


def legal_side(least: int, depth: int = 4) -> int:
    """Find the smallest side that the unpadded U-Net accepts, from a given one on.

    Sides are legal where each pooling meets an even side and something is left at the end:
    16k + 12 for the paper's four poolings.

    Args:
        least: Where to begin [pixels].
        depth: Number of poolings.

    Example:
        >>> legal_side(512), legal_side(572), legal_side(1)
        (524, 572, 188)
    """
    step: int = 2**depth
    lowest = 1  # the side of the answer, then of each level's input, from the last one down
    for _ in range(depth):
        lowest = -(-(lowest + PAIR) // 2)
    bottom = lowest + PAIR
    smallest = step * bottom + PAIR * (step - 1)
    return smallest + step * max(0, -(-(least - smallest) // step))


class UNet(nn.Module):
    """The paper's network, without padding: its answer is smaller than the image.

    Args:
        in_channels: Channels of the images; 1 in the paper.
        num_classes: Number of classes; 2 in the paper.
        width: Maps of the first pair; each level below has twice those of the one above.
        depth: Number of poolings; 4 in the paper.

    Shape:
        - images: ``(N, in_channels, H, W)``, float; H and W as ``legal_side`` says, 16k + 12
        - returns: logits, ``(N, num_classes, H - 184, W - 184)``: of the pixels that are at
          least 92 from the border

    Raises:
        UsageError: A width or depth is below 1.
        ValueError: In use, a side is not legal.

    Source:
        Ronneberger et al., 2015, section 2.
    """

    def __init__(
        self, in_channels: int = 1, num_classes: int = 2, *, width: int = 64, depth: int = 4
    ) -> None:
        super().__init__()
        require_form(width, depth, "a U-Net")
        self.depth = depth
        self.paths = TwoPaths(in_channels, width, depth, Form())
        self.output = nn.Conv2d(width, num_classes, kernel_size=1)
        normal_by_fan_in(self.output)

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each pixel that has its full surroundings."""
        step, least = 2**self.depth, legal_side(1, self.depth)
        legal = [legal_side(side, self.depth) for side in images.shape[2:]]
        reads = f"this U-Net reads sides of {step}k+{least % step} from {least} on"
        require_sides(images, legal, reads)
        logits: Tensor = self.output(self.paths(images))
        return logits


class UNetPadded(nn.Module):
    """A U-Net that pads with zeros, so that its answer has the size of the image. Not the paper's.

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.
        width: Maps of the first pair; each level below has twice those of the one above.
        depth: Number of poolings.
        normalization: Behind each convolution of a pair: "none", as in the paper, "batch",
            "instance", or "group", which has 8 groups, or as many as divide the maps. Instances
            and groups take their mean over the whole image, so tiles differ from the whole.
        dims: 2 for images, 3 for volumes: 3x3x3 convolutions, 2x2x2 pooling and up-convolutions.

    Shape:
        - images: ``(N, in_channels, *spatial)``, float; each side a multiple of 2**depth
        - returns: logits, ``(N, num_classes, *spatial)``

    Raises:
        UsageError: A width or depth is below 1, or a normalisation is unknown.
        ValueError: In use, a side is not such a multiple.

    Example:
        >>> network = UNetPadded(width=4, depth=2, dims=3)
        >>> network(torch.zeros(1, 1, 8, 12, 4)).shape
        torch.Size([1, 2, 8, 12, 4])
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        *,
        width: int = 64,
        depth: int = 4,
        normalization: Normalization = "none",
        dims: Literal[2, 3] = 2,
    ) -> None:
        super().__init__()
        require_form(width, depth, "a U-Net")
        known = get_args(Normalization)
        if normalization not in known:
            raise UsageError(
                f"normalization is {normalization!r}; {did_you_mean(str(normalization), known)}"
            )
        self.depth = depth
        self.paths = TwoPaths(in_channels, width, depth, Form(dims, True, normalization))
        self.output = _CONVOLUTIONS[dims](width, num_classes, kernel_size=1)
        normal_by_fan_in(self.output)

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each pixel."""
        require_multiples(images, 2**self.depth, "this U-Net")
        logits: Tensor = self.output(self.paths(images))
        return logits


# The paper's: one image a step, the momentum, weights of borders, a 3x3 grid of N(0, 10), shift,
# rotation and grey values, whose strengths it does not print, as it does neither rate nor length.
# Turns are ours.
_UNET = Recipe(
    network="unet",
    data="isbi2012",
    epochs=150,
    batch_size=1,
    learning_rate=0.0001,
    momentum=0.99,
    schedule="constant",
    tile=(572,),
    class_weights="balanced",
    border_weight=10.0,
    border_sigma=5.0,
    turns=True,
    shift=20.0,
    rotation=45.0,
    grey=0.1,
    elastic=10.0,
    elastic_points=3,
    protocol="turns",
)

# Ours, for people's own images on the machine they have.
_PADDED = Recipe(
    network="unet_padded",
    data="isbi2012",
    width=32,
    depth=4,
    normalization="batch",
    epochs=60,
    batch_size=4,
    loss="cross-entropy+dice",
    optimizer="adamw",
    learning_rate=0.002,
    schedule="one-cycle",
    tile=(256,),
    rare=0.33,
    rotation=15.0,
    scale=0.15,
    grey=0.15,
    noise=0.05,
    elastic=4.0,
    elastic_points=3,
)

RECIPES = {
    "unet": _UNET,
    "unet_padded": _PADDED,
    "unet3d": _PADDED.replace(
        network="unet3d", data="hippocampus", width=16, depth=3, batch_size=2, tile=(64,)
    ),
    # A modest width for two processor cores; everything but turns and bending is ours.
    "unet-isbi": Recipe(
        network="unet_padded",
        data="isbi2012",
        width=16,
        depth=4,
        epochs=40,
        batch_size=4,
        optimizer="adamw",
        learning_rate=0.003,
        schedule="one-cycle",
        ema=0.99,
        tile=(192,),
        turns=True,
        rotation=15.0,
        scale=0.1,
        grey=0.15,
        elastic=8.0,
        elastic_points=3,
        protocol="turns",
    ),
}
