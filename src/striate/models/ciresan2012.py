"""Membranes found pixel by pixel, from the window around each: Ciresan and others (2012).

Source: D. C. Ciresan, A. Giusti, L. M. Gambardella and J. Schmidhuber, "Deep neural networks
segment neuronal membranes in electron microscopy images", NIPS 25, 2012, pp. 2843-2851. Its full
text was not at hand: N4's layers are those on which three independent implementations agree.

    layer    N4, window 95                 ours, window 65
    image    (N,  1, 95, 95)               (N,  1, 65, 65)
    c1       (N, 48, 92, 92)  4x4          (N, 48, 62, 62)  4x4
    p1       (N, 48, 46, 46)  2x2 max      (N, 48, 31, 31)
    c2       (N, 48, 42, 42)  5x5          (N, 48, 28, 28)  4x4
    p2       (N, 48, 21, 21)               (N, 48, 14, 14)
    c3       (N, 48, 18, 18)  4x4          (N, 48, 10, 10)  5x5
    p3       (N, 48,  9,  9)               (N, 48,  5,  5)
    c4       (N, 48,  6,  6)  4x4
    p4       (N, 48,  3,  3)
    f5       (N, 200)                      (N, 200)
    output   (N, 2)                        (N, 2)
    parameters           219,290                   335,978

A window answers for the pixel at its middle.

Departures from the paper, and what it leaves open:
    1. The activation is not known here: implementers took tanh or ReLU. Here ReLU, behind
       pooling, which gives the same maps as before it: the maximum keeps the order.
    2. The network for windows of 65 is ours: from memory, the paper's other three networks have
       such windows, but their layers are not known here.
    3. Foveation and nonuniform sampling are from memory: a window that grows blurred, or is
       sampled ever more coarsely, away from its middle. Their numbers and formulas are ours.
    4. From memory: the mean of several networks is calibrated by a monotone cubic polynomial,
       fitted on slices held out, because windows are drawn half and half from both classes; then
       a median filter of radius 2 follows. How the polynomial is fitted is not known here: by
       least squares, its derivative a sum of squares (x - t)² and of x (1 - x).
    5. Initial weights: not known here. N(0, sqrt(2 / fan-in)) of He et al. 2015, biases 0.
    6. From memory, the paper balances the classes by drawing as many windows of either. The
       dense form answers for all windows of a tile, so here their losses are weighed instead,
       by the inverse of each class's share.
"""

import math
from collections import OrderedDict
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import nnls
from torch import Tensor, nn
from torch.nn import functional as F

from striate.layers import normal_by_fan_in
from striate.recipes import Recipe

MAPS = 48
HIDDEN = 200
# Side of the window → kernel sizes of the convolutions.
KERNEL_SIZES = {95: (4, 5, 4, 4), 65: (4, 4, 5)}
BLURS = 5  # of which foveated windows are blended
RAYS = 201  # squares that the derivative of a calibration is a sum of


class Ciresan2012(nn.Module):
    """N4, or our network for smaller windows: the class of the pixel at a window's middle.

    Args:
        in_channels: Channels of the images; 1 in the paper.
        num_classes: Number of classes; 2 in the paper.
        window: Side of the window [pixels]: 95 is N4's, 65 ours.

    Shape:
        - windows: ``(N, in_channels, window, window)``, float, mean 0 and variance 1
        - returns: logits, ``(N, num_classes)``

    Raises:
        ValueError: In use, the window has another side.

    Source:
        Ciresan et al., 2012.
    """

    def __init__(
        self, in_channels: int = 1, num_classes: int = 2, *, window: Literal[95, 65] = 95
    ) -> None:
        super().__init__()
        side: int = window
        self.window = window
        layers: dict[str, nn.Module] = {}
        channels = in_channels
        for number, kernel_size in enumerate(KERNEL_SIZES[window], start=1):
            layers[f"c{number}"] = nn.Conv2d(channels, MAPS, kernel_size)
            layers[f"p{number}"] = nn.MaxPool2d(2)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            channels, side = MAPS, (side - kernel_size + 1) // 2
        layers["flatten"] = nn.Flatten()
        layers["f5"] = nn.Linear(MAPS * side**2, HIDDEN)
        layers["relu5"] = nn.ReLU(inplace=True)
        layers["output"] = nn.Linear(HIDDEN, num_classes)
        self.layers = nn.Sequential(OrderedDict(layers))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                normal_by_fan_in(layer)

    def forward(self, windows: Tensor) -> Tensor:
        """Score the classes of the pixel at each window's middle."""
        if windows.shape[2:] != (self.window, self.window):
            raise ValueError(
                f"this network reads windows of {self.window}x{self.window}, not "
                f"{tuple(windows.shape)}; striate.dense gives its answers for a whole image"
            )
        logits: Tensor = self.layers(windows)
        return logits


