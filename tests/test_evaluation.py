"""An evaluation: the figures are the network's, the files are there, misfits are refused."""

import base64
import io
import json
import os
import re
import shutil
import signal
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn import metrics

import striate
from striate import datasets, evaluation
from striate.batches import prepare
from striate.datasets.idx import write_idx
from striate.display import Silent
from striate.errors import DataError, Interrupted, RunError, UsageError
from striate.evaluation import evaluate
from striate.recipes import Recipe
from striate.runs import Run
from striate.training import train

REPORTS = {"evaluation.json", "confusion.svg", "mistakes.html", "result.png"}


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A network that has not learnt all: dozens of mistakes in most classes."""
    recipe = Recipe(network="dense300", data="digits", epochs=3, learning_rate=0.01)
    return train(recipe, tmp_path_factory.mktemp("digits") / "run")


@pytest.fixture(scope="module")
def digits_evaluation(digits_run):
    return evaluate(digits_run)


@pytest.fixture(scope="module")
def answers(digits_run):
    """The second way: the whole test part through the run's network in one batch."""
    part = datasets.load("digits", parts=("test",)).parts["test"]
    with torch.inference_mode():
        logits = digits_run.network()(prepare(part.images, (0, 16), digits_run.spec))
    return logits.double().numpy(), part.targets.numpy()


@pytest.fixture
def bars_run(small_set, tmp_path):
    recipe = Recipe(network="lecun1990", data=str(small_set), epochs=2, batch_size=9)
    return train(recipe, tmp_path / "run")


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def answers_right(answers):
    return int((answers[0].argmax(axis=1) == answers[1]).sum())


def test_the_figures_are_those_of_scikit_learn(digits_evaluation, answers):
    logits, targets = answers
    predictions = logits.argmax(axis=1)
    said = digits_evaluation
    assert said["examples"] == len(targets) == 300
    assert said["accuracy"] == pytest.approx(metrics.accuracy_score(targets, predictions))
    assert 0.3 < said["accuracy"] < 0.97  # else there is nothing to compare
    assert said["error_rate"] == pytest.approx(metrics.zero_one_loss(targets, predictions))
    top5 = metrics.top_k_accuracy_score(targets, logits, k=5)
    assert said["top5_error"] == pytest.approx(1 - top5)
    balanced = metrics.balanced_accuracy_score(targets, predictions)
    assert said["balanced_accuracy"] == pytest.approx(balanced)
    macro = metrics.f1_score(targets, predictions, average="macro")
    assert said["macro_f1"] == pytest.approx(macro)
    assert said["confusion"] == metrics.confusion_matrix(targets, predictions).tolist()


def test_each_class_has_its_own_figures(digits_evaluation, answers):
    logits, targets = answers
    table = metrics.precision_recall_fscore_support(
        targets, logits.argmax(axis=1), zero_division=np.nan
    )
    said = digits_evaluation["per_class"]
    assert list(said) == digits_evaluation["classes"] == list("0123456789")
    for values, precision, recall, f1, support in zip(said.values(), *table, strict=True):
        assert values["examples"] == support
        assert values["correct"] == round(recall * support)
        assert values["recall"] == pytest.approx(recall)
        assert values["f1"] == pytest.approx(f1)
        assert (values["precision"] is None) == np.isnan(precision)
        assert values["precision"] is None or values["precision"] == pytest.approx(precision)


def test_the_interval_bounds_the_rates_that_would_not_surprise(digits_evaluation):
    """Wilson's ends are the rates p with (share - p)² = 1.96² p (1 - p) / n."""
    share, low, high = digits_evaluation["accuracy"], *digits_evaluation["accuracy_interval_95"]
    assert 0 < low < share < high < 1
    for end in (low, high):
        assert (share - end) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) / 300, rel=1e-5)


def test_the_reports_are_in_the_run_folder_and_say_the_same(digits_run, digits_evaluation):
    folder = digits_run.path
    assert names(folder) >= REPORTS
    assert json.loads((folder / "evaluation.json").read_text()) == digits_evaluation
    assert digits_run.evaluation() == digits_evaluation
    assert ElementTree.parse(folder / "confusion.svg").getroot().tag.endswith("svg")
    drawn = "".join(ElementTree.parse(folder / "confusion.svg").getroot().itertext())
    assert str(digits_evaluation["confusion"][0][0]) in drawn
    with Image.open(folder / "result.png") as picture:
        picture.load()
        assert min(picture.size) > 300
    assert not [name for name in names(folder) if name.startswith(".")]


