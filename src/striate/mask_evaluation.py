"""A run that labels pixels, and masked images it has not seen → figures and a picture."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from striate import datasets
from striate.datasets.masks import IGNORED, MaskedImage, MaskSet
from striate.devices import choose_device
from striate.errors import DataError, UsageError
from striate.mask_pictures import masks_picture
from striate.mask_scoring import VIEWS, probabilities
from striate.membrane_metrics import membrane_scores
from striate.pictures import confusion_matrix
from striate.protocols import Progress
from striate.runs import Run
from striate.segmentation import pixel_form
from striate.segmentation_metrics import count_pixels, mask_report, surface_report

MOST_SHOWN = 6


def evaluate_masks(
    run: Run,
    data: str | None = None,
    *,
    protocol: str | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a run on the test part of a set of images with masks; keep the result in the run.

    Writes evaluation.json, confusion.svg and result.png, and the figures into the model card;
    for another set or protocol than the run's own, under names that say so.

    Args:
        run: The run; its best weights are used.
        data: Name or folder of the set; the run's own by default. Its classes must be the run's.
        protocol: ``"single"``, or ``"turns"``; the run's own by default.
        data_dir: Where named sets are looked for first.
        device: As in ``training.train``.
        progress: Called after each image with the images done and the number of all.

    Returns:
        What evaluation.json holds: ``examples``, ``pixel_error``, for each class ``dice`` and
        ``iou`` over all pixels of the part, ``hausdorff95`` and ``surface_dice`` averaged over
        the images, ``mean_dice``, ``per_image``; of electron micrographs with two classes also
        ``membranes``, the ISBI 2012 challenge's measures.

    Raises:
        UsageError: There is no such protocol.
        DataError: The set has no test part, other classes or other channels.
    """
    started = time.monotonic()
    chosen = protocol or run.recipe.protocol
    if chosen not in VIEWS:
        raise UsageError(
            f"protocol {chosen} is for labels of whole images; of pixels there are "
            f"{', '.join(VIEWS)}"
        )
    masks = datasets.load_masks(data or run.recipe.data, data_dir=data_dir, parts=("test",))
    _check(run, masks)
    part, place = masks.parts["test"], choose_device(device)
    form = pixel_form(run.network().to(place), run.recipe.network)
    confusion = torch.zeros(len(run.classes), len(run.classes), dtype=torch.int64)
    per_image, shares = [], []
    for number, each in enumerate(part):
        answer = probabilities(form, each.image.to(place), run.tile_spec, protocol=chosen).cpu()
        labels = answer.argmax(dim=0).to(torch.uint8)
        counts = count_pixels(labels, each.mask, len(run.classes))
        confusion += counts
        surfaces = surface_report(labels, each.mask, run.classes, each.spacing)
        per_image.append({"image": each.name, **mask_report(counts, run.classes), **surfaces})
        shares.append(answer)
        if progress is not None:
            progress(number + 1, len(part))
    evaluation: dict[str, Any] = {
        "network": run.recipe.network,
        "data": data or run.recipe.data,
        "part": "test",
        "protocol": chosen,
        "examples": len(part),
        **mask_report(confusion, run.classes),
        **_averaged(per_image, run.classes),
        "confusion": confusion.tolist(),
        "classes": list(run.classes),
        "per_image": per_image,
        "epochs": len(run.progress()),
    }
    if masks.modalities == ("EM",) and len(run.classes) == 2 and part[0].mask.dim() == 2:
        cells = [share[1].numpy() for share in shares]
        evaluation["membranes"] = membrane_scores(cells, [(e.mask == 1).numpy() for e in part])
    evaluation["seconds"] = round(time.monotonic() - started, 2)
    run.write_evaluation(
        evaluation,
        confusion=confusion_matrix(evaluation["confusion"], run.classes),
        picture=_picture(part, shares, run, evaluation),
        other="-".join(
            name
            for name, differs in (
                (masks.name, data not in (None, run.recipe.data)),
                (protocol or "", protocol not in (None, run.recipe.protocol)),
            )
            if differs
        ),
    )
    return evaluation


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
    part: tuple[MaskedImage, ...], shares: list[Tensor], run: Run, evaluation: dict[str, Any]
) -> bytes:
    """Show the worst images: what was there, what is right, what was answered."""
    order = sorted(
        range(len(part)),
        key=lambda number: evaluation["per_image"][number]["mean_dice"],
    )[:MOST_SHOWN]
    triples = []
    for number in order:
        image, mask = part[number].image, part[number].mask
        labels = shares[number].argmax(dim=0)
        if mask.dim() == 3:
            busiest = int(((mask != 0) & (mask != IGNORED)).flatten(1).sum(dim=1).argmax())
            image, mask, labels = image[:, busiest], mask[busiest], labels[busiest]
        title = f"{part[number].name}: Dice {evaluation['per_image'][number]['mean_dice']:.3f}"
        triples.append((title, image.numpy(), mask.numpy(), labels.numpy()))
    return masks_picture(
        triples,
        classes=run.classes,
        title=f"{run.recipe.network} on {evaluation['data']}: mean Dice "
        f"{evaluation['mean_dice']:.3f}, pixel error {100 * evaluation['pixel_error']:.2f} %",
    )
