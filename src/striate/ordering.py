"""Which images the steps of an epoch show, and in what order, from (seed, epoch)."""

import torch
from torch import Tensor

from striate.randomness import hashes, order
from striate.recipes import Recipe


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Count the steps of an epoch; the last may have fewer images.

    A single image that would be left for it joins the step before: batch normalisation
    needs two.

    Args:
        num_images: Of an epoch, at least 1.
        batch_size: Images of a step.

    Example:
        >>> [steps_per_epoch(num_images, 4) for num_images in (3, 8, 9, 10)]
        [1, 2, 2, 3]
    """
    whole, rest = divmod(num_images, batch_size)
    return max(1, whole + (rest > (1 if batch_size > 1 else 0)))


def steps_of(recipe: Recipe, epoch: int, num_images: int) -> tuple[Tensor, ...]:
    """Give the examples of each step of an epoch, all of them once, in an order of its own.

    Args:
        recipe: ``batch_size`` and ``seed``.
        epoch: Counted from 0.
        num_images: Examples of an epoch.

    Returns:
        For each step ``(n,)``, int64, numbers from 0 to ``num_images - 1``.

    Example:
        >>> recipe = Recipe(network="lenet5", data="digits", batch_size=4)
        >>> [len(step) for step in steps_of(recipe, 0, 9)]
        [4, 5]
    """
    places = order(recipe.seed, epoch, num_images)
    steps = steps_per_epoch(num_images, recipe.batch_size)
    return torch.tensor_split(places, [recipe.batch_size * step for step in range(1, steps)])


def shown_images(recipe: Recipe, epoch: int, targets: Tensor) -> Tensor:
    """Say which image each example of an epoch shows.

    Args:
        recipe: ``sampling`` and ``seed``.
        epoch: Counted from 0.
        targets: ``(N,)``, the training images' classes.

    Returns:
        ``(N,)``, places in the training set. All of them in turn; or, balanced, as many of each
        class that has images, to within one: each epoch other ones of a class with many, those of
        a class with few equally often, to within one.

    Example:
        >>> recipe = Recipe(network="lenet5", data="digits", sampling="balanced")
        >>> targets = torch.tensor([0, 0, 0, 0, 0, 1])
        >>> shown = shown_images(recipe, 0, targets)
        >>> targets[shown].tolist(), len(set(shown.tolist()))
        ([0, 1, 0, 1, 0, 1], 4)
    """
    everything = torch.arange(len(targets))
    if recipe.sampling == "all":
        return everything
    keys = hashes(recipe.seed, epoch, everything, "balance", 1)[:, 0]
    shown = torch.empty_like(everything)
    classes = torch.unique(targets).tolist()
    for number, target in enumerate(classes):
        members = (targets == target).nonzero()[:, 0]
        members = members[keys[members].argsort(stable=True)]
        places = shown[number :: len(classes)]
        places.copy_(members[torch.arange(len(places)) % len(members)])
    return shown
