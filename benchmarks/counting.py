"""Five counters on four networks: what each answers, and how long it takes.

    python benchmarks/counting.py [PYTHON OF THE PEERS' ENVIRONMENT]

Ours, torchinfo, fvcore, ptflops and torch's own, each in a process of its own, one after the other,
on the networks as `striate.build` gives them, with one thread: beside other programs, threads wait
for one another longer than they work. Times begin after imports and a first call on a small
network, and are medians. `make peers` makes the environment; the folder that STRIATE_PEERS names is
searched too. Writes docs/results/counting.json.
"""

import io
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from measuring import keep, run
from striate.models import NETWORKS, build, outline
from striate.tracing import trace

ROOT = Path(__file__).parents[1]
NAMES = ("lenet5", "vgg16", "resnet152", "resnet1202")
ENOUGH_SECONDS = 4.0  # repeats of one measurement end here
MOST_RUNS = 9

Counter = Callable[[nn.Module, tuple[int, ...]], dict[str, int]]


def ours(network: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    traced = trace(network, shape)
    return {
        "parameters": traced.parameters,
        "connections": traced.connections,
        "multiply_adds": traced.multiply_adds,
    }


def torchinfo(network: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    told = import_module("torchinfo").summary(network, (1, *shape), verbose=0)
    return {"parameters": told.total_params, "mult_adds": told.total_mult_adds}


def fvcore(network: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    told = import_module("fvcore.nn").FlopCountAnalysis(network, torch.zeros(1, *shape))
    return {"flops": told.unsupported_ops_warnings(False).total()}


def ptflops(network: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    with suppress(ModuleNotFoundError):  # a torchvision that does not fit its torch needs it
        import_module("torchvision_cpu")
    told = import_module("ptflops").get_model_complexity_info(
        network, shape, print_per_layer_stat=False, as_strings=False, verbose=False
    )
    return {"parameters": told[1], "macs": told[0]}


def torch_counter(network: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    counter = import_module("torch.utils.flop_counter").FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.zeros(1, *shape))
    return {"flops": counter.get_total_flops()}


COUNTERS: dict[str, Counter] = {
    "striate": ours,
    "torchinfo": torchinfo,
    "fvcore": fvcore,
    "ptflops": ptflops,
    "torch.utils.flop_counter": torch_counter,
}
PACKAGES = ("torchinfo", "fvcore", "ptflops", "torch")


def measured(call: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Call several times; give the last answer, and the median of the seconds."""
    seconds: list[float] = []
    while len(seconds) < MOST_RUNS and sum(seconds) < ENOUGH_SECONDS:
        begun = time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - begun)
    return answer, {"seconds": round(statistics.median(seconds), 5), "runs": len(seconds)}


def count(name: str, counter: str) -> dict[str, Any]:
    """Measure one counter on one network, in this process."""
    logging.disable(logging.WARNING)
    shape, told = NETWORKS[name].input_shape, COUNTERS[counter]
    told(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).eval(), (1, 8, 8))
    network = build(name).eval()
    answer, times = measured(lambda: told(network, shape))
    result = {**times, "answer": answer}
    if counter == "striate":
        _, building = measured(lambda: build(name))
        _, alone = measured(lambda: ours(outline(name), shape))
        result["building_seconds"] = building["seconds"]
        result["without_weights_seconds"] = alone["seconds"]
    return result


def main() -> None:
    """Measure every counter on every network and keep the result."""
    if sys.argv[1:2] == ["--one"]:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            result = count(*sys.argv[2:4])
        print(json.dumps({**result, "versions": {name: version(name) for name in PACKAGES}}))
        return
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    peers = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / ".venv-peers" / "bin" / "python")
    places = (str(ROOT / "src"), *(os.environ.get(n, "") for n in ("STRIATE_PEERS", "PYTHONPATH")))
    os.environ["PYTHONPATH"] = os.pathsep.join(place for place in places if place)
    networks: dict[str, dict[str, Any]] = {}
    versions: dict[str, str] = {}
    for name in NAMES:
        rows: dict[str, Any] = {}
        for counter in COUNTERS:
            told = json.loads(run([peers, __file__, "--one", name, counter])[1])
            versions = told.pop("versions")
            rows[counter] = told
            print(f"{name} {counter} {told['seconds']} s {told['answer']}", file=sys.stderr)
        share = rows["striate"]["seconds"] / rows["torchinfo"]["seconds"]
        networks[name] = {"striate_of_torchinfo": round(share, 3), "counters": rows}
    keep("counting", {"versions": versions, "networks": networks})


if __name__ == "__main__":
    main()
