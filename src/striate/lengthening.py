"""A run that is to go on longer than was planned: its state and its recipe change together."""

from striate.distributed import is_first
from striate.errors import UsageError
from striate.run_states import State
from striate.runs import Run, plan_of
from striate.schedules import lengthened


def lengthen(
    run: Run, state: State, epochs: int | None, time: float | None, steps_per_epoch: int
) -> str:
    """Plan more epochs or time for a run, on the disk too, before another step is done.

    The state is saved under the new plan first, then recipe.yaml. A kill between the two is
    mended by ``Run.follow``. What was planned already changes nothing, so that the same
    command goes on after a kill.

    Args:
        run: Locked, following ``state``.
        state: Its newest; changed in place.
        epochs: All epochs, from the run's beginning; as planned by default.
        time: The time budget of the whole run [seconds]; as planned by default.
        steps_per_epoch: To turn epochs into steps.

    Returns:
        A line that says what was planned; empty where nothing changed.

    Raises:
        UsageError: That much is done already, or the other limit has stopped the run.
        RunError: The folder cannot be written.
    """
    recipe = run.recipe
    wanted = epochs or recipe.epochs, time if time is not None else recipe.time
    if wanted == (recipe.epochs, recipe.time):
        return ""
    done, elapsed = state["epoch"], state["elapsed"]
    begun = done + (state["step"] > 0)
    if wanted[0] < begun or (epochs is not None and wanted[0] == done and not state["step"]):
        raise UsageError(
            f"{run.path} has done {done} epochs{' and a part' * (begun > done)}, and "
            f"{wanted[0]} are asked for; --epochs counts from the run's beginning, so give more"
        )
    if wanted[1] is not None and wanted[1] <= elapsed:
        raise UsageError(
            f"{run.path} has trained for {elapsed:.0f} of {wanted[1]:.0f} s; --time counts from "
            "the run's beginning, so give --time too, above that"
        )
    if wanted[0] <= done:
        raise UsageError(f"{run.path} has done its {done} epochs; give more --epochs too")
    steps = done * steps_per_epoch + state["step"]
    recipe = lengthened(
        recipe,
        epochs=wanted[0],
        time=wanted[1],
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        elapsed=elapsed,
    )
    state["plan"] = plan_of(recipe)
    state["lengthenings"] = state.get("lengthenings", 0) + 1
    if recipe.patience is not None and state["epochs_since_best"] >= recipe.patience:
        state["epochs_since_best"] = 0
    state["finished"] = False
    state["cut_after"] = 0
    if is_first():
        run.save(state)
    run.follow(state)
    limit = "" if wanted[1] is None else f" or {wanted[1]:.0f} s"
    return f"lengthened after {steps:,} steps: now to {wanted[0]} epochs{limit}"
