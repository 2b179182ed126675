"""Images of any size to answers: brought to the form of the training images, then classified."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.display import Progress
from striate.errors import DataError, RunError
from striate.figures import FLAT, Figure, centers, find_figure, fit_ground, ground_at, ground_level
from striate.image_store.cutting import window_of_file
from striate.images import DecodedImage, read_image, to_channels
from striate.modes import evaluating
from striate.preparation import InputSpec, fit, normalize, resize, resized_size

SEARCH_SIDE = 700  # figures are looked for in a copy shrunk to about this [pixels]
COARSEST = 128  # and where that is too noisy, in coarser ones, down to half as much
OVERSAMPLING = 8  # a figure larger than this many times its place is shrunk by averages first
SAME_ASPECT = 1.02
FAINT = 0.25  # figures in a file whose values all stay below this share of its range
TIGHT = 0.9  # training figures larger than this were cut out by their box
FULL_CONTRAST = 0.9  # ink this strong on an even ground is left as it is
PEAK = 0.9  # of the pixels with half the darkest ink or more, the share paler than full ink

NO_FIGURE = "no figure found on the plain ground: do not trust the answer"

BATCH_SIZE = 64  # images that the network sees at once


class Prediction(NamedTuple):
    """What a network says of one image.

    Attributes:
        path: The file, as it was given.
        label: The most probable class.
        probability: Its softmax probability.
        top: The most probable classes and their probabilities, best first.
        notes: What was done to the image before the network saw it.
    """

    path: str
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    notes: tuple[str, ...]


def adapt(
    image: DecodedImage, spec: InputSpec, *, invert: bool | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Bring an image to the size, channels, range and form of the training images.

    Where these are figures on a plain ground (``spec.figure_extent``), the image is
    inverted if its ground is nearer to the opposite of the training ground, and an image
    of another size is treated as a scan or photograph of one figure: uneven light is
    taken off, contrast stretched to full ink (what lies beyond ground and ink is cut),
    and the figure's box cut out, resized to the training figures' extent and centred by
    its mass, as MNIST was; by its box where the mass would push it over the border or the
    training figures fill their images.
    Other images are resized whole, aspect kept, on a frame of background where the aspect
    differs by more than 2 %. Where the network reads a window of a larger image, their
    shorter side is resized instead, without a frame.

    Args:
        image: From ``read_image``.
        spec: The network's input.
        invert: Whether to exchange dark and light; None decides as said above.

    Returns:
        image: ``(1, C, *spec.image_size)``, float32 in [0, 1]; where the network reads a window
            of a larger image, of the image's own aspect, or after training on files the window.
        notes: What was done to the image since its file, in words for the user.

    Raises:
        DataError: The image's channels cannot become the network's.
    """
    pixels, channel_notes = to_channels(image, spec.channels)
    notes = [*image.notes, *channel_notes]
    full_scale = image.full_scale
    if _is_photograph(spec) or (spec.kept_size and pixels.shape[:2] == spec.training_size):
        if pixels.shape[:2] != spec.input_size:
            notes.append(f"read at {'×'.join(map(str, spec.input_size[::-1]))} as in training")
        window = window_of_file(pixels, image, full_scale, spec)
        if invert:
            notes.append("inverted, as asked")
        return (1 - window if invert else window), tuple(notes)
    brightest = float(pixels.max(initial=0))
    if spec.figure_extent is not None and 0 < brightest < FAINT * full_scale:
        notes.append(f"brightened: its values end at {brightest:g} of {full_scale:g}")
        full_scale = brightest
    picture = _Picture(pixels, full_scale, bool(invert))
    if spec.figure_extent is not None and invert is None:
        picture = picture._replace(inverted=_has_opposite_ground(picture, spec))
    if picture.inverted:
        way = "dark on light" if _direction(spec) == 1 else "light on dark"
        notes.append(f"inverted ({way})" if invert is None else "inverted, as asked")
    if pixels.shape[:2] == spec.image_size:
        return _read(picture)[None], tuple(notes)
    if pixels.shape[:2] == spec.training_size:
        notes.append(_resize_note(picture, spec.image_size))
        return resize(_read(picture)[None], spec.image_size), tuple(notes)
    if spec.figure_extent is not None:
        surfaces, figure = _search(picture, spec)
        if figure is not None:
            return _cut(picture, figure, surfaces, spec, notes), tuple(notes)
        notes.append(NO_FIGURE)
    return _resize_whole(picture, spec, notes), tuple(notes)


class Reader(NamedTuple):
    """A network with what it takes to ask it about image files.

    Attributes:
        network: From ``(N, C, *spec.input_size)`` to logits, on any one device.
        spec: Its input.
        classes: The names of the logits.
    """

    network: nn.Module
    spec: InputSpec
    classes: Sequence[str]


