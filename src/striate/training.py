"""Training from a recipe to a run folder, and going on with a run."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from striate.datasets import absolute, is_path
from striate.devices import choose_device, memory_kept, suited_threads, threads
from striate.display import Display, Silent
from striate.distributed import from_first, is_first, processes, remember, remembered, size
from striate.errors import DataError
from striate.event_files import FOLDER, Recording, require_event_files
from striate.file_data import Reading
from striate.launching import is_launched
from striate.lengthening import lengthen
from striate.models import with_defaults
from striate.provenance import environment
from striate.recipes import Recipe
from striate.run_creation import check_free, clear_leftovers, create_run, is_run
from striate.runs import Run
from striate.standardization import open_given_weights
from striate.task_making import again, load_weights, prepare
from striate.training_loop import SECONDS_BETWEEN_SAVES, TrainingLoop


@processes()
def train(
    recipe: Recipe,
    out: Path | str,
    *,
    data_dir: Path | None = None,
    device: str = "auto",
    num_threads: int | None = None,
    reading: Reading | None = None,
    overwrite: bool = False,
    tensorboard: bool = False,
    display: Display | None = None,
    save_seconds: float = SECONDS_BETWEEN_SAVES,
) -> Run:
    """Train a network as a recipe says and leave a run folder.

    Processes that torchrun started work on one run together; the first writes it. Where one was
    killed and torchrun started all anew, the run of this torchrun command goes on.

    Args:
        recipe: All choices of the run.
        out: The run folder to make.
        data_dir: Where named data sets are looked for first.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"`` for the GPU where there is one.
        num_threads: Threads to compute with, which are part of the state; by default as many
            of PyTorch's as a step is worth.
        reading: How images in files are read: where they are kept, and by how many processes.
        overwrite: Replace a run that is there.
        tensorboard: Also write event files into the run's ``tensorboard/``.
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
    display = _heard(display)
    place = Path(out).resolve()
    if from_first(lambda: _is_of_this_job(place)):
        display.note(f"the processes were started anew; going on with {place}")
        return resume(
            place,
            data_dir=data_dir,
            device=device,
            num_threads=num_threads,
            reading=reading,
            display=display,
            save_seconds=save_seconds,
        )
    if tensorboard:
        require_event_files()
        display = Recording(display, place) if is_first() else display
    from_first(lambda: check_free(place, overwrite=overwrite))
    chosen = choose_device(device)
    if is_path(recipe.data):  # to be found again from wherever the run is resumed
        recipe = recipe.replace(data=absolute(recipe.data))
    given, recipe = recipe.model_fields_set, with_defaults(recipe)
    recipe, weights = open_given_weights(recipe, given, data_dir)
    prepared = prepare(recipe, given, display, data_dir, reading, weights)
    work = prepared.multiply_adds * prepared.recipe.batch_size
    num_threads = num_threads or suited_threads(work // size())
    made = {**environment(prepared.recipe, prepared.task, chosen), "threads": num_threads}
    made |= {**prepared.facts, **_job()}
    if weights is not None:
        prepared, report = load_weights(prepared, weights, display)
        facts = {"given": weights.given, "file": str(weights.path), "sha256": weights.sha256}
        made["weights"] = {**facts, "report": report}
        del weights  # the network has them; they can be half a gigabyte
    recipe, spec, task, network, _, parts, _ = prepared
    loop = TrainingLoop(
        recipe, task, network, device=chosen, display=display, save_seconds=save_seconds
    )
    with threads(num_threads), memory_kept():
        run = from_first(
            lambda: create_run(
                place,
                recipe=recipe,
                spec=spec,
                classes=task.classes,
                environment=made,
                state=loop.state(),
                split=parts,
                overwrite=overwrite,
            )
        )
        with _kept_from_others(run):
            loop.go(run)
    return from_first(lambda: Run(place))


@processes()
def resume(
    path: Path | str,
    *,
    data_dir: Path | None = None,
    device: str = "auto",
    num_threads: int | None = None,
    epochs: int | None = None,
    time: float | None = None,
    tensorboard: bool = False,
    reading: Reading | None = None,
    display: Display | None = None,
    save_seconds: float = SECONDS_BETWEEN_SAVES,
) -> Run:
    """Go on with a run that was killed or interrupted, to the same weights, bit for bit.

    The same machine and versions are needed for equal bits; device and thread count are the
    run's. Of a finished run, the files that follow from its state are written again; with more
    epochs or time it is lengthened, by ``schedules.learning_rate`` without a jump in the rate.

    Args:
        path: The run folder.
        data_dir: Where a named data set is looked for first; for a run on a folder of data
            that has moved, the folder's new place.
        device: As in ``train``; ``"auto"`` is the device that the run began on.
        num_threads: The run's by default; with others it ends in other bits, and says so.
        epochs: All epochs, from the run's beginning, if other than planned.
        time: The time budget of the whole run, if other than planned [seconds].
        tensorboard: As in ``train``; of a run that has event files, they always go on.
        reading: As in ``train``.
        display: As in ``train``.
        save_seconds: As in ``train``.

    Raises:
        UsageError: The folder is not a run, the device does not exist here, or fewer epochs or
            less time are asked for than are done.
        RunError: The run is damaged, or none of its states is whole.
        DataError: The data are not those the run began with.
    """
    display = _heard(display)
    run = from_first(lambda: _opened(Path(path)))
    chosen = choose_device(run.environment["device"] if device == "auto" else device)
    with _kept_from_others(run):
        state, notes = from_first(run.load_state)
        for note in notes:
            display.note(note)
        if tensorboard or (run.path / FOLDER).is_dir():
            require_event_files()
            if is_first():
                display = Recording(display, run.path, list(state["progress"]))
        if run.follow(state):
            display.note(f"recipe.yaml follows the state: {run.recipe.epochs} epochs")
        moved = data_dir is not None and is_path(run.recipe.data)
        recipe = run.recipe.replace(data=str(data_dir)) if moved else run.recipe
        task = again(run, recipe, data_dir=data_dir, reading=reading, display=display)
        if task.fingerprint != run.environment["data_fingerprint"]:
            raise DataError(
                f"the data in {task.source} are not those this run began with (fingerprint "
                f"{task.fingerprint[:12]}, not {run.environment['data_fingerprint'][:12]}); "
                "give the folder that holds them with --data-dir"
            )
        if longer := lengthen(run, state, epochs, time, task.steps_per_epoch):
            display.note(longer)
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
        if not state["finished"] and size() != (before := state.get("processes", 1)):
            display.note(
                f"with {size()} process{'es' * (size() > 1)} instead of {before} the weights will "
                "not be, bit for bit, those of an unbroken run"
            )
        with threads(num_threads or state["threads"]), memory_kept():
            loop.go(run)
    return from_first(lambda: Run(path))


def _heard(display: Display | None) -> Display:
    """Let the first process alone be heard."""
    return display if display is not None and is_first() else Silent()


def _opened(path: Path) -> Run:
    clear_leftovers(path.resolve())
    return Run(path)


@contextmanager
def _kept_from_others(run: Run) -> Iterator[None]:
    """Lock the run, where this process is the one that writes it."""
    if not is_first():
        yield
        return
    with run.locked():
        yield


def _job() -> dict[str, Any]:
    """Say for environment.json which torchrun command a run is of, and remember it."""
    if not is_launched():
        return {}
    job = from_first(lambda: remembered("job") or uuid.uuid4().hex)
    remember("job", job)
    return {"processes": size(), "job": job}


def _is_of_this_job(place: Path) -> bool:
    """Say whether a run is one that this torchrun command began before a process was killed."""
    job = remembered("job")
    return job is not None and is_run(place) and Run(place).environment.get("job") == job
