"""The course of the learning rate over a run, and how it goes on in a run that is lengthened."""

import math

from striate.recipe_values import Lengthening
from striate.recipes import Recipe

# Share of the steps after a lengthening over which the rate joins the longer course.
JOIN = 0.3


def learning_rate(
    recipe: Recipe, step: int, steps_per_epoch: int, *, reductions: int = 0, elapsed: float = 0.0
) -> float:
    """Look up the learning rate of a step.

    A run that was lengthened keeps to its old course up to the seam. After it the rate leaves
    the seam's value and joins, over 30 % of the steps that were left, the course that a run of
    the new length would have had from the beginning: of the learning rate, the share

        s(t) = (1 - w) s_seam + w s_new(t),  w = (1 - cos(pi min(1, q / 0.3))) / 2,

    where q is the share of the way from the seam to the new end, by steps or, under a time
    budget, by seconds, whichever is further.

    Args:
        recipe: The schedule, its numbers, and where the run was lengthened.
        step: Steps done since the run began.
        steps_per_epoch: To turn epochs into steps.
        reductions: For the plateau rule: how often the rate was cut so far.
        elapsed: Seconds trained so far; under a time budget the schedule runs out with the
            time, if that comes before the epochs do.

    Source:
        Cosine: I. Loshchilov and F. Hutter, 2017. One-cycle: L. N. Smith, 2018, with linear
        rise over the first 30 % and linear fall to 0. Plateau: the rule of AlexNet, VGG and
        ResNet, "divide by 10 when the validation error stops improving". The way of joining
        a longer course is ours.

    Example:
        >>> recipe = Recipe(network="lenet5", data="digits", epochs=10, learning_rate=0.1)
        >>> [round(learning_rate(recipe, step, 1), 3) for step in (0, 3, 9)]
        [0.017, 0.093, 0.007]
    """
    passed = [seam for seam in recipe.lengthened if seam.steps <= step]
    later = recipe.lengthened[len(passed) :]
    plan = later[0] if later else recipe
    total = plan.epochs * steps_per_epoch
    share = _share(recipe, step, total, plan.time, (steps_per_epoch, reductions, elapsed))
    if passed and recipe.schedule in ("cosine", "one-cycle"):
        joined = _joined(passed[-1], step, total, plan.time, elapsed)
        share = (1 - joined) * passed[-1].share + joined * share
    if recipe.warmup:
        share *= min(1.0, (step + 1) / (recipe.warmup * steps_per_epoch))
    return recipe.learning_rate * share


def lengthened(
    recipe: Recipe,
    *,
    epochs: int | None,
    time: float | None,
    steps: int,
    steps_per_epoch: int,
    elapsed: float,
) -> Recipe:
    """Give the recipe of a run that is to go on longer than was planned, without a jump.

    Args:
        recipe: The run's, complete.
        epochs: All epochs from the run's beginning; as planned by default.
        time: The time budget, of the whole run too [seconds]; as planned by default.
        steps: Done so far.
        steps_per_epoch: To turn epochs into steps.
        elapsed: Seconds trained so far.

    Returns:
        The recipe with the new plan and one more entry in ``lengthened``.

    Example:
        >>> recipe = Recipe(network="lenet5", data="digits", epochs=10, learning_rate=0.1)
        >>> longer = lengthened(
        ...     recipe, epochs=20, time=None, steps=10, steps_per_epoch=1, elapsed=60
        ... )
        >>> [round(learning_rate(longer, step, 1), 3) for step in (8, 9, 10, 12, 19)]
        [0.021, 0.007, 0.011, 0.05, 0.004]
    """
    last = max(steps - 1, 0)
    by_schedule = recipe.replace(warmup=0.0, learning_rate=1.0)
    seam = Lengthening(
        epochs=recipe.epochs,
        time=recipe.time,
        steps=steps,
        seconds=elapsed,
        share=learning_rate(by_schedule, last, steps_per_epoch, elapsed=elapsed),
    )
    # A lengthening that was never used, because the run was lengthened again, leaves no trace.
    before = [entry for entry in recipe.lengthened if entry.steps < steps]
    if len(before) < len(recipe.lengthened):
        seam = recipe.lengthened[len(before)]
    return recipe.replace(
        epochs=epochs or recipe.epochs,
        time=time if time is not None else recipe.time,
        lengthened=(*before, seam),
    )


def _share(
    recipe: Recipe, step: int, total: int, time: float | None, clock: tuple[int, int, float]
) -> float:
    """Give the share of the learning rate at which the schedule stands, warm-up left out."""
    steps_per_epoch, reductions, elapsed = clock
    # The middle of the step, so that neither end of the course is wasted on a rate of zero.
    done = (step + 0.5) / total
    if time is not None:
        done = max(done, elapsed / time)
    done = min(1.0, done)
    if recipe.schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    if recipe.schedule == "one-cycle":
        return min(done / 0.3, (1 - done) / 0.7)
    if recipe.schedule == "step":
        passed = [first for first in recipe.milestones if step >= first * steps_per_epoch]
        return recipe.milestones[max(passed)] if passed else 1.0
    if recipe.schedule == "plateau":
        return float(recipe.plateau_factor**reductions)
    return 1.0


def _joined(seam: Lengthening, step: int, total: int, time: float | None, elapsed: float) -> float:
    """Say how far the rate has left the seam's value for the new course, from 0 to 1."""
    way = (step + 0.5 - seam.steps) / max(total - seam.steps, 1)
    if time is not None and time > seam.seconds:
        way = max(way, (elapsed - seam.seconds) / (time - seam.seconds))
    return (1 - math.cos(math.pi * min(1.0, way / JOIN))) / 2
