"""What of a recipe the images do not allow: refused with the option that helps, or switched off."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from striate import augmentation
from striate.datasets.listing import counted
from striate.preparation import InputSpec
from striate.recipes import Recipe


class Misfit(NamedTuple):
    """What of a recipe the images do not allow, and the option that would change it."""

    reason: str
    remedy: str


def misfits(recipe: Recipe, spec: InputSpec, *, has_validation: bool) -> list[Misfit]:
    """List what of a recipe the images and the network's input do not allow.

    Args:
        recipe: The complete recipe.
        spec: The network's input, as ``input_spec`` decides it.
        has_validation: Whether there is a validation part to make choices on.

    Example:
        >>> recipe = Recipe(network="lenet5", data="digits", pca_color=0.1, patience=3)
        >>> spec = InputSpec(channels=1, image_size=(32, 32), input_size=(32, 32), mean=(0.5,),
        ...                  std=(0.25,), background=(0.0,))
        >>> [remedy for _, remedy in misfits(recipe, spec, has_validation=False)]
        ['--validation 0.1', '--pca-color 0']
    """
    least, size = max(spec.input_size), "x".join(map(str, spec.image_size))
    reads = f"{recipe.network} reads {'x'.join(map(str, spec.input_size))}"
    found = [
        Misfit(f"{choice} needs a validation part", "--validation 0.1")
        for choice, is_chosen in (
            ("schedule plateau", recipe.schedule == "plateau"),
            ("patience", recipe.patience is not None),
        )
        if is_chosen and not has_validation
    ]
    if recipe.micro_batch is not None and recipe.micro_batch >= recipe.batch_size:
        reason = f"micro_batch {recipe.micro_batch} does nothing with {recipe.batch_size} in a step"
        found.append(Misfit(reason, "fewer or leave it out"))
    if recipe.pca_color and spec.channels != 3:
        count = counted(spec.channels, "channel")
        reason = f"pca_color shifts red, green and blue, but the images have {count}"
        found.append(Misfit(reason, "--pca-color 0"))
    if recipe.crop_padding >= min(spec.input_size):
        reason = (
            f"crop_padding is {recipe.crop_padding}, so that images may leave the input of "
            f"{'x'.join(map(str, spec.input_size))} altogether"
        )
        found.append(Misfit(reason, f"--crop-padding below {min(spec.input_size)}"))
    if recipe.crop == "random" and min(spec.image_size) <= least:
        reason = f"crop random takes a window of a larger image, but {reads} and images are {size}"
        found.append(Misfit(reason, f"--image-size above {least}, or --crop center"))
    is_smaller = any(s < w for s, w in zip(spec.image_size, spec.input_size, strict=True))
    if recipe.crop == "area" and is_smaller:
        reason = f"crop area resizes to all of the input, but {reads} and images are {size}"
        found.append(Misfit(reason, f"--image-size {least} or more, or --crop center"))
    if recipe.side_range is not None and recipe.side_range[0] < least:
        reason = f"side_range begins at {recipe.side_range[0]}, but {reads}"
        found.append(Misfit(reason, f"--side-range from {least} on"))
    return found + [Misfit(*each) for each in augmentation.misfits(recipe, spec)]


def suited(
    recipe: Recipe, given: Collection[str], channels: int, input_shape: Sequence[int]
) -> tuple[Recipe, list[str]]:
    """Switch off what a network's own recipe has and the images do not allow, unless it was given.

    Args:
        recipe: The recipe with its network's values.
        given: Names of the fields that the user chose.
        channels: Of the images.
        input_shape: Channels, height and width of the network's default input.

    Returns:
        recipe: Perhaps changed.
        notes: What was switched off and why, in words for the user.

    Example:
        >>> recipe = Recipe(network="resnet18", data="digits", pca_color=0.1)
        >>> suited(recipe, ["network", "data"], 1, (3, 224, 224))[1]
        ['pca_color of resnet18 is off: it shifts red, green and blue, the images have 1 channel']
    """
    changes: dict[str, object] = {"flip": False} if recipe.turns and "flip" not in given else {}
    notes = []
    if recipe.pca_color and channels != 3 and "pca_color" not in given:
        changes["pca_color"] = 0.0
        count = counted(channels, "channel")
        notes.append(
            f"pca_color of {recipe.network} is off: it shifts red, green and blue, the images have "
            f"{count}"
        )
    least = max(input_shape[1:])
    if recipe.image_size is not None and recipe.image_size <= least:
        if recipe.crop != "center" and not {"crop", "side_range"} & {*given}:
            changes |= {"crop": "center", "side_range": None}
        if (
            recipe.protocol not in ("single", "dense", "multi-scale", "shifts")
            and "protocol" not in given
        ):
            changes["protocol"] = "single"
        if off := sorted(changes.keys() & {"crop", "protocol"}):
            are = f"{' and '.join(off)} of {recipe.network} {'is' if len(off) == 1 else 'are'} off"
            notes.append(
                f"{are}: at image_size {recipe.image_size} there is no room around its {least} "
                "pixels"
            )
    return recipe.replace(**changes), notes
