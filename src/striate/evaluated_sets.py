"""Labelled images that runs are measured on: held in memory, or in files."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate import datasets
from striate.datasets.listing import Listing, some
from striate.datasets.sets import ImageSet
from striate.datasets.split_files import apply_split, changed_since, training_contents
from striate.display import Display, Progress
from striate.distributed import in_shares
from striate.errors import DataError
from striate.file_classification import logits_of_files
from striate.file_data import Reading, form_for, read_files
from striate.image_store import Form, ImageStore
from striate.image_store.cutting import middle_window
from striate.loading import WindowLoader
from striate.preparation import InputSpec, to_unit
from striate.protocols import averaged_scores
from striate.recipes import Recipe
from striate.runs import Run
from striate.scoring import batch_size_for


class EvaluatedSet(Protocol):
    """Images with their classes, of which the evaluation knows no more than this.

    Attributes:
        name: The set's.
        source: Where it was found.
        classes: Names of the classes, in the order of the class indices.
        targets: ``(N,)``, int64.
        channels: Of the images, as they are stored.
        fingerprint: SHA-256 of the images and labels.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    targets: Tensor
    channels: int
    fingerprint: str

    def scores(
        self, network: nn.Module, recipe: Recipe, spec: InputSpec, progress: Progress | None
    ) -> Tensor:
        """Score every image by a recipe's protocol: ``(N, classes)``, float32, on the processor."""

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Give an image to look at: ``(H, W)`` or ``(H, W, 3)``."""

    def where(self, index: int) -> str:
        """Say which image it is."""

    def fitting(self, channels: int) -> tuple[int, ...]:
        """Say how many channels the images may have for a network that reads so many."""


class MemorySet:
    """The test part of a set in memory.

    Args:
        images: With a test part.

    Raises:
        DataError: It has none.
    """

    def __init__(self, images: ImageSet) -> None:
        if "test" not in images.parts:
            raise DataError(f"{images.source} has no test part; evaluate on a set that has one")
        self.name, self.source, self.classes = images.name, images.source, images.classes
        self.images, self.targets = images.parts["test"]
        self.channels = self.images.shape[1]
        self.value_range = images.value_range
        self.fingerprint = images.fingerprint()

    def scores(
        self, network: nn.Module, recipe: Recipe, spec: InputSpec, progress: Progress | None
    ) -> Tensor:
        """Score every image, a batch at a time."""
        stored = self.images.to(next(network.parameters()).device)
        score = partial(
            averaged_scores,
            network,
            value_range=self.value_range,
            spec=spec,
            recipe=recipe,
            progress=progress,
        )
        return in_shares(stored, score).cpu()

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Give an image as it is stored."""
        levels = (to_unit(self.images[index], self.value_range).clamp(0, 1) * 255).round()
        return as_picture(levels.to(torch.uint8).permute(1, 2, 0).numpy())

    def where(self, index: int) -> str:
        """Number an image."""
        return f"test image {index}"

    def fitting(self, channels: int) -> tuple[int, ...]:
        """Ask for just as many."""
        return (channels,)


