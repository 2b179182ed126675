"""From a listing of images in files to what a run learns from, and how they meet the network."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from striate.augmentation import color_axes
from striate.batches import image_size_for, mean_and_deviation_for
from striate.datasets.listing import Listing, counted
from striate.display import Display
from striate.errors import DataError
from striate.figures import SAMPLE, figure_sides, is_plain, median_side
from striate.files import cache_root
from striate.image_store import Form, ImageStore, open_store
from striate.preparation import InputSpec
from striate.recipes import Recipe
from striate.worker_processes import processors

LARGEST_FIGURES = 128  # scans of single figures are no larger than this [pixels]
READ_AT_ONCE = 64  # images
MOST_NOTED = 6  # kinds of what was done to images, the most frequent


class Reading(NamedTuple):
    """How files are read; nothing in the result depends on it.

    Attributes:
        cache: The folder in which reduced images are kept; None decodes them at every reading.
        workers: Processes that decode, and that make batches.
    """

    cache: Path | None
    workers: int


def default_reading() -> Reading:
    """Keep images where ``files.cache_root`` says; use all processors that this process may."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes under torchrun share them
    return Reading(cache_root(), max(1, processors() // here))


@dataclass(frozen=True)
class FileData:
    """Images in files, read and checked.

    Attributes:
        listing: With a part for each image, without those that were left out.
        store: Holds the images, in the listing's order.
        left_out: Why images were left out, one sentence each.
    """

    listing: Listing
    store: ImageStore
    left_out: tuple[str, ...]

    @property
    def channels(self) -> int:
        """Channels that the network reads: the most that an image has."""
        return int(self.store.channels.max())


def form_for(recipe: Recipe, input_size: Sequence[int]) -> Form:
    """Say to what images are reduced for a recipe, so that nothing it reads is lost.

    Args:
        recipe: ``image_size`` and ``side_range``.
        input_size: Height and width that the network reads [pixels].

    Returns:
        The network's input, or ``image_size``; where windows of larger images are read, the
        largest shorter side at which they are.
    """
    side = recipe.image_size
    if recipe.side_range is not None:
        side = max(side or 0, recipe.side_range[1])
    if side is None:
        return Form(size=(input_size[0], input_size[1]))
    if side <= min(input_size):
        return Form(size=(side, side))
    return Form(side=side)


def read_files(
    listing: Listing, form: Form, reading: Reading, display: Display, *, skip_bad: bool
) -> FileData:
    """Read every image once: check, reduce, keep.

    Args:
        listing: Where the images are.
        form: What they are reduced to.
        reading: Where they are kept, and by how many processes they are decoded.
        display: Told how far it is, and what was done to the images.
        skip_bad: Leave out what cannot be read.

    Raises:
        DataError: Images cannot be read, all of them named, or they do not go together.
        RunError: A worker was killed, or the disk is full.
    """
    with display.reading() as progress:
        store, refused = open_store(
            listing,
            form,
            cache=reading.cache,
            workers=reading.workers if reading.workers > 1 else 0,
            progress=progress,
            note=display.note,
        )
    bad = [each for each in refused if each is not None]
    if bad and not skip_bad:
        raise DataError(
            f"{len(bad):,} of {len(refused):,} images cannot be read; mend or remove them, or "
            "leave them out with --skip-bad:\n" + "\n".join(f"  {each.reason}" for each in bad)
        )
    if bad:
        listing = listing.keeping(torch.tensor([each is None for each in refused]))
        display.note(
            f"{len(bad):,} of {len(refused):,} images cannot be read and are left out; the run's "
            "environment.json names them"
        )
    if not len(store):
        raise DataError(f"{listing.source} has no image that can be read")
    _check_channels(listing, store)
    for note, count in store.notes.most_common(MOST_NOTED):
        display.note(f"{counted(count, 'image')}: {note}")
    return FileData(listing, store, tuple(each.reason for each in bad))


def _check_channels(listing: Listing, store: ImageStore) -> None:
    counts = store.channels.tolist()
    kinds = {count: counts.index(count) for count in sorted(set(counts))}
    if len(kinds) > 1 and set(kinds) != {1, 3}:
        told = ", ".join(
            f"{channels} ({counts.count(channels):,} images, as {listing.places[index].name})"
            for channels, index in kinds.items()
        )
        raise DataError(
            f"the images in {listing.source} differ in channels: {told}; they need as many each, "
            "or to be grey and RGB"
        )


def file_spec(data: FileData, input_shape: Sequence[int], recipe: Recipe) -> InputSpec:
    """Decide once, from the training images, how every image will meet the network.

    As ``batches.input_spec``, but that the background, figures and principal colors are those of
    a thousand evenly spaced images, and that images of different sizes have none of their own.

    Args:
        data: Split.
        input_shape: Channels, height and width of the network's default input.
        recipe: Its ``image_size``, ``side_range`` and ``input_range``.
    """
    store, training = data.store, data.listing.parts["train"]
    wanted = (input_shape[1], input_shape[2])
    sizes = store.own_sizes[training]
    own = tuple(sizes[0].tolist()) if bool((sizes == sizes[0]).all()) else None
    if recipe.input_range is None:
        mean, std = mean_and_deviation(store, training, data.channels)
    else:
        mean, std = mean_and_deviation_for(recipe.input_range, data.channels)
    sample = training[:: max(1, len(training) // SAMPLE)].tolist()
    grounds = torch.stack([_ground(store, index, data.channels) for index in _read(store, sample)])
    background = tuple(grounds.median(dim=0).values.tolist())
    extent, axes = None, None
    if own is not None and max(own) <= LARGEST_FIGURES and is_plain(grounds, background):
        figures = (store.unit(index, data.channels)[None] for index in _read(store, sample))
        extent = median_side(torch.cat([figure_sides(each, background) for each in figures]))
    if recipe.pca_color:
        units = (store.unit(index, data.channels)[None] for index in _read(store, sample))
        axes = color_axes(units, (0, 1))
    return InputSpec(
        channels=data.channels,
        image_size=image_size_for(own, wanted, recipe),
        input_size=wanted,
        mean=mean,
        std=std,
        background=background,
        training_size=own,
        figure_extent=extent,
        color_axes=axes,
        kept_size=store.form.size,
        kept_side=store.form.side,
    )


def mean_and_deviation(
    store: ImageStore, training: Tensor, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure each channel of images in [0, 1]; a constant channel gets deviation 1.

    Args:
        store: Holds the images' sums.
        training: ``(N,)``, which of them.
        channels: That the network reads; grey images count for each.

    Returns:
        mean: One for each channel.
        std: One for each channel.
    """
    scales = store.full_scales[training]
    pixels = store.sizes[training].prod(dim=1).double().sum()
    grey = store.channels[training] == 1
    means, deviations = [], []
    for channel in range(channels):
        from_channel = torch.where(grey, 0, channel)[:, None]
        sums = store.sums[training].gather(1, from_channel)[:, 0]
        squares = store.squares[training].gather(1, from_channel)[:, 0]
        mean = (sums / scales).sum() / pixels
        variance = ((squares / scales**2).sum() / pixels - mean**2).clamp(min=0)
        means.append(mean.item())
        deviations.append(variance.sqrt().item() if variance > 1e-12 else 1.0)
    return tuple(means), tuple(deviations)


def _read(store: ImageStore, sample: Iterable[int]) -> Iterator[int]:
    """Give indices one by one, and the memory of the images back now and then."""
    for count, index in enumerate(sample):
        if count % READ_AT_ONCE == 0:
            store.release()
        yield index
    store.release()


def _ground(store: ImageStore, index: int, channels: int) -> Tensor:
    """Give the median of an image's border, ``(channels,)``, in [0, 1]."""
    pixels = store.pixels(index)
    sides = (pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1])
    border = torch.from_numpy(np.concatenate(sides).astype(np.float32))
    return (border.median(dim=0).values / store.full_scales[index].item()).expand(channels)
