"""The study on small sets: choices from training images only, the figures of a plain count."""

import json
from pathlib import Path

import pytest
import torch

from striate import datasets
from striate.datasets.sets import ImageSet, Part
from striate.errors import DataError, UsageError
from striate.studies.classifiers import KINDS, NearestNeighbors, Recognizer
from striate.studies.denker1988_study import bitmaps, measure, study

NOTES: list[str] = []


@pytest.fixture(scope="module")
def result():
    return study("digits", sizes=(300, 5000, 2000), note=NOTES.append)


def test_sizes_that_the_set_does_not_have_are_said(result):
    assert [row["train_images"] for row in result["sizes"]] == [300, 1_497]
    (line,) = [note for note in NOTES if "left out" in note]
    assert line == "left out of the learning curve, for want of training images: 2,000, 5,000"


def test_the_study_holds_three_classifiers_on_two_inputs(result):
    assert (result["train_images"], result["test_images"]) == (1_497, 300)
    assert set(result["inputs"]) == {"features", "bitmaps"}
    for answers in result["inputs"].values():
        assert list(answers) == ["nearest neighbours", "Parzen windows", "network"]
        for answer in answers.values():
            assert answer["error_rate"] == pytest.approx(answer["test_errors"] / 300)
            assert 0 < answer["error_rate"] < 0.25
            on_test = answer["tuned_on_test"]
            assert on_test["error_rate"] is None or on_test["error_rate"] <= 0.01
    for kind in KINDS:
        whole = result["inputs"]["features"][kind.name]["error_rate"]
        assert result["sizes"][-1][kind.name] == whole < result["sizes"][0][kind.name]


def test_bitmaps_have_256_bits_and_nearest_neighbours_the_errors_of_a_loop(result):
    parts = datasets.load("digits").parts
    images = torch.cat([parts["train"].images, parts["validation"].images])[:, 0] / 16
    targets = torch.cat([parts["train"].targets, parts["validation"].targets])
    train, test = bitmaps(images), bitmaps(parts["test"].images[:, 0] / 16)
    assert test.shape == (300, 256)
    assert set(test.unique().tolist()) == {0.0, 1.0}
    answer = result["inputs"]["bitmaps"]["nearest neighbours"]
    scores = NearestNeighbors(answer["choice"]).fit(train, targets).scores(test)
    assert answer["test_errors"] == int((scores.argmax(1) != parts["test"].targets).sum())


def test_test_images_decide_neither_the_choice_nor_the_held_out_threshold():
    generator = torch.Generator().manual_seed(2)
    targets = torch.arange(120) % 3
    features = torch.randn(120, 4, generator=generator) + 2 * torch.eye(4)[targets]
    for kind in KINDS:
        plain = measure(kind, (features, targets), (features[:40], targets[:40]), seed=1)
        wrong = (targets[:40] + 1) % 3
        swapped = measure(kind, (features, targets), (features[:40], wrong), seed=1)
        assert swapped["choice"] == plain["choice"]
        assert swapped["held_out_error_rate"] == plain["held_out_error_rate"]
        kept = [answer["tuned_on_held_out"]["rejected"] for answer in (plain, swapped)]
        assert kept[0] == kept[1]
        assert swapped["error_rate"] > plain["error_rate"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_both_thresholds_withhold_what_a_loop_withholds(kind):
    generator = torch.Generator().manual_seed(9)
    targets = torch.arange(480) % 2
    features = torch.randn(480, 3, generator=generator) + 2.2 * targets[:, None]
    training, test = (features[:300], targets[:300]), (features[300:], targets[300:])
    answer = measure(kind, training, test, seed=4)
    recognizer = Recognizer(kind, seed=4).fit(*training)
    low, high = recognizer.scores(test[0]).sort(dim=1).values.T.tolist()
    leads = [b - a for a, b in zip(low, high, strict=True)]
    right = (recognizer.predict(test[0]) == test[1]).tolist()

    def given(threshold):
        return [good for lead, good in zip(leads, right, strict=True) if lead >= threshold]

    most = max(len(given(t)) for t in leads if given(t).count(False) <= 0.01 * len(given(t)))
    assert 0 < most < 180
    assert answer["tuned_on_test"]["rejected"] == pytest.approx(1 - most / 180)
    kept = given(recognizer.threshold)
    assert 0 < len(kept) < 180
    assert answer["tuned_on_held_out"]["rejected"] == pytest.approx(1 - len(kept) / 180)
    assert answer["tuned_on_held_out"]["error_rate"] == pytest.approx(kept.count(False) / len(kept))


def test_what_cannot_be_studied_is_refused(small_set, tmp_path):
    with pytest.raises(UsageError, match="a training size is 7; the least is 50"):
        study("digits", sizes=(7,))
    with pytest.raises(UsageError, match="no data set is called 'usp'"):
        study("usp")


@pytest.mark.parametrize(
    ("channels", "targets", "test_images", "words"),
    [
        (3, [0, 1] * 30, 9, "images of 3 channels; needed are grey digits"),
        (1, [0, 1] * 24, 9, "a has 48 training images; needed are 50 or more"),
        (1, [0, 1] * 30, 0, "a has a test part without images"),
        (1, [0] * 60, 9, "60 training examples, 0 of them of another class than the first"),
    ],
)
def test_sets_that_do_not_serve_are_refused(monkeypatch, channels, targets, test_images, words):
    train = Part(torch.zeros(len(targets), channels, 8, 8), torch.tensor(targets))
    test = Part(torch.zeros(test_images, channels, 8, 8), torch.zeros(test_images).long())
    found = ImageSet("a", ("no", "yes"), (0, 1), {"train": train, "test": test}, "here")
    monkeypatch.setattr(datasets, "load", lambda *_, **__: found)
    with pytest.raises(DataError, match=words):
        study("a")


def test_the_page_shows_the_figures_of_the_result_file():
    docs = Path(__file__).parents[1] / "docs"
    kept = json.loads((docs / "results" / "denker1988.json").read_text("utf-8"))
    page = (docs / "denker1988.md").read_text("utf-8")

    def figure(values, decimals):
        return f"{values['mean']:.{decimals}f} ± {values['deviation']:.{decimals}f}"

    for given, answers in kept["inputs"].items():
        for name, answer in answers.items():
            cells = (
                *(given, name, figure(answer["error_percent"], 2)),
                figure(answer["rejected_percent_tuned_on_test"], 1),
                f"{figure(answer['rejected_percent_tuned_on_held_out'], 1)}, "
                f"{figure(answer['error_percent_tuned_on_held_out'], 1)}",
            )
            assert f"| {' | '.join(cells)} |" in page
    for row in kept["error_percent_by_training_images"]:
        cells = (f"{row['train_images']:,}", *(figure(row[kind.name], 2) for kind in KINDS))
        assert f"| {' | '.join(cells)} |" in page
    times = kept["times_more_errors_on_bitmaps"]
    prose = " ".join(page.split())
    told = zip(times.values(), ("neighbours", "windows", "network"), strict=True)
    first, second, third = (f"{ratio:.2f} ({name})" for ratio, name in told)
    assert f"{first}, {second} and {third} times" in prose
    apart = [
        kept["test_images"] * (answer["bitmaps"] - answer["features"]) / 100
        for name in ("Parzen windows", "nearest neighbours")
        for answer in [{g: a[name]["error_percent"]["mean"] for g, a in kept["inputs"].items()}]
    ]
    assert f"{apart[0]:.0f} to {apart[1]:.0f} of {kept['test_images']:,} digits" in prose
