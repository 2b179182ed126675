"""What a network sees of images in files: a window of each, cut and resized one by one.

The rules are those of ``windows`` and ``preparation``, for images of sizes of their own; what is
drawn depends on (seed, epoch, index) alone. Bytes stay bytes, rounded to the nearest.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from striate.augmentation import which_mirrored
from striate.image_store import ImageStore
from striate.image_store.forms import Form, reduce, resized
from striate.images import DecodedImage
from striate.preparation import InputSpec, resized_size, size_with_side
from striate.recipes import Recipe
from striate.windows import area_parts, drawn_sides, window_places


def training_windows(
    store: ImageStore, images: Tensor, spec: InputSpec, recipe: Recipe, epoch: int, indices: Tensor
) -> Tensor:
    """Cut out of each image what the network is trained on, as the recipe's ``crop`` says.

    Half of them are mirrored, where the recipe's ``flip`` says so, as ``augmentation.mirror`` does.

    Args:
        store: Holds the images.
        images: ``(N,)``, which of the store's.
        spec: The network's input.
        recipe: ``crop``, ``side_range``, ``flip`` and ``seed``.
        epoch: Counted from 0.
        indices: ``(N,)``, the examples' places in the epoch's training set.

    Returns:
        ``(N, C, *size)``, the size at most ``spec.input_size``; uint8 where the store holds bytes
        alone, otherwise float32 in [0, 1].
    """
    mirrored = which_mirrored(recipe, epoch, indices)
    if recipe.crop == "center":
        return middle_windows(store, images, spec, mirrored)
    own = store.sizes[images]
    height, width = spec.input_size
    if recipe.crop == "area":
        places, parts = area_parts(own, recipe, epoch, indices)
        boxes = zip(images.tolist(), places.tolist(), parts.tolist(), strict=True)
        return _stack(
            (
                resized(_box(store.pixels(image), top, left, rows, columns), (height, width))
                for image, (top, left), (rows, columns) in boxes
            ),
            *(store, images, spec, mirrored),
        )
    if recipe.side_range is None:
        sizes = [resized_size(size, spec) for size in own.tolist()]
    else:
        sides = drawn_sides(recipe, epoch, indices).tolist()
        sizes = [size_with_side(size, side) for size, side in zip(own.tolist(), sides, strict=True)]
    places = window_places(torch.tensor(sizes), spec, recipe, epoch, indices)
    drawn = zip(images.tolist(), sizes, places.tolist(), strict=True)
    return _stack(
        (
            _box(resized(store.pixels(image), (size[0], size[1])), top, left, height, width)
            for image, size, (top, left) in drawn
        ),
        *(store, images, spec, mirrored),
    )


def middle_windows(
    store: ImageStore, images: Tensor, spec: InputSpec, mirrored: Tensor | None = None
) -> Tensor:
    """Resize images as the spec says, and cut out their middle where they are larger.

    Args:
        store: Holds the images.
        images: ``(N,)``, which of the store's.
        spec: The network's input.
        mirrored: ``(N,)``, which of them are turned left to right; none by default.

    Returns:
        As ``training_windows``.
    """
    return _stack(
        (middle_window(store.pixels(image), spec) for image in images.tolist()),
        *(store, images, spec, mirrored),
    )


def window_of_file(
    pixels: np.ndarray, image: DecodedImage, full_scale: float, spec: InputSpec
) -> Tensor:
    """Bring one decoded image to what a network sees, just as it would see it in a set.

    Args:
        pixels: ``(H, W, C)``, the image in the network's channels.
        image: As decoded, perhaps at a reduced scale.
        full_scale: The value that means white.
        spec: Says to what images of sets are reduced first.

    Returns:
        ``(1, C, h, w)``, float32 in [0, 1], at most ``spec.input_size``.
    """
    own = image.reduced_from or (pixels.shape[0], pixels.shape[1])
    kept = reduce(pixels, image.pixels.dtype, Form(spec.kept_size, spec.kept_side).reduced(own))
    window = middle_window(kept, spec).astype(np.float32)
    return torch.from_numpy(window / np.float32(full_scale)).permute(2, 0, 1)[None]


def middle_window(pixels: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Resize an image as the spec says, and cut out its middle where it is larger.

    Args:
        pixels: ``(H, W, C)``, as kept.
        spec: The network's input.

    Returns:
        ``(h, w, C)``, of the same type, at most ``spec.input_size``.
    """
    rows, columns = resized_size(pixels.shape[:2], spec)
    image = resized(pixels, (rows, columns))
    height, width = (min(a, b) for a, b in zip((rows, columns), spec.input_size, strict=True))
    return _box(image, (rows - height) // 2, (columns - width) // 2, height, width)


def _box(pixels: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    return pixels[top : top + height, left : left + width]


def _stack(
    windows: Iterable[np.ndarray],
    store: ImageStore,
    images: Tensor,
    spec: InputSpec,
    mirrored: Tensor | None = None,
) -> Tensor:
    """Lay windows of one size together, ``(N, C, h, w)``, grey repeated where others have color.

    The channels of a pixel lie beside one another in memory, as in the store.
    """
    stacked: np.ndarray | None = None
    scales = store.full_scales[images].tolist()
    for place, window in enumerate(windows):
        if stacked is None:
            kind = np.uint8 if store.holds_bytes else np.float32
            stacked = np.empty((len(images), *window.shape[:2], spec.channels), kind)
        if store.holds_bytes:
            stacked[place] = window
        else:
            np.divide(window, scales[place], out=stacked[place], dtype=np.float32)
    if stacked is None:
        raise ValueError("no images are asked for")
    batch = torch.from_numpy(stacked).permute(0, 3, 1, 2)
    for place in [] if mirrored is None else mirrored.nonzero()[:, 0].tolist():
        batch[place : place + 1] = batch[place : place + 1].flip(3)  # of one, PyTorch's fast form
    return batch
