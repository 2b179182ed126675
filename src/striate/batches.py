"""Order, gathering and preparation of batches, from data that stays in memory."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from striate import datasets
from striate.augmentation import (
    color_axes,
    mirror,
    outside_color,
    shift_colors,
    shift_pixels,
    warp,
    warps,
)
from striate.datasets.sets import Part
from striate.distributed import share_of
from striate.errors import DataError
from striate.figures import figure_extent
from striate.preparation import InputSpec, normalize, prepare, size_with_side, to_unit
from striate.randomness import hashes, order
from striate.recipes import Recipe
from striate.windows import take_windows

LEAST_STEPS_PER_EPOCH = 20
LEAST_STEPS = 1200


class Batch(NamedTuple):
    """What one step sees.

    Attributes:
        indices: ``(N,)``, the examples' places in the epoch's training set.
        images: ``(N, C, *spatial)``, as the network reads them.
        targets: ``(N,)`` class indices; of masks ``(N, *spatial)``.
        weights: Of masks, perhaps the weight of each pixel, as the targets lie.
        whole: Examples of the step over all processes, of which these are a part; by default
            these are all.
    """

    indices: Tensor
    images: Tensor
    targets: Tensor
    weights: Tensor | None = None
    whole: int | None = None

    @property
    def num_examples(self) -> int:
        """Examples of the step, over all processes."""
        return len(self.targets) if self.whole is None else self.whole

    @property
    def share(self) -> float:
        """How much of the step's examples are here."""
        return len(self.targets) / self.num_examples


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from: the part that trains, and the part that choices are made on."""

    training: Part
    validation: Part | None
    value_range: tuple[float, float]
    classes: tuple[str, ...]
    fingerprint: str
    source: str

    @property
    def num_training(self) -> int:
        """Images that train."""
        return len(self.training.targets)

    @property
    def num_validation(self) -> int:
        """Images that choices are made on."""
        return 0 if self.validation is None else len(self.validation.targets)


def load_training_data(recipe: Recipe, data_dir: Path | None = None) -> TrainingData:
    """Read a recipe's training and validation part, given or held out; never the test part.

    Raises:
        UsageError: There is no set of that name.
        DataError: The set's files cannot be had or read.
    """
    images = datasets.load(recipe.data, data_dir=data_dir, parts=("train", "validation"))
    training, validation = images.parts["train"], images.parts.get("validation")
    if recipe.validation == 0:
        validation = None
    elif validation is None:
        training, validation = hold_out(training, recipe.validation, recipe.seed)
    if validation is not None and len(validation.targets) == 0:
        raise DataError(
            f"{images.source} has one image a class, so none can be held out for validation; "
            "set validation to 0"
        )
    return TrainingData(
        training,
        validation,
        images.value_range,
        images.classes,
        images.fingerprint(),
        images.source,
    )


def hold_out(part: Part, share: float, seed: int) -> tuple[Part, Part]:
    """Split a part in two, class by class: what stays for training, what validates.

    Args:
        part: The images to split.
        share: Share of each class that validates, in [0, 1); at least one image of each
            class that has two or more.
        seed: Which images they are depends on this and on their places alone.

    Example:
        >>> part = Part(torch.zeros(10, 1, 4, 4), torch.tensor([0] * 6 + [1] * 4))
        >>> training, validation = hold_out(part, 0.5, seed=0)
        >>> validation.targets.tolist()
        [0, 0, 0, 1, 1]
    """
    keys = hashes(seed, 0, torch.arange(len(part.targets)), "hold out", 1)[:, 0]
    held = torch.zeros(len(part.targets), dtype=torch.bool)
    for target in torch.unique(part.targets):
        places = (part.targets == target).nonzero()[:, 0]
        count = min(max(1, round(share * len(places))), len(places) - 1)
        held[places[keys[places].argsort(stable=True)[:count]]] = True
    return (
        Part(part.images[~held], part.targets[~held]),
        Part(part.images[held], part.targets[held]),
    )


def input_spec(
    images: Tensor, value_range: tuple[float, float], input_shape: Sequence[int], recipe: Recipe
) -> InputSpec:
    """Decide once, from the training images, how every image will meet the network.

    Args:
        images: ``(N, C, H, W)``, the training images as stored.
        value_range: Stored values that mean black and white.
        input_shape: Channels, height and width of the network's default input.
        recipe: Its ``image_size`` and ``input_range`` overrule what the images say; without
            an ``image_size`` it is the middle of ``side_range``, as VGG is tested at one scale.
    """
    channels, *own = images.shape[1:]
    wanted = tuple(input_shape[1:])
    size = _image_size(tuple(own), wanted, recipe)
    if recipe.input_range is None:
        mean, std = _mean_and_deviation(images, value_range)
    else:
        low, high = recipe.input_range
        mean, std = (-low / (high - low),) * channels, (1 / (high - low),) * channels
    border = torch.cat(
        [images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]], dim=2
    )
    background = tuple(
        to_unit(border[:, channel].flatten().median(), value_range).item()
        for channel in range(channels)
    )
    sample = images[:: max(1, len(images) // 1000)]
    return InputSpec(
        channels=channels,
        image_size=size,
        input_size=wanted,
        mean=mean,
        std=std,
        background=background,
        training_size=tuple(own),
        figure_extent=figure_extent(to_unit(sample, value_range), background),
        color_axes=color_axes(torch.split(images, 1000), value_range) if recipe.pca_color else None,
    )


def _image_size(own: tuple[int, ...], wanted: tuple[int, ...], recipe: Recipe) -> tuple[int, ...]:
    side = recipe.image_size
    if side is None and recipe.side_range is not None:
        side = sum(recipe.side_range) // 2
    if side is None:
        return suited_size(own, wanted)
    return (side,) * len(wanted) if side <= min(wanted) else size_with_side(own, side)


def suited_size(own: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Keep the images' own size where it is at least half of the network's input, and fits it.

    Example:
        >>> suited_size((28, 28), (32, 32)), suited_size((8, 8), (32, 32))
        ((28, 28), (32, 32))
    """
    fits = all(w / 2 <= s <= w for s, w in zip(own, wanted, strict=True))
    return own if fits else wanted


