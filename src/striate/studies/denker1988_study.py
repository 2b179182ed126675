"""Denker et al. (1988) done again: three classifiers, on their features and on raw bitmaps."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from striate import datasets
from striate.errors import DataError, UsageError
from striate.models.denker1988 import INK, extract_features
from striate.preparation import resize, to_unit
from striate.randomness import order
from striate.rejection import lead, least_threshold, reject
from striate.studies.classifiers import KINDS, MOST_ERROR, Kind, Recognizer

BITMAP_SIDE = 16
SIZES = (500, 1000, 2000, 5000)
_AT_ONCE = 2000  # images between two lines of progress

# What the paper prints, in shares of 1.
PAPER = {"error_rate": 0.06, "rejected_at_1_percent_error": 0.14, "times_more_errors_on_bitmaps": 5}


def study(
    data: str = "usps",
    *,
    data_dir: Path | None = None,
    sizes: Sequence[int] = SIZES,
    seed: int = 0,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Compare the classifiers on a set of digits.

    Every choice (neighbours, width of windows, weight decay) is made on a fifth of the
    training images that the classifier has not seen; then it is fitted anew to all of them.
    The rejection threshold is found twice: on the test images, as the paper's group did, and
    on the held-out fifth.

    Args:
        data: Name or folder of a set of single-channel images, ink bright.
        data_dir: Where named sets are looked for first.
        sizes: Training images of the further rows of the learning curve; sizes that the set
            does not exceed are left out, and ``note`` is told.
        seed: Of the held-out part, the network's initial weights and its order.
        note: Is told of the progress in a line now and then.

    Returns:
        ``data, train_images, test_images, seed, inputs, sizes, seconds, paper``. In
        ``inputs``, ``features`` and ``bitmaps`` hold an answer for each classifier: ``choice,
        error_rate, test_errors, tuned_on_test, tuned_on_held_out``; the last two hold
        ``rejected`` and ``error_rate``. All rates are shares of 1.

    Raises:
        UsageError: No set has the name, or a size is below 50.
        DataError: The images have several channels, the set has no test part, fewer than 50
            training images, all of the first class, or no test image.
    """
    if sizes and min(sizes) < 50:
        raise UsageError(f"a training size is {min(sizes)}; the least is 50, to hold out a fifth")
    started = time.perf_counter()
    images, targets, test_images, test_targets = _load(data, data_dir)
    if len(targets) < 50:
        raise DataError(f"{data} has {len(targets)} training images; needed are 50 or more")
    if len(test_targets) == 0:
        raise DataError(f"{data} has a test part without images; give a set that has some")
    note(f"{data}: {len(targets):,} images to train, {len(test_targets):,} to test")
    if too_many := sorted({size for size in sizes if size > len(targets)}):
        named = ", ".join(f"{size:,}" for size in too_many)
        note(f"left out of the learning curve, for want of training images: {named}")
    both = torch.cat([images, test_images])
    inputs: dict[str, Any] = {}
    tables = {"features": _features(both, note), "bitmaps": bitmaps(both)}
    for name, table in tables.items():
        inputs[name] = {}
        for kind in KINDS:
            inputs[name][kind.name] = answer = measure(
                kind,
                (table[: len(targets)], targets),
                (table[len(targets) :], test_targets),
                seed=seed,
            )
            note(f"{kind.name} on {name}: {100 * answer['error_rate']:.2f} % test errors")
    features, curve = tables["features"], []
    shuffled = order(seed, 1, len(targets))
    for size in sorted({size for size in sizes if size < len(targets)}):
        few = shuffled[:size]
        row: dict[str, Any] = {"train_images": size}
        for kind in KINDS:
            training = (features[few], targets[few])
            test = (features[len(targets) :], test_targets)
            row[kind.name] = measure(kind, training, test, seed=seed)["error_rate"]
        curve.append(row)
        note(f"{size:,} training images: done")
    whole = {kind.name: inputs["features"][kind.name]["error_rate"] for kind in KINDS}
    return {
        "study": "denker1988",
        "data": data,
        "train_images": len(targets),
        "test_images": len(test_targets),
        "seed": seed,
        "inputs": inputs,
        "sizes": [*curve, {"train_images": len(targets), **whole}],
        "seconds": round(time.perf_counter() - started, 1),
        "paper": PAPER,
    }


def _load(data: str, data_dir: Path | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and targets, test images and targets; a validation part trains too."""
    found = datasets.load(data, data_dir=data_dir)
    if "test" not in found.parts:
        raise DataError(f"{data} has no test part; give a set that has one, such as usps")
    channels = found.parts["test"].images.shape[1]
    if channels != 1:
        raise DataError(f"{data} has images of {channels} channels; needed are grey digits")
    training = [part for name, part in found.parts.items() if name != "test"]
    test = found.parts["test"]
    images = torch.cat([part.images for part in training])
    targets = torch.cat([part.targets for part in training])
    grey = [to_unit(one[:, 0], found.value_range) for one in (images, test.images)]
    return grey[0], targets, grey[1], test.targets


def _features(images: Tensor, note: Callable[[str], None]) -> Tensor:
    parts: list[Tensor] = []
    for chunk in torch.split(images, _AT_ONCE):
        parts.append(extract_features(chunk))
        note(f"features of {sum(map(len, parts)):,} of {len(images):,} images")
    return torch.cat(parts)


def bitmaps(images: Tensor) -> Tensor:
    """Binarise images at 16x16: the paper's raw bitmaps of 256 bits.

    Args:
        images: ``(N, H, W)``, float in [0, 1].

    Returns:
        ``(N, 256)``, 0 and 1, float32.
    """
    small = resize(images[:, None], (BITMAP_SIDE, BITMAP_SIDE))
    return (small >= INK).float().flatten(1)


def measure(
    kind: Kind, training: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, seed: int
) -> dict[str, Any]:
    """Choose on a held-out fifth, fit to all, and test with both kinds of rejection threshold.

    Args:
        kind: The classifier.
        training: Features ``(N, F)`` and targets ``(N,)``.
        test: The same for the test images.
        seed: Of the held-out part and of the network.
    """
    recognizer = Recognizer(kind, seed).fit(*training)
    scores = recognizer.scores(test[0])
    confidence, correct = lead(scores), scores.argmax(dim=1) == test[1]
    on_test = least_threshold(confidence, correct, MOST_ERROR)
    return {
        "choice": recognizer.choice,
        "held_out_error_rate": recognizer.held_out_error_rate,
        "error_rate": float((~correct).float().mean()),
        "test_errors": int((~correct).sum()),
        "tuned_on_test": reject(confidence, correct, on_test)._asdict(),
        "tuned_on_held_out": reject(confidence, correct, recognizer.threshold)._asdict(),
    }
