"""A run and labelled images it has not seen → figures and reports in the run folder."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from striate.devices import choose_device
from striate.display import Display, Progress, Silent
from striate.distributed import from_first, is_first, processes
from striate.ensembles import common, member, what_differs
from striate.errors import DataError, UsageError
from striate.evaluated_sets import EvaluatedSet, Pictures, evaluated_set, is_own
from striate.file_data import Reading, default_reading
from striate.mask_evaluation import evaluate_masks
from striate.metrics import count, report, wilson_interval
from striate.mistakes import Mistake, mistakes_page
from striate.pictures import confusion_matrix, result_picture
from striate.protocols import average, check_protocol
from striate.runs import Run, evaluation_files
from striate.understanding import (
    Answers,
    answers_table,
    thresholds,
    understanding,
    understanding_sections,
    validation_answers,
)

# The page shows at most this many mistakes, the costliest.
MOST_MISTAKES = 100


@processes()
def evaluate(
    run: Run | Sequence[Run],
    data: str | None = None,
    *,
    protocol: str | None = None,
    error_rate: float | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
    reading: Reading | None = None,
    display: Display | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a run on the test part of a data set and keep the result in the run folder.

    A run that labels pixels is measured by ``mask_evaluation.evaluate_masks``, which says what
    it returns; what follows is of runs that label whole images.

    Writes evaluation.json, confusion.svg, mistakes.html and result.png, and the accuracy into
    the model card; of several processes each sees its share of the images, and the first writes.
    For another set or protocol than the run's own, and for an ensemble, the
    files carry that in their names, as in evaluation-usps.json, evaluation-ten-crop.json and
    evaluation-ensemble-3f81c2d0.json (eight digits for the other runs' folders), and the card
    stays as it is.

    Args:
        run: The run; its best weights are used. Or several: an ensemble, whose softmax
            probabilities are averaged, each run seeing the images in its own way; the first
            one's folder gets the files.
        data: Name or place of the set; the (first) run's own by default. Its classes must be the
            run's; of images in files, some of them. A set in files is measured on its test part,
            as the run divided it where it is the run's own; undivided, on all of it.
        protocol: Views of an image, one of ``protocols.PROTOCOLS``; each run's own by default.
        error_rate: Also find the thresholds of confidence below which answers are to be
            withheld so that at most this share of the others is wrong; chosen on the run's
            validation part where it has one and is not an ensemble.
        data_dir: Where named sets are looked for first.
        device: As in ``training.train``.
        reading: How images in files are read; ``file_data.default_reading`` by default.
        display: Told how far that is, and what was assumed; nobody by default.
        progress: Called now and then with the images done and the number of all; an ensemble
            does the images as often as it has runs.

    Returns:
        What evaluation.json holds: ``protocol``, ``examples``, ``accuracy`` and its 95 %
        interval, ``error_rate``, ``top5_error`` (None for five classes or fewer),
        ``per_class``, ``confusion`` (row: target, column: prediction), all rates as shares of
        1; ``calibration``, as ``calibration.calibration`` gives it, and ``rejection``, as
        ``understanding.thresholds`` does; ``fingerprint`` of the set; ``files``, the names of
        the files written. Of an ensemble also ``ensemble``: folder, network, protocol and
        epochs of each run; above it these are None where runs differ.

    Raises:
        UsageError: There is no run or no such protocol, or a run does not allow it or is named
            twice.
        DataError: The set has no test part, other classes or other channels.
    """
    started = time.monotonic()
    runs = [run] if isinstance(run, Run) else list(run)
    if not runs:
        raise UsageError("no run is given; give one, or several as an ensemble")
    run = runs[0]
    if len({each.path.resolve() for each in runs}) < len(runs):
        raise UsageError("a run is named twice; an ensemble needs different runs")
    if len({each.task == "classification" for each in runs}) > 1:
        raise UsageError(
            "some of these runs label pixels, others whole images; evaluate them apart"
        )
    if run.task != "classification":
        if error_rate is not None:
            raise UsageError(f"an error rate is for whole images; {run.path} labels pixels")
        return evaluate_masks(
            *(runs, data), protocol=protocol, data_dir=data_dir, device=device, progress=progress
        )
    reading = reading or default_reading()
    images = evaluated_set(runs, data, data_dir, reading, display or Silent())
    for each in runs:
        _check(each, images)
    processor = choose_device(device)
    logits = _scores(runs, protocol, images, processor, progress)
    counts = count(logits, images.targets)
    metrics = report(counts, run.classes)
    correct = int(counts.confusion.diagonal().sum())
    answers = Answers(logits, images.targets)
    rejection = None
    if error_rate is not None:
        chosen_on = None
        if len(runs) == 1:
            chosen_on = validation_answers(run, protocol, data_dir, processor, reading)
        rejection = thresholds(answers, error_rate, chosen_on)
    members = [member(each, protocol) for each in runs]
    is_its_own = data is None or is_own(run, data)
    other = what_differs(runs, "" if is_its_own else images.name, protocol)
    evaluation: dict[str, Any] = {
        **common(members),
        "data": data or run.recipe.data,
        "part": "test",
        **({"ensemble": members} if len(runs) > 1 else {}),
        **metrics,
        "accuracy_interval_95": list(wilson_interval(correct, metrics["examples"])),
        "confusion": counts.confusion.tolist(),
        "classes": list(run.classes),
        "fingerprint": images.fingerprint,
        **understanding(answers, rejection),
        "files": list(evaluation_files(other)),
    }
    evaluation["seconds"] = round(time.monotonic() - started, 2)
    if not is_first():
        return evaluation
    pictures = Pictures(images)
    run.write_evaluation(
        evaluation,
        confusion=confusion_matrix(evaluation["confusion"], run.classes),
        mistakes=_mistakes(run, answers, images, evaluation),
        answers=answers_table(answers, run.classes, [images.where(n) for n in range(len(logits))]),
        picture=result_picture(
            images=pictures,
            targets=images.targets.tolist(),
            predictions=logits.argmax(dim=1).tolist(),
            classes=run.classes,
            rows=run.progress(),
            title=_title(run, evaluation),
        ),
        other=other,
    )
    return evaluation


