"""The zip code recogniser of Denker et al. (1988): convolutions by hand, then a classifier.

Source: J. S. Denker, W. R. Gardner, H. P. Graf, D. Henderson, R. E. Howard, W. Hubbard,
L. D. Jackel, H. S. Baird and I. Guyon, "Neural network recognizer for hand-written zip code
digits", Advances in Neural Information Processing Systems 1, 1989, pp. 323-331.

    step                    result
    digit                   (N, H, W)           grey, ink 1 and paper 0
    scaling and deskewing   (N, 32, 20)         ink or paper, touching two opposite edges
    skeletonisation         (N, 32, 20)         lines one pixel wide
    49 templates of 7x7     (N, 49, 32, 20)     where each fires
    OR and AND              (N, 18, 32, 20)     maps
    coarse blocking         (N, 270)            3 wide and 5 high, 18 times
    classifier              (N, 10)             nearest neighbours, Parzen windows, or 270-40-10

Templates, as the paper has them, hold +1 where ink is wanted, -5 where it is forbidden and
0 where it does not matter; each is a convolution and a threshold.

Departures from the paper, and what it leaves open:
    1. All templates, thresholds and combinations are ours (``denker1988_templates``): the
       paper prints a handful of the 49 and none of the rest. Half strokes are ours too.
    2. The paper's images are binary, most of about 40x60 pixels. Ours are grey and most are
       smaller: they are resampled first, bilinearly, and cut into ink and paper after that.
       Where a larger image shrinks, the darkest reading counts.
    3. No cleaning of stray marks: the sets at hand hold digits that were cut out already.
    4. A block holds the square root of the share of its pixels that fire. The paper says
       that maps are blocked to 3x5 and not how.
    5. The 270 values, the ten outputs and the biases, 11,250 weights in all, are inferred:
       the paper prints 18 maps, 3x5 blocks and 40 hidden units.
    6. The network's hidden units are squashed by 1.7159 tanh(2x/3), its outputs are linear, its
       initial weights and biases uniform in ±2.4 / fan-in: all ours.
    7. It is trained on inputs standardised by the mean of each feature and one deviation of all,
       by steepest descent with momentum in batches; and the form of the one-sided objective, with
       targets of ±1, is ours: the paper cites another for it. See ``studies/classifiers.py``,
       which also says what our nearest neighbours and Parzen windows are, and ``losses.py``.
    8. Skeletonisation goes on until no pixel is deleted; the paper's number of passes is not
       printed. Grey from 0.4 on is ink. Around the digit is paper.
    9. The raw bitmaps' 256 bits are taken for 16x16 pixels, binarised at the same grey.
"""

import math
from functools import reduce
from operator import and_, or_

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.layers import scaled_tanh, uniform_by_fan_in
from striate.models.denker1988_templates import (
    MAP_NAMES,
    Rule,
    Templates,
    deletion_templates,
    feature_templates,
    map_rules,
)

WIDTH, HEIGHT = 20, 32
BLOCKS_WIDE, BLOCKS_HIGH = 3, 5
NUM_FEATURES = len(MAP_NAMES) * BLOCKS_WIDE * BLOCKS_HIGH
INK = 0.4  # least grey of ink, for features and bitmaps alike
MOST_SIDE = 64  # [pixels]; larger images are first shrunk to this, in whole steps
_FRAMINGS = 12
_CHUNK = 250  # images at a time: their 49 maps take 32 MB


def find_shear(ink: Tensor) -> tuple[Tensor, Tensor]:
    """Find the shear of x along y that makes the XY moment of the ink zero.

    A pixel at (x, y) of the deskewed image is read at (x + shear (y - middle), y).

    Args:
        ink: ``(N, H, W)``, bool.

    Returns:
        ``(N,)`` shears, 0 where there is no ink or it lies in one row; ``(N,)`` middles, the
        rows of the centres of mass. Both float64.

    Source:
        R. G. Casey, "Moment normalization of handprinted characters", 1970, as cited by
        Denker et al.

    Example:
        >>> slanted = torch.eye(5, dtype=torch.bool).flip(1)[None]
        >>> find_shear(slanted)
        (tensor([-1.], dtype=torch.float64), tensor([2.], dtype=torch.float64))
    """
    weight = ink.to(torch.float64)
    rows = torch.arange(ink.shape[1], dtype=torch.float64)[:, None]
    columns = torch.arange(ink.shape[2], dtype=torch.float64)
    mass = weight.sum(dim=(1, 2)).clamp(min=1)
    middle = (weight * rows).sum(dim=(1, 2)) / mass
    center = (weight * columns).sum(dim=(1, 2)) / mass
    down, across = rows - middle[:, None, None], columns - center[:, None, None]
    moment_xy = (weight * down * across).sum(dim=(1, 2))
    moment_yy = (weight * down * down).sum(dim=(1, 2))
    return torch.where(moment_yy > 0, moment_xy / moment_yy.clamp(min=1e-9), 0.0), middle


