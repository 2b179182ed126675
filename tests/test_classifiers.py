"""The classifiers against brute-force loops and scikit-learn's."""

import math

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from striate.errors import TrainingError
from striate.studies.classifiers import (
    KINDS,
    LayeredNetwork,
    NearestNeighbours,
    ParzenWindows,
    Recogniser,
)


@pytest.fixture
def points():
    """Three overlapping clouds in five dimensions: 90 to train, 41 to test."""
    generator = torch.Generator().manual_seed(7)
    targets = torch.arange(131) % 3
    features = torch.randn(131, 5, generator=generator) + 1.2 * torch.eye(5)[targets]
    return features[:90], targets[:90], features[90:], targets[90:]


@pytest.mark.parametrize("k", [1, 3, 7])
def test_nearest_neighbours_vote_as_scikit_learn_counts(points, k):
    features, targets, test, _ = points
    scores = NearestNeighbours(k).fit(features, targets).scores(test)
    peer = KNeighborsClassifier(k, algorithm="brute").fit(features.numpy(), targets.numpy())
    votes = torch.from_numpy(peer.predict_proba(test.numpy())) * k
    lead = votes.topk(2, dim=1).values
    clear = lead[:, 0] > lead[:, 1]  # in a tie the nearer class wins here, the first one there
    assert torch.equal(scores.argmax(1)[clear], votes.argmax(1)[clear])
    assert ((scores - votes) > 0).all()
    assert ((scores - votes) <= 1 + 1e-6).all()


def test_among_equal_votes_the_nearest_neighbour_decides():
    features = torch.tensor([[0.0], [1.0], [5.0]])
    scores = (
        NearestNeighbours(3).fit(features, torch.tensor([0, 1, 2])).scores(torch.tensor([[0.8]]))
    )
    assert scores[0].tolist() == pytest.approx([1.25, 2.0, 1 + 0.2 / 4.2], abs=1e-5)


def test_parzen_windows_add_up_as_a_loop_adds_them(points):
    features, targets, test, _ = points
    classifier = ParzenWindows(width=0.6).fit(features, targets)
    nearest = [
        min(math.dist(a, b) for j, b in enumerate(features.tolist()) if j != i)
        for i, a in enumerate(features.tolist())
    ]
    deviation = 0.6 * sum(nearest) / len(nearest)
    scores = classifier.scores(test)
    for row in (0, 17, 40):
        for one in range(3):
            total = sum(
                math.exp(-(math.dist(test[row].tolist(), point) ** 2) / (2 * deviation**2))
                for point, target in zip(features.tolist(), targets.tolist(), strict=True)
                if target == one
            )
            assert float(scores[row, one]) == pytest.approx(math.log(total), abs=1e-3)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_classes_without_examples_score_lowest_and_every_lead_is_finite(points, kind):
    features, targets, test, _ = points
    scores = kind.build(kind.choices[0], 0).fit(features, targets + (targets == 2)).scores(test)
    assert scores.shape == (41, 4)
    assert scores.isfinite().all()
    assert (scores.argmax(dim=1) != 2).all()


def test_the_network_learns_repeats_its_bits_and_leaves_the_generator_alone(points):
    features, targets, test, test_targets = points
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = LayeredNetwork(seed=3).fit(features, targets)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.scores(test), LayeredNetwork(seed=3).fit(features, targets).scores(test))
    other = LayeredNetwork(seed=4).fit(features, targets)
    assert not torch.equal(one.scores(test), other.scores(test))
    assert float((one.scores(test).argmax(1) == test_targets).float().mean()) > 0.55


def test_the_pipeline_prepares_then_classifies(points):
    features, targets, test, _ = points
    halve = Recogniser(NearestNeighbours(1), prepare=lambda images: images[:, :3] / 2)
    alone = NearestNeighbours(1).fit(features[:, :3] / 2, targets)
    assert torch.equal(
        halve.fit(features, targets).predict(test), alone.scores(test[:, :3] / 2).argmax(1)
    )


def test_fewer_examples_than_neighbours_are_refused():
    with pytest.raises(TrainingError, match="2 training examples are fewer than the 3 neighbours"):
        NearestNeighbours(3).fit(torch.zeros(2, 4), torch.tensor([0, 1]))
