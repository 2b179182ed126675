"""Normalisation that PyTorch lacks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LocalResponseNorm(nn.Module):
    """AlexNet's normalisation of each unit by the units at its place in neighbouring maps.

    ``a / (2 + 0.0001 × s) ** 0.75``, ``s`` being the sum of the squares over the map itself, two
    maps before and two after it; what would lie beyond the first or last map is left out.
    PyTorch's own layer divides its ``alpha`` by the number of maps: with ``alpha=5e-4`` it is
    the same, but it knows no groups.

    Args:
        groups: Equal parts of the maps whose ends do not see each other: AlexNet's two towers.

    Shape:
        - input: ``(N, C, H, W)``, C a multiple of groups
        - output: the same

    Source:
        A. Krizhevsky, I. Sutskever and G. E. Hinton, 2012, section 3.3.

    Example:
        >>> LocalResponseNorm()(torch.full((1, 1, 1, 1), 100.0))  # 100 / (2 + 1) ** 0.75
        tensor([[[[43.8691]]]])
    """

    def __init__(self, groups: int = 1) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every unit."""
        if self.groups > 1:
            return torch.cat([_normalized(part) for part in x.chunk(self.groups, dim=1)], dim=1)
        return _normalized(x)

    def extra_repr(self) -> str:
        """Show what ``print(network)`` should say."""
        return f"groups={self.groups}"


def _normalized(x: Tensor) -> Tensor:
    maps = x.shape[1]
    squares = F.pad(x * x, (0, 0, 0, 0, 2, 2))
    total = squares[:, :maps]
    for first in range(1, 5):
        total = total + squares[:, first : first + maps]
    return x * (2 + 1e-4 * total).pow(-0.75)