class Misfit(NamedTuple):
    """What of a recipe the images do not allow, and the option that would change it."""

    reason: str
    remedy: str


def misfits(recipe: Recipe, spec: InputSpec, *, has_validation: bool) -> list[Misfit]:
    """List what of a recipe the images and the network's input do not allow.

    Args:
        recipe: The complete recipe.
        spec: The network's input, as ``input_spec`` decides it.
        has_validation: Whether there is a validation part to make choices on.

    Example:
        >>> recipe = Recipe(network="lenet5", data="digits", pca_color=0.1, patience=3)
        >>> spec = input_spec(torch.zeros(7, 1, 8, 8), (0, 16), (1, 32, 32), recipe)
        >>> [remedy for _, remedy in misfits(recipe, spec, has_validation=False)]
        ['--validation 0.1', '--pca-color 0']
    """
    least, size = max(spec.input_size), "x".join(map(str, spec.image_size))
    reads = f"{recipe.network} reads {'x'.join(map(str, spec.input_size))}"
    found = [
        Misfit(f"{choice} needs a validation part", "--validation 0.1")
        for choice, is_chosen in (
            ("schedule plateau", recipe.schedule == "plateau"),
            ("patience", recipe.patience is not None),
        )
        if is_chosen and not has_validation
    ]
    if recipe.pca_color and spec.channels != 3:
        channels = f"{spec.channels} channel{'s' if spec.channels > 1 else ''}"
        reason = f"pca_color shifts red, green and blue, but the images have {channels}"
        found.append(Misfit(reason, "--pca-color 0"))
    if recipe.crop_padding >= min(spec.input_size):
        reason = (
            f"crop_padding is {recipe.crop_padding}, so that images may leave the input of "
            f"{'x'.join(map(str, spec.input_size))} altogether"
        )
        found.append(Misfit(reason, f"--crop-padding below {min(spec.input_size)}"))
    if recipe.crop == "random" and min(spec.image_size) <= least:
        reason = f"crop random takes a window of a larger image, but {reads} and images are {size}"
        found.append(Misfit(reason, f"--image-size above {least}, or --crop center"))
    is_smaller = any(s < w for s, w in zip(spec.image_size, spec.input_size, strict=True))
    if recipe.crop == "area" and is_smaller:
        reason = f"crop area resizes to all of the input, but {reads} and images are {size}"
        found.append(Misfit(reason, f"--image-size {least} or more, or --crop center"))
    if recipe.side_range is not None and recipe.side_range[0] < least:
        reason = f"side_range begins at {recipe.side_range[0]}, but {reads}"
        found.append(Misfit(reason, f"--side-range from {least} on"))
    return found


