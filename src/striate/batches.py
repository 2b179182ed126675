"""Order, gathering and preparation of batches, from data that stays in memory."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from striate import datasets
from striate.augmentation import (
    augment,
    change_values,
    color_axes,
    mirror,
    mix,
    partners,
    turn,
    warps,
)
from striate.datasets.sets import Part
from striate.distributed import share_of
from striate.errors import DataError
from striate.figures import figure_extent
from striate.ordering import shown_images, steps_of, steps_per_epoch
from striate.preparation import InputSpec, prepare, size_with_side, to_unit
from striate.randomness import hashes
from striate.recipes import Recipe
from striate.windows import take_windows

LEAST_STEPS_PER_EPOCH = 20
LEAST_STEPS = 1200


class Mixed(NamedTuple):
    """What another image has given to each of a batch.

    Attributes:
        targets: ``(N,)`` class indices of the others.
        shares: ``(N,)``, of each image's own target; the rest is the other's.
    """

    targets: Tensor
    shares: Tensor


class Batch(NamedTuple):
    """What one step sees.

    Attributes:
        indices: ``(N,)``, the examples' places in the epoch's training set.
        images: ``(N, C, *spatial)``, as the network reads them.
        targets: ``(N,)`` class indices; of masks ``(N, *spatial)``.
        weights: Of masks, perhaps the weight of each pixel, as the targets lie.
        mixed: Where mixup or CutMix are on, the second target of each image.
        whole: Examples of the step over all processes, of which these are a part; by default
            these are all.
    """

    indices: Tensor
    images: Tensor
    targets: Tensor
    weights: Tensor | None = None
    mixed: Mixed | None = None
    whole: int | None = None

    @property
    def num_examples(self) -> int:
        """Examples of the step, over all processes."""
        return len(self.targets) if self.whole is None else self.whole

    @property
    def share(self) -> float:
        """How much of the step's examples are here."""
        return len(self.targets) / self.num_examples

    def part(self, rows: Tensor) -> "Batch":
        """Take some of the examples by their places, counted as a part of the whole step.

        Example:
            >>> batch = Batch(torch.arange(4), torch.zeros(4, 1, 2, 2), torch.tensor([3, 1, 0, 2]))
            >>> some = batch.part(torch.tensor([1]))
            >>> some.targets.tolist(), some.share
            ([1], 0.25)
        """
        return Batch(
            *(self.indices[rows], self.images[rows], self.targets[rows]),
            weights=None if self.weights is None else self.weights[rows],
            mixed=self.mixed and Mixed(*(each[rows] for each in self.mixed)),
            whole=self.num_examples,
        )


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
        training, validation = split_by_class(training, recipe.validation, recipe.seed)
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


def split_by_class(part: Part, share: float, seed: int) -> tuple[Part, Part]:
    """Split a part in two, class by class: what stays for training, what validates.

    Args:
        part: The images to split.
        share: Share of each class that validates, in [0, 1); at least one image of each
            class that has two or more.
        seed: Which images they are depends on this and on their places alone.

    Example:
        >>> part = Part(torch.zeros(10, 1, 4, 4), torch.tensor([0] * 6 + [1] * 4))
        >>> training, validation = split_by_class(part, 0.5, seed=0)
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
    if recipe.input_range is None:
        mean, std = _mean_and_deviation(images, value_range)
    else:
        mean, std = mean_and_deviation_for(recipe.input_range, channels)
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
        image_size=image_size_for(tuple(own), wanted, recipe),
        input_size=wanted,
        mean=mean,
        std=std,
        background=background,
        training_size=tuple(own),
        figure_extent=figure_extent(to_unit(sample, value_range), background),
        color_axes=color_axes(torch.split(images, 1000), value_range) if recipe.pca_color else None,
    )


def image_size_for(
    own: tuple[int, ...] | None, wanted: tuple[int, ...], recipe: Recipe
) -> tuple[int, ...]:
    """Decide to what size every image is resized.

    Args:
        own: The training images' size; None where they are of many.
        wanted: The network's input.
        recipe: Its ``image_size``, else the middle of its ``side_range``, else what suits both.
    """
    side = recipe.image_size
    if side is None and recipe.side_range is not None:
        side = sum(recipe.side_range) // 2
    if side is None:
        return wanted if own is None else suited_size(own, wanted)
    if own is None or side <= min(wanted):
        return (side,) * len(wanted)
    return size_with_side(own, side)


def suited_size(own: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Keep the images' own size where it is at least half of the network's input, and fits it.

    Example:
        >>> suited_size((28, 28), (32, 32)), suited_size((8, 8), (32, 32))
        ((28, 28), (32, 32))
    """
    fits = all(w / 2 <= s <= w for s, w in zip(own, wanted, strict=True))
    return own if fits else wanted


def mean_and_deviation_for(
    input_range: tuple[float, float], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give what maps [0, 1] onto a range, channel by channel.

    Example:
        >>> mean_and_deviation_for((-1, 1), 1)
        ((0.5,), (0.5,))
    """
    low, high = input_range
    return (-low / (high - low),) * channels, (1 / (high - low),) * channels


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
    shown = shown_images(recipe, epoch, part.targets.cpu()).to(part.images.device)
    for every in steps_of(recipe, epoch, len(part.targets))[first_step:]:
        made, count = own_rows(every, share)
        indices = made.to(part.images.device)
        images = _augmented(part, value_range, spec, recipe, epoch, indices, shown)
        others = partners(recipe, epoch, indices, len(part.targets))
        mixed = None
        if others is not None:
            second = _augmented(part, value_range, spec, recipe, epoch, others, shown)
            images, shares = mix(images, second, recipe, epoch, indices)
            mixed = Mixed(part.targets[shown[others]], shares)
        batch = Batch(indices, images, part.targets[shown[indices]], mixed=mixed, whole=len(every))
        yield batch if count else batch.part(torch.arange(0))


def own_rows(every: Tensor, share: tuple[int, int]) -> tuple[Tensor, int]:
    """Give the examples of a step that a process makes, and how many of them are its own.

    What makes examples wants one at least: a process without any makes one and drops it.

    Args:
        every: ``(N,)``, the step's examples.
        share: Place of the process and number of processes.

    Example:
        >>> own_rows(torch.tensor([5, 3]), (1, 2)), own_rows(torch.tensor([5]), (0, 2))
        ((tensor([3]), 1), (tensor([5]), 0))
    """
    own = every[share_of(len(every), share)]
    return (own, len(own)) if len(own) else (every[:1], 0)


def _augmented(
    part: Part,
    value_range: tuple[float, float],
    spec: InputSpec,
    recipe: Recipe,
    epoch: int,
    indices: Tensor,
    shown: Tensor,
) -> Tensor:
    stored = mirror(part.images.index_select(0, shown[indices]), recipe, epoch, indices)
    if recipe.crop != "center" or warps(recipe):
        windows = take_windows(stored, value_range, spec, recipe, epoch, indices)
        return augment(windows, spec, recipe, epoch, indices, mirrored=True)
    images = turn(prepare(stored, value_range, spec), recipe, epoch, indices)
    return change_values(images, spec, recipe, epoch, indices)


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
