"""One label for each image, of images that lie in files."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from striate.augmentation import augment, mix, partners
from striate.batches import Batch, Mixed, own_rows
from striate.datasets import list_images
from striate.datasets.split_files import apply_split, changed_since, refuse_others
from striate.display import Display, Progress
from striate.distributed import in_shares
from striate.errors import DataError
from striate.file_data import FileData, Reading, read_files
from striate.image_store import Form
from striate.loading import Request, WindowLoader
from striate.modes import evaluating
from striate.ordering import shown_images, steps_of, steps_per_epoch
from striate.preparation import InputSpec, normalize, surround, to_unit
from striate.recipes import Recipe
from striate.runs import Run
from striate.scoring import batch_size_for
from striate.tasks import Labelling, Measures


class FileClassification(Labelling):
    """One label for each image in files.

    Args:
        recipe: Complete.
        spec: The network's input.
        data: The images, split.
        workers: Processes that make batches ahead of time; 0 makes them when they are needed.
    """

    def __init__(self, recipe: Recipe, spec: InputSpec, data: FileData, workers: int) -> None:
        listing = data.listing
        super().__init__(recipe, listing.targets[listing.parts["train"]], listing.classes)
        self.spec = spec
        self.training, self.targets = listing.parts["train"], listing.targets
        self.validation = listing.parts.get("validation", torch.zeros(0).long())
        self.source = listing.source
        self.fingerprint = data.store.fingerprint(listing)
        self.num_examples = self.num_training = len(self.training)
        self.num_validation = len(self.validation)
        self.steps_per_epoch = steps_per_epoch(self.num_examples, recipe.batch_size)
        self.device = torch.device("cpu")
        self.loader = WindowLoader(data.store, spec, recipe, workers)

    def to(self, device: torch.device) -> None:
        """Say where batches are wanted; the images stay in their files."""
        self.device = device

    def batches(
        self, epoch: int, first_step: int, share: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Give an epoch's examples, in an order of its own."""
        shown = self.training[shown_images(self.recipe, epoch, self.targets[self.training])]
        steps = steps_of(self.recipe, epoch, self.num_examples)[first_step:]
        rows = [own_rows(every, share) for every in steps]
        parts = [part for part, _ in rows]
        seconds = [partners(self.recipe, epoch, part, self.num_examples) for part in parts]
        windows = self.loader.batches(
            Request(shown[indices], indices, epoch)
            for pair in zip(parts, seconds, strict=True)
            for indices in pair
            if indices is not None
        )
        for every, (part, count), others in zip(steps, rows, seconds, strict=True):
            images = self._augmented(next(windows), epoch, part)
            indices, targets = part.to(self.device), self.targets[shown[part]].to(self.device)
            mixed = None
            if others is not None:
                second = self._augmented(next(windows), epoch, others)
                images, shares = mix(images, second, self.recipe, epoch, indices)
                mixed = Mixed(self.targets[shown[others]].to(self.device), shares)
            batch = Batch(indices, images, targets, mixed=mixed, whole=len(every))
            yield batch if count else batch.part(torch.arange(0))

    def _augmented(self, windows: Tensor, epoch: int, indices: Tensor) -> Tensor:
        indices = indices.to(self.device)
        images = framed(windows.to(self.device), self.spec)
        return augment(images, self.spec, self.recipe, epoch, indices, mirrored=True, owned=True)

    def validate(self, network: nn.Module) -> Measures:
        """Show the network every validation image."""
        if not self.num_validation:
            raise ValueError("there is no validation part; set the recipe's validation above 0")
        score = partial(
            logits_of_files,
            *(network, self.loader, self.spec),
            channels_last=self.recipe.channels_last,
        )
        logits = in_shares(self.validation, score)
        targets = self.targets[self.validation].to(logits.device)
        return self.measures(logits, targets)


def files_again(run: Run, recipe: Recipe, reading: Reading, display: Display) -> FileData:
    """Read the images of a run once more, each in the part that it was in.

    Args:
        run: One that was trained on files.
        recipe: The run's own object; or a copy with the place of its data that a person gave,
            which may be a command to run.
        reading: As in ``read_files``.
        display: As in ``read_files``.

    Raises:
        DataError: Images cannot be read, are missing, have changed or have come in addition.
    """
    is_typed = recipe is not run.recipe  # also where what was typed is what the run says
    listing = list_images(recipe.data, layout=recipe.layout, typed=is_typed)
    split = run.split
    if listing is None or split is None:
        raise DataError(f"{recipe.data} holds no images in files, as this run was trained on")
    form = Form(run.spec.kept_size, run.spec.kept_side)
    data = read_files(listing, form, reading, display, skip_bad=recipe.skip_bad)
    listing = apply_split(data.listing, split)
    changed = changed_since(listing, data.store.contents, split)
    refuse_others(listing, "{have} changed since the run began", changed)
    return replace(data, listing=listing)


def framed(windows: Tensor, spec: InputSpec) -> Tensor:
    """Bring windows to [0, 1] and to the network's size, in a frame of background if needed.

    Args:
        windows: ``(N, C, h, w)``, bytes, or floats in [0, 1].
        spec: The network's input.

    Returns:
        ``(N, C, *spec.input_size)``, float32 in [0, 1].
    """
    unit = to_unit(windows, (0, 255 if windows.dtype == torch.uint8 else 1))
    return surround(unit, spec.input_size, torch.tensor(spec.background))


@torch.inference_mode()
def logits_of_files(
    network: nn.Module,
    loader: WindowLoader,
    spec: InputSpec,
    images: Tensor,
    *,
    channels_last: bool = False,
    progress: Progress | None = None,
) -> Tensor:
    """Score the middle of every image once, in evaluation mode; each layer's mode is left.

    Args:
        network: Images to logits, on any one device.
        loader: Reads the images.
        spec: The network's input.
        images: ``(N,)``, which of the loader's store.
        channels_last: Memory format of the maps.
        progress: Called after each batch with the images done and the number of all.

    Returns:
        ``(N, classes)``, float32, on the network's device.
    """
    device = next(network.parameters()).device
    memory = torch.channels_last if channels_last else torch.contiguous_format
    requests = (Request(chunk) for chunk in torch.split(images, batch_size_for(spec)))
    answers: list[Tensor] = []
    done = 0
    with evaluating(network):
        for made in loader.batches(requests):
            windows = normalize(framed(made.to(device), spec), spec)
            answers.append(network(windows.contiguous(memory_format=memory)).float())
            done += len(made)
            if progress is not None:
                progress(done, len(images))
    return torch.cat(answers)