def scale_and_deskew(images: Tensor) -> Tensor:
    """Fit each digit into 20x32, upright and centred, in one resampling step.

    The scale is the same in both directions. The digit touches the left and the right edge or
    the upper and the lower one; in the other direction it is in the middle, to the pixel.
    Where images shrink, ink wins over paper, so that lines one pixel wide stay.

    Args:
        images: ``(N, H, W)``, float in [0, 1], ink 1.

    Returns:
        ``(N, 32, 20)``, bool, True for ink. An image without ink stays without.

    Raises:
        ValueError: The images have another number of axes.

    Example:
        >>> bar = torch.zeros(1, 16, 16)
        >>> bar[0, 4:12, 7:9] = 1.0
        >>> upright = scale_and_deskew(bar)
        >>> upright.any(dim=2).sum(), upright.any(dim=1).sum()
        (tensor(32), tensor(8))
    """
    if images.dim() != 3:
        raise ValueError(
            f"images have shape {tuple(images.shape)}; needed is (N, H, W), without channels"
        )
    step = math.ceil(max(images.shape[1:]) / MOST_SIDE)
    if step > 1:
        images = F.max_pool2d(images[:, None], step, ceil_mode=True)[:, 0]
    ink = images >= INK
    shear, middle = find_shear(ink)
    center_x, center_y, scale = _first_frame(ink, shear, middle)
    for _ in range(_FRAMINGS):
        fitted = _resample(images, shear, middle, center_x, center_y, scale) >= INK
        top, bottom = _extent(fitted.any(dim=2))
        left, right = _extent(fitted.any(dim=1))
        tall, wide = bottom - top + 1, right - left + 1
        off_x, off_y = (left + right - WIDTH + 1) / 2, (top + bottom - HEIGHT + 1) / 2
        touches = (tall == HEIGHT) | (wide == WIDTH)
        centered = (off_x.abs() <= 0.5) & (off_y.abs() <= 0.5)
        moving = ~(touches & centered) & fitted.any(dim=2).any(dim=1)
        if not moving.any():
            break
        center_x = center_x + torch.where(moving, off_x * scale, 0.0)
        center_y = center_y + torch.where(moving, off_y * scale, 0.0)
        share = torch.maximum(tall / HEIGHT, wide / WIDTH)
        scale = torch.where(moving, scale * share, scale)
    return fitted