def _scores(
    runs: list[Run],
    protocol: str | None,
    images: EvaluatedSet,
    device: torch.device,
    progress: Progress | None,
) -> Tensor:
    """Ask each run by its protocol, all checked first; average their probabilities."""
    networks = [from_first(run.network).to(device) for run in runs]
    for run, network in zip(runs, networks, strict=True):
        check_protocol(protocol or run.recipe.protocol, network, run.recipe, run.spec)
    recipes = [run.recipe.replace(protocol=protocol or run.recipe.protocol) for run in runs]
    answers = [
        images.scores(
            *(network, recipe, run.spec),
            None if progress is None else _offset(progress, place, len(runs)),
        )
        for place, (run, network, recipe) in enumerate(zip(runs, networks, recipes, strict=True))
    ]
    if len(answers) == 1:
        return answers[0]
    return average([answer.double() for answer in answers], "probabilities").float()


def _offset(progress: Progress, place: int, count: int) -> Progress:
    return lambda done, whole: progress(place * whole + done, count * whole)


def _check(run: Run, images: EvaluatedSet) -> None:
    if images.classes != run.classes:
        raise DataError(
            f"{images.source} has the classes {', '.join(images.classes[:12])}, the run "
            f"{', '.join(run.classes[:12])}; evaluate on a set with the run's classes"
        )
    channels = images.channels
    if channels not in images.fitting(run.spec.channels):
        raise DataError(
            f"{images.source} has images of {channels} channels, the run reads "
            f"{run.spec.channels}; evaluate on a set with as many"
        )


def _mistakes(run: Run, answers: Answers, images: EvaluatedSet, evaluation: dict[str, Any]) -> str:
    logits, targets = answers
    probabilities = torch.softmax(logits, dim=1)
    predictions = logits.argmax(dim=1)
    of_target = probabilities.gather(1, targets[:, None])[:, 0]
    wrong = (predictions != targets).nonzero()[:, 0]
    worst = wrong[of_target[wrong].argsort(stable=True)]
    mistakes = [
        Mistake(
            image=images.picture(index),
            target=int(targets[index]),
            predicted=int(predictions[index]),
            predicted_probability=float(probabilities[index, predictions[index]]),
            target_probability=float(of_target[index]),
            where=images.where(index),
        )
        for index in worst[:MOST_MISTAKES].tolist()
    ]
    return mistakes_page(
        mistakes,
        title=_subject(evaluation),
        examples=evaluation["examples"],
        num_mistakes=len(wrong),
        classes=run.classes,
        confusion=evaluation["confusion"],
        more=understanding_sections(answers, evaluation),
    )


def _subject(evaluation: dict[str, Any]) -> str:
    """Say what was measured on what, in which way if not plainly."""
    runs = evaluation.get("ensemble", [])
    who = f"ensemble of {len(runs)} runs" if runs else evaluation["network"]
    views = sorted({one["protocol"] for one in runs or [evaluation]})
    way = "" if views == ["single"] else f", protocol {' and '.join(views)}"
    return f"{who} on {evaluation['data']}{way}"


def _title(run: Run, evaluation: dict[str, Any]) -> str:
    seconds = run.progress()[-1]["seconds"] if run.progress() else None
    note = "" if seconds is None else f" (trained in {seconds:.0f} s)"
    if "ensemble" in evaluation:
        note = " (curves: the first run)"
    return (
        f"{_subject(evaluation)}: {100 * evaluation['accuracy']:.1f} % of "
        f"{evaluation['examples']:,} test images right{note}"
    )
