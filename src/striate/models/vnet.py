"""V-Net: volumes labelled voxel by voxel through residual stages: Milletari et al. (2016).

Source: F. Milletari, N. Navab and S.-A. Ahmadi, "V-Net: fully convolutional neural networks for
volumetric medical image segmentation", 3DV 2016, arXiv:1606.04797: section 2, Fig. 2, Table 1;
and the network description that the authors released for Caffe.

    stage  output                  5x5x5 convolutions    field, Table 1   field, exact
                                   paper    released
    image  (N,   1, 64, 128, 128)
    L1     (N,  16, 64, 128, 128)  1        1              5                5
    L2     (N,  32, 32,  64,  64)  2        1             22               22
    L3     (N,  64, 16,  32,  32)  3        2             72               72
    L4     (N, 128,  8,  16,  16)  3        3            172              172
    L5     (N, 256,  4,   8,   8)  3        3            372              372
    R4     (N, 256,  8,  16,  16)  3        3            476              468
    R3     (N, 128, 16,  32,  32)  3        2            528              516
    R2     (N,  64, 32,  64,  64)  2        1            546              532
    R1     (N,  32, 64, 128, 128)  1        1            551              548
    output (N,   2, 64, 128, 128)  1x1x1    5x5x5, 1x1x1

Between stages, 2x2x2 convolutions of stride 2 double the maps, and 2x2x2 de-convolutions
bring them to those of the left stage beside, with which they are joined. All convolutions of a
stage keep the size. A stage adds its input to its last convolution before the last PReLU: L1
the image, once for each map; R4 to R1 the joined maps. PReLU, with a slope for each map, follows
every convolution but the last. The paper's network has 65,175,314 parameters, the released one
61,982,682; the paper prints none.

The paper's fields of the right side (Table 1) count a de-convolution as one more step of the
coarser grid; the exact ones are what the weights reach. The caption of Table 1 says 3x3x3,
the text 5x5x5.

Departures from the paper, and what it leaves open:
    1. What the right side adds, and that L1 repeats the image, is taken from the released
       network. With more channels than one, the maps of L1 take them in turn.
    2. Initial weights: N(0, sqrt(2 / N)), N the inputs of a unit, as the released network asks
       for; slopes of PReLU start at 0.25. The paper does not say.
    3. The released network's output has no softmax here: logits are returned, and the loss has it.
    4. Axes are (depth, height, width), the 64 slices first.
    5. ``width`` and ``depth`` are ours: narrow enough for a processor, shallow enough for small
       volumes. A shallower network is the paper's without its lowest stages.
    6. Loss: both recipes train with the paper's Dice, squares in the denominator. The released
       layer instead takes the Dice of the arg-max, with plain sums, and a gradient written by
       hand. With more classes than two, the loss is a mean over all but the background.
    7. Bending displaces along all axes; the authors' code keeps the z displacement at 0.
    8. Neither N4 bias-field correction nor resampling to one spacing is done before.
    9. The released solver's weight decay and its fall of the rate after 20,000 steps are
       ``vnet_released``'s; the rest of that recipe is the paper's.
"""

import math

import torch
from torch import Tensor, nn

from striate.fully_convolutional import require_form, require_multiples
from striate.layers import normal_by_fan_in
from striate.recipes import Recipe

# 5x5x5 convolutions of L1, L2, ... and of R1, R2, ...; further down as in the last.
PAPER = (1, 2, 3, 3, 3)
RELEASED = (1, 1, 2, 3, 3)


