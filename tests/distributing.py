"""Work in several processes, as torchrun starts them: `python distributing.py NAME OUT ...`.

Each piece of work is a function here, which one process can do alone too; the first of several
writes what it returns to OUT.
"""

import io
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import nn

from striate import distributed
from striate.batch_statistics import over_processes
from striate.cli import run_command
from striate.display import Silent
from striate.gradients import Gradients
from striate.launching import leave
from striate.models import with_defaults
from striate.recipes import Recipe
from striate.task_making import prepare
from striate.training import train

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
NORMALIZED = ((7, 0), (7, 1), (7, 2), (7, 3), (1, 2))
MASKS = {"width": 4, "depth": 2, "tile": (24, 24), "normalization": "batch", "turns": True}
STEPS = {
    "resnet20": {"network": "resnet20", "batch_size": 7, "validation": 0.13},
    "in double": {"network": "resnet20", "batch_size": 7, "validation": 0},
    "one image": {"network": "resnet20", "batch_size": 1, "validation": 0},
    "squares": {"network": "lecun1989", "batch_size": 5, "loss": "squared-error"},
    "masks in double": {
        "network": "unet_padded",
        "batch_size": 3,
        "loss": "cross-entropy+dice",
        **MASKS,
    },
    "one tile": {
        "network": "unet_padded",
        "batch_size": 1,
        "border_weight": 10,
        **MASKS,
        "class_weights": "balanced",
    },
}


def spread(*command, options: tuple[str, ...] = (), env=None) -> subprocess.CompletedProcess:
    """Run a command in two processes, one thread each, and give what came of it."""
    return subprocess.run(
        [*TORCHRUN, *options, *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def everything(colours: str, cells: str, bars: str, out: str):
    """Do all that is looked at more closely; leave the runs ``lenet5`` and ``bars``."""
    unbroken(bars, f"{out}/bars")
    return {
        "lenet5": lenet5(f"{out}/lenet5"),
        "normalization": {case: normalization(*case) for case in NORMALIZED},
        "steps": {name: step(name, colours, cells) for name in STEPS},
        "shares": shares(),
        "refusals": refusals(),
    }


def lenet5(out: str) -> str:
    """Train and evaluate by the command line; give what was said."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        run_command(["train", "lenet5", "digits", "--epochs", "3", "--out", out])
        run_command(["evaluate", out, "--json"])
    return said.getvalue()


def normalization(rows: int, axes: int):
    """Normalise rows, far from zero, and differentiate in some direction."""
    generator = torch.Generator().manual_seed(rows + axes)
    kind = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axes]
    layer, shape = kind(3), (rows, 3, *(5, 4, 2)[:axes])
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
        layer.bias.copy_(torch.tensor([0.1, 0.0, 3.0]))
    x = 10 + torch.randn(shape, generator=generator)
    direction = torch.randn(shape, generator=generator)
    network, own = nn.Sequential(layer), distributed.own_slice(rows)
    over_processes(network)
    part = x[own].clone().requires_grad_()
    answer = network(part)
    (answer * direction[own]).sum().backward()
    return {
        "answer": torch.cat(distributed.gather_objects(answer.detach())),
        "gradient": torch.cat(distributed.gather_objects(part.grad)),
        "weight": distributed.add_up(network[0].weight.grad),
        "bias": distributed.add_up(network[0].bias.grad),
        "states": distributed.gather_objects(network.state_dict()),
    }


def step(name: str, colours: str, cells: str):
    """Take a run's first batch forward and back, and measure the network on validation."""
    changes = STEPS[name]
    data = "isbi2012" if changes["network"] == "unet_padded" else colours
    recipe = with_defaults(Recipe(data=data, **changes))
    recipe, _, task, network, *_ = prepare(recipe, [*changes, "data"], Silent(), Path(cells))
    over_processes(network.train())
    batch = next(task.batches(0, 0, (distributed.rank(), distributed.size())))
    if name.endswith("in double"):
        network, batch = network.double(), batch._replace(images=batch.images.double())
    outcome = Gradients(network, task, recipe)(0, batch)
    distributed.add_up_gradients(network.parameters())
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    statistics = {name: values.clone() for name, values in network.named_buffers()}
    measures = task.validate(network.float()) if task.num_validation else None
    return {
        "loss": outcome.loss,
        "counts": distributed.add_up(torch.tensor(outcome[1:])).tolist(),
        "here": distributed.gather_objects(len(batch.targets)),
        "gradients": gradients,
        "statistics": statistics,
        "measures": None if measures is None else [each for each in measures if each is not None],
    }


def shares():
    """Score rows in shares, and make something at the first place alone."""
    rows = torch.arange(7.0)[:, None]
    return {
        "scores": [distributed.in_shares(rows[:n], lambda own: own * 2) for n in (1, 7)],
        "made": distributed.gather_objects(distributed.from_first(os.getpid)),
        "processes": distributed.gather_objects(os.getpid()),
    }


def refusals():
    """Let the first refuse something, and find that two differ."""
    said = []

    def refuse():
        raise distributed.RunError("the first says no")

    for work in (
        lambda: distributed.from_first(refuse),
        lambda: distributed.require_equal("the data", f"{distributed.rank()}", "look again"),
    ):
        try:
            work()
        except distributed.RunError as error:
            said.append(str(error))
    return distributed.gather_objects(said)


def dying_twice(data: str, out: str):
    """Train, but kill a process at a message of the first start, and at a rename of the second."""
    attempt, rank = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), os.environ["RANK"]
    if attempt == 0 and rank == "1":
        _act_at(torch.distributed, "all_reduce", 50, signal.SIGKILL)
    if attempt == 1 and rank == "0":
        _act_at(os, "replace", 4, signal.SIGKILL)
    unbroken(data, out)


def unbroken(data: str, out: str):
    """Train, saving every epoch."""
    recipe = Recipe(
        network="lecun1990",
        data=data,
        epochs=6,
        batch_size=9,
        validation=0.2,
        shift=1,
        ema=0.9,
    )
    train(recipe, out, save_seconds=0)


def interrupted(data: str, out: str):
    """Train by the command line until the second process is told to stop."""
    if os.environ["RANK"] == "1":
        _act_at(torch.distributed, "all_reduce", 150, signal.SIGINT)
    leave(run_command(["train", "lecun1990", data, "--epochs", "500", "--out", out]))


def _act_at(module, name: str, n: int, number: int) -> None:
    """Send this process a signal at the n-th call of a function."""
    real, calls = getattr(module, name), 0

    def counted(*arguments, **keywords):
        nonlocal calls
        calls += 1
        if calls == n:
            os.kill(os.getpid(), number)
        return real(*arguments, **keywords)

    setattr(module, name, counted)


def main() -> None:
    torch.set_num_threads(1)
    name, out, *arguments = sys.argv[1:]
    if name in ("dying_twice", "interrupted"):
        globals()[name](*arguments, out)
        leave(0)
    with distributed.processes():
        result = globals()[name](*arguments)
        if distributed.is_first():
            torch.save(result, out)
    leave(0)


if __name__ == "__main__":
    main()
