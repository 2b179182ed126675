"""The three classifiers that Denker et al. compare, in scikit-learn's style: fit, scores, predict.

Each takes features ``(N, F)``, float, and targets ``(N,)``, and scores each class; the
largest score wins, among equal ones the class with the lower number.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from striate.devices import threads
from striate.errors import TrainingError
from striate.losses import OneSided
from striate.models.denker1988 import Denker1988, extract_features
from striate.optimization import Optimizer, learning_rate
from striate.randomness import order
from striate.recipes import Recipe

_CHUNK = 1000  # images whose distances to all training examples are held at once


class Classifier(Protocol):
    """What the study needs of a classifier."""

    def fit(self, features: Tensor, targets: Tensor) -> Self: ...  # noqa: D102
    def scores(self, features: Tensor) -> Tensor: ...  # noqa: D102


class NearestNeighbours:
    """The k nearest training examples vote, by Euclidean distance.

    A class's score is its number of votes, plus the distance of the nearest example of all
    divided by that of the class's own nearest. The second part is at most 1: it settles
    equal votes and says how sure a unanimous vote is.

    Args:
        k: Number of voters.
    """

    def __init__(self, k: int = 3) -> None:
        self.k = k

    def fit(self, features: Tensor, targets: Tensor) -> Self:
        """Keep the examples.

        Raises:
            TrainingError: There are fewer than k.
        """
        if len(features) < self.k:
            raise TrainingError(
                f"{len(features)} training examples are fewer than the {self.k} neighbours that "
                "vote; give more examples or a smaller k"
            )
        self.features, self.targets = features, targets
        self.num_classes = int(targets.max()) + 1
        return self

    def scores(self, features: Tensor) -> Tensor:
        """Score each class: ``(N, classes)``."""
        parts = []
        for chunk in torch.split(features, _CHUNK):
            distances = torch.cdist(chunk, self.features)
            voters = self.targets[distances.topk(self.k, dim=1, largest=False).indices]
            votes = torch.zeros(len(chunk), self.num_classes)
            votes.scatter_add_(1, voters, torch.ones(voters.shape))
            own = torch.stack(
                [
                    distances[:, self.targets == one].amin(dim=1)
                    if bool((self.targets == one).any())
                    else torch.full((len(chunk),), torch.inf)
                    for one in range(self.num_classes)
                ],
                dim=1,
            ).clamp(min=1e-6)
            parts.append(votes + own.amin(dim=1, keepdim=True) / own)
        return torch.cat(parts)


class ParzenWindows:
    """A Gaussian window around each training example; their sum over a class is its density.

    Args:
        width: Deviation of the windows, as a multiple of the mean distance of 500 training
            examples to their nearest other one.
    """

    def __init__(self, width: float = 0.5) -> None:
        self.width = width

    def fit(self, features: Tensor, targets: Tensor) -> Self:
        """Keep the examples and measure how close they lie."""
        self.features, self.targets = features, targets
        self.num_classes = int(targets.max()) + 1
        nearest = torch.cdist(features[:500], features).topk(2, dim=1, largest=False).values[:, 1]
        self.deviation = self.width * max(float(nearest.mean()), 1e-6)
        return self

    def scores(self, features: Tensor) -> Tensor:
        """Give the logarithm of each class's sum of windows: ``(N, classes)``."""
        parts = []
        for chunk in torch.split(features, _CHUNK):
            exponents = -torch.cdist(chunk, self.features).square() / (2 * self.deviation**2)
            parts.append(
                torch.stack(
                    [
                        exponents[:, self.targets == one].logsumexp(dim=1)
                        for one in range(self.num_classes)
                    ],
                    dim=1,
                )
            )
        # A class without examples has density 0, whose logarithm would make leads infinite.
        return torch.cat(parts).clamp(min=torch.finfo(torch.float32).min / 4)