def predict_files(
    reader: Reader,
    paths: Sequence[Path],
    *,
    top: int = 5,
    invert: bool | None = None,
    progress: Progress | None = None,
) -> tuple[list[Prediction], list[DataError]]:
    """Classify image files, a batch in memory at a time.

    Args:
        reader: Its network is put in evaluation mode and left in the mode it was in.
        paths: Image files, of any sizes and formats.
        top: How many classes to report for each image; all where there are fewer.
        invert: As in ``adapt``.
        progress: Called after each batch with the images done and the number of all.

    Returns:
        predictions: In the order of ``paths``, without the files that could not be read.
        errors: One for each of these files.

    Raises:
        RunError: The network's logits are not one for each class, or not finite.
    """
    predictions: list[Prediction] = []
    errors: list[DataError] = []
    network, spec, classes = reader
    least = (spec.kept_side, spec.kept_side) if spec.kept_side and _is_photograph(spec) else None
    device = next(network.parameters()).device
    with evaluating(network):
        for start in range(0, len(paths), BATCH_SIZE):
            adapted = []
            for path in paths[start : start + BATCH_SIZE]:
                try:
                    image, notes = adapt(read_image(path, at_least=least), spec, invert=invert)
                    is_window = spec.has_window and image.shape[2:] == spec.input_size
                    adapted.append((path, image if is_window else fit(image, spec), notes))
                except DataError as error:
                    named = str(path) in str(error)
                    errors.append(error if named else DataError(f"{path}: {error}"))
            if adapted:
                images = torch.cat([image for _, image, _ in adapted])
                with torch.inference_mode():
                    inputs = normalize(images, spec).to(device)
                    logits = network(inputs).float().cpu()
                ranked = _rank(logits, classes, top)
                for (path, _, notes), best in zip(adapted, ranked, strict=True):
                    predictions.append(Prediction(str(path), *best[0], best, notes))
            if progress:
                progress(min(start + BATCH_SIZE, len(paths)), len(paths))
    return predictions, errors