def _mean_and_deviation(
    images: Tensor, value_range: tuple[float, float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure each channel in [0, 1]; a constant channel gets deviation 1."""
    low, high = value_range
    means, deviations = [], []
    for channel in images.unbind(dim=1):
        if images.dtype == torch.uint8:
            counts = torch.bincount(channel.flatten(), minlength=256).double()
            values = torch.arange(len(counts), dtype=torch.float64)
            mean = (counts * values).sum() / counts.sum()
            variance = (counts * (values - mean) ** 2).sum() / counts.sum()
        else:
            variance, mean = torch.var_mean(channel.double(), correction=0)
        means.append(((mean - low) / (high - low)).item())
        deviations.append((variance.sqrt() / (high - low)).item() or 1.0)
    return tuple(means), tuple(deviations)


def training_batches(
    part: Part,
    value_range: tuple[float, float],
    spec: InputSpec,
    recipe: Recipe,
    epoch: int,
    *,
    first_step: int = 0,
    share: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """Give an epoch's batches: every image once, in the order of (seed, epoch), augmented.

    Args:
        part: The training images and targets, on the device where batches are wanted.
        value_range: Stored values that mean black and white.
        spec: The network's input.
        recipe: Batch size, seed and augmentation.
        epoch: Counted from 0.
        first_step: Steps of this epoch that are already done and are left out.
        share: Place of a process and number of processes: it gets its rows of each batch.
    """
    places = order(recipe.seed, epoch, len(part.targets))
    steps = steps_per_epoch(len(places), recipe.batch_size)
    ends = [recipe.batch_size * step for step in range(1, steps)]
    for every in torch.tensor_split(places, ends)[first_step:]:
        own = share_of(len(every), share)
        # What makes images wants one at least: a process without any makes one and drops it.
        indices = (every[own] if own.stop > own.start else every[:1]).to(part.images.device)
        stored = mirror(part.images.index_select(0, indices), recipe, epoch, indices)
        if recipe.crop != "center" or warps(recipe):
            windows = take_windows(stored, value_range, spec, recipe, epoch, indices)
            images = normalize(warp(windows, recipe, epoch, indices), spec)
        else:
            images = prepare(stored, value_range, spec)
        images = shift_colors(images, spec, recipe, epoch, indices)
        images = shift_pixels(images, recipe, epoch, indices, outside_color(spec))
        count = own.stop - own.start
        targets = part.targets[indices]
        yield Batch(indices[:count], images[:count], targets[:count], whole=len(every))


def sized(recipe: Recipe, given: Collection[str], num_images: int) -> Recipe:
    """Adapt batch size and epochs to a small set, unless they were given.

    An epoch then has at least 20 steps, and the run at least 1,200.

    Args:
        recipe: The recipe with its network's values.
        given: Names of the fields that the user chose.
        num_images: Size of the training part.

    Example:
        >>> recipe = sized(Recipe(network="lenet5", data="digits"), [], 1197)
        >>> recipe.batch_size, recipe.epochs
        (59, 58)
    """
    changes = {}
    if "batch_size" not in given:
        changes["batch_size"] = max(1, min(recipe.batch_size, num_images // LEAST_STEPS_PER_EPOCH))
    if "epochs" not in given:
        steps = steps_per_epoch(num_images, changes.get("batch_size", recipe.batch_size))
        changes["epochs"] = max(recipe.epochs, -(-LEAST_STEPS // steps))
    return recipe.replace(**changes)


def suited(
    recipe: Recipe, given: Collection[str], channels: int, input_shape: Sequence[int]
) -> tuple[Recipe, list[str]]:
    """Switch off what a network's own recipe has and the images do not allow, unless it was given.

    Args:
        recipe: The recipe with its network's values.
        given: Names of the fields that the user chose.
        channels: Of the images.
        input_shape: Channels, height and width of the network's default input.

    Returns:
        recipe: Perhaps changed.
        notes: What was switched off and why, in words for the user.

    Example:
        >>> recipe = Recipe(network="resnet18", data="digits", pca_color=0.1)
        >>> suited(recipe, ["network", "data"], 1, (3, 224, 224))[1]
        ['pca_color of resnet18 is off: it shifts red, green and blue, the images have 1 channel']
    """
    changes: dict[str, object] = {}
    notes = []
    if recipe.pca_color and channels != 3 and "pca_color" not in given:
        changes["pca_color"] = 0.0
        count = f"{channels} channel{'s' if channels > 1 else ''}"
        notes.append(
            f"pca_color of {recipe.network} is off: it shifts red, green and blue, the images have "
            f"{count}"
        )
    least = max(input_shape[1:])
    if recipe.image_size is not None and recipe.image_size <= least:
        if recipe.crop != "center" and not {"crop", "side_range"} & {*given}:
            changes |= {"crop": "center", "side_range": None}
        if recipe.protocol not in ("single", "dense", "multi-scale") and "protocol" not in given:
            changes["protocol"] = "single"
        if off := sorted(changes.keys() & {"crop", "protocol"}):
            are = f"{' and '.join(off)} of {recipe.network} {'is' if len(off) == 1 else 'are'} off"
            notes.append(
                f"{are}: at image_size {recipe.image_size} there is no room around its {least} "
                "pixels"
            )
    return recipe.replace(**changes), notes


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Count the steps of an epoch; the last may have fewer images.

    A single image that would be left for it joins the step before: batch normalisation
    needs two.
    """
    whole, rest = divmod(num_images, batch_size)
    return max(1, whole + (rest > (1 if batch_size > 1 else 0)))
