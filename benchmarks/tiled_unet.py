"""A padded U-Net over images in strips, beside the whole image at once and MONAI's sliding window.

    python benchmarks/tiled_unet.py [--threads N] [--rounds N] [--sides 4096,8192,16384]

In the environment of the peers (`make peers`). The contestants take turns on the same network,
weights and image; strips and whole in channels last, MONAI as people write it and in channels
last. MONAI's are its usual settings: a window at a time, a quarter of it overlapping, blended by a
Gaussian. A round's ratio compares neighbours in time, and medians of the ratios are kept beside
all seconds, those on the clock and those of the processor: with one thread, the latter do not tell
of other programs. Peak memory is what a fresh process takes beyond what it held when the network
and the image were ready.

With sides, images of so many pixels a side lie in files of bytes, and labels are written to
another file, a process each: seconds, and the most resident memory of the process.
Writes docs/results/tiled_unet.json.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from measuring import keep, run
from striate import build
from striate.strips import evaluate_in_strips

MEMORY = {2: 500, 3: 800}  # that strips may take [MiB]
WINDOW = {2: 512, 3: 128}
OPTIONS: dict[int, dict[str, Any]] = {2: {"width": 16, "depth": 4}, 3: {"width": 16, "depth": 3}}
SHAPES = {2: (1, 2048, 2048), 3: (1, 128, 256, 256)}
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}
CONTESTANTS = ("strips", "whole", "monai", "monai_channels_last")


class Work(NamedTuple):
    """A network and an image."""

    network: nn.Module
    image: Tensor
    dims: int


def work(dims: int, shape: Sequence[int], contestant: str = "strips") -> Work:
    """Build the network with random weights, and draw an image."""
    memory_format = torch.contiguous_format if contestant == "monai" else FORMATS[dims]
    torch.manual_seed(0)
    network = build({2: "unet_padded", 3: "unet3d"}[dims], **OPTIONS[dims]).eval()
    network.to(memory_format=memory_format)  # type: ignore[call-overload]
    image = torch.randn(shape)[None].contiguous(memory_format=memory_format)
    return Work(network, image, dims)


def strips(one: Work) -> Tensor:
    """Evaluate in strips, the answer all in memory as the others give it."""
    image = one.image[0]
    answer = torch.empty(2, *image.shape[1:])
    evaluate_in_strips(
        *(one.network, image.shape, lambda first, last: image[:, first:last]),
        lambda first, last, logits: answer[:, first:last].copy_(logits),
        memory=MEMORY[one.dims] * 2**20,
    )
    return answer


@torch.inference_mode()
def whole(one: Work) -> Tensor:
    """Evaluate the whole image at once."""
    answer: Tensor = one.network(one.image)[0]
    return answer


@torch.inference_mode()
def monai(one: Work) -> Tensor:
    """Evaluate by MONAI's sliding window."""
    window = (WINDOW[one.dims],) * one.dims
    inferer = import_module("monai.inferers").SlidingWindowInferer
    answer: Tensor = inferer(window, sw_batch_size=1, overlap=0.25, mode="gaussian")(
        one.image, one.network
    )[0]
    return answer


ANSWERS: dict[str, Callable[[Work], Tensor]] = {
    "strips": strips,
    "whole": whole,
    "monai": monai,
    "monai_channels_last": monai,
}


