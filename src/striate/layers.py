"""Layers that two or more papers use and PyTorch lacks.

Convolution with every padding, pooling and the usual activations are PyTorch's own:
``nn.Conv1d``, ``nn.Conv2d`` and ``nn.Conv3d`` take ``padding=0``, a number or ``"same"``,
and ``padding_mode="zeros"``, ``"reflect"`` (the mirror), ``"replicate"`` or ``"circular"``;
``nn.ReLU``, ``nn.Sigmoid``, ``nn.Tanh`` and ``nn.PReLU`` (parameterised) are activations;
``nn.MaxPool2d`` and a convolution with ``stride=2`` subsample.

A layer whose operations do not show what it counts states it in ``counts(output_shape)``.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.randomness import hashes

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_AVERAGES = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class Counts(NamedTuple):
    """What a layer does for one example: LeCun's connections, and products without biases."""

    connections: int
    multiply_adds: int


def uniform_by_fan_in(layer: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) -> None:
    """Draw a layer's weights and biases uniformly in ±2.4 / F, F being the inputs of a unit.

    Args:
        layer: A module with ``weight`` of shape (units, inputs...) and perhaps ``bias``.

    Source:
        Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", 1989;
        the 1998 paper is said to give the same rule (its text was not at hand).
    """
    bound = 2.4 / layer.weight[0].numel()
    for parameter in layer.parameters(recurse=False):
        nn.init.uniform_(parameter, -bound, bound)


def normal_by_fan_in(layer: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) -> None:
    """Draw a layer's weights from N(0, sqrt(2 / F)), F being the inputs of a unit; biases are 0.

    Args:
        layer: A module with ``weight`` of shape (units, inputs...) and perhaps ``bias``.

    Source:
        After K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers: surpassing
        human-level performance on ImageNet classification", 2015, as remembered: its text was not
        at hand.
    """
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def scaled_tanh(x: Tensor) -> Tensor:
    """Squash by LeCun's function 1.7159 tanh(2x/3), which maps ±1 to ±1.

    Source:
        Y. LeCun et al., 1998, Appendix A.

    Example:
        >>> scaled_tanh(torch.tensor([-1.0, 0.0, 1.0])).round(decimals=3)
        tensor([-1.,  0.,  1.])
    """
    return 1.7159 * torch.tanh(x * (2 / 3))


