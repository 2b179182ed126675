"""From a recipe to what a training loop needs: data, input, network and task, all agreeing."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from striate.augmentation import misfits_of_tiles
from striate.batches import input_spec, load_training_data, sized
from striate.datasets import list_images
from striate.datasets.data_fields import check_data_fields
from striate.datasets.listing import Listing
from striate.datasets.mask_memory import available_memory
from striate.datasets.split_files import write_split
from striate.datasets.splits import split
from striate.display import Display
from striate.errors import UsageError
from striate.file_classification import FileClassification, files_again
from striate.file_data import FileData, Reading, default_reading, file_spec, form_for, read_files
from striate.lettering import amount
from striate.mask_data import load_mask_data, tile_spec
from striate.mask_scoring import check_views
from striate.misfits import Misfit, misfits, suited
from striate.models import build, find_network, outline
from striate.preparation import InputSpec
from striate.protocols import check_protocol
from striate.recipes import Recipe
from striate.runs import Run, network_options
from striate.segmentation import Segmentation, pixel_form
from striate.segmentation_losses import LOSSES_OF_MASKS
from striate.standardization import as_weights_expect, shown_as
from striate.tasks import Classification, Task
from striate.tile_input import TileSpec
from striate.tracing import trace
from striate.weights import Weights

# Fields of a recipe that mean something to one kind of task alone.
OF_MASKS = (
    *("width", "depth", "normalization", "tile", "intensity", "rare"),
    *("border_weight", "border_sigma", "match_histograms"),
)
OF_LABELS = (
    *("rubbish", "auxiliary", "label_smoothing", "image_size", "input_range", "crop"),
    *("side_range", "scales", "view_average", "crop_padding", "pca_color", "mixup", "cutmix"),
    "alternate",
    *("micro_batch", "sampling", "layout", "test", "group", "fold", "skip_bad"),
)
LOSSES_OF_LABELS = ("cross-entropy", "map", "squared-error")

# Training images that a network may see before it begins, if it asks.
SHOWN = 5000


class Prepared(NamedTuple):
    """A recipe made complete, and what it comes to.

    Attributes:
        recipe: With what the data decided.
        spec: The network's input.
        task: What the loop works on.
        network: With fresh weights.
        multiply_adds: Of one example.
        split: Which image is in which part, as split.csv; None where the set says it all.
        facts: What the run's environment.json is to say of the data.
    """

    recipe: Recipe
    spec: InputSpec | TileSpec
    task: Task
    network: nn.Module
    multiply_adds: int
    split: str | None = None
    facts: Mapping[str, Any] = {}


def prepare(
    recipe: Recipe,
    given: Collection[str],
    display: Display,
    data_dir: Path | None = None,
    reading: Reading | None = None,
    weights: Weights | None = None,
) -> Prepared:
    """Read the data that a recipe names and build its network for them.

    Args:
        recipe: With its network's values.
        given: Names of the fields that the user chose.
        display: Told what was switched off, and why.
        data_dir: Where named sets are looked for first.
        reading: How images in files are read; ``file_data.default_reading`` by default.
        weights: From which training will start; masked images are standardised as they expect.

    Returns:
        Recipe, input, task and network, agreeing.

    Raises:
        UsageError: Values of the recipe do not fit the data, the network or one another.
        DataError: The data cannot be read.
    """
    labels_images = find_network(recipe.network).task == "classification"
    _check_fields(recipe, given, labels_images=labels_images)
    if labels_images:
        listing = list_images(recipe.data, layout=recipe.layout)
        parts = () if listing is None else tuple(listing.parts)
        check_data_fields(recipe, given, is_files=listing is not None, parts=parts)
        if listing is not None:
            chosen = reading or default_reading()
            return _file_classification(recipe, given, display, listing, chosen)
        return _classification(recipe, given, display, data_dir)
    return _segmentation(recipe, display, data_dir, weights)


def _check_fields(recipe: Recipe, given: Collection[str], *, labels_images: bool) -> None:
    """Refuse what would have no effect on this kind of task."""
    foreign = OF_MASKS if labels_images else OF_LABELS
    what = "whole images" if labels_images else "pixels"
    idle = [
        f"--{name.replace('_', '-')}"
        for name in foreign  # a run's recipe.yaml names them all, at their defaults
        if name in given and getattr(recipe, name) != _default(name)
    ]
    if idle:
        raise UsageError(
            f"{', '.join(idle)} without effect: {recipe.network} labels {what}; leave "
            f"{'it' if len(idle) == 1 else 'them'} out"
        )
    known = LOSSES_OF_LABELS if labels_images else LOSSES_OF_MASKS
    if recipe.loss not in known:
        raise UsageError(
            f"loss {recipe.loss} does not fit {recipe.network}, which labels {what}; there are "
            f"{', '.join(known)}"
        )
    if labels_images:
        _check_mixing(recipe)
    else:
        check_views(recipe.protocol)
    without_weights = LOSSES_OF_LABELS[1:] if labels_images else ("dice", "dice-plain")
    for idle_name, without, is_idle in (
        ("class_weights", f"with loss {recipe.loss}", recipe.loss in without_weights),
        ("border_sigma", "without --border-weight", not recipe.border_weight),
        ("elastic_points", "without --elastic", not recipe.elastic and not labels_images),
        ("flip", "beside --turns, which mirror too", recipe.turns),
        ("alternate", "without --flip", not recipe.flip),
        ("decay", "without --weight-decay", not recipe.weight_decay),
    ):
        if is_idle and idle_name in given and getattr(recipe, idle_name) != _default(idle_name):
            option = f"--{idle_name.replace('_', '-')}"
            raise UsageError(f"{option} has no effect {without}; leave it out")


def _check_mixing(recipe: Recipe) -> None:
    """Refuse two labels for an image where the loss has a meaning for one alone."""
    for name in ("mixup", "cutmix"):
        if getattr(recipe, name) and recipe.loss == "map":
            raise UsageError(
                f"{name} gives an image two labels, but loss map compares it with the code of one; "
                "give --loss cross-entropy"
            )


def _default(name: str) -> Any:
    return Recipe.model_fields[name].default


def _classification(
    recipe: Recipe, given: Collection[str], display: Display, data_dir: Path | None
) -> Prepared:
    data = load_training_data(recipe, data_dir)
    recipe = sized(recipe, given, len(data.training.targets))
    input_shape = find_network(recipe.network).input_shape
    channels = data.training.images.shape[1]
    recipe, notes = suited(recipe, given, channels, input_shape)
    for note in notes:
        display.note(note)
    spec = input_spec(data.training.images, data.value_range, input_shape, recipe)
    network = _fresh(recipe, spec.channels, len(data.classes))
    problems = misfits(recipe, spec, has_validation=data.validation is not None)
    _check_fit(recipe, spec, network, problems)
    task = Classification(recipe, spec, data)
    _show_images(network, task)
    work = trace(network, (spec.channels, *spec.input_size)).multiply_adds
    return Prepared(recipe, spec, task, network, work)


def _file_classification(
    recipe: Recipe,
    given: Collection[str],
    display: Display,
    listing: Listing,
    reading: Reading,
) -> Prepared:
    input_shape = find_network(recipe.network).input_shape
    for line in (listing.layout, *listing.notes):
        display.note(line)
    resized, _ = suited(recipe, given, 3, input_shape)
    form = form_for(resized, input_shape[1:])
    data = read_files(listing, form, reading, display, skip_bad=recipe.skip_bad)
    data = replace(data, listing=_split(data, recipe, display))
    recipe = sized(recipe, given, len(data.listing.parts["train"]))
    recipe, notes = suited(recipe, given, data.channels, input_shape)
    for note in notes:
        display.note(note)
    spec = file_spec(data, input_shape, recipe)
    network = _fresh(recipe, spec.channels, len(data.listing.classes))
    has_validation = len(data.listing.parts.get("validation", ())) > 0
    _check_fit(recipe, spec, network, misfits(recipe, spec, has_validation=has_validation))
    task = FileClassification(recipe, spec, data, reading.workers)
    _show_images(network, task)
    work = trace(network, (spec.channels, *spec.input_size)).multiply_adds
    facts = {"left_out": list(data.left_out)} if data.left_out else {}
    parts = write_split(data.listing, data.store.contents)
    return Prepared(recipe, spec, task, network, work, parts, facts)


def _split(data: FileData, recipe: Recipe, display: Display) -> Listing:
    divided = split(
        data.listing,
        validation=recipe.validation,
        test=recipe.test,
        seed=recipe.seed,
        group=recipe.group,
        fold=recipe.fold,
        contents=data.store.contents,
    )
    for note in divided.notes[len(data.listing.notes) :]:
        display.note(note)
    return divided


def _check_fit(recipe: Recipe, spec: InputSpec, network: nn.Module, problems: list[Misfit]) -> None:
    """Refuse a recipe that does not fit its images, with all that is to be changed."""
    try:
        check_protocol(recipe.protocol, network, recipe, spec)
    except UsageError as error:
        if not problems:
            raise
        problems = [*problems, Misfit(str(error).rpartition("; ")[0], "--protocol single")]
    if len(problems) == 1:
        raise UsageError(f"{problems[0].reason}; give {problems[0].remedy}")
    if problems:
        told = "; ".join(f"{remedy} ({reason})" for reason, remedy in problems)
        raise UsageError(f"{recipe.network} and these images need other choices: {told}")


def _segmentation(
    recipe: Recipe, display: Display, data_dir: Path | None, weights: Weights | None
) -> Prepared:
    known = find_network(recipe.network)
    axes = len(known.input_shape) - 1
    tile = _tile(recipe, axes)
    data = load_mask_data(recipe, axes, data_dir)
    for note in data.notes:
        display.note(note)
    _check_choices(recipe, len(data.validation))
    spec = tile_spec(data, tile, recipe)
    for reason, remedy in misfits_of_tiles(recipe, spec):
        raise UsageError(f"{reason}; give {remedy}")
    if weights is not None:
        spec, note = shown_as(spec, weights.input, recipe)
        display.note(note)
    output, work = _answered(recipe, spec, len(data.classes))
    network = _fresh(recipe, spec.channels, len(data.classes))
    return Prepared(recipe, spec, Segmentation(recipe, spec, data, output), network, work)


def _tile(recipe: Recipe, axes: int) -> tuple[int, ...]:
    """Complete the tile of a recipe: one number stands for all sides."""
    tile = recipe.tile or find_network(recipe.network).input_shape[1:]
    if len(tile) == 1:
        return tile * axes
    if len(tile) != axes:
        raise UsageError(
            f"{recipe.network} has {axes} spatial axes, but tile has {len(tile)}; give "
            f"{','.join(['64'] * axes)}, say"
        )
    return tile


def _answered(recipe: Recipe, spec: TileSpec, num_classes: int) -> tuple[tuple[int, ...], int]:
    """Say what size the network answers of a tile, and with how many multiply-adds."""
    network = outline(recipe.network, spec.channels, num_classes, **network_options(recipe))
    try:
        traced = trace(pixel_form(network, recipe.network), (spec.channels, *spec.tile))
    except (ValueError, RuntimeError) as error:
        size = "x".join(map(str, spec.tile))
        reason, _, padded = str(error).partition("; pad it to ")
        legal = padded.partition(" ")[0].replace("x", ",")
        remedy = f"; give --tile {legal}" if legal else ""
        smaller = ", or a smaller --depth" if legal and recipe.depth else ""
        raise UsageError(
            f"tile {size} does not fit {recipe.network}: {reason}{remedy}{smaller}"
        ) from error
    return traced.output_shape[1:], traced.multiply_adds


def again(
    run: Run,
    recipe: Recipe,
    *,
    data_dir: Path | None = None,
    reading: Reading | None = None,
    display: Display,
) -> Task:
    """Make the task of a run once more.

    Args:
        run: The run.
        recipe: The run's, with the place where its data are now.
        data_dir: Where named sets are looked for first.
        reading: How images in files are read; ``file_data.default_reading`` by default.
        display: Told how far reading is.
    """
    if run.split is not None:
        chosen = reading or default_reading()
        files = files_again(run, recipe, chosen, display)
        return FileClassification(run.recipe, run.spec, files, chosen.workers)
    if run.task == "classification":
        return Classification(run.recipe, run.spec, load_training_data(recipe, data_dir))
    spec = run.tile_spec
    data = load_mask_data(recipe, len(spec.tile), data_dir)
    output, _ = _answered(run.recipe, spec, len(run.classes))
    return Segmentation(run.recipe, spec, data, output)


def load_weights(prepared: Prepared, weights: Weights, display: Display) -> tuple[Prepared, str]:
    """Put weights into the network, and let the input be standardised as they expect it.

    Args:
        prepared: Its network is changed.
        weights: Opened for it.
        display: Told how they fit.

    Returns:
        What is now prepared, and how the weights fit, in words.
    """
    report = weights.load_into(prepared.network)
    display.note(report)
    known = (Classification, FileClassification)
    if not isinstance(prepared.spec, InputSpec) or not isinstance(prepared.task, known):
        return prepared, report
    spec = as_weights_expect(prepared.spec, weights, prepared.recipe, display)
    prepared.task.spec = spec
    return prepared._replace(spec=spec), report


def _fresh(recipe: Recipe, channels: int, num_classes: int) -> nn.Module:
    options = network_options(recipe)
    form = outline(recipe.network, channels, num_classes, **options)
    require_room(form, available_memory(), tunable=bool(options))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return build(recipe.network, channels, num_classes, **options)


def require_room(network: nn.Module, available: int | None, *, tunable: bool) -> None:
    """Refuse a network whose weights and gradients do not fit into memory.

    Args:
        network: An outline does.
        available: From ``available_memory``.
        tunable: Whether the user can make it smaller.

    Raises:
        UsageError: They take more than there is; both are told.
    """
    count = sum(parameter.numel() for parameter in network.parameters())
    needed = 2 * sum(p.numel() * p.element_size() for p in network.parameters())
    if available is not None and needed > available:
        remedy = "a smaller --width or --depth" if tunable else "a smaller network"
        raise UsageError(
            f"the network has {count:,} parameters, which take {amount(needed)} with their "
            f"gradients, and {amount(available)} of memory are free; give {remedy}"
        )


def _show_images(network: nn.Module, task: Task) -> None:
    """Show a network that begins by its images some of the first epoch's."""
    initialize: Callable[[Tensor], None] | None = getattr(network, "initialize_from", None)
    if initialize is None:
        return
    shown: list[Tensor] = []
    for batch in task.batches(0, 0):
        shown.append(batch.images)
        if sum(map(len, shown)) >= SHOWN:
            break
    initialize(torch.cat(shown)[:SHOWN])


def _check_choices(recipe: Recipe, num_validation: int) -> None:
    for choice, name in (
        (recipe.schedule == "plateau", "schedule plateau"),
        (recipe.patience is not None, "patience"),
    ):
        if choice and not num_validation:
            raise UsageError(f"{name} needs a validation part; set validation to 0.1, say")
