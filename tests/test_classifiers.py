"""The classifiers against brute-force loops and scikit-learn's."""

import math

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from striate.errors import DataError, TrainingError
from striate.losses import OneSided
from striate.models.denker1988 import Denker1988
from striate.randomness import order
from striate.studies.classifiers import (
    KINDS,
    LayeredNetwork,
    NearestNeighbors,
    ParzenWindows,
    Recognizer,
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
    scores = NearestNeighbors(k).fit(features, targets).scores(test)
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
        NearestNeighbors(3).fit(features, torch.tensor([0, 1, 2])).scores(torch.tensor([[0.8]]))
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


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_network_trains_as_with_pytorch_s_optimizer(points, decay):
    features, targets, test, _ = points
    ours = LayeredNetwork(decay, seed=2, epochs=8).fit(features, targets)
    torch.manual_seed(2)
    network, loss = Denker1988(5, 3), OneSided()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.04, momentum=0.9, weight_decay=decay)
    centered = features - features.mean(dim=0)
    deviation = centered.square().mean().sqrt()
    for step in range(16):
        batch = order(2, step // 2, 90)[:64] if step % 2 == 0 else order(2, step // 2, 90)[64:]
        optimizer.param_groups[0]["lr"] = 0.04 * math.cos(math.pi * (step + 0.5) / 32) ** 2
        optimizer.zero_grad()
        loss(network(centered[batch] / deviation), targets[batch]).backward()
        optimizer.step()
    scores = network((test - features.mean(dim=0)) / deviation)
    assert torch.allclose(ours.scores(test), scores, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_recognizer_chooses_on_held_out_examples_and_keeps_the_best(points, kind):
    features, targets, test, _ = points
    shuffled = order(6, 0, 90)
    seen, held_out = shuffled[18:], shuffled[:18]
    errors, thresholds = {}, {}
    for choice in kind.choices:
        scores = kind.build(choice, 6).fit(features[seen], targets[seen]).scores(features[held_out])
        wrong = scores.argmax(dim=1) != targets[held_out]
        errors[choice] = int(wrong.sum())
        # Of 18 answers at most 1 % wrong: all that are surer than the surest mistake.
        thresholds[choice] = min(
            (lead for lead in leads(scores) if lead > max(leads(scores[wrong]), default=-1)),
            default=math.inf,
        )
    recognizer = Recognizer(kind, seed=6).fit(features, targets)
    assert recognizer.choice == min(errors, key=errors.__getitem__)
    assert recognizer.held_out_error_rate == pytest.approx(min(errors.values()) / 18, abs=1e-6)
    assert recognizer.threshold == pytest.approx(thresholds[recognizer.choice])
    anew = kind.build(recognizer.choice, 6).fit(features, targets).scores(test)
    assert torch.equal(recognizer.predict(test), anew.argmax(dim=1))


def leads(scores: torch.Tensor) -> list[float]:
    rows = [sorted(row) for row in scores.tolist()]
    return [row[-1] - row[-2] for row in rows]


def test_each_kind_builds_with_the_choice_and_the_seed_that_it_is_given():
    neighbors, windows, network = (kind.build(kind.choices[1], 7) for kind in KINDS)
    assert (neighbors.k, windows.width, network.decay, network.seed) == (3, 0.15, 0.001, 7)


def test_too_few_examples_or_classes_for_a_choice_are_refused():
    with pytest.raises(DataError, match="4 training examples, 3 of them of another class"):
        Recognizer(KINDS[0]).fit(torch.zeros(4, 2), torch.tensor([0, 1, 1, 2]))
    with pytest.raises(DataError, match="60 training examples, 0 of them of another class"):
        Recognizer(KINDS[2]).fit(torch.zeros(60, 2), torch.zeros(60, dtype=torch.int64))


def test_windows_around_a_single_example_are_refused():
    with pytest.raises(TrainingError, match="the number of training examples is 1; Parzen windows"):
        ParzenWindows().fit(torch.zeros(1, 4), torch.tensor([0]))


def test_fewer_examples_than_neighbours_are_refused():
    with pytest.raises(TrainingError, match="2 training examples are fewer than the 3 neighbours"):
        NearestNeighbors(3).fit(torch.zeros(2, 4), torch.tensor([0, 1]))
