"""Forward and training step of VGG-16, ResNet-50 and GoogLeNet beside torchvision's.

    python benchmarks/canon_speed.py [ROUNDS]

In the environment of the peers (`make peers`), in one process, taking turns on the same images:
ours with maps in channels last, as `striate train` keeps them; torchvision's as people write
it; torchvision's in channels last. A training step is forward pass, cross-entropy (auxiliary
classifiers at 0.3), backward pass and an update by SGD with momentum, ours by our own. Each is
one network of one set of weights. A round's ratio compares neighbours in time, and the median
of the ratios is kept beside all seconds, so that a machine whose speed drifts does not tell.
Needs STRIATE_PEERS. Writes docs/results/canon_speed.json.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROOT = Path(__file__).parents[1]
BATCH = 8
# Ours → torchvision's builder.
NETWORKS = {"vgg16": "vgg16", "resnet50_v1_5": "resnet50", "googlenet_torchvision": "googlenet"}


class Rival(NamedTuple):
    """A network, ready to be timed."""

    network: nn.Module
    memory_format: torch.memory_format
    update: Callable[[], None]


def ours(name: str) -> Rival:
    """Build ours in channels last, with our optimiser."""
    from striate import build
    from striate.models import find_recipe
    from striate.optimization import Optimizer

    network = build(name).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    recipe = find_recipe("vgg16").replace(weight_decay=5e-4, momentum=0.9)
    optimizer = Optimizer(network.parameters(), recipe)
    return Rival(network, torch.channels_last, lambda: optimizer.step(1e-6))


def torchvision_s(name: str, weights: dict[str, Tensor], memory_format: torch.memory_format) -> Any:
    """Build torchvision's with our weights, and PyTorch's optimiser."""
    importlib.import_module("torchvision_cpu")
    models = importlib.import_module("torchvision.models")
    options = {"init_weights": False} if name == "googlenet_torchvision" else {}
    network = getattr(models, NETWORKS[name])(**options)
    network.load_state_dict(weights)
    network.to(memory_format=memory_format)
    optimizer = torch.optim.SGD(network.parameters(), 1e-6, momentum=0.9, weight_decay=5e-4)

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()

    return Rival(network, memory_format, update)


@torch.inference_mode()
def forward(rival: Rival, images: Tensor) -> float:
    """Time a forward pass in evaluation [seconds]."""
    rival.network.eval()
    started = time.perf_counter()
    rival.network(images)
    return time.perf_counter() - started


def step(rival: Rival, images: Tensor) -> float:
    """Time a training step [seconds]."""
    rival.network.train()
    targets = torch.arange(BATCH)
    started = time.perf_counter()
    answer = rival.network(images)
    if isinstance(answer, Tensor):
        loss = F.cross_entropy(answer, targets)
    else:
        logits, *others = answer
        auxiliary = others[0] if isinstance(others[0], tuple) else others
        loss = F.cross_entropy(logits, targets)
        loss = loss + 0.3 * sum(F.cross_entropy(scores, targets) for scores in auxiliary)
    loss.backward()  # type: ignore[no-untyped-call]
    rival.update()
    return time.perf_counter() - started


def measure(name: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Time the three rivals in turn: for each kind of work, the seconds of each round."""
    torch.manual_seed(0)
    first = ours(name)
    weights = {key: value.contiguous() for key, value in first.network.state_dict().items()}
    rivals = {
        "striate": first,
        "torchvision": torchvision_s(name, weights, torch.contiguous_format),
        "torchvision_channels_last": torchvision_s(name, weights, torch.channels_last),
    }
    images = torch.randn(BATCH, 3, 224, 224)
    seconds: dict[str, dict[str, list[float]]] = {}
    for work in (forward, step):
        times: dict[str, list[float]] = {rival: [] for rival in rivals}
        for number in range(rounds + 1):  # the first is not counted
            order = list(rivals.items())
            for rival, ready in order if number % 2 else reversed(order):
                taken = work(ready, images.contiguous(memory_format=ready.memory_format))
                times[rival] += [taken] if number else []
                print(f"{name} {work.__name__} {number} {rival}: {taken:.3f} s", file=sys.stderr)
        seconds[work.__name__] = times
    return seconds


def in_peers(name: str, rounds: int) -> Any:
    """Measure one network in a process of the peers' environment."""
    python = ROOT / ".venv-peers" / "bin" / "python"
    paths = os.pathsep.join([str(ROOT / "src"), os.environ["STRIATE_PEERS"]])
    done = subprocess.run(
        [python, __file__, "measure", name, str(rounds)],
        stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    return json.loads(done.stdout)


def main() -> None:
    """Measure every network and keep the medians and all values."""
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))))
        return
    from statistics import median

    from measuring import keep, spread

    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    results: dict[str, Any] = {}
    for name in NETWORKS:
        for work, times in in_peers(name, rounds).items():
            mine = times["striate"]
            ratios = {
                rival: [a / b for a, b in zip(mine, others, strict=True)]
                for rival, others in times.items()
                if rival != "striate"
            }
            results.setdefault(name, {})[work] = {
                "median_seconds": {rival: round(median(v), 4) for rival, v in times.items()},
                "median_of_ratios_to": {rival: round(median(v), 4) for rival, v in ratios.items()},
                "seconds": {rival: spread(v) for rival, v in times.items()},
            }
    keep("canon_speed", {"rounds": rounds, "batch_size": BATCH, "networks": results})


if __name__ == "__main__":
    main()
