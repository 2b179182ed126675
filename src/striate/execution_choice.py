"""How batches are computed fastest here: measured on copies before a run begins."""

import copy
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from striate.batches import Batch
from striate.errors import UsageError
from striate.gradients import Execution, Gradients
from striate.recipes import Recipe
from striate.tasks import Task

# To compile takes about a minute on a processor: too long to try in shorter runs [seconds].
WORTH_COMPILING = 1200.0
_LEAST_STEPS, _MOST_STEPS, _ENOUGH_SECONDS = 2, 10, 1.0


class Timed(NamedTuple):
    """What one way of computing takes.

    Attributes:
        execution: The way.
        first: The first batch, with whatever is compiled for it [seconds].
        step: A batch after that [seconds].
    """

    execution: Execution
    first: float
    step: float


def needs_choice(recipe: Recipe) -> bool:
    """Tell whether a recipe leaves open how to compute, or asks for what may not work here."""
    return recipe.compile != "off" or recipe.precision != "float32"


def choose_execution(
    gradients: Gradients, batch: Batch, num_steps: int, note: Callable[[str], None]
) -> Execution:
    """Find the fastest way to compute a batch among those that a recipe allows.

    Args:
        gradients: Of the run; only copies of its network are trained.
        batch: One of the run's.
        num_steps: Steps that are to come: a compilation must pay within them.
        note: Told what was measured and what won.

    Raises:
        UsageError: The recipe asks for bf16, which the device does not have.
    """
    recipe = gradients.recipe
    ways = _eager_ways(recipe, gradients.device, note)
    with torch.random.fork_rng():
        measured = [timed(gradients, way, batch) for way in ways]
        best = min(measured, key=lambda each: each.step)
        if recipe.compile == "on" or (
            recipe.compile == "auto" and _long_enough(recipe, best, num_steps, note)
        ):
            compiled = _compiled(gradients, best.execution, batch, note)
            if compiled is not None:
                measured.append(compiled)
                if recipe.compile == "on" or _pays(best, compiled, gradients, num_steps, note):
                    best = compiled
    if len(measured) > 1:
        steps = ", ".join(f"{each.execution} {1000 * each.step:.3g} ms" for each in measured)
        plain = measured[0]
        other = max(measured, key=lambda each: each.step) if best is plain else plain
        note(
            f"a batch in {steps}; {best.execution} from now on, {other.step / best.step:.2f} times "
            f"as fast as {other.execution}"
        )
    return best.execution


def _eager_ways(
    recipe: Recipe, device: torch.device, note: Callable[[str], None]
) -> list[Execution]:
    """List the ways that a recipe leaves open, without compilation."""
    is_gpu, has_bf16 = device.type == "cuda", has_fast_bf16(device)
    if recipe.precision == "bf16" and is_gpu and not has_bf16:
        raise UsageError(f"precision bf16 is not to be had on {device}; give --precision float32")
    if recipe.precision == "auto" and not has_bf16:
        note(f"precision float32: {device} has no instructions for bf16")
    formats = [recipe.channels_last]
    if recipe.compile == "auto":
        formats.append(not recipe.channels_last)
    precisions = [recipe.precision == "bf16"]
    if recipe.precision == "auto" and has_bf16:
        precisions = [True] if is_gpu else [False, True]
    return [Execution(layout, bf16) for bf16 in precisions for layout in formats]


def timed(gradients: Gradients, execution: Execution, batch: Batch) -> Timed:
    """Compute a batch a few times with a copy of the network, and take the shortest time.

    Args:
        gradients: Of the network; it stays as it is.
        execution: How to compute.
        batch: What to compute.
    """
    network: nn.Module = copy.deepcopy(gradients.network)
    task: Task = gradients.task
    trial = Gradients(network, task, gradients.recipe)
    trial.micro_batch = gradients.micro_batch
    trial.execute(execution)
    seconds: list[float] = []
    while len(seconds) <= _LEAST_STEPS or (
        len(seconds) <= _MOST_STEPS and sum(seconds[1:]) < _ENOUGH_SECONDS
    ):
        began = time.perf_counter()
        trial(0, batch)
        if gradients.device.type == "cuda":
            torch.cuda.synchronize(gradients.device)
        seconds.append(time.perf_counter() - began)
        for parameter in network.parameters():
            parameter.grad = None
    return Timed(execution, seconds[0], min(seconds[1:]))


def _long_enough(recipe: Recipe, best: Timed, num_steps: int, note: Callable[[str], None]) -> bool:
    """Tell whether the steps to come take long enough to earn a compilation back."""
    seconds = num_steps * best.step
    if recipe.time is not None:
        seconds = min(seconds, recipe.time)
    if seconds < WORTH_COMPILING:
        note(f"not compiled: the steps take about {seconds:.0f} s, too short to earn it back")
    return seconds >= WORTH_COMPILING


def _compiled(
    gradients: Gradients, execution: Execution, batch: Batch, note: Callable[[str], None]
) -> Timed | None:
    """Try torch.compile; None, and said why, where it does not work."""
    if gradients.dropouts:
        note("not compiled: dropout is drawn from (seed, epoch, index), which torch.compile cannot")
        return None
    try:
        return timed(gradients, execution._replace(compiled=True), batch)
    except Exception as error:  # the compiler's are of many kinds
        lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        note(
            f"not compiled: torch.compile does not work here ({lines[0]}); it needs a C++ compiler"
        )
        return None


def _pays(
    best: Timed,
    compiled: Timed,
    gradients: Gradients,
    num_steps: int,
    note: Callable[[str], None],
) -> bool:
    """Tell whether a compilation is earned back within the run."""
    recipe, task = gradients.recipe, gradients.task
    sizes = 1 + (task.num_examples % recipe.batch_size > 0)  # each is compiled anew
    cost = sizes * (compiled.first - compiled.step)
    if recipe.time is not None:
        num_steps = min(num_steps, int(recipe.time / best.step))
    pays = (best.step - compiled.step) * num_steps > cost
    if not pays:
        note(f"not compiled: {cost:.0f} s to compile are not earned back in {num_steps:,} steps")
    return pays


def has_fast_bf16(device: torch.device) -> bool:
    """Tell whether a device has instructions for bf16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capability = torch.backends.cpu.get_cpu_capability()
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    known = [getattr(torch.cpu, name) for name in names if hasattr(torch.cpu, name)]
    return capability == "AVX512" and any(bool(each()) for each in known)
