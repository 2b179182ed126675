"""Sizes of images that networks refuse, and fully connected heads that slide over larger ones.

The convention of the networks that have such a head: a method ``to_dense()``, which gives this
form. Networks that end in a global average need none; they read larger images as they are.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from striate.errors import UsageError


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


def require_sides(images: Tensor, legal: Sequence[int], reads: str) -> None:
    """Refuse images whose sides are none that a network answers pixel by pixel.

    Args:
        images: ``(N, C, *spatial)``.
        legal: For each spatial axis, the least side from the image's own on that is read
            [pixels].
        reads: Who reads what, for the message.

    Raises:
        ValueError: A side is another.

    Example:
        >>> import torch
        >>> require_sides(torch.zeros(1, 1, 16, 13), (16, 16), "this network reads multiples of 4")
        Traceback (most recent call last):
        ValueError: this network reads multiples of 4, not 16x13; pad it to 16x16 by mirroring
    """
    sides = tuple(images.shape[2:])
    if sides != tuple(legal):
        came, needed = ("x".join(map(str, each)) for each in (sides, legal))
        raise ValueError(f"{reads}, not {came}; pad it to {needed} by mirroring")


def require_multiples(images: Tensor, step: int, name: str) -> None:
    """Refuse images whose sides are no multiples of a step, as where poolings halve them.

    Args:
        images: ``(N, C, *spatial)``.
        step: What divides each side that is read [pixels].
        name: Of the network, for the message.

    Raises:
        ValueError: A side is no such multiple.
    """
    legal = [-(-side // step) * step for side in images.shape[2:]]
    require_sides(images, legal, f"{name} reads sides that are multiples of {step}")


def require_form(width: int, depth: int, name: str) -> None:
    """Refuse to build a network of no maps or no levels.

    Args:
        width: Maps of the first level.
        depth: How often the sides are halved.
        name: Of the network, for the message.

    Raises:
        UsageError: Either is below 1.
    """
    for what, number in (("width", width), ("depth", depth)):
        if number < 1:
            raise UsageError(f"{what} is {number}; {name} needs 1 or more")


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