def _convolution(in_channels: int, channels: int, kernel_size: int) -> nn.Conv3d:
    layer = nn.Conv3d(in_channels, channels, kernel_size, padding=kernel_size // 2)
    normal_by_fan_in(layer)
    return layer


class Stage(nn.Module):
    """Convolutions with their PReLUs; what came in is added before the last PReLU."""

    def __init__(self, in_channels: int, channels: int, convolutions: int) -> None:
        super().__init__()
        self.conv = nn.ModuleList(
            _convolution(inputs, channels, kernel_size=5)
            for inputs in (in_channels, *[channels] * (convolutions - 1))
        )
        self.prelu = nn.ModuleList(nn.PReLU(channels) for _ in self.conv)

    def forward(self, x: Tensor, added: Tensor) -> Tensor:
        """Convolve, and add before the last activation."""
        *inner, (last, prelu) = zip(self.conv, self.prelu, strict=True)
        for convolution, activation in inner:
            x = activation(convolution(x))
        maps: Tensor = prelu(last(x) + added)
        return maps


class Descent(nn.Module):
    """A halving convolution and the stage behind it."""

    def __init__(self, channels: int, convolutions: int) -> None:
        super().__init__()
        self.down = nn.Conv3d(channels // 2, channels, kernel_size=2, stride=2)
        normal_by_fan_in(self.down)
        self.prelu = nn.PReLU(channels)
        self.stage = Stage(channels, channels, convolutions)

    def forward(self, x: Tensor) -> Tensor:
        """Go a level down."""
        x = self.prelu(self.down(x))
        maps: Tensor = self.stage(x, x)
        return maps


class Rise(nn.Module):
    """A de-convolution, the joining with the left stage, and the stage behind it."""

    def __init__(self, in_channels: int, channels: int, convolutions: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(in_channels, channels, kernel_size=2, stride=2)
        nn.init.normal_(self.up.weight, std=math.sqrt(2 / in_channels))
        nn.init.zeros_(self.up.get_parameter("bias"))
        self.prelu = nn.PReLU(channels)
        self.stage = Stage(2 * channels, 2 * channels, convolutions)

    def forward(self, x: Tensor, left: Tensor) -> Tensor:
        """Go a level up."""
        x = torch.cat([self.prelu(self.up(x)), left], dim=1)
        maps: Tensor = self.stage(x, x)
        return maps


class VNet(nn.Module):
    """V-Net as in the paper, or as its authors released it.

    Args:
        in_channels: Channels of the volumes; 1 in the paper.
        num_classes: Number of classes; 2 in the paper.
        released: Take the convolutions of the released network.
        width: Maps of L1; 16 in the paper.
        depth: How often the volume is halved; 4 in the paper.

    Shape:
        - volumes: ``(N, in_channels, D, H, W)``, float, each side a multiple of 2**depth;
          64x128x128 in the paper
        - returns: logits, ``(N, num_classes, D, H, W)``

    Raises:
        UsageError: A width or depth is below 1.
        ValueError: In use, a side is not such a multiple.

    Source:
        Milletari et al., 2016, section 2.

    Example:
        >>> VNet(width=2, depth=2)(torch.zeros(1, 1, 4, 12, 8)).shape
        torch.Size([1, 2, 4, 12, 8])
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        *,
        released: bool = False,
        width: int = 16,
        depth: int = 4,
    ) -> None:
        super().__init__()
        require_form(width, depth, "a V-Net")
        counts: tuple[int, ...] = RELEASED if released else PAPER
        counts += counts[-1:] * (depth + 1 - len(counts))
        self.width, self.depth = width, depth
        self.first = Stage(in_channels, width, counts[0])
        self.contracting = nn.ModuleList(
            Descent(width * 2**level, counts[level]) for level in range(1, depth + 1)
        )
        self.expanding = nn.ModuleList(
            Rise(width * 2 ** min(level + 2, depth), width * 2**level, counts[level])
            for level in reversed(range(depth))
        )
        before = [_convolution(2 * width, num_classes, kernel_size=5), nn.PReLU(num_classes)]
        last = _convolution(num_classes if released else 2 * width, num_classes, kernel_size=1)
        self.output = nn.Sequential(*(before if released else []), last)

    def forward(self, volumes: Tensor) -> Tensor:
        """Score the classes of each voxel."""
        require_multiples(volumes, 2**self.depth, "this V-Net")
        x = self.first(volumes, _in_turn(volumes, self.width))
        lefts: list[Tensor] = []
        for descent in self.contracting:
            lefts.append(x)
            x = descent(x)
        for rise in self.expanding:
            x = rise(x, lefts.pop())
        logits: Tensor = self.output(x)
        return logits


def _in_turn(volumes: Tensor, maps: int) -> Tensor:
    """Repeat the channels up to a number of maps; a single one is left to broadcasting."""
    channels = volumes.shape[1]
    if channels == 1:
        return volumes
    return torch.cat([volumes] * -(-maps // channels), dim=1)[:, :maps]


# The paper's: volume, batch, momentum, rate and its fall after 25,000 of 30,000 steps (an epoch of
# a small set has 20), Dice, B-splines on 2x2x2 points with N(0, 15), histograms matched.
_VNET = Recipe(
    network="vnet",
    data="hippocampus",
    epochs=1500,
    batch_size=2,
    loss="dice",
    learning_rate=0.0001,
    momentum=0.99,
    schedule="step",
    milestones={1250: 0.1},
    tile=(64, 128, 128),
    elastic=15.0,
    elastic_points=2,
    match_histograms=True,
)

RECIPES = {
    "vnet": _VNET,
    "vnet_released": _VNET.replace(
        network="vnet_released", weight_decay=0.0005, milestones={1000: 0.1}
    ),
    # Ours, for two processor cores: narrow, one level less, small volumes.
    "vnet-hippocampus": Recipe(
        network="vnet",
        data="hippocampus",
        width=4,
        depth=3,
        epochs=45,
        batch_size=4,
        loss="cross-entropy+dice",
        optimizer="adamw",
        learning_rate=0.002,
        clip=1.0,
        schedule="one-cycle",
        ema=0.99,
        tile=(32, 48, 32),
        rotation=15.0,
        scale=0.1,
        grey=0.1,
        elastic=3.0,
        elastic_points=2,
        match_histograms=True,
    ),
}