class FileSet:
    """Images in files, read anew for each form that a run wants them in.

    Args:
        listing: All of its images are measured on.
        reading: How files are read.
        display: Told how far reading is.
        skip_bad: Leave out what cannot be read.
        first: Input and recipe of the first run, which say in what form images are read first.
    """

    def __init__(
        self,
        listing: Listing,
        reading: Reading,
        display: Display,
        *,
        skip_bad: bool,
        first: tuple[InputSpec, Recipe],
    ) -> None:
        self.reading, self.display, self.skip_bad = reading, display, skip_bad
        self.name, self.source, self.classes = listing.name, listing.source, listing.classes
        self.listing, self.targets = listing, torch.zeros(0)
        self.spec, recipe = first
        self.store = self._open(form_of(self.spec, recipe))
        self.targets = self.listing.targets
        self.channels = int(self.store.channels.max())
        self.fingerprint = self.store.fingerprint(self.listing)

    def _open(self, form: Form) -> ImageStore:
        data = read_files(self.listing, form, self.reading, self.display, skip_bad=self.skip_bad)
        if len(data.listing.places) < len(self.targets):
            raise DataError(f"images in {self.source} have changed while they were read; try again")
        self.listing = data.listing
        return data.store

    def scores(
        self, network: nn.Module, recipe: Recipe, spec: InputSpec, progress: Progress | None
    ) -> Tensor:
        """Score every image as validation does, or by its views, those of a size together."""
        form = form_of(spec, recipe)
        store = self.store if self.store.form == form else self._open(form)
        everything = torch.arange(len(store))
        if recipe.protocol != "single":
            return in_shares(everything, partial(_by_views, network, store, recipe, spec, progress))
        loader = WindowLoader(store, spec, recipe, self.reading.workers)
        score = partial(
            logits_of_files,
            *(network, loader, spec),
            channels_last=recipe.channels_last,
            progress=progress,
        )
        return in_shares(everything, score).cpu()

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Give the middle of an image, as the first run reads it."""
        window = middle_window(self.store.pixels(index), self.spec)
        scale = float(self.store.full_scales[index])
        levels = window if scale == 255 else (window * (255 / scale)).round().astype(np.uint8)
        return as_picture(levels)

    def where(self, index: int) -> str:
        """Name an image's file."""
        return self.store.places[index].name

    def fitting(self, channels: int) -> tuple[int, ...]:
        """Let grey images be repeated for red, green and blue."""
        return (1, 3) if channels == 3 else (channels,)


class Pictures:
    """The images of a set as they are looked at, made when they are asked for.

    Args:
        images: The set.

    Attributes:
        shape: ``(N, H, W)`` or ``(N, H, W, 3)``.
        dtype: uint8.
    """

    def __init__(self, images: EvaluatedSet) -> None:
        self.images = images
        self.shape = (len(images.targets), *images.picture(0).shape)
        self.ndim, self.dtype = len(self.shape), np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.images.targets)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.images.picture(index)


def form_of(spec: InputSpec, recipe: Recipe) -> Form:
    """Say in which form a run reads images in files, also one that was not trained on files."""
    if spec.kept_size is None and spec.kept_side is None:
        return form_for(recipe, spec.input_size)
    return Form(spec.kept_size, spec.kept_side)


