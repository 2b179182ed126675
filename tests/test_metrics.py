"""Metrics against scikit-learn, SciPy, loops and arithmetic by hand."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from striate.errors import DataError
from striate.metrics import ClassificationCounts, count, report, wilson_interval

NAMES = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu"]


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    targets = torch.randint(7, (97,), generator=generator)
    logits = torch.randn(97, 7, generator=generator)
    logits[torch.arange(97), targets] += 1
    return logits, targets


def counts_of(confusion: list[list[int]], in_top5: int = 0) -> ClassificationCounts:
    return ClassificationCounts(torch.tensor(confusion), in_top5)


def test_the_confusion_matrix_is_that_of_scikit_learn(batch):
    logits, targets = batch
    expected = confusion_matrix(targets, logits.argmax(dim=1), labels=range(7))
    assert (count(logits, targets).confusion.numpy() == expected).all()
    assert not (expected == expected.T).all()  # or swapped axes would pass


def test_the_metrics_are_those_of_scikit_learn(batch):
    logits, targets = batch
    predictions = logits.argmax(dim=1)
    metrics = report(count(logits, targets), NAMES)
    columns = precision_recall_fscore_support(targets, predictions)
    for entry, precision, recall, f1, support in zip(
        metrics["per_class"].values(), *columns, strict=True
    ):
        assert entry["precision"] == pytest.approx(precision)
        assert entry["recall"] == pytest.approx(recall)
        assert entry["f1"] == pytest.approx(f1)
        assert entry["examples"] == support
        assert entry["correct"] == round(recall * support)
    assert metrics["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(targets, predictions)
    )
    assert metrics["macro_f1"] == pytest.approx(f1_score(targets, predictions, average="macro"))
    assert metrics["accuracy"] == pytest.approx((targets == predictions).sum().item() / 97)
    assert metrics["error_rate"] == pytest.approx(1 - metrics["accuracy"])
    assert metrics["top5_error"] == pytest.approx(
        1 - top_k_accuracy_score(targets, logits, k=5, labels=range(7))
    )
    assert 0 < metrics["top5_error"] < metrics["error_rate"]


def test_an_example_whose_five_equals_have_lower_numbers_is_outside_the_top_five():
    constant = torch.zeros(7, 7)
    counted = count(constant, torch.arange(7))
    assert counted.in_top5 == 5
    assert counted.confusion[:, 0].tolist() == [1] * 7


@given(st.lists(st.lists(st.integers(0, 2), min_size=8, max_size=8), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_with_ties_the_top_five_is_that_of_a_stable_sort(rows):
    targets = [sum(row) % 8 for row in rows]
    expected = 0
    for row, target in zip(rows, targets, strict=True):
        order = sorted(range(8), key=lambda k, row=row: (-row[k], k))
        expected += target in order[:5]
    logits = torch.tensor(rows, dtype=torch.float32)
    assert count(logits, torch.tensor(targets)).in_top5 == expected


@given(st.integers(0, 23), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_the_counts_of_two_parts_add_up_to_the_counts_of_the_whole(cut, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(4, (23, 9), generator=generator).float()
    targets = torch.randint(9, (23,), generator=generator)
    whole = count(logits, targets)
    parts = count(logits[:cut], targets[:cut]) + count(logits[cut:], targets[cut:])
    assert torch.equal(parts.confusion, whole.confusion) is True
    assert parts.in_top5 == whole.in_top5
    assert whole.confusion.sum() == 23


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_targets_may_be_any_integers_even_where_their_products_would_overflow(dtype):
    targets = torch.tensor([0, 199, 255], dtype=dtype)
    confusion = count(torch.eye(256)[[0, 199, 3]], targets).confusion
    assert confusion.nonzero().tolist() == [[0, 0], [199, 199], [255, 3]]
    assert confusion.dtype == torch.int64


def test_logits_of_minus_infinity_are_ranked_last():
    logits = torch.tensor([[0.0, -math.inf, 1, 2, 3, 4, 5]])
    assert count(logits, torch.tensor([1])).in_top5 == 0
    assert count(logits, torch.tensor([2])).in_top5 == 1


def test_five_classes_or_fewer_have_no_top_five_error():
    assert report(counts_of(np.eye(5, dtype=int).tolist(), 5), NAMES[:5])["top5_error"] is None
    assert report(counts_of(np.eye(6, dtype=int).tolist(), 6), NAMES[:6])["top5_error"] == 0


def test_a_class_without_examples_is_null_and_left_out_of_the_means():
    metrics = report(counts_of([[3, 1, 0], [0, 0, 0], [1, 0, 1]]), ["ant", "bee", "cat"])
    assert metrics["per_class"]["bee"] == {
        "examples": 0, "correct": 0, "precision": None, "recall": None, "f1": None
    }  # fmt: skip
    assert metrics["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    targets, predictions = [0, 0, 0, 0, 2, 2], [0, 0, 0, 1, 0, 2]
    assert metrics["macro_f1"] == pytest.approx(
        f1_score(targets, predictions, labels=[0, 2], average="macro")
    )


def test_a_class_never_predicted_has_no_precision_and_an_f1_of_zero():
    metrics = report(counts_of([[5, 0], [2, 0]]), ["ant", "bee"])
    assert metrics["per_class"]["bee"] == {
        "examples": 2, "correct": 0, "precision": None, "recall": 0, "f1": 0
    }  # fmt: skip
    assert metrics["macro_f1"] == pytest.approx((10 / 12 + 0) / 2)


def test_the_report_goes_through_json_unchanged(batch):
    metrics = report(count(*batch), NAMES)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_wrong_shapes_targets_and_logits_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3, 2\) and targets \(4,\)"):
        count(torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"needed are \(N, K\) and \(N,\)"):
        count(torch.zeros(3, 2, 5), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"targets are torch\.float32; needed are class numbers"):
        count(torch.zeros(3, 2), torch.tensor([0.0, 1.0, 1.0]))
    for wrong in (2, -1):
        with pytest.raises(DataError, match=f"a target is {wrong}, .* numbered from 0 to 1"):
            count(torch.zeros(3, 2), torch.tensor([0, wrong, 1]))
    with pytest.raises(DataError, match=r"answers to 1 of 3 images are not numbers"):
        count(torch.tensor([[0, 1], [math.nan, math.nan], [1, 0]]), torch.tensor([0, 1, 1]))


def test_counts_of_different_networks_and_names_that_do_not_fit_are_refused():
    two, three = counts_of([[1, 0], [0, 1]]), counts_of([[1, 0, 0]] * 3)
    with pytest.raises(ValueError, match="counts over 2 and 3 classes do not add"):
        two + three
    with pytest.raises(ValueError, match="3 names, 3 of them different, for 2 classes"):
        report(two, NAMES[:3])
    with pytest.raises(ValueError, match="2 names, 1 of them different"):
        report(two, ["ant", "ant"])
    with pytest.raises(ValueError, match="3 names, 2 of them different"):
        report(two, ["ant", "bee", "bee"])
    with pytest.raises(DataError, match="no examples to report on"):
        report(count(torch.zeros(0, 7), torch.zeros(0, dtype=torch.int64)), NAMES)


@pytest.mark.parametrize(
    ("successes", "trials"), [(292, 300), (0, 1), (1, 1), (0, 37), (37, 37), (5, 11)]
)
def test_the_wilson_interval_is_that_of_scipy(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    low, high = wilson_interval(successes, trials)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= successes / trials <= high <= 1


def test_no_success_and_all_successes_reach_the_ends_exactly():
    for trials in range(1, 200):
        assert wilson_interval(0, trials)[0] == 0
        assert wilson_interval(trials, trials)[1] == 1


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (4, 3), (-1, 3)])
def test_impossible_counts_have_no_interval(successes, trials):
    with pytest.raises(ValueError, match=f"{successes} successes in {trials} trials"):
        wilson_interval(successes, trials)
