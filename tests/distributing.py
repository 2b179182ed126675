"""Work in several processes, as torchrun starts them: `python distributing.py NAME OUT`.

Each piece of work is a function here; its first process writes what it returns to OUT.
"""

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def spread(*command, processes: int = 2, options: tuple[str, ...] = (), **keywords):
    """Run a command under torchrun, one thread each, and give what came of it."""
    return subprocess.run(
        [*TORCHRUN, f"--nproc-per-node={processes}", *options, *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        **keywords,
    )


def worked(name: str, out: Path, processes: int = 2):
    """Run a piece of work of this file, and give what its first process returned."""
    done = spread(__file__, name, out / "result.pt", processes=processes)
    assert done.returncode == 0, done.stderr
    return torch.load(out / "result.pt", weights_only=False)


def normalization():
    """Batch normalisation of seven rows, in one to three dimensions, and of one row."""
    from striate.batch_statistics import over_processes
    from striate.distributed import add_up, gather_objects, own_slice

    results = {}
    for rows, axes in ((7, 0), (7, 1), (7, 2), (7, 3), (1, 2)):
        layer, x, direction = normalizing(rows, axes)
        network = nn.Sequential(layer)
        over_processes(network)
        own = own_slice(rows)
        part = x[own].clone().requires_grad_()
        answer = network(part)
        (answer * direction[own]).sum().backward()
        assert set(network.state_dict()) == {f"0.{name}" for name in layer.state_dict()}
        results[rows, axes] = {
            "answer": torch.cat(gather_objects(answer.detach())),
            "gradient": torch.cat(gather_objects(part.grad)),
            "weight": add_up(network[0].weight.grad),
            "bias": add_up(network[0].bias.grad),
            "states": gather_objects(network.state_dict()),
        }
    return results


def normalizing(rows: int, axes: int):
    """Give a layer, rows that are far from zero, and a direction to differentiate in."""
    generator = torch.Generator().manual_seed(rows + axes)
    kind = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axes]
    layer, shape = kind(3), (rows, 3, *(5, 4, 2)[:axes])
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
        layer.bias.copy_(torch.tensor([0.1, 0.0, 3.0]))
    x = 10 + torch.randn(shape, generator=generator)
    return layer, x, torch.randn(shape, generator=generator)


def main() -> None:
    torch.set_num_threads(1)
    from striate.distributed import is_first, processes

    with processes():
        result = globals()[sys.argv[1]]()
        if is_first():
            torch.save(result, sys.argv[2])


if __name__ == "__main__":
    main()
