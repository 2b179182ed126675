"""From pixels to what a network reads: one resize, one padding, one normalisation for all.

Training, prediction and export go through these functions, so an image meets the network
in the same form wherever it comes from.
"""

from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional as F


class InputSpec(BaseModel):
    """What a trained network expects of an image; kept in the run folder.

    Attributes:
        channels: Number of channels: 1 grey, 3 red, green and blue.
        image_size: Height and width that every image is resized to; or, where it is larger
            than ``input_size``, that the training images were resized to: the shorter side of
            every image is resized to the shorter of these, its aspect kept [pixels].
        input_size: Height and width that the network reads: a smaller image sits in the
            middle, surrounded by ``background``; of a larger one it reads the middle [pixels].
        mean: For each channel, subtracted from values in [0, 1].
        std: For each channel, divides what is left.
        background: For each channel, the value of padding, in [0, 1].
        training_size: Height and width of the training images as they were stored [pixels];
            an image of this size is resized as they were, and taken to look like them.
        figure_extent: Where the training images are figures on a plain ground, as digits
            are: the median longer side of the figure as a share of the image's. Otherwise
            None.
        color_axes: For AlexNet's shift of colours: each principal direction of the training
            set's colours in [0, 1], times its variance, the largest first. None where the
            recipe does not use it.
        kept_size, kept_side: Of images in files, to what each is reduced first, as
            ``image_store.Form`` says; None where there were no files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int
    image_size: tuple[int, ...]
    input_size: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    background: tuple[float, ...]
    training_size: tuple[int, ...] | None = None
    figure_extent: float | None = None
    color_axes: tuple[tuple[float, ...], ...] | None = None
    kept_size: tuple[int, int] | None = None
    kept_side: int | None = None

    @property
    def has_window(self) -> bool:
        """Whether the network reads a window of a larger image."""
        return any(a > b for a, b in zip(self.image_size, self.input_size, strict=True))


def to_unit(images: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Map stored values to [0, 1] as float32.

    Args:
        images: Any shape and dtype.
        value_range: The stored values that mean black and white, for example (0, 255).

    Returns:
        The same shape, float32.

    Example:
        >>> to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8), (0, 255))
        tensor([0.0000, 0.2000, 1.0000])
    """
    low, high = value_range
    if low == 0 and not images.is_floating_point():
        return images.to(torch.float32).div_(high)
    unit = images.to(torch.float32)
    return unit / high if low == 0 else (unit - low) / (high - low)


def resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize by triangle-weighted averages, widened when shrinking so that nothing aliases.

    Separable: one product with a banded matrix for each axis. Equal to Pillow's and
    torch's antialiased bilinear resize up to rounding.

    Args:
        images: ``(N, C, *spatial)``, float.
        size: The new ``spatial`` [pixels].

    Returns:
        ``(N, C, *size)``.

    Example:
        >>> resize(torch.tensor([[[[0.0, 4.0], [0.0, 4.0]]]]), (1, 4))
        tensor([[[[0., 1., 3., 4.]]]])
    """
    for axis, length in enumerate(size, start=2):
        if images.shape[axis] != length:
            weights = _resize_weights(images.shape[axis], length).to(images.device)
            images = torch.tensordot(images, weights, dims=([axis], [1])).movedim(-1, axis)
    return images.contiguous()


def _resize_weights(old: int, new: int) -> Tensor:
    scale = old / new
    reach = max(scale, 1.0)
    centers = (torch.arange(new, dtype=torch.float64) + 0.5) * scale
    pixels = torch.arange(old, dtype=torch.float64) + 0.5
    weights = (1 - (pixels - centers[:, None]).abs() / reach).clamp_(min=0)
    return (weights / weights.sum(dim=1, keepdim=True)).to(torch.float32)


def size_with_side(size: Sequence[int], side: int) -> tuple[int, ...]:
    """Say to what a size changes when its shorter side becomes ``side``, the aspect kept.

    Args:
        size: Of the image [pixels].
        side: Its new shorter side [pixels].

    Returns:
        The new size, rounded to whole pixels.

    Example:
        >>> size_with_side((375, 500), 256)
        (256, 341)
    """
    return tuple(round(side * length / min(size)) for length in size)


def resized_size(size: Sequence[int], spec: InputSpec) -> tuple[int, ...]:
    """Say to what size an image of this size is resized before it is framed or cut.

    Args:
        size: Of the image [pixels].
        spec: The network's input.

    Returns:
        The spec's size; of a spec with windows, the image's own aspect at its shorter side.
    """
    if not spec.has_window:
        return spec.image_size
    return size_with_side(size, min(spec.image_size))


def middle(images: Tensor, size: Sequence[int]) -> Tensor:
    """Cut the middle out of images that are larger; the rest above and left is the smaller.

    Args:
        images: ``(N, C, *spatial)``.
        size: What is left at most of ``spatial`` [pixels].

    Returns:
        ``(N, C, *spatial)``, no axis longer than its size; contiguous.
    """
    for axis, length in enumerate(size, start=2):
        if images.shape[axis] > length:
            images = images.narrow(axis, (images.shape[axis] - length) // 2, length)
    return images.contiguous()


def fit(images: Tensor, spec: InputSpec) -> Tensor:
    """Resize images in [0, 1] as the spec says and surround them, or cut their middle out.

    Args:
        images: ``(N, C, *spatial)``, float in [0, 1], C being ``spec.channels``.
        spec: The network's input.

    Returns:
        ``(N, C, *spec.input_size)``, still in [0, 1].
    """
    resized = middle(resize(images, resized_size(images.shape[2:], spec)), spec.input_size)
    return surround(resized, spec.input_size, torch.tensor(spec.background))


def normalize(images: Tensor, spec: InputSpec) -> Tensor:
    """Subtract the mean of each channel and divide by its deviation.

    Args:
        images: ``(N, C, *spatial)``, float in [0, 1].
        spec: Gives mean and deviation.

    Returns:
        The same shape; the images given stay as they were.
    """
    return normalize_in_place(images.clone(), spec)


def prepare(images: Tensor, value_range: tuple[float, float], spec: InputSpec) -> Tensor:
    """Bring stored images to the form that the network reads, without augmentation.

    The same bits as ``normalize(fit(to_unit(...)))``, in fewer passes over memory: the frame
    comes last, already normalised.

    Args:
        images: ``(N, C, *spatial)``, as stored.
        value_range: The stored values that mean black and white.
        spec: The network's input.

    Returns:
        ``(N, C, *spec.input_size)``, float32.
    """
    size = resized_size(images.shape[2:], spec)
    fresh = middle(resize(to_unit(images, value_range), size), spec.input_size)
    background = normalized_color(spec.background, spec)
    return surround(normalize_in_place(fresh, spec), spec.input_size, background)


def normalized_color(color: Sequence[float], spec: InputSpec) -> Tensor:
    """Normalise one colour.

    Args:
        color: A value in [0, 1] for each channel.
        spec: Gives mean and deviation.

    Returns:
        ``(C,)``, float32.
    """
    pixel = torch.tensor(color).view(1, -1, *(1,) * len(spec.input_size))
    return normalize_in_place(pixel, spec).flatten()


def normalize_in_place(images: Tensor, spec: InputSpec) -> Tensor:
    """Normalise as ``normalize`` does, writing over the images."""
    mean = _each_channel(torch.tensor(spec.mean, device=images.device), images)
    inverse = _each_channel(1 / torch.tensor(spec.std, device=images.device), images)
    return images.sub_(mean).mul_(inverse)


def _each_channel(values: Tensor, images: Tensor) -> Tensor:
    """Lay a value for each channel out to be added to images.

    Where the channels of a pixel lie together, for a row of pixels: sums of a few channels at a
    time take five times as long.
    """
    shaped = values.view(1, -1, *(1,) * (images.dim() - 2))
    if images.dim() != 4 or images.stride(1) != 1:
        return shaped
    row = shaped.expand(-1, -1, -1, images.shape[3])
    return row.contiguous(memory_format=torch.channels_last)


def surround(images: Tensor, size: Sequence[int], color: Tensor) -> Tensor:
    """Set images in the middle of larger ones of one colour.

    Args:
        images: ``(N, C, *spatial)``.
        size: The new ``spatial``, at least the old [pixels]; where an odd number of pixels is
            to be added, the last side gets one more.
        color: ``(C,)``, a value for each channel.

    Returns:
        ``(N, C, *size)``; the very same tensor if the size is right.
    """
    inner = images.shape[2:]
    if tuple(inner) == tuple(size):
        return images
    values = color.tolist()
    if len(set(values)) == 1:
        margins = [
            margin
            for old, new in reversed([*zip(inner, size, strict=True)])
            for margin in ((new - old) // 2, new - old - (new - old) // 2)
        ]
        return F.pad(images, margins, value=values[0])
    shape = (*images.shape[:2], *size)
    framed = color.to(images.device).view(1, -1, *(1,) * len(inner)).expand(shape).clone()
    window = framed
    for axis, (old, new) in enumerate(zip(inner, size, strict=True), start=2):
        window = window.narrow(axis, (new - old) // 2, old)
    window.copy_(images)
    return framed