class _Picture(NamedTuple):
    """Stored pixels ``(H, W, C)`` and what is needed to read parts of them as [0, 1]."""

    pixels: np.ndarray
    full_scale: float
    inverted: bool

    @property
    def search_step(self) -> int:
        height, width, _ = self.pixels.shape
        return max(1, int(max(height, width)) // SEARCH_SIDE)


def _read(
    picture: _Picture, step: int = 1, rows: slice = slice(None), columns: slice = slice(None)
) -> Tensor:
    """Take a part of a picture to [0, 1], ``(C, h, w)``, in averages of ``step`` × ``step``."""
    channels = []
    for channel in range(picture.pixels.shape[2]):  # one by one: a photograph is large
        values = picture.pixels[rows, columns, channel].astype(np.float32)
        plane = torch.from_numpy(values).div_(picture.full_scale)
        if step > 1:
            plane = F.avg_pool2d(plane[None, None], step, ceil_mode=True)[0, 0]
        channels.append(1 - plane if picture.inverted else plane)
    return torch.stack(channels)


def _is_photograph(spec: InputSpec) -> bool:
    """Tell whether images are read just as those of a set of files were."""
    has_form = spec.kept_size is not None or spec.kept_side is not None
    return has_form and spec.figure_extent is None


def _direction(spec: InputSpec) -> int:
    """Tell whether the training ink is lighter than its ground, 1, or darker, -1."""
    return 1 if sum(spec.background) < len(spec.background) / 2 else -1


def _has_opposite_ground(picture: _Picture, spec: InputSpec) -> bool:
    level = float(ground_level(_read(picture, picture.search_step)).mean())
    background = sum(spec.background) / len(spec.background)
    return abs(level - (1 - background)) < abs(level - background)


def _search(picture: _Picture, spec: InputSpec) -> tuple[list[Tensor], Figure | None]:
    """Fit the ground of each channel and find the figure, in pixels of the picture."""
    height, width, _ = picture.pixels.shape
    step = picture.search_step
    while True:
        small = _read(picture, step)
        surfaces = [fit_ground(channel) for channel in small]
        rows, columns = centers(0, height, step, height), centers(0, width, step, width)
        light = torch.stack([ground_at(surface, rows, columns) for surface in surfaces])
        figure = find_figure((small - light).mean(dim=0) * _direction(spec))
        if figure is not None or max(height, width) < COARSEST * step:
            break
        step *= 2  # averages of more pixels have less noise
    if figure is None:
        return surfaces, None
    return surfaces, figure._replace(
        top=figure.top * step,
        left=figure.left * step,
        bottom=min(figure.bottom * step, height),
        right=min(figure.right * step, width),
        center=(figure.center[0] * step, figure.center[1] * step),
    )


def _cut(
    picture: _Picture, figure: Figure, surfaces: list[Tensor], spec: InputSpec, notes: list[str]
) -> Tensor:
    """Cut the figure out and lay it on the training ground, in its training size and place."""
    height, width = picture.pixels.shape[:2]
    box_height, box_width = figure.bottom - figure.top, figure.right - figure.left
    extent = spec.figure_extent or 1.0
    # Pixels of the picture for one of the result; the longer side decides.
    scale = max(box_height / spec.image_size[0], box_width / spec.image_size[1]) / extent
    step, margin = max(1, int(scale / OVERSAMPLING)), math.ceil(scale)
    rows = slice(max(0, figure.top - margin), min(height, figure.bottom + margin))
    columns = slice(max(0, figure.left - margin), min(width, figure.right + margin))
    part = _read(picture, step, rows, columns)
    down = centers(rows.start, rows.stop, step, height)
    across = centers(columns.start, columns.stop, step, width)
    light = torch.stack([ground_at(surface, down, across) for surface in surfaces])

    # The window of the picture that becomes the result, in steps; it may reach beyond it.
    pads = []
    for axis, (low, high, taken) in enumerate(
        ((figure.top, figure.bottom, rows), (figure.left, figure.right, columns))
    ):
        size = spec.image_size[axis]
        start = figure.center[axis] - (size // 2 + 0.5) * scale  # on the middle pixel, as MNIST is
        if extent > TIGHT or not start <= low <= high <= start + size * scale:
            start = (low + high - size * scale) / 2
        before = round((taken.start - start) / step)
        pads.append((before, round(size * scale / step) - before - part.shape[1 + axis]))
    framed = F.pad(part - light, (*pads[1], *pads[0]))
    drawn = resize(framed[None], spec.image_size)

    # Thin strokes pale when they shrink, so ink is measured where the network will see it.
    direction = _direction(spec)
    strength = direction * drawn.mean(dim=1)
    peak = float(strength[strength > strength.max() / 2].quantile(PEAK))
    ground = torch.tensor(spec.background)[None, :, None, None]
    full = abs(float(ground.mean()) - max(direction, 0))
    even = all(not surface[1:].any() for surface in surfaces)
    plain = even and float((light - ground[0]).abs().max()) <= FLAT
    if not even:
        notes.append("uneven light taken off")
    if plain and peak >= FULL_CONTRAST * full:
        gain = 1.0
    else:
        gain = full / peak
        level = float(light.mean())
        ends = sorted(abs(picture.inverted - value) for value in (level, level + direction * peak))
        notes.append(f"contrast stretched from {ends[0]:.2f}..{ends[1]:.2f}")
    place = f"{box_width}×{box_height} at ({figure.left}, {figure.top})"
    notes += [f"cropped to the figure {place}", _resize_note(picture, spec.image_size)]
    return (ground + gain * drawn).clamp(0, 1)


def _resize_note(picture: _Picture, size: tuple[int, ...], more: str = "") -> str:
    height, width = picture.pixels.shape[:2]
    return f"resized {width}×{height} → {size[1]}×{size[0]}{more}"


def _resize_whole(picture: _Picture, spec: InputSpec, notes: list[str]) -> Tensor:
    """Resize a picture as training resized its images, framed where the aspect differs."""
    given = picture.pixels.shape[:2]
    size = inner = resized_size(given, spec)
    trained = spec.training_size or size
    scales = [old / new for old, new in zip(trained, given, strict=True)]
    if not spec.has_window and max(scales) / min(scales) > SAME_ASPECT:
        inner = tuple(
            max(1, round(side * min(scales) / scale))
            for side, scale in zip(size, scales, strict=True)
        )
    notes.append(_resize_note(picture, size, ", padded" if inner != size else ""))
    result = torch.tensor(spec.background)[None, :, None, None].repeat(1, 1, *size)
    top, left = ((outer - inside) // 2 for outer, inside in zip(size, inner, strict=True))
    for channel in range(spec.channels):  # one by one: a photograph is large
        plane = _read(picture._replace(pixels=picture.pixels[..., channel : channel + 1]))
        result[:, channel, top : top + inner[0], left : left + inner[1]] = resize(
            plane[None], inner
        )[:, 0]
    return result


def _rank(logits: Tensor, classes: Sequence[str], top: int) -> list[tuple[tuple[str, float], ...]]:
    if logits.shape[1:] != (len(classes),):
        raise RunError(
            f"the network gives scores of shape {tuple(logits.shape[1:])} for {len(classes)} "
            "classes; use it with the class names it was trained on"
        )
    if not logits.isfinite().all():
        raise RunError("the network's scores are not finite; train it again at a lower rate")
    shares, indices = logits.softmax(dim=1).topk(min(top, len(classes)), dim=1)
    return [
        tuple((classes[index], share) for index, share in zip(row, values, strict=True))
        for row, values in zip(indices.tolist(), shares.tolist(), strict=True)
    ]
