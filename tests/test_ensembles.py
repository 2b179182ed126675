"""Evaluation by the papers' protocols, and of several runs together."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn import metrics

from striate import datasets, evaluation
from striate.ensembles import common, member, what_differs
from striate.errors import DataError, UsageError
from striate.evaluation import evaluate
from striate.preparation import normalize, to_unit
from striate.protocols import views
from striate.recipes import Recipe
from striate.runs import Run
from striate.training import train


@pytest.fixture
def bars_run(small_set, tmp_path):
    recipe = Recipe(network="lecun1990", data=str(small_set), epochs=2, batch_size=9)
    return train(recipe, tmp_path / "run")


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def probabilities(run: Run, protocol: str) -> np.ndarray:
    """The second way: every test image by itself, its views one by one."""
    part = datasets.load(run.recipe.data, parts=("test",)).parts["test"]
    network, answers = run.network(), []
    with torch.inference_mode():
        for image in to_unit(part.images, (0, 255)):
            shown = views(image[None], protocol, run.recipe, run.spec)
            logits = torch.cat([network(normalize(view, run.spec)) for view in shown])
            answers.append(logits.softmax(dim=1).mean(dim=0))
    return torch.stack(answers).numpy()


@pytest.fixture
def windowed_runs(small_set, tmp_path):
    """Two runs of small windows, barely trained, so that views and networks disagree."""
    recipe = Recipe(
        network="lecun1990", data=str(small_set), epochs=1, batch_size=9, crop="random",
        image_size=36, protocol="ten-crop", learning_rate=0.003,
    )  # fmt: skip
    return [train(recipe.replace(seed=seed), tmp_path / f"run{seed}") for seed in (1, 2)]


def test_a_run_is_measured_by_its_own_protocol_and_by_others(windowed_runs, part):
    run = windowed_runs[0]
    targets = part.targets[:12]
    confusions = {}
    for protocol, name in (
        (None, "evaluation.json"),
        ("ten-crop", "evaluation.json"),
        ("single", "evaluation-single.json"),
        ("fifty-crop", "evaluation-fifty-crop.json"),
    ):
        said = evaluate(run, protocol=protocol)
        assert said == json.loads((run.path / name).read_text())
        assert said["protocol"] == (protocol or "ten-crop")
        predictions = probabilities(run, said["protocol"]).argmax(axis=1)
        expected = metrics.confusion_matrix(targets, predictions, labels=[0, 1, 2])
        assert said["confusion"] == expected.tolist()
        confusions[said["protocol"]] = said["confusion"]
    assert "(test, protocol ten-crop): " in (run.path / "README.md").read_text()
    assert names(run.path) >= {"mistakes-single.html", "result-fifty-crop.png"}


def test_an_ensemble_averages_the_probabilities_of_its_runs(windowed_runs, part):
    first, second = windowed_runs
    evaluate(first)
    own, card = first.evaluation(), (first.path / "README.md").read_text()
    seen = []
    said = evaluate(windowed_runs, progress=lambda *counts: seen.append(counts))
    mean = (probabilities(first, "ten-crop") + probabilities(second, "ten-crop")) / 2
    expected = metrics.confusion_matrix(part.targets[:12], mean.argmax(axis=1), labels=[0, 1, 2])
    assert said["confusion"] == expected.tolist()
    assert [member["run"] for member in said["ensemble"]] == [str(first.path), str(second.path)]
    assert seen == [(12, 24), (24, 24)]
    assert said["files"] == [name for name in said["files"] if (first.path / name).is_file()]
    page = next(file for file in said["files"] if file.startswith("mistakes"))
    name = said["files"][-1]
    assert re.fullmatch(r"evaluation-ensemble-[0-9a-f]{8}\.json", name)
    assert said == json.loads((first.path / name).read_text())
    assert (first.evaluation(), (first.path / "README.md").read_text()) == (own, card)
    assert not [name for name in names(second.path) if name.startswith("evaluation")]
    page = (first.path / page).read_text()
    wrong = sorted(np.flatnonzero(mean.argmax(axis=1) != part.targets[:12].numpy()))
    assert sorted(int(number) for number in re.findall(r"test image (\d+)", page)) == wrong
    both = evaluate(windowed_runs, protocol="single")
    assert both["files"][-1] == name.replace("ensemble", "single-ensemble")
    assert both == json.loads((first.path / both["files"][-1]).read_text())


def test_ensembles_of_one_first_run_have_files_of_their_own(windowed_runs, bars_run, tmp_path):
    first, second = windowed_runs
    (tmp_path / "else").mkdir()
    namesake = Run(shutil.copytree(bars_run.path, tmp_path / "else" / second.path.name))
    told = [evaluate([first, *others])["files"] for others in ([second], [bars_run], [namesake])]
    assert len({name for files in told for name in files}) == 15
    both = evaluate([first, second, bars_run])["files"]
    assert evaluate([first, bars_run, second])["files"] == both not in told


def test_runs_of_different_preparation_form_an_ensemble(
    windowed_runs, bars_run, small_set, tmp_path
):
    assert evaluate([windowed_runs[0], bars_run])["examples"] == 12
    told = evaluate([bars_run, windowed_runs[0]])
    kept = [tuple(member.values())[1:] for member in told["ensemble"]]
    assert kept == [("lecun1990", "single", 2), ("lecun1990", "ten-crop", 1)]
    assert [told[name] for name in ("network", "protocol", "epochs")] == ["lecun1990", None, None]
    same = evaluate([bars_run, windowed_runs[0]], protocol="single")
    assert same["protocol"] == "single"  # not the windowed run's own
    assert same["files"] != told["files"]
    recipe = Recipe(network="lecun1989", data=str(small_set), epochs=1, batch_size=9)
    assert evaluate([bars_run, train(recipe, tmp_path / "1989")])["network"] is None


def test_no_run_at_all_is_refused():
    with pytest.raises(UsageError, match="no run is given; give one, or several as an ensemble"):
        evaluate([])


def test_the_picture_and_the_page_name_protocol_and_ensemble(windowed_runs, bars_run, monkeypatch):
    titles = []
    monkeypatch.setattr(evaluation, "result_picture", lambda **_: titles.append(_["title"]) or b"")
    first = windowed_runs[0]
    for runs, protocol in ((first, None), (first, "single"), ([first, bars_run], None)):
        evaluate(runs, protocol=protocol)
    data = first.recipe.data
    begun = [title.split(": ")[0] for title in titles]
    assert begun == [
        f"lecun1990 on {data}, protocol ten-crop",
        f"lecun1990 on {data}",
        f"ensemble of 2 runs on {data}, protocol single and ten-crop",
    ]
    assert re.search(r"of 12 test images right \(trained in \d+ s\)$", titles[0])
    assert titles[2].endswith("test images right (curves: the first run)")
    page = (first.path / "mistakes.html").read_text()
    assert f"lecun1990 on {data}, protocol ten-crop" in page


def test_the_same_run_twice_is_no_ensemble(bars_run):
    with pytest.raises(UsageError, match="a run is named twice; an ensemble needs different runs"):
        evaluate([bars_run, Run(bars_run.path / "." / "state" / "..")])


def test_an_ensemble_with_other_classes_or_protocols_is_refused(windowed_runs, bars_run, tmp_path):
    recipe = Recipe(network="dense300", data="digits", epochs=1, learning_rate=0.01)
    digits_run = train(recipe, tmp_path / "digits")
    with pytest.raises(DataError, match=r"bars has the classes 0, 1, 2, the run 0, 1, .*9"):
        evaluate([bars_run, digits_run])
    with pytest.raises(UsageError, match="ten-crop takes windows of larger images, but lecun1990"):
        evaluate([windowed_runs[0], bars_run], protocol="ten-crop")
    assert "evaluation.json" not in names(windowed_runs[0].path)


# ---------------------------------------------------------------- what is said of the runs


def run_of(path, network="unet", protocol="single", epochs=3):
    recipe = SimpleNamespace(network=network, protocol=protocol)
    return SimpleNamespace(path=path, recipe=recipe, progress=lambda: [{}] * epochs)


def test_a_member_says_how_it_was_asked(tmp_path):
    one = run_of(tmp_path / "a", protocol="turns")
    told = {"run": str(tmp_path / "a"), "network": "unet", "epochs": 3}
    assert member(one, None) == {**told, "protocol": "turns"}
    assert member(one, "single") == {**told, "protocol": "single"}


def test_what_differs_between_members_is_none(tmp_path):
    members = [member(run_of(tmp_path, network=name), None) for name in ("unet", "vnet", "unet")]
    assert common(members) == {"network": None, "protocol": "single", "epochs": 3}
    assert common(members[:1]) == {"network": "unet", "protocol": "single", "epochs": 3}


def test_only_what_is_not_the_runs_own_is_in_the_name(tmp_path):
    one, two, three = (run_of(tmp_path / name) for name in "abc")
    assert what_differs([one], "", None) == what_differs([one], "", "single") == ""
    assert what_differs([one], "cells", "turns") == "cells-turns"
    both = what_differs([one, two], "", None)
    assert both.startswith("ensemble-")
    assert len(both) == len("ensemble-") + 8
    assert what_differs([one, three], "", None) != both
    # The others' order and where the folders lie together do not matter.
    assert what_differs([one, two, three], "", None) == what_differs([one, three, two], "", None)
    elsewhere = [run_of(tmp_path / "moved" / name) for name in "ab"]
    assert what_differs(elsewhere, "", None) == both
