"""The three classifiers that Denker et al. compare, in scikit-learn's style: fit, scores, predict.

Each takes features ``(N, F)``, float, and targets ``(N,)``, and scores each class; the
largest score wins, among equal ones the class with the lower number. A ``Recognizer`` makes the
choices that a kind of classifier leaves open.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from striate.devices import threads
from striate.errors import DataError, TrainingError
from striate.losses import OneSided
from striate.models.denker1988 import Denker1988
from striate.randomness import order
from striate.rejection import lead, least_threshold

HELD_OUT = 5  # one in five training examples is kept back for choices
MOST_ERROR = 0.01  # of the answers that the threshold of rejection lets pass
_CHUNK = 1000  # images whose distances to all training examples are held at once
_BATCH, _RATE, _MOMENTUM = 64, 0.04, 0.9  # of the network's training


class Classifier(Protocol):
    """What the study needs of a classifier."""

    def fit(self, features: Tensor, targets: Tensor) -> Self: ...  # noqa: D102
    def scores(self, features: Tensor) -> Tensor: ...  # noqa: D102


class NearestNeighbors:
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
        """Keep the examples and measure how close they lie.

        Raises:
            TrainingError: There is only one, which has no other to be close to.
        """
        if len(features) < 2:
            raise TrainingError(
                f"the number of training examples is {len(features)}; Parzen windows need 2 or "
                "more, to measure how close they lie"
            )
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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = Denker1988(features.shape[1], int(targets.max()) + 1)
        loss, velocities = OneSided(), [torch.zeros_like(w) for w in self.network.parameters()]
        batches = math.ceil(len(inputs) / _BATCH)
        with threads(1):  # the network is small; more threads would wait for one another
            for epoch in range(self.epochs):
                shuffled = order(self.seed, epoch, len(inputs))
                for place, batch in enumerate(torch.split(shuffled, _BATCH)):
                    self.network.zero_grad()
                    torch.autograd.backward(loss(self.network(inputs[batch]), targets[batch]))
                    done = (epoch * batches + place + 0.5) / (self.epochs * batches)
                    self._step(velocities, _RATE * (1 + math.cos(math.pi * done)) / 2)
        return self

    @torch.no_grad()
    def _step(self, velocities: list[Tensor], rate: float) -> None:
        """Move the weights once, by gradient, weight decay and momentum."""
        for weights, velocity in zip(self.network.parameters(), velocities, strict=True):
            if weights.grad is not None:
                velocity.mul_(_MOMENTUM).add_(weights.grad.add(weights, alpha=self.decay))
                weights.add_(velocity, alpha=-rate)

    @torch.no_grad()
    def scores(self, features: Tensor) -> Tensor:
        """Give the network's outputs: ``(N, classes)``."""
        scores: Tensor = self.network(self._standardize(features))
        return scores

    def _standardize(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation


class Kind(NamedTuple):
    """A kind of classifier, the choices that a held-out part decides between, and how to make one.

    Attributes:
        name: What people call it.
        choices: Neighbours, widths of windows, or weight decays.
        build: Makes a classifier, not yet fitted, from a choice and a seed.
    """

    name: str
    choices: tuple[float, ...]
    build: Callable[[float, int], Classifier]


KINDS = (
    Kind("nearest neighbours", (1, 3, 5), lambda k, _: NearestNeighbors(int(k))),
    Kind("Parzen windows", (0.1, 0.15, 0.25, 0.35, 0.5), lambda width, _: ParzenWindows(width)),
    Kind("network", (0.0003, 0.001, 0.003), LayeredNetwork),
)


class Recognizer:
    """A classifier that makes its choice on held-out examples, then is fitted to all of them.

    Args:
        kind: One of ``KINDS``.
        seed: Of the held-out part, and of the network's initial weights and order.

    Attributes:
        choice: The one with the fewest errors on the held-out fifth.
        held_out_error_rate: Share of errors there.
        threshold: The least lead of an answer that, on the held-out fifth, keeps the error
            rate of the answers given at 1 %.

    Example:
        >>> from striate.models.denker1988 import extract_features
        >>> upright, flat = torch.zeros(2, 1, 16, 16)
        >>> upright[0, 2:14, 7:9] = flat[0, 7:9, 2:14] = 1.0
        >>> features = extract_features(torch.cat([upright, flat])).repeat(20, 1)
        >>> recognizer = Recognizer(KINDS[0]).fit(features, torch.tensor([0, 1]).repeat(20))
        >>> recognizer.predict(extract_features(torch.cat([flat, upright]).roll(1, dims=2)))
        tensor([1, 0])
    """

    def __init__(self, kind: Kind, seed: int = 0) -> None:
        self.kind = kind
        self.seed = seed

    def fit(self, features: Tensor, targets: Tensor) -> Self:
        """Choose on a fifth that the classifier has not seen, and fit it to all examples.

        Raises:
            DataError: There are fewer than five examples, or all are of the first class.
        """
        shuffled, number = order(self.seed, 0, len(targets)), len(targets) // HELD_OUT
        held_out, seen = shuffled[:number], shuffled[number:]
        if number == 0 or not bool(targets[seen].any()):
            raise DataError(
                f"{len(targets)} training examples, {int((targets > 0).sum())} of them of another "
                f"class than the first; needed are {HELD_OUT} or more, of two classes or more"
            )
        best = -1.0
        for candidate in self.kind.choices:
            classifier = self.kind.build(candidate, self.seed).fit(features[seen], targets[seen])
            scores = classifier.scores(features[held_out])
            correct = scores.argmax(dim=1) == targets[held_out]
            if float(correct.float().mean()) > best:
                best, self.choice = float(correct.float().mean()), candidate
                self.threshold = least_threshold(lead(scores), correct, MOST_ERROR)
        self.held_out_error_rate = 1 - best
        self.classifier = self.kind.build(self.choice, self.seed).fit(features, targets)
        return self

    def scores(self, features: Tensor) -> Tensor:
        """Score each class: ``(N, classes)``; ``rejection.lead`` tells how sure an answer is."""
        return self.classifier.scores(features)

    def predict(self, features: Tensor) -> Tensor:
        """Name the class of each example: ``(N,)``."""
        return self.scores(features).argmax(dim=1)