def foveate(windows: Tensor, *, sharp: float = 0.25, blur: float = 4.0) -> Tensor:
    """Blur windows the more, the farther from their middle.

    Up to a distance the image stays as it is; from there to the middle of an edge the
    deviation of the Gaussian blur grows evenly from 0. Corners have that of the edge.

    Args:
        windows: ``(N, C, side, side)``; each needs 2 pixels for each unit of blur or more.
        sharp: Up to where nothing is blurred [share of the distance to the edge].
        blur: Deviation at the edge [pixels].

    Returns:
        The same shape. Between a few deviations, images are blended.
    """
    middle = (windows.shape[-1] - 1) / 2
    axis = (torch.arange(windows.shape[-1], dtype=torch.float64) - middle) / max(middle, 1)
    distance = (axis[:, None] ** 2 + axis**2).sqrt()
    depth = ((distance - sharp) / (1 - sharp)).clamp(0, 1) * (BLURS - 1)
    foveated = torch.zeros_like(windows)
    for step in range(BLURS):
        share = (1 - (depth - step).abs()).clamp(min=0).to(windows)
        foveated += share * _blurred(windows, blur * step / (BLURS - 1))
    return foveated


def _blurred(windows: Tensor, deviation: float) -> Tensor:
    """Blur by a Gaussian; borders are mirrored."""
    if deviation == 0:
        return windows
    reach = min(math.ceil(3 * deviation), windows.shape[-1] - 1)
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    bell = torch.exp(-((places / deviation) ** 2) / 2)
    kernel = (bell / bell.sum()).to(windows)
    planes = F.pad(windows.flatten(0, 1)[:, None], (reach,) * 4, mode="reflect")
    planes = F.conv2d(F.conv2d(planes, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return planes.view_as(windows)


def sample_nonuniformly(windows: Tensor, side: int) -> Tensor:
    """Sample large windows on a small grid: pixel by pixel in the middle, coarser outward.

    The pixel at distance t from the middle of the grid is taken, by bilinear interpolation,
    at t + (R / r - 1) t³ / r² from the middle of the window, r and R being half the sides.

    Args:
        windows: ``(N, C, large, large)``.
        side: Of the grid [pixels], at most that of the windows.

    Returns:
        ``(N, C, side, side)``, whose border pixels are those of the windows.

    Raises:
        ValueError: The grid is larger than the windows or has fewer than 2 pixels.

    Example:
        >>> window = torch.arange(9.0).expand(1, 1, 9, 9)
        >>> sample_nonuniformly(window, 5)[0, 0, 0]
        tensor([0.0000, 2.7500, 4.0000, 5.2500, 8.0000])
    """
    large = windows.shape[-1]
    if not 2 <= side <= large:
        raise ValueError(f"side is {side}; windows of {large}x{large} take a grid of 2 to {large}")
    half, far = (side - 1) / 2, (large - 1) / 2
    t = torch.arange(side, dtype=windows.dtype, device=windows.device) - half
    places = (t + (far / half - 1) * t**3 / half**2) / far
    grid = torch.stack(torch.meshgrid(places, places, indexing="xy"), dim=-1)
    grid = grid.expand(len(windows), side, side, 2)
    return F.grid_sample(windows, grid, align_corners=True, padding_mode="border")


class Calibration(NamedTuple):
    """A cubic polynomial that never falls on [0, 1], the constant first."""

    coefficients: tuple[float, float, float, float]

    def __call__(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Correct probabilities; the shape stays, and what leaves [0, 1] is clipped."""
        values = np.polynomial.polynomial.polyval(probabilities, self.coefficients)
        clipped: NDArray[np.float64] = np.clip(values, 0, 1)
        return clipped


def fit_calibration(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer | np.bool_]
) -> Calibration:
    """Fit the monotone cubic polynomial that turns answers into true shares, by least squares.

    Args:
        probabilities: Of the class, any shape, in [0, 1], on images held out.
        labels: Of the same shape: 1 where the class is, else 0.

    Raises:
        ValueError: The shapes differ, or there are no values.

    Example:
        >>> calibration = fit_calibration(np.array([0.0, 0.5, 0.5, 1.0]), np.array([0, 0, 1, 1]))
        >>> calibration(np.array([0.0, 0.5, 1.0])).round(6) + 0.0
        array([0. , 0.5, 1. ])
    """
    if probabilities.shape != labels.shape or not labels.size:
        raise ValueError(
            f"probabilities are {probabilities.shape} and labels {labels.shape}; the same shape "
            "with at least one value is needed"
        )
    powers = np.polynomial.polynomial.polyvander(probabilities.ravel().astype(float), 3)
    q, r = np.linalg.qr(powers)
    t = np.linspace(0, 1, RAYS)
    # What a cubic whose derivative is not negative on [0, 1] is a sum of, but for a constant.
    rays = [[t * 0, t**2, -t, t * 0 + 1 / 3], [[0], [0], [1 / 2], [-1 / 3]]]
    constants = [[1, -1], [0, 0], [0, 0], [0, 0]]
    parts = np.concatenate([constants, *map(np.asarray, rays)], axis=1)
    amounts, _ = nnls(r @ parts, q.T @ labels.ravel().astype(float))
    a, b, c, d = (parts @ amounts).tolist()
    return Calibration((a, b, c, d))


def median_filter(probabilities: NDArray[np.floating], radius: int = 2) -> NDArray[np.floating]:
    """Replace each value by the median of the disk around it; borders are mirrored.

    Args:
        probabilities: ``(H, W)``, or a stack ``(..., H, W)`` whose slices stay apart.
        radius: Of the disk [pixels]; 2 makes 13 pixels.
    """
    axis = np.arange(-radius, radius + 1)
    disk = axis[:, None] ** 2 + axis**2 <= radius**2
    footprint = disk.reshape((1,) * (probabilities.ndim - 2) + disk.shape)
    filtered: NDArray[np.floating] = ndimage.median_filter(
        probabilities, footprint=footprint, mode="mirror"
    )
    return filtered


# Epochs, turns and mirrors are the paper's, from memory; the rest is ours. It is trained in its
# dense form: a tile of 158 pixels holds the windows of 64x64 pixels.
_OWN = Recipe(
    network="n4",
    data="isbi2012",
    epochs=30,
    batch_size=4,
    learning_rate=0.01,
    momentum=0.9,
    class_weights="balanced",
    turns=True,
    tile=(158,),
)

RECIPES = {
    "n4": _OWN,
    "ciresan65": _OWN.replace(network="ciresan65", tile=(128,)),
    # Ours, for two processor cores: fewer passes, a rate that rises and falls.
    "n4-isbi": Recipe(
        network="n4",
        data="isbi2012",
        epochs=6,
        batch_size=1,
        optimizer="adamw",
        learning_rate=0.001,
        schedule="one-cycle",
        class_weights="balanced",
        turns=True,
        tile=(286,),
    ),
}