def as_picture(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay ``(H, W, C)`` bytes out to be looked at; of other than three channels the first."""
    picture: NDArray[np.uint8] = levels if levels.shape[2] == 3 else levels[..., 0]
    return np.ascontiguousarray(picture)


def _by_views(
    network: nn.Module,
    store: ImageStore,
    recipe: Recipe,
    spec: InputSpec,
    progress: Progress | None,
    chosen: Tensor,
) -> Tensor:
    device = next(network.parameters()).device
    answers: dict[int, Tensor] = {}
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, size in zip(chosen.tolist(), store.sizes[chosen].tolist(), strict=True):
        groups.setdefault(tuple(size), []).append(index)
    done = 0
    for members in groups.values():
        for batch in torch.split(torch.tensor(members), batch_size_for(spec)):
            images = torch.stack([store.unit(i, spec.channels) for i in batch.tolist()])
            logits = averaged_scores(network, images.to(device), (0, 1), spec, recipe).cpu()
            for index, scores in zip(batch.tolist(), logits, strict=True):
                answers[index] = scores
            done += len(batch)
            store.release()
            if progress is not None:
                progress(done, len(chosen))
    return torch.stack([answers[index] for index in chosen.tolist()])


def evaluated_set(
    runs: Sequence[Run],
    data: str | None,
    data_dir: Path | None,
    reading: Reading,
    display: Display,
    *,
    part: str = "test",
) -> EvaluatedSet:
    """Open what runs are to be measured on.

    Args:
        runs: The first one's data and classes count.
        data: Name or place of a set; the first run's own by default. A set in files is measured
            on its part of that name, or, where it is not divided, on all of it.
        data_dir: Where named sets are looked for first.
        reading: How images in files are read.
        display: Told how far reading is.
        part: Of a set in files.

    Raises:
        DataError: The set has no such part, or a class that the run does not know; or images have
            changed since the run began, and the set was not named anew.
    """
    run = runs[0]
    name = run.recipe.data if data is None or is_own(run, data) else data
    is_the_runs = name == run.recipe.data
    layout = run.recipe.layout if is_the_runs else "auto"
    moved = data is None and data_dir is not None and datasets.is_path(name)
    if moved:
        name = str(data_dir)
    listing = datasets.list_images(name, layout=layout, typed=data is not None or moved)
    if listing is None:
        return MemorySet(datasets.load(name, data_dir=data_dir, parts=("test",)))
    for note in (listing.layout, *listing.notes):
        display.note(note)
    splits = [each.split for each in runs]
    listing, is_parted = _as_divided(listing, run, splits[0], must=is_the_runs)
    is_divided = is_parted or set(listing.parts) != {"train"}
    if is_divided and part not in listing.parts:
        raise DataError(
            f"{listing.source} has no {part} part, only {', '.join(listing.parts)}; evaluate "
            "images that the run has not seen with --data"
        )
    if not is_divided:
        display.note(
            f"{listing.source} is not divided: all of its {len(listing.places):,} images count; "
            "the figures are honest if the run has not seen them"
        )
    chosen = torch.zeros(len(listing.places), dtype=torch.bool)
    chosen[listing.parts[part if is_divided else "train"]] = True
    listing = replace(listing.keeping(chosen), parts={"test": torch.arange(int(chosen.sum()))})
    listing = _with_classes(listing, run.classes)
    images = FileSet(
        *(listing, reading, display),
        skip_bad=run.recipe.skip_bad,
        first=(run.spec, run.recipe),
    )
    if is_parted and (
        changed := changed_since(images.listing, images.store.contents, splits[0] or "")
    ):
        told = (
            f"{some(changed)} {'has' if len(changed) == 1 else 'have'} changed since the run began"
        )
        if data is None:
            raise DataError(
                f"{told}; bring the images as they were, or give --data {name} to measure on what "
                "is there now"
            )
        display.note(f"{told}; the figures are of what is there now")
    contents = [content.hex() for content in images.store.contents]
    for each, text in zip(runs, splits, strict=True) if part == "test" else ():
        learnt = training_contents(text or "")
        known = sum(content in learnt for content in contents)
        if known:
            display.note(
                f"{known:,} of these {len(contents):,} images are among those that {each.path} was "
                "trained or chosen on: the figures are too good"
            )
    return images


def is_own(run: Run, data: str) -> bool:
    """Tell whether what was typed is the set that a run was trained on."""
    typed = datasets.absolute(data) if datasets.is_path(data) else data
    return typed == run.recipe.data


def _as_divided(
    listing: Listing, run: Run, split: str | None, *, must: bool
) -> tuple[Listing, bool]:
    """Divide a set as a run did, where it is the run's own, perhaps moved; say whether it is."""
    if split is None:
        return listing, False
    try:
        return apply_split(listing, split, drop_new=run.recipe.skip_bad), True
    except DataError:
        if must:
            raise
        return listing, False  # other images: the run divided none of them


def _with_classes(listing: Listing, classes: tuple[str, ...]) -> Listing:
    """Number the classes as a run does, by their names."""
    unknown = [name for name in listing.classes if name not in classes]
    if unknown:
        raise DataError(
            f"{listing.source} has classes that the run does not know: {', '.join(unknown[:12])}; "
            f"it knows {', '.join(classes[:12])}{', ...' if len(classes) > 12 else ''}"
        )
    numbers = torch.tensor([classes.index(name) for name in listing.classes])
    return replace(listing, classes=classes, targets=numbers[listing.targets])
