"""Training from a recipe to a run folder, and going on with a run."""

from pathlib import Path

from striate.datasets import expand, is_path
from striate.devices import choose_device, suited_threads, threads
from striate.display import Display, Silent
from striate.errors import DataError
from striate.models import with_defaults
from striate.provenance import environment
from striate.recipes import Recipe
from striate.run_creation import check_free, clear_leftovers, create_run
from striate.runs import Run, network_options
from striate.task_making import again, load_weights, prepare
from striate.training_loop import SECONDS_BETWEEN_SAVES, TrainingLoop
from striate.weights import open_weights


def train(
    recipe: Recipe,
    out: Path | str,
    *,
    data_dir: Path | None = None,
    device: str = "auto",
    num_threads: int | None = None,
    overwrite: bool = False,
    display: Display | None = None,
    save_seconds: float = SECONDS_BETWEEN_SAVES,
) -> Run:
    """Train a network as a recipe says and leave a run folder.

    Args:
        recipe: All choices of the run.
        out: The run folder to make.
        data_dir: Where named data sets are looked for first.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"`` for the GPU where there is one.
        num_threads: Threads to compute with, which are part of the state; by default as many
            of PyTorch's as a step is worth.
        overwrite: Replace a run that is there.
        display: Where progress is shown; nowhere by default.
        save_seconds: The state is saved at the end of an epoch if this long has passed
            since it was last saved [seconds], and at the end of training.

    Returns:
        The run, with the best weights on validation; without validation, the last.

    Raises:
        UsageError: A name or value of the recipe does not fit, its protocol is not to be had
            with its images, or ``out`` is taken.
        DataError: The data cannot be read.
        TrainingError: The loss is not finite; the last good weights are in the run.
        Interrupted: Ctrl-C; the state is saved.
        RunError: The run folder cannot be written; what was last saved is whole.

    Example:
        >>> import tempfile
        >>> recipe = Recipe(network="lenet5_relu", data="digits", epochs=1)
        >>> run = train(recipe, Path(tempfile.mkdtemp()) / "run")
        >>> [row["epoch"] for row in run.progress()]
        [1.0]
    """
    display = display or Silent()
    place = Path(out).resolve()
    check_free(place, overwrite=overwrite)
    chosen = choose_device(device)
    if is_path(recipe.data):  # to be found again from wherever the run is resumed
        recipe = recipe.replace(data=str(expand(recipe.data).absolute()))
    given, recipe = recipe.model_fields_set, with_defaults(recipe)
    weights = None
    if recipe.weights is not None:
        options = network_options(recipe)
        weights = open_weights(recipe.weights, recipe.network, data_dir=data_dir, options=options)
        recipe = recipe.replace(weights=weights.given)
        if "input_range" not in given and weights.mean is not None:
            recipe = recipe.replace(input_range=None)
    prepared = prepare(recipe, given, display, data_dir, weights)
    work = prepared.multiply_adds * prepared.recipe.batch_size
    num_threads = num_threads or suited_threads(work)
    made = {**environment(prepared.recipe, prepared.task, chosen), "threads": num_threads}
    if weights is not None:
        prepared, report = load_weights(prepared, weights, display)
        facts = {"given": weights.given, "file": str(weights.path), "sha256": weights.sha256}
        made["weights"] = {**facts, "report": report}
        del weights  # the network has them; they can be half a gigabyte
    recipe, spec, task, network, _ = prepared
    loop = TrainingLoop(
        recipe, task, network, device=chosen, display=display, save_seconds=save_seconds
    )
    with threads(num_threads):
        run = create_run(
            place,
            recipe=recipe,
            spec=spec,
            classes=task.classes,
            environment=made,
            state=loop.state(),
            overwrite=overwrite,
        )
        with run.locked():
            loop.go(run)
    return Run(place)


def resume(
    path: Path | str,
    *,
    data_dir: Path | None = None,
    device: str = "auto",
    num_threads: int | None = None,
    display: Display | None = None,
    save_seconds: float = SECONDS_BETWEEN_SAVES,
) -> Run:
    """Go on with a run that was killed or interrupted, to the same weights, bit for bit.

    The same machine and versions are needed for equal bits; device and thread count are the
    run's. Of a finished run, the files that follow from its state are written again.

    Args:
        path: The run folder.
        data_dir: Where a named data set is looked for first; for a run on a folder of data
            that has moved, the folder's new place.
        device: As in ``train``; ``"auto"`` is the device that the run began on.
        num_threads: The run's by default; with others it ends in other bits, and says so.
        display: As in ``train``.
        save_seconds: As in ``train``.

    Raises:
        UsageError: The folder is not a run, or the device does not exist here.
        RunError: The run is damaged, or none of its states is whole.
        DataError: The data are not those the run began with.
    """
    display = display or Silent()
    clear_leftovers(Path(path).resolve())
    run = Run(path)
    chosen = choose_device(run.environment["device"] if device == "auto" else device)
    with run.locked():
        state, notes = run.load_state()
        for note in notes:
            display.note(note)
        moved = data_dir is not None and is_path(run.recipe.data)
        recipe = run.recipe.replace(data=str(data_dir)) if moved else run.recipe
        task = again(run, data_dir, recipe)
        if task.fingerprint != run.environment["data_fingerprint"]:
            raise DataError(
                f"the data in {task.source} are not those this run began with (fingerprint "
                f"{task.fingerprint[:12]}, not {run.environment['data_fingerprint'][:12]}); "
                "give the folder that holds them with --data-dir"
            )
        loop = TrainingLoop(
            run.recipe,
            task,
            run.fresh_network(),
            device=chosen,
            display=display,
            save_seconds=save_seconds,
        )
        loop.load(state)
        if num_threads not in (None, state["threads"]):
            display.note(
                f"with {num_threads} threads instead of {state['threads']} the weights will not "
                "be, bit for bit, those of an unbroken run"
            )
        with threads(num_threads or state["threads"]):
            loop.go(run)
    return Run(path)