class ScaledTanh(nn.Module):
    """The activation ``scaled_tanh`` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """Squash every value; the shape stays."""
        return scaled_tanh(x)


class Subsample(nn.Module):
    """LeCun's trainable subsampling: the sum of each block, times a coefficient, plus a bias.

    Every map has one coefficient and one bias, whatever the number of dimensions. The
    squashing that follows is not part of the layer.

    Args:
        channels: Number of maps.
        kernel_size: Side of the blocks, which do not overlap [pixels of the layer's input].
        dims: Spatial dimensions: 1, 2 or 3.

    Shape:
        - input: ``(N, channels, *spatial)``
        - output: ``(N, channels, *spatial // kernel_size)``; what fills no block is left out

    Attributes:
        coefficient: ``(channels,)``; starts at 1 / block, so that the layer begins as the
            average. The papers do not say how it starts.
        bias: ``(channels,)``; starts at 0.

    Source:
        Y. LeCun et al., 1998, section II-B; layers H2 and H4 of LeCun et al., 1990.

    Example:
        >>> layer = Subsample(6)
        >>> layer(torch.ones(1, 6, 28, 28)).shape
        torch.Size([1, 6, 14, 14])
        >>> sum(parameter.numel() for parameter in layer.parameters())
        12
    """

    def __init__(self, channels: int, kernel_size: int = 2, dims: int = 2) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dims = dims
        self.block = kernel_size**dims
        self.coefficient = nn.Parameter(torch.full((channels,), 1 / self.block))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Subsample each map."""
        per_map = (-1,) + (1,) * self.dims
        averages = _AVERAGES[self.dims](x, self.kernel_size)
        scale = self.coefficient * self.block
        maps: Tensor = averages * scale.view(per_map) + self.bias.view(per_map)
        return maps

    def counts(self, output_shape: Sequence[int]) -> Counts:
        """Count the block and the bias of each unit, as the papers do."""
        units = torch.Size(output_shape[1:]).numel()
        return Counts(units * (self.block + 1), units * self.block)

    def extra_repr(self) -> str:
        """Show what ``print(network)`` should say."""
        return f"{len(self.bias)}, kernel_size={self.kernel_size}, dims={self.dims}"


class ConnectionTableConv(nn.Module):
    """Convolution in which each output map reads only the input maps that a table names.

    Output map ``j`` is ``bias[j]`` plus the sum, over the input maps ``i`` in ``table[j]``,
    of input map ``i`` cross-correlated with a kernel that belongs to the pair ``(j, i)``.
    No padding. A pair that the table leaves out has no kernel at all.

    Args:
        in_channels: Number of input maps.
        table: For each output map, the input maps it reads, counted from 0.
        kernel_size: Side of the kernels [pixels of the layer's input].
        stride: Distance between neighbouring windows [pixels of the layer's input].
        bias: Whether each output map has a bias.
        dims: Spatial dimensions: 1, 2 or 3.

    Shape:
        - input: ``(N, in_channels, *spatial)``, each side at least kernel_size
        - output: ``(N, len(table), *(spatial - kernel_size) // stride + 1)``

    Attributes:
        kernels: ``(pairs, kernel_size, ...)``, in the table's order.
        bias: ``(len(table),)``, or None.

    Initial values: uniform in ±2.4 / F, F being the number of inputs of the unit.

    Raises:
        ValueError: A row of the table is empty, repeats an input map, or names one
            that does not exist.

    Source:
        LeCun et al., 1998, Table I; layer H3 of LeCun et al., 1990, and H2 of the 1989 paper.

    Example:
        >>> layer = ConnectionTableConv(3, table=[(0, 1), (1, 2), (0, 1, 2)], kernel_size=5)
        >>> layer(torch.zeros(8, 3, 14, 14)).shape
        torch.Size([8, 3, 10, 10])
        >>> sum(parameter.numel() for parameter in layer.parameters())  # 7 × 25 + 3
        178
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        in_channels: int,
        table: Sequence[Sequence[int]],
        kernel_size: int,
        *,
        stride: int = 1,
        bias: bool = True,
        dims: int = 2,
    ) -> None:
        super().__init__()
        for j, inputs in enumerate(table):
            if not inputs or len(set(inputs)) < len(inputs):
                raise ValueError(f"table[{j}] is {tuple(inputs)}: name at least one map, each once")
            if not 0 <= min(inputs) <= max(inputs) < in_channels:
                raise ValueError(
                    f"table[{j}] is {tuple(inputs)}: input maps run from 0 to {in_channels - 1}"
                )
        window = (kernel_size,) * dims
        self.in_channels = in_channels
        self.stride = stride
        self.dims = dims
        pairs = torch.tensor([(j, i) for j, inputs in enumerate(table) for i in inputs])
        self.register_buffer("rows", pairs[:, 0], persistent=False)
        self.register_buffer("columns", pairs[:, 1], persistent=False)
        self.inputs_per_map = [len(inputs) for inputs in table]
        fan_in = torch.tensor(self.inputs_per_map) * kernel_size**dims
        bound = 2.4 / fan_in
        kernels = torch.empty(len(pairs), *window).uniform_(-1, 1)
        self.kernels = nn.Parameter(kernels * bound[self.rows].view(-1, *(1,) * dims))
        self.bias = nn.Parameter(torch.empty(len(table)).uniform_(-1, 1) * bound) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each map with the kernels that the table gives it."""
        shape = (len(self.inputs_per_map), self.in_channels, *self.kernels.shape[1:])
        weight = self.kernels.new_zeros(shape).index_put((self.rows, self.columns), self.kernels)
        maps: Tensor = _CONVOLUTIONS[self.dims](x, weight, self.bias, self.stride)
        return maps

    def counts(self, output_shape: Sequence[int]) -> Counts:
        """Count only the kernels that the table gives, one bias a unit."""
        units_per_map = torch.Size(output_shape[2:]).numel()
        products = self.kernels.numel() * units_per_map
        biases = 0 if self.bias is None else len(self.bias) * units_per_map
        return Counts(products + biases, products)

    def extra_repr(self) -> str:
        """Show what ``print(network)`` should say."""
        return (
            f"{self.in_channels}, {len(self.inputs_per_map)}, pairs={len(self.kernels)}, "
            f"kernel_size={tuple(self.kernels.shape[1:])}, stride={self.stride}"
        )


class RadialBasisOutput(nn.Module):
    """Output units that measure the squared distance to a fixed code; the nearest one wins.

    The layer returns *minus* the squared distances, so that the smallest distance is the
    largest logit and cross-entropy on them is the paper's discriminative criterion.

    Args:
        codes: ``(classes, features)``, the point that each class is drawn to.

    Shape:
        - input: ``(N, features)``
        - output: ``(N, classes)``

    Source:
        LeCun et al., 1998, section II-B, Eq. 7.

    Example:
        >>> layer = RadialBasisOutput(torch.tensor([[1.0, 1.0], [-1.0, 1.0]]))
        >>> layer(torch.tensor([[1.0, 0.0]]))
        tensor([[-1., -5.]])
    """

    codes: Tensor

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)

    def forward(self, x: Tensor) -> Tensor:
        """Measure minus the squared distance of each row to each code."""
        squares: Tensor = (x.unsqueeze(1) - self.codes).square().sum(dim=2)
        return -squares

    def counts(self, output_shape: Sequence[int]) -> Counts:
        """Count a connection and a product for each component of each code."""
        return Counts(self.codes.numel(), self.codes.numel())

    def extra_repr(self) -> str:
        """Show what ``print(network)`` should say."""
        return f"classes={self.codes.shape[0]}, features={self.codes.shape[1]}"


class Dropout(nn.Module):
    """Set units to zero at random in training and scale the others by 1 / (1 - share).

    In a run the masks are functions of (seed, epoch, index): ``tell_dropout`` says before each
    step which images are coming, and an image then gets the mask that is its own, whatever
    the batch it is in. A layer that was told nothing draws from torch's global generator.

    Args:
        share: Probability that a unit is set to zero, in [0, 1).

    Shape:
        - input: ``(N, C, *)``
        - output: the same

    Raises:
        ValueError: The share is not in [0, 1); or, in use, the layer was told of another
            number of images than it meets.

    Source:
        G. E. Hinton, N. Srivastava, A. Krizhevsky, I. Sutskever and R. R. Salakhutdinov,
        "Improving neural networks by preventing co-adaptation of feature detectors", 2012.

    Example:
        >>> layer, units = Dropout(0.5), torch.ones(2, 6)
        >>> tell_dropout([layer], seed=0, epoch=0, indices=torch.tensor([31, 7]))
        >>> both = layer(units)
        >>> tell_dropout([layer], seed=0, epoch=0, indices=torch.tensor([7]))
        >>> torch.equal(layer(units[:1]), both[1:])
        True
    """

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"share is {share}; give the part of the units to drop, from 0 to 1")
        self.share = share
        self.told: tuple[int, int, Tensor, int] | None = None
        self.uses = 0

    def forward(self, x: Tensor) -> Tensor:
        """Drop units in training; change nothing in evaluation."""
        if not self.training or self.share == 0:
            return x
        if self.told is None:
            return F.dropout(x, self.share)
        seed, epoch, indices, place = self.told
        if len(x) != len(indices):
            raise ValueError(
                f"Dropout was told of {len(indices)} images and meets {len(x)}; keep the images "
                "on the first axis"
            )
        units = x.shape[1:].numel()
        purpose = f"dropout {place} {self.uses}"
        self.uses += 1
        # Two units a hash: its 64 bits are read as two numbers of 32.
        drawn = hashes(seed, epoch, indices, purpose, -(-units // 2)).view(torch.int32)[:, :units]
        keep = (drawn >= round(self.share * 2**32) - 2**31).to(x.dtype).mul_(1 / (1 - self.share))
        # In the order of channels last, which is how runs keep their maps.
        return x * keep.view(len(x), *x.shape[2:], *x.shape[1:2]).movedim(-1, 1)

    def extra_repr(self) -> str:
        """Show what ``print(network)`` should say."""
        return f"{self.share}"


def tell_dropout(layers: Iterable[Dropout], seed: int, epoch: int, indices: Tensor) -> None:
    """Say which images come next, so that each gets the masks that are its own.

    Args:
        layers: The dropout layers of a network, always in the same order: each draws other
            numbers by its place, and others again if it is used twice for the same images.
        seed: The run's seed.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.
    """
    for place, layer in enumerate(layers):
        layer.told, layer.uses = (seed, epoch, indices, place), 0


class WithAuxiliary(NamedTuple):
    """What a network with auxiliary classifiers gives in training; in evaluation, logits alone.

    Attributes:
        logits: ``(N, classes)``, of the network's own classifier.
        auxiliary: The logits of each auxiliary classifier, of the same shape.
    """

    logits: Tensor
    auxiliary: tuple[Tensor, ...]