class LayeredNetwork:
    """The network with 40 hidden units, trained by back-propagation with a one-sided objective.

    Learning rate (0.04, falling as a cosine) and passes were chosen on held-out training
    digits of USPS, over five splits, for features and bitmaps together; twice the rate diverges.

    Args:
        decay: Weight decay.
        seed: Of initial weights and order.
        epochs: Passes over the examples.
    """

    def __init__(self, decay: float = 0.001, seed: int = 0, epochs: int = 60) -> None:
        self.decay = decay
        self.seed = seed
        self.epochs = epochs

    def fit(self, features: Tensor, targets: Tensor) -> Self:
        """Standardise the features by mean and overall deviation, and train."""
        self.mean = features.mean(dim=0)
        self.deviation = float((features - self.mean).square().mean().sqrt().clamp(min=1e-6))
        inputs = self._standardize(features)
        recipe = Recipe(
            network="denker1988",
            data="features",
            epochs=self.epochs,
            learning_rate=0.04,
            momentum=0.9,
            weight_decay=self.decay,
            schedule="cosine",
            batch_size=64,
            seed=self.seed,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = Denker1988(features.shape[1], int(targets.max()) + 1)
        optimizer, loss = Optimizer(self.network.parameters(), recipe), OneSided()
        steps = -(-len(inputs) // recipe.batch_size)
        with threads(1):  # the network is small; more threads would wait for one another
            for epoch in range(recipe.epochs):
                shuffled = order(self.seed, epoch, len(inputs))
                for step, batch in enumerate(torch.split(shuffled, recipe.batch_size)):
                    torch.autograd.backward(loss(self.network(inputs[batch]), targets[batch]))
                    optimizer.step(learning_rate(recipe, epoch * steps + step, steps))
        return self

    @torch.no_grad()
    def scores(self, features: Tensor) -> Tensor:
        """Give the network's outputs: ``(N, classes)``."""
        scores: Tensor = self.network(self._standardize(features))
        return scores

    def _standardize(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation


class Recogniser:
    """Preprocessing and a classifier as one, from grey digits to classes.

    Args:
        classifier: One of the three.
        prepare: From images ``(N, H, W)``, ink 1 and paper 0, to features ``(N, F)``; the
            whole preprocessing of Denker et al. by default.

    Example:
        >>> upright, flat = torch.zeros(2, 1, 16, 16)
        >>> upright[0, 2:14, 7:9] = flat[0, 7:9, 2:14] = 1.0
        >>> bars = torch.cat([upright, flat])
        >>> recogniser = Recogniser(NearestNeighbours(k=1)).fit(bars, torch.tensor([0, 1]))
        >>> recogniser.predict(bars.flip(0).roll(1, dims=2))
        tensor([1, 0])
    """

    def __init__(
        self, classifier: Classifier, prepare: Callable[[Tensor], Tensor] = extract_features
    ) -> None:
        self.classifier = classifier
        self.prepare = prepare

    def fit(self, images: Tensor, targets: Tensor) -> Self:
        """Prepare the images and fit the classifier to them."""
        self.classifier.fit(self.prepare(images), targets)
        return self

    def scores(self, images: Tensor) -> Tensor:
        """Score each class: ``(N, classes)``; ``rejection.lead`` tells how sure an answer is."""
        return self.classifier.scores(self.prepare(images))

    def predict(self, images: Tensor) -> Tensor:
        """Name the class of each image: ``(N,)``."""
        return self.scores(images).argmax(dim=1)


class Kind(NamedTuple):
    """A kind of classifier and the choices that a held-out part decides between."""

    name: str
    choices: tuple[float, ...]

    def build(self, choice: float, seed: int) -> Classifier:
        """Make one, not yet fitted."""
        if self.name == "nearest neighbours":
            return NearestNeighbours(int(choice))
        if self.name == "Parzen windows":
            return ParzenWindows(choice)
        return LayeredNetwork(choice, seed)


KINDS = (
    Kind("nearest neighbours", (1, 3, 5)),
    Kind("Parzen windows", (0.1, 0.15, 0.25, 0.35, 0.5)),
    Kind("network", (0.0003, 0.001, 0.003)),
)
