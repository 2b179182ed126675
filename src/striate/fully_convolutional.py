"""Sizes of images that networks refuse, and fully connected heads that slide over larger ones.

The convention of the networks that have such a head: a method ``to_dense()``, which gives this
form. Networks that end in a global average need none; they read larger images as they are.
"""

from collections.abc import Sequence

from torch import Tensor, nn


def require_side(images: Tensor, side: int, name: str) -> None:
    """Refuse images of another size than fully connected layers read.

    Args:
        images: ``(N, C, H, W)``.
        side: The height and width that are read [pixels].
        name: Of the network, for the message.

    Raises:
        ValueError: Height or width is not ``side``.
    """
    if images.shape[2:] != (side, side):
        raise ValueError(
            f"{name} reads images of {side}x{side}, not {tuple(images.shape)}; resize the shorter "
            f"side to 256 and take a window of {side}x{side}, or use its to_dense()"
        )


def require_least(images: Tensor, least: int, name: str, *, usual: int) -> None:
    """Refuse images in which a network's last windows no longer fit.

    Args:
        images: ``(N, C, H, W)``.
        least: The smallest height and width that are read [pixels].
        name: Of what reads them, for the message.
        usual: The side to resize to [pixels].

    Raises:
        ValueError: Height or width is less.
    """
    if min(images.shape[2:]) < least:
        raise ValueError(
            f"{name} reads images of {least}x{least} or more, not {tuple(images.shape)}; "
            f"resize the shorter side to {usual}"
        )


def sliding_layers(classifier: nn.Sequential) -> list[nn.Module]:
    """Take from a head what slides: linear layers and ReLU, not flattening and dropout.

    Args:
        classifier: The layers after the maps, in order.

    Returns:
        Those that ``FullyConvolutional`` takes, the network's own.
    """
    return [layer for layer in classifier if isinstance(layer, nn.Linear | nn.ReLU)]


class FullyConvolutional(nn.Module):
    """A network whose fully connected layers have become convolutions of the same weights.

    Where the network scores one image of its size, this one scores every window of the map
    that the first fully connected layer reads, and averages the scores over the places. The
    weights are the network's own tensors, not copies, so it costs no memory and follows them.

    Exact is that each place of the score map is what the fully connected layers say of that
    window of the map. It is not what the network says of that window of the image: there the
    convolutions meet zero padding at the window's border, here they meet the image around it.

    Args:
        features: Images to the maps that the first fully connected layer reads.
        classifier: The layers after them in order: see ``sliding_layers``.
        map_shape: ``(C, H, W)`` of the maps at the network's own input size.
        smallest: Side of the images that give maps of that shape [pixels].

    Shape:
        - images: ``(N, C, H, W)``, H and W at least smallest
        - returns: logits, ``(N, classes)``

    Raises:
        ValueError: An image is too small.

    Source:
        K. Simonyan and A. Zisserman, 2015, section 3.2.

    Example:
        >>> import torch
        >>> head = [nn.Linear(6 * 2 * 2, 9), nn.ReLU(), nn.Linear(9, 4)]
        >>> features = nn.Conv2d(3, 6, kernel_size=5, stride=5)
        >>> dense = FullyConvolutional(features, head, (6, 2, 2), smallest=10)
        >>> dense.scores(torch.zeros(1, 3, 20, 35)).shape
        torch.Size([1, 4, 3, 6])
        >>> dense(torch.zeros(1, 3, 20, 35)).shape
        torch.Size([1, 4])
    """

    def __init__(
        self,
        features: nn.Module,
        classifier: Sequence[nn.Module],
        map_shape: tuple[int, int, int],
        smallest: int,
    ) -> None:
        super().__init__()
        self.smallest = smallest
        self.features = features
        self.classifier = nn.Sequential()
        channels, window = map_shape[0], map_shape[1:]
        for layer in classifier:
            if isinstance(layer, nn.Linear):
                self.classifier.append(_as_convolution(layer, channels, window))
                channels, window = layer.out_features, (1, 1)
            else:
                self.classifier.append(layer)

    def scores(self, images: Tensor) -> Tensor:
        """Give the class score map, ``(N, classes, H', W')``."""
        require_least(images, self.smallest, "the dense form", usual=self.smallest)
        scores: Tensor = self.classifier(self.features(images))
        return scores

    def forward(self, images: Tensor) -> Tensor:
        """Score each class by its average over the places."""
        return self.scores(images).mean(dim=(2, 3))


def _as_convolution(linear: nn.Linear, channels: int, window: tuple[int, int]) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, linear.out_features, window, device="meta")
    convolution.weight = nn.Parameter(linear.weight.detach().view(-1, channels, *window))
    convolution.bias = nn.Parameter(linear.bias.detach())
    return convolution