def test_what_was_measured_on_what_is_said(digits_evaluation):
    said = {name: digits_evaluation[name] for name in ("network", "data", "part", "epochs")}
    assert said == {"network": "dense300", "data": "digits", "part": "test", "epochs": 3}
    assert digits_evaluation["seconds"] > 0


def test_the_model_card_gets_the_accuracy(digits_run, digits_evaluation):
    card = (digits_run.path / "README.md").read_text()
    share = f"{100 * digits_evaluation['accuracy']:.2f} %"
    assert f"accuracy on 300 images of `digits` (test): {share}" in card


def test_the_mistakes_are_all_there_the_least_probable_target_first(
    digits_run, digits_evaluation, answers
):
    logits, targets = answers
    wrong = np.flatnonzero(logits.argmax(axis=1) != targets)
    shares = np.exp(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    of_target = shares[np.arange(300), targets]
    page = (digits_run.path / "mistakes.html").read_text()
    shown = [int(number) for number in re.findall(r"test image (\d+)", page)]
    assert sorted(shown) == sorted(wrong)
    # Neighbours may differ by less than the rounding of one batch against another.
    assert (np.diff(of_target[shown]) > -1e-6).all()
    assert f"{len(wrong)} of 300 images are wrong" in page


def test_of_many_mistakes_the_worst_are_shown(digits_run, digits_evaluation, tmp_path, monkeypatch):
    copy = Run(shutil.copytree(digits_run.path, tmp_path / "copy"))
    monkeypatch.setattr(evaluation, "MOST_MISTAKES", 5)
    evaluate(copy)
    pages = [(run.path / "mistakes.html").read_text() for run in (digits_run, copy)]
    shown = [re.findall(r"test image (\d+)", page) for page in pages]
    assert len(shown[0]) > 5
    assert shown[1] == shown[0][:5]
    assert "The 5 worst are" in pages[1]


def cards(page: str) -> list[tuple[np.ndarray, str, str, int]]:
    """Read the page's mistakes back: picture, what it is, what it was taken for, its number."""
    pattern = r'base64,([^"]+)".*?<strong>(\w+), taken for <em>(\w+)<.*?test image (\d+)'
    read = []
    for code, target, predicted, number in re.findall(pattern, page):
        with Image.open(io.BytesIO(base64.b64decode(code))) as picture:
            read.append((np.array(picture), target, predicted, int(number)))
    return read


def test_a_mistake_is_shown_with_its_own_image_and_classes(digits_run, answers):
    logits, targets = answers
    shown = cards((digits_run.path / "mistakes.html").read_text())
    assert len(shown) == 300 - answers_right(answers)
    images = datasets.load("digits", parts=("test",)).parts["test"].images
    for levels, target, predicted, place in shown:
        assert (int(target), int(predicted)) == (targets[place], logits[place].argmax())
        assert (levels == np.round(images[place, 0].numpy() * (255 / 16))).all()


def test_a_second_evaluation_says_the_same(digits_run, digits_evaluation):
    again = evaluate(digits_run)
    assert {**again, "seconds": 0} == {**digits_evaluation, "seconds": 0}


def test_bars_are_measured_on_their_own_test_part(bars_run, small_set, part):
    said = evaluate(bars_run)
    logits = bars_run.network()(prepare(part.images[:12], (0, 255), bars_run.spec))
    predictions = logits.argmax(dim=1)
    assert said["examples"] == 12
    assert said["accuracy"] == pytest.approx(metrics.accuracy_score(part.targets[:12], predictions))
    assert said["confusion"] == metrics.confusion_matrix(
        part.targets[:12], predictions, labels=[0, 1, 2]
    ).tolist()  # fmt: skip
    assert said["top5_error"] is None
    assert said["data"] == str(small_set)


def test_only_the_test_part_decides(bars_run, small_set, part):
    """Training images are not read: damaged, they change nothing."""
    before = evaluate(bars_run)
    (small_set / "train-images-idx3-ubyte").write_bytes(b"gone")
    assert {**evaluate(bars_run), "seconds": 0} == {**before, "seconds": 0}
    write_idx(small_set / "t10k-labels-idx1-ubyte", (part.targets[:12].byte() + 1) % 3)
    turned = evaluate(bars_run)
    assert turned["confusion"] == np.roll(before["confusion"], 1, axis=0).tolist()


def test_training_does_not_read_the_test_part(small_set, tmp_path, bars_run):
    for file in small_set.glob("t10k-*"):
        file.write_bytes(b"gone")
    again = train(bars_run.recipe, tmp_path / "again")
    weights = bars_run.network().state_dict()
    assert all(
        torch.equal(tensor, weights[name]) for name, tensor in again.network().state_dict().items()
    )
    with pytest.raises(DataError, match="t10k-"):
        evaluate(again)


class StopAtOnce(Silent):
    def step(self, epoch: int, images: int, loss: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_a_run_without_a_finished_epoch_can_be_evaluated(small_set, tmp_path):
    recipe = Recipe(network="lecun1990", data=str(small_set), epochs=2, batch_size=9)
    with pytest.raises(Interrupted, match="stopped in epoch 1, step 1; all is saved"):
        train(recipe, tmp_path / "run", display=StopAtOnce())
    said = evaluate(Run(tmp_path / "run"))
    assert (said["epochs"], said["examples"]) == (0, 12)
    assert names(tmp_path / "run") >= REPORTS


def test_other_data_with_the_same_classes_are_measured(bars_run, tmp_path, part):
    folder = tmp_path / "others"
    folder.mkdir()
    for name, count in (("train", 3), ("t10k", 7)):
        write_idx(folder / f"{name}-images-idx3-ubyte", part.images[:count, 0, :13, :11])
        write_idx(folder / f"{name}-labels-idx1-ubyte", part.targets[:count].byte())
    evaluate(bars_run)
    own = bars_run.evaluation()
    card = (bars_run.path / "README.md").read_text("utf-8")
    said = evaluate(bars_run, str(folder))
    assert (said["examples"], said["data"]) == (7, str(folder))
    assert said == json.loads((bars_run.path / "evaluation-others.json").read_text("utf-8"))
    assert {"mistakes-others.html", "confusion-others.svg", "result-others.png"} <= names(
        bars_run.path
    )
    assert bars_run.evaluation() == own  # the run's own evaluation stays
    assert (bars_run.path / "README.md").read_text("utf-8") == card


def test_other_classes_are_refused_and_nothing_is_written(bars_run):
    before = names(bars_run.path)
    with pytest.raises(
        DataError, match=r"has the classes 0, 1, .*9, the run 0, 1, 2; evaluate on a set with"
    ):
        evaluate(bars_run, "digits")
    assert names(bars_run.path) == before


def test_other_channels_are_refused(bars_run):
    spec = bars_run.spec.model_copy(update={"channels": 3})
    (bars_run.path / "input.json").write_text(spec.model_dump_json())
    with pytest.raises(
        DataError, match=r"bars has images of 1 channels, the run reads 3; evaluate on a set with"
    ):
        evaluate(Run(bars_run.path))


def test_a_set_without_a_test_part_is_refused(digits_run, monkeypatch):
    """No layout on disk may lack it yet, so the real set is read without it."""
    load = datasets.load
    monkeypatch.setattr(datasets, "load", lambda data, **_: load(data, parts=("train",)))
    with pytest.raises(DataError, match="has no test part; evaluate on a set that has one"):
        evaluate(digits_run)


def test_wrong_names_and_absent_devices_are_refused(bars_run):
    with pytest.raises(UsageError, match="no data set is called 'digts'; did you mean 'digits'"):
        evaluate(bars_run, "digts")
    with pytest.raises(UsageError, match="device 'cuda:77' is not to be had here"):
        evaluate(bars_run, device="cuda:77")


def test_reports_that_cannot_be_written_are_refused_and_the_old_ones_stay(bars_run):
    before = evaluate(bars_run)
    (bars_run.path / "confusion.svg").unlink()
    (bars_run.path / "confusion.svg").mkdir()
    with pytest.raises(RunError, match=r"could not write .*confusion\.svg: "):
        evaluate(bars_run)
    assert bars_run.evaluation() == before


def test_the_classes_of_a_cifar_folder_are_its_own(tmp_path, bars_run, color_set):
    """Colour pictures go the whole way, and a grey run refuses them by their classes."""
    recipe = Recipe(network="lenet5_relu", data=str(color_set), epochs=1, batch_size=13)
    run = train(recipe, tmp_path / "colour")
    said = striate.evaluate(run)
    assert (said["examples"], said["classes"][0]) == (20, "airplane")
    assert said["top5_error"] is not None
    content = bytearray((color_set / "test_batch.bin").read_bytes())
    records = torch.frombuffer(content, dtype=torch.uint8).view(20, 3073)
    shown = cards((run.path / "mistakes.html").read_text())
    assert len(shown) == round(20 * said["error_rate"]) > 0
    for levels, target, _, place in shown:
        assert target == said["classes"][int(records[place, 0])]
        assert (levels == records[place, 1:].view(3, 32, 32).permute(1, 2, 0).numpy()).all()
    with pytest.raises(DataError, match="has the classes airplane, automobile"):
        evaluate(bars_run, str(color_set))
