"""What a network learns: examples, a loss, and how well it does; labels for whole images here."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from striate.batches import Batch, TrainingData, training_batches
from striate.datasets.sets import Part
from striate.distributed import in_shares, total
from striate.losses import CrossEntropy, Loss, MaximumAPosteriori, SquaredError, balanced
from striate.ordering import steps_per_epoch
from striate.preparation import InputSpec
from striate.recipes import Recipe
from striate.scoring import logits_of


class Measures(NamedTuple):
    """How a network does on the validation part.

    Attributes:
        loss: What training minimises; of masks without the weights of borders.
        error: Share of images, or of pixels, that are wrong.
        dice: Mean Dice coefficient over the classes but the first, where there are masks.
    """

    loss: float
    error: float
    dice: float | None = None

    @property
    def score(self) -> list[float]:
        """What choices are made by, the lower the better."""
        return [self.error if self.dice is None else 1 - self.dice, self.loss]


class Task(Protocol):
    """What a training loop works on.

    Attributes:
        num_examples: Examples of an epoch.
        steps_per_epoch: Steps that an epoch takes.
        num_training: Images that train.
        num_validation: Images that choices are made on.
        source: Where the data were found.
        fingerprint: SHA-256 of the data.
        classes: Names of the classes, in the order of the logits.
    """

    num_examples: int
    steps_per_epoch: int
    num_training: int
    num_validation: int
    source: str
    fingerprint: str
    classes: tuple[str, ...]

    def to(self, device: torch.device) -> None:
        """Move the data to where batches are wanted."""

    def form(self, network: nn.Module) -> nn.Module:
        """Give what is shown the batches: the network itself, or a form that shares its weights."""

    def batches(
        self, epoch: int, first_step: int, share: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Give an epoch's batches from a step on, each a function of seed, epoch and place.

        Of each batch a process gets its share of the rows: its place, and how many there are.
        """

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Give what is minimised: of a whole batch a mean, of a part of it, its share of that.

        Parts at one time in several processes are added up: the number is the same on all, its
        gradients are to be added up over them.
        """

    def mistakes(self, logits: Tensor, batch: Batch) -> tuple[int, int]:
        """Count what is wrong here, and how many there were to be right."""

    def validate(self, network: nn.Module) -> Measures:
        """Measure a network on the validation part, if there is one, each process on its share."""


class Labelling:
    """One label for each image, wherever the images lie: the loss, and what is wrong.

    Args:
        recipe: Complete.
        targets: ``(N,)``, class indices of the images that train.
        classes: Names of the classes.
    """

    def __init__(self, recipe: Recipe, targets: Tensor, classes: tuple[str, ...]) -> None:
        self.recipe, self.classes = recipe, classes
        self._loss = loss_for(recipe, targets, len(classes))

    def form(self, network: nn.Module) -> nn.Module:
        """Give the network itself."""
        return network

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Average over the images; of mixed ones both targets count, each by its share."""
        if len(batch.targets) == 0:
            return total(0 * logits.sum())
        if batch.mixed is None:
            return total(self._loss(logits, batch.targets) * batch.share)
        targets, shares = batch.mixed
        own = self._loss.each(logits, batch.targets)
        mean = torch.lerp(self._loss.each(logits, targets), own, shares).mean()
        return total(mean * batch.share)

    def mistakes(self, logits: Tensor, batch: Batch) -> tuple[int, int]:
        """Count the images that are wrong; right is the target with the larger share."""
        targets = batch.targets
        if batch.mixed is not None:
            targets = torch.where(batch.mixed.shares < 0.5, batch.mixed.targets, targets)
        return int((logits.argmax(dim=1) != targets).sum()), len(targets)

    def measures(self, logits: Tensor, targets: Tensor) -> Measures:
        """Say what logits of the validation part come to: ``(N, classes)`` and ``(N,)``."""
        wrong = int((logits.argmax(dim=1) != targets).sum())
        return Measures(self._loss(logits, targets).item(), wrong / len(targets))


class Classification(Labelling):
    """One label for each image, of images in memory.

    Args:
        recipe: Complete.
        spec: The network's input.
        data: The images.
    """

    def __init__(self, recipe: Recipe, spec: InputSpec, data: TrainingData) -> None:
        super().__init__(recipe, data.training.targets, data.classes)
        self.spec = spec
        self.training, self.validation = data.training, data.validation
        self.value_range = data.value_range
        self.source, self.fingerprint = data.source, data.fingerprint
        self.num_examples = self.num_training = data.num_training
        self.num_validation = data.num_validation
        self.steps_per_epoch = steps_per_epoch(self.num_examples, recipe.batch_size)

    def to(self, device: torch.device) -> None:
        """Move the images and labels."""
        self.training = _to(self.training, device)
        self.validation = None if self.validation is None else _to(self.validation, device)

    def batches(
        self, epoch: int, first_step: int, share: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Give every image once, in an order of its own."""
        return training_batches(
            *(self.training, self.value_range, self.spec, self.recipe, epoch),
            first_step=first_step,
            share=share,
        )

    def validate(self, network: nn.Module) -> Measures:
        """Show the network every validation image."""
        part = self.validation
        if part is None:
            raise ValueError("there is no validation part; set the recipe's validation above 0")
        last = self.recipe.channels_last
        logits = in_shares(
            part.images,
            lambda own: logits_of(network, own, self.value_range, self.spec, channels_last=last),
        )
        return self.measures(logits, part.targets)


def loss_for(recipe: Recipe, targets: Tensor, num_classes: int) -> Loss:
    """Give the loss of a recipe for labels of whole images.

    Args:
        recipe: ``loss`` and what belongs to it.
        targets: ``(N,)`` class indices of the images that train, for the weights of classes.
        num_classes: Number of classes.
    """
    if recipe.loss == "map":
        return MaximumAPosteriori(recipe.rubbish)
    if recipe.loss == "squared-error":
        return SquaredError()
    weights = None
    if recipe.class_weights == "balanced":
        shares = torch.bincount(targets, minlength=num_classes) / len(targets)
        weights = balanced(shares.tolist())
    return CrossEntropy(recipe.label_smoothing, weights)


def _to(part: Part, device: torch.device) -> Part:
    return Part(part.images.to(device), part.targets.to(device))
