"""Images with masks on their way into training: parts, standardisation, balance, tiles an epoch."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from striate import datasets
from striate.batches import LEAST_STEPS_PER_EPOCH
from striate.datasets.masks import IGNORED, MaskedImage, oddities
from striate.errors import DataError, UsageError
from striate.losses import balanced
from striate.models.unet_borders import border_weights
from striate.randomness import order
from striate.recipes import Recipe
from striate.tile_input import CT_PERCENTILES, TileSpec, as_trained, standardize, statistics

# What people call channels of magnetic resonance, whose values have no unit.
RESONANCE = {"mri", "mr", "t1", "t1w", "t1gd", "t1ce", "t2", "t2w", "flair", "adc", "dwi", "pd"}
# Values inside the masks that percentiles are taken of, from each image.
MOST_VALUES = 100_000


@dataclass(frozen=True)
class MaskData:
    """What a run learns from, where every pixel has a class; notes are words for the user."""

    training: tuple[MaskedImage, ...]
    validation: tuple[MaskedImage, ...]
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    fingerprint: str
    source: str
    notes: tuple[str, ...] = ()


def load_mask_data(recipe: Recipe, axes: int, data_dir: Path | None = None) -> MaskData:
    """Read a recipe's training and validation part, given or held out; never the test part.

    Args:
        recipe: Names the data; ``validation`` is the share held out where the set has no such
            part.
        axes: Spatial axes of the network: one of 2 reads volumes slice by slice.
        data_dir: Where named sets are looked for first.

    Raises:
        UsageError: There is no set of that name, or it has 2-D images for a 3-D network.
        DataError: The set's files cannot be read, or hold nothing to learn from.
    """
    masks = datasets.load_masks(recipe.data, data_dir=data_dir, parts=("train", "validation"))
    training, validation = masks.parts.get("train", ()), masks.parts.get("validation", ())
    if not training:
        raise DataError(f"{masks.source} has no images to train on")
    if sum(share > 0 for share in class_shares(training, len(masks.classes))) < 2:
        raise DataError(
            f"all training masks of {masks.source} hold one class alone, so there is nothing to "
            "tell apart; draw the objects into them"
        )
    if recipe.validation == 0:
        validation = ()
    elif not validation:
        training, validation = _hold_out(training, recipe.validation, recipe.seed)
    return MaskData(
        fitted(training, axes, recipe.network),
        fitted(validation, axes, recipe.network),
        masks.classes,
        masks.modalities,
        masks.fingerprint(),
        masks.source,
        (*masks.notes, *oddities(masks)),
    )


def _hold_out(
    part: tuple[MaskedImage, ...], share: float, seed: int
) -> tuple[tuple[MaskedImage, ...], tuple[MaskedImage, ...]]:
    if len(part) < 2:
        raise DataError(
            f"there is one image to train on ({part[0].name}), so none can be held out for "
            "validation; set validation to 0"
        )
    count = min(max(1, round(share * len(part))), len(part) - 1)
    held = {*order(seed, 0, len(part))[:count].tolist()}
    return (
        tuple(each for number, each in enumerate(part) if number not in held),
        tuple(part[number] for number in sorted(held)),
    )


def fitted(part: Sequence[MaskedImage], axes: int, network: str) -> tuple[MaskedImage, ...]:
    """Cut volumes into slices along their first axis for a network that reads images.

    Raises:
        UsageError: The network reads volumes and the set has images.
    """
    slices: list[MaskedImage] = []
    for each in part:
        found = each.mask.dim()
        if found == axes:
            slices.append(each)
        elif found == axes + 1:
            spacing, own = each.spacing and each.spacing[1:], statistics([each.image])
            slices += [
                MaskedImage(
                    f"{each.name}, slice {i}",
                    *(each.image[:, i], each.mask[i], spacing, each.stored, own),
                )
                for i in range(len(each.mask))
            ]
        else:
            raise UsageError(
                f"{network} reads volumes of {axes} axes, but {each.name} has {found}; train a "
                "network for images, unet_padded say"
            )
    return tuple(slices)


def tile_spec(data: MaskData, tile: tuple[int, ...], recipe: Recipe) -> TileSpec:
    """Decide once, from the training images, how every image will meet the network.

    Args:
        data: The images.
        tile: What the network is shown at once in training, complete [pixels].
        recipe: Its ``intensity`` overrules what the images say.

    Raises:
        DataError: All are to be standardised alike, but are stored in different types.
    """
    dtypes = [each.stored or str(each.image.dtype).removeprefix("torch.") for each in data.training]
    dtype = max(sorted({*dtypes}), key=dtypes.count)
    intensity = recipe.intensity or _intensity(data.modalities, len(tile), {*dtypes})
    if intensity == "set" and len({*dtypes}) > 1:
        raise DataError(
            f"the images of {data.source} are stored as {' and '.join(sorted({*dtypes}))}, whose "
            "values do not mean the same; give --intensity image, or convert them"
        )
    images: Iterable[Tensor] = (each.image for each in data.training)
    low = high = None
    if intensity == "ct":
        low, high = _percentiles(data.training)
        shape = (-1, *(1,) * len(tile))
        least, most = torch.tensor(low).view(shape), torch.tensor(high).view(shape)
        images = (torch.minimum(torch.maximum(image.float(), least), most) for image in images)
    mean, std = statistics(images)
    spacings = [each.spacing for each in data.training if each.spacing is not None]
    spacing = None
    if spacings:
        spacing = tuple(torch.tensor(spacings, dtype=torch.float64).median(dim=0).values.tolist())
    return TileSpec(
        channels=data.training[0].image.shape[0],
        tile=tile,
        intensity=intensity,
        mean=mean,
        std=std,
        low=low,
        high=high,
        dtype=dtype,
        modalities=data.modalities,
        spacing=spacing,
    )


def as_shown(each: MaskedImage, spec: TileSpec) -> Tensor:
    """Bring an image of a set to what a run's network reads.

    Args:
        each: As stored, perhaps of another depth than the training images.
        spec: The network's input.

    Returns:
        ``(C, *spatial)``, float32.

    Raises:
        DataError: Its channels or its type do not fit.
    """
    stored = each.stored or str(each.image.dtype).removeprefix("torch.")
    values, _ = as_trained(each.image, stored, spec, each.name)
    own = (each.own or statistics([values])) if spec.intensity == "image" else None
    return standardize(values, spec, own)


def _intensity(
    modalities: Sequence[str], axes: int, dtypes: set[str]
) -> Literal["set", "image", "ct"]:
    words = {word.lower() for word in modalities}
    if words == {"ct"}:
        return "ct"
    if words & RESONANCE or axes == 3 or len(dtypes) > 1:
        return "image"
    return "set"


def _percentiles(
    part: Sequence[MaskedImage],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Find what ct keeps of each channel, of the values inside the masks."""
    samples = []
    for each in part:
        inside = each.image[:, (each.mask != 0) & (each.mask != IGNORED)]
        samples.append(inside[:, :: -(-inside.shape[1] // MOST_VALUES) or 1].double())
    values = torch.cat(samples, dim=1)
    if not values.shape[1]:
        raise DataError("all masks are empty, so intensity ct has no values; give --intensity set")
    ends = torch.quantile(
        values[:, :: -(-values.shape[1] // 10_000_000)],
        torch.tensor(CT_PERCENTILES, dtype=torch.float64) / 100,
        dim=1,
    )
    return tuple(ends[0].tolist()), tuple(ends[1].tolist())


def class_shares(part: Sequence[MaskedImage], num_classes: int) -> list[float]:
    """Count which share of the pixels that count each class has."""
    counts = torch.zeros(IGNORED + 1, dtype=torch.int64)
    for each in part:
        counts += torch.bincount(each.mask.flatten(), minlength=IGNORED + 1)
    own = counts[:num_classes].double()
    shares: list[float] = (own / own.sum().clamp(min=1)).tolist()
    return shares


def tiles_per_epoch(part: Sequence[MaskedImage], output: Sequence[int], batch_size: int) -> int:
    """Say how many tiles an epoch has: as many as their answers need to cover the images once.

    At least 20 steps; a whole number of batches.
    """
    pixels = sum(each.mask.numel() for each in part)
    steps = -(-pixels // (math.prod(output) * batch_size))
    return max(LEAST_STEPS_PER_EPOCH, steps) * batch_size


def with_weights(data: MaskData, recipe: Recipe) -> list[Tensor] | None:
    """Give each training image U-Net's weights of pixels, where the recipe asks for them.

    They have the weights of the classes in them: balanced over the training images, or 1 each.
    """
    if not recipe.border_weight:
        return None
    balance = class_weights(data, recipe) or (1.0,) * len(data.classes)
    return [
        torch.from_numpy(
            border_weights(
                each.mask.numpy(),
                w0=recipe.border_weight,
                sigma=recipe.border_sigma,
                balance=balance,
            )
        )
        for each in data.training
    ]


def class_weights(data: MaskData, recipe: Recipe) -> tuple[float, ...] | None:
    """Give the weights of the classes, where the recipe asks for them."""
    if recipe.class_weights == "none":
        return None
    return balanced(class_shares(data.training, len(data.classes)))
