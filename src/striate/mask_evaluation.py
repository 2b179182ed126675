"""A run that labels pixels, and masked images it has not seen → figures and a picture."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from striate import datasets
from striate.datasets.masks import IGNORED, MaskedImage, MaskSet
from striate.devices import choose_device
from striate.display import Progress
from striate.distributed import add_up, from_first, is_first, joined, own_slice
from striate.ensembles import common, member, what_differs
from striate.errors import DataError
from striate.mask_data import as_shown
from striate.mask_pictures import MOST_ROWS, masks_picture
from striate.mask_scoring import check_views, probabilities
from striate.membrane_metrics import membrane_scores
from striate.pictures import confusion_matrix
from striate.runs import Run, evaluation_files
from striate.segmentation import pixel_form
from striate.segmentation_metrics import TOLERANCE, count_pixels, mask_report, surface_report
from striate.tile_input import TileSpec


def evaluate_masks(
    run: Run | Sequence[Run],
    data: str | None = None,
    *,
    protocol: str | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a run on the test part of a set of images with masks; keep the result in the run.

    Writes evaluation.json, confusion.svg and result.png, and the figures into the model card;
    for another set or protocol than the run's own, and for an ensemble, under names that say so.

    Args:
        run: The run; its best weights are used. Or several: an ensemble, whose probabilities
            are averaged at each pixel; the first one's folder gets the files.
        data: Name or folder of the set; the (first) run's own by default. Its classes must be
            the run's.
        protocol: ``"single"``, or ``"turns"``; each run's own by default.
        data_dir: Where named sets are looked for first.
        device: As in ``training.train``.
        progress: Called after each image with the images done and the number of all.

    Returns:
        What evaluation.json holds: ``examples``, ``pixel_error``, for each class ``dice`` and
        ``iou`` over all pixels of the part, ``hausdorff95`` and ``surface_dice`` averaged over
        the images that have them, in ``surface_unit``; ``mean_dice``, ``mean_iou``,
        ``per_image``; ``files``, the names of the files written; of runs
        whose classes are membrane and cell also ``membranes``, the ISBI 2012 challenge's
        measures; of an ensemble also ``ensemble``, and above it None where its runs differ, as
        in ``evaluate``.

    Raises:
        UsageError: There is no such protocol.
        DataError: The set has no test part, other classes, other channels, or values whose
            meaning to those of training is not known.
    """
    started = time.monotonic()
    runs = [run] if isinstance(run, Run) else list(run)
    run = runs[0]
    protocols = [protocol or each.recipe.protocol for each in runs]
    for views in protocols:
        check_views(views)
    masks = datasets.load_masks(data or run.recipe.data, data_dir=data_dir, parts=("test",))
    for each in runs:
        _check(each, masks)
    part, place = masks.parts["test"], choose_device(device)
    members = [
        (pixel_form(from_first(each.network).to(place), each.recipe.network), each.tile_spec, views)
        for each, views in zip(runs, protocols, strict=True)
    ]
    in_membranes = run.classes == ("membrane", "cell")
    confusion = torch.zeros(len(run.classes), len(run.classes), dtype=torch.int64)
    per_image, answers, cells = [], [], []
    own = own_slice(len(part))
    for number, image in enumerate(part[own]):
        shares = _shares(members, image, place)
        answers.append(shares.argmax(dim=0).to(torch.uint8))
        counts = count_pixels(answers[-1], image.mask, len(run.classes))
        confusion += counts
        surfaces = surface_report(answers[-1], image.mask, run.classes, image.spacing)
        per_image.append({"image": image.name, **mask_report(counts, run.classes), **surfaces})
        if in_membranes:
            cells.append(shares[1].numpy())
        if progress is not None:
            progress(number + 1, own.stop - own.start)
    confusion = add_up(confusion)
    per_image, answers, cells = joined(per_image), joined(answers), joined(cells)
    told = [member(each, protocol) for each in runs]
    is_own = data in (None, run.recipe.data)
    other = what_differs(runs, "" if is_own else masks.name, protocol)
    evaluation: dict[str, Any] = {
        **common(told),
        "data": data or run.recipe.data,
        "part": "test",
        **({"ensemble": told} if len(runs) > 1 else {}),
        "examples": len(part),
        **mask_report(confusion, run.classes),
        **_averaged(per_image, run.classes),
        "surface_unit": _unit(part),
        "surface_tolerance": TOLERANCE,
        "confusion": confusion.tolist(),
        "classes": list(run.classes),
        "per_image": per_image,
        "files": [
            name for name in evaluation_files(other) if not name.startswith(("mistakes", "answers"))
        ],
    }
    if in_membranes and part[0].mask.dim() == 2:
        truths = [(image.mask == 1).numpy() for image in part]
        evaluation["membranes"] = membrane_scores(cells, truths)
    evaluation["seconds"] = round(time.monotonic() - started, 2)
    if not is_first():
        return evaluation
    run.write_evaluation(
        evaluation,
        confusion=confusion_matrix(evaluation["confusion"], run.classes),
        picture=_picture(part, answers, run, evaluation),
        other=other,
    )
    return evaluation