def status(field: str) -> int:
    """Read a field of this process's status [bytes]."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}")


def peak(dims: int, contestant: str) -> dict[str, int]:
    """Measure the memory of one evaluation in this process [MiB]."""
    small = work(dims, (1, *[16 * 2 ** (4 - dims)] * dims))
    one = work(dims, SHAPES[dims], contestant)
    if contestant.startswith("monai"):
        import_module("monai.inferers")
    else:
        ANSWERS[contestant](small)  # what libraries load on first use is not the image's
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status("VmRSS")
    ANSWERS[contestant](one)
    return {"extra_mebibytes": round((status("VmHWM") - before) / 2**20)}


def compare(dims: int, rounds: int, command: Sequence[str]) -> dict[str, Any]:
    """Time the contestants in turn, then measure the memory of each in a process of its own."""
    works = {name: work(dims, SHAPES[dims], name) for name in CONTESTANTS}
    right = whole(works["whole"])
    largest = float(right.abs().max())
    clock: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    processor: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    off: dict[str, float] = {}
    for number in range(rounds + 1):  # the first is not counted
        for name in CONTESTANTS if number % 2 else reversed(CONTESTANTS):
            started, began = time.perf_counter(), time.process_time()
            answer = ANSWERS[name](works[name])
            taken, worked = time.perf_counter() - started, time.process_time() - began
            off[name] = float((answer - right).abs().max()) / largest
            if number:
                clock[name].append(round(taken, 3))
                processor[name].append(round(worked, 3))
            print(f"{dims}-D {number} {name}: {taken:.2f} s, {worked:.2f} s", file=sys.stderr)
            del answer
    memory = {
        name: json.loads(run([*command, "--peak", f"{dims}:{name}"])[1])["extra_mebibytes"]
        for name in CONTESTANTS
    }

    def ratio(one: str, other: str) -> dict[str, float]:
        kinds = {"clock": clock, "processor": processor}
        return {
            kind: round(statistics.median(a / b for a, b in zip(s[one], s[other], strict=True)), 3)
            for kind, s in kinds.items()
        }

    return {
        "network": {"name": {2: "unet_padded", 3: "unet3d"}[dims], **OPTIONS[dims]},
        "image": list(SHAPES[dims]),
        "memory_of_strips_mebibytes": MEMORY[dims],
        "seconds": clock,
        "processor_seconds": processor,
        "median_seconds": {name: statistics.median(all_) for name, all_ in clock.items()},
        "extra_mebibytes": memory,
        "largest_difference_from_whole": off,  # of the largest logit
        "strips_seconds_to_whole": ratio("strips", "whole"),
        "strips_memory_to_whole": round(memory["strips"] / memory["whole"], 3),
        "monai_seconds_to_strips": ratio("monai", "strips"),
        "monai_channels_last_seconds_to_strips": ratio("monai_channels_last", "strips"),
    }


def large(side: int) -> dict[str, Any]:
    """Label an image in a file of bytes, in this process."""
    network = work(2, (1, 64, 64)).network
    with tempfile.TemporaryDirectory() as folder:
        image, labels = Path(folder, "image"), Path(folder, "labels")
        generator = np.random.default_rng(0)
        for path in (image, labels):
            with path.open("wb") as file:
                for _ in range(0, side, 64):
                    file.write(generator.bytes(64 * side))

        def rows(path: Path, first: int, last: int, mode: Any) -> Any:
            shape = (last - first, side)
            return np.memmap(path, np.uint8, mode, offset=first * side, shape=shape)

        def read(first: int, last: int) -> Tensor:
            return torch.from_numpy(rows(image, first, last, "r").astype(np.float32) / 255)[None]

        def write(first: int, last: int, logits: Tensor) -> None:
            rows(labels, first, last, "r+")[:] = logits.argmax(0).numpy()

        started, began = time.perf_counter(), time.process_time()
        evaluate_in_strips(network, (1, side, side), read, write, memory=MEMORY[2] * 2**20)
        seconds, worked = time.perf_counter() - started, time.process_time() - began
    return {
        "side": side,
        "seconds": round(seconds, 1),
        "seconds_a_megapixel": round(seconds / side**2 * 1e6, 3),
        "processor_seconds_a_megapixel": round(worked / side**2 * 1e6, 3),
        "resident_mebibytes": round(status("VmHWM") / 2**20),
    }


def main() -> None:
    """Compare, and keep the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", default="")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--large", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.peak:
        dims, contestant = asked.peak.split(":")
        print(json.dumps(peak(int(dims), contestant)))
        return
    if asked.large:
        print(json.dumps(large(asked.large)))
        return
    command = [sys.executable, __file__, "--threads", str(asked.threads)]
    sides = [int(side) for side in asked.sides.split(",") if side]
    results: dict[str, Any] = {
        "monai": version("monai"),
        "two_dimensions": compare(2, asked.rounds, command),
        "three_dimensions": compare(3, asked.rounds, command),
        "large": [json.loads(run([*command, "--large", str(side)])[1]) for side in sides],
    }
    keep("tiled_unet", results)


if __name__ == "__main__":
    main()