def _first_frame(ink: Tensor, shear: Tensor, middle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Frame the deskewed ink with a pixel of margin: centre x and y, image pixels a pixel."""
    y = torch.arange(ink.shape[1], dtype=torch.float64)[:, None].expand(ink.shape[1:])
    x = torch.arange(ink.shape[2], dtype=torch.float64).expand(ink.shape[1:])
    upright = x - shear[:, None, None] * (y - middle[:, None, None])
    ends = []
    for positions in (upright, y.expand(ink.shape)):
        low = positions.masked_fill(~ink, torch.inf).amin(dim=(1, 2)) - 1
        high = positions.masked_fill(~ink, -torch.inf).amax(dim=(1, 2)) + 1
        blank = torch.isinf(low)
        ends.append((low.masked_fill(blank, 0.0), high.masked_fill(blank, 1.0)))
    (left, right), (top, bottom) = ends
    scale = torch.maximum((right - left) / WIDTH, (bottom - top) / HEIGHT)
    return (left + right) / 2, (top + bottom) / 2, scale


def _resample(
    images: Tensor, shear: Tensor, middle: Tensor, center_x: Tensor, center_y: Tensor, scale: Tensor
) -> Tensor:
    """Read images through sheared frames, bilinearly, paper around them.

    Where the frame is coarser than the image, each of its pixels takes the darkest of several
    readings, at most a pixel of the image apart, so that no line falls between them.
    """
    reads = 1 + math.ceil(max(images.shape[1:]) / WIDTH)
    spread = torch.linspace(-0.5, 0.5, reads, dtype=torch.float64) * (scale[:, None] - 1).clamp(0)
    rows = torch.arange(HEIGHT, dtype=torch.float64) - (HEIGHT - 1) / 2
    columns = torch.arange(WIDTH, dtype=torch.float64) - (WIDTH - 1) / 2
    down, across = (
        ((positions * scale[:, None])[:, :, None] + spread[:, None]).flatten(1)
        for positions in (rows, columns)
    )
    y = (center_y[:, None] + down)[:, :, None].expand(-1, -1, across.shape[1])
    x = (center_x[:, None] + across)[:, None] + shear[:, None, None] * (y - middle[:, None, None])
    height, width = images.shape[1:]
    places = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=3)
    read = F.grid_sample(images[:, None].float(), places.float(), align_corners=False)
    return F.max_pool2d(read, reads)[:, 0]


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First and last True of each row, float64."""
    first = occupied.to(torch.uint8).argmax(dim=1)
    last = occupied.shape[1] - 1 - occupied.flip(1).to(torch.uint8).argmax(dim=1)
    return first.to(torch.float64), last.to(torch.float64)


def fire(images: Tensor, templates: Templates) -> Tensor:
    """Tell where templates fire: a convolution and a threshold.

    Args:
        images: ``(N, H, W)``, bool; around them is paper.
        templates: T kernels and what their sums must exceed.

    Returns:
        ``(N, T, H, W)``, bool, at the pixels under the templates' centres.
    """
    kernels, thresholds = templates
    sums = F.conv2d(images[:, None].float(), kernels, padding=kernels.shape[2] // 2)
    return sums > thresholds[:, None, None]


def skeletonize(images: Tensor) -> Tensor:
    """Thin strokes to lines one pixel wide by deleting the pixels at which a template fires.

    All pixels are looked at together and deleted together, again and again until none is.
    Ink that is connected by edges or corners stays connected, paper that is connected by
    edges too, and no stroke vanishes; that holds for each pass, and the tests try every
    image of 4x5 pixels.

    Args:
        images: ``(N, H, W)``, bool, True for ink.

    Returns:
        The same shape, never ink where there was none.

    Example:
        >>> bar = torch.zeros(1, 5, 9, dtype=torch.bool)
        >>> bar[0, 1:4, 1:8] = True
        >>> skeletonize(bar)[0].sum(dim=1)
        tensor([0, 0, 5, 0, 0])
    """
    templates = deletion_templates()
    skeletons, unfinished = images.clone(), torch.arange(len(images))
    while len(unfinished):
        thick = skeletons[unfinished]
        deleted = fire(thick, templates).any(dim=1)
        skeletons[unfinished] = thick & ~deleted
        unfinished = unfinished[(thick & deleted).flatten(1).any(dim=1)]
    return skeletons


def combine(fired: Tensor, rules: tuple[Rule, ...]) -> Tensor:
    """Combine the maps of the templates: each rule is an OR of ANDs.

    Args:
        fired: ``(N, T, H, W)``, bool.
        rules: For each new map, groups of templates' places.

    Returns:
        ``(N, len(rules), H, W)``, bool.
    """
    maps = []
    for rule in rules:
        groups = [reduce(and_, (fired[:, place] for place in group)) for group in rule]
        maps.append(reduce(or_, groups))
    return torch.stack(maps, dim=1)


def coarse_blocks(maps: Tensor) -> Tensor:
    """Reduce each map to 3 wide and 5 high: the square root of the share of pixels that fire.

    The root keeps a stroke's end, one pixel, from vanishing beside its length.

    Args:
        maps: ``(N, M, H, W)``, bool. Blocks overlap by a pixel where 3 or 5 does not divide
            the sides.

    Returns:
        ``(N, M, 5, 3)``, float32 in [0, 1].
    """
    return F.adaptive_avg_pool2d(maps.float(), (BLOCKS_HIGH, BLOCKS_WIDE)).sqrt()


def extract_features(images: Tensor) -> Tensor:
    """Take digits through the whole preprocessing.

    Args:
        images: ``(N, H, W)``, float in [0, 1], ink 1.

    Returns:
        ``(N, 270)``, float32 in [0, 1].
    """
    templates, rules = feature_templates(), map_rules()
    parts = [
        coarse_blocks(combine(fire(skeletonize(scale_and_deskew(chunk)), templates), rules))
        for chunk in torch.split(images, _CHUNK)
    ]
    return torch.cat(parts).flatten(1)


class Denker1988(nn.Module):
    """The two layers of weights behind the preprocessing: 270-40-10, 11,250 weights.

    Args:
        in_features: Values of an image; 270 in the paper, 256 for its raw bitmaps.
        num_classes: Number of classes; 10 in the paper.

    Shape:
        - features: ``(N, in_features)``
        - returns: scores, ``(N, num_classes)``; the largest wins, its lead over the second
          is the confidence
    """

    def __init__(self, in_features: int = NUM_FEATURES, num_classes: int = 10) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_features, 40)
        self.output = nn.Linear(40, num_classes)
        for layer in (self.hidden, self.output):
            uniform_by_fan_in(layer)

    def forward(self, features: Tensor) -> Tensor:
        """Score each class."""
        scores: Tensor = self.output(scaled_tanh(self.hidden(features)))
        return scores