def _shares(
    members: Sequence[tuple[nn.Module, TileSpec, str]], image: MaskedImage, device: torch.device
) -> Tensor:
    """Average the members' probabilities, ``(K, *spatial)``, on the CPU."""
    total: Tensor | None = None
    for form, spec, views in members:
        shares = probabilities(form, as_shown(image, spec).to(device), views)
        total = shares if total is None else total + shares
    return cast(Tensor, total) / len(members)


def _unit(part: Sequence[MaskedImage]) -> str:
    """Say what distances are measured in."""
    units = {"pixels" if each.spacing is None else "mm" for each in part}
    return " or ".join(sorted(units))


def _averaged(per_image: list[dict[str, Any]], classes: tuple[str, ...]) -> dict[str, Any]:
    """Average the measures of surfaces over the images where they are defined."""
    means: dict[str, Any] = {}
    for measure in ("hausdorff95", "surface_dice"):
        means[measure] = {}
        for name in classes[1:]:
            values = [each[measure][name] for each in per_image if each[measure][name] is not None]
            means[measure][name] = sum(values) / len(values) if values else None
    return means


def _check(run: Run, masks: MaskSet) -> None:
    if not masks.parts.get("test"):
        raise DataError(f"{masks.source} has no test part; evaluate on a set that has one")
    if masks.classes != run.classes:
        raise DataError(
            f"{masks.source} has the classes {', '.join(masks.classes[:12])}, the run "
            f"{', '.join(run.classes[:12])}; evaluate on a set with the run's classes"
        )
    each = masks.parts["test"][0]
    if each.image.shape[0] != run.tile_spec.channels:
        raise DataError(
            f"{masks.source} has images of {each.image.shape[0]} channels, the run reads "
            f"{run.tile_spec.channels}; evaluate on a set with as many"
        )


def _picture(
    part: Sequence[MaskedImage], answers: Sequence[Tensor], run: Run, evaluation: dict[str, Any]
) -> bytes:
    """Show the worst images: what is there, what was answered, where they differ."""
    dices = [each["mean_dice"] for each in evaluation["per_image"]]
    rows = []
    for number in sorted(range(len(part)), key=dices.__getitem__)[:MOST_ROWS]:
        name, image, mask = part[number][:3]
        labels = answers[number]
        if mask.dim() == 3:
            fullest = int(((mask != 0) & (mask != IGNORED)).flatten(1).sum(dim=1).argmax())
            name = f"{name}, slice {fullest}"
            image, mask, labels = image[:, fullest], mask[fullest], labels[fullest]
        title = f"{name}: Dice {dices[number]:.3f}"
        rows.append((title, image.numpy(), mask.numpy(), labels.numpy()))
    return masks_picture(
        rows,
        classes=run.classes,
        title=f"{evaluation['network'] or 'ensemble'} on {evaluation['data']}: mean Dice "
        f"{evaluation['mean_dice']:.3f}, pixel error {100 * evaluation['pixel_error']:.2f} %",
    )
