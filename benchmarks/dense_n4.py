"""N4 over a slice of 512×512: its dense form, and other ways to the same answers.

    python benchmarks/dense_n4.py [ROUNDS [THREADS]]     seven and one, by default

In each round, one after the other: our dense form as chosen, and by dilation; the convolutions and
fully connected layers of the former alone, on the same fragments; fragments by PyTorch's own
max pooling, all at once, as in Giusti et al. (2013); one batch of windows, by the network itself.
Times are medians over rounds, of the wall clock and of the processor, and ratios are medians of the
rounds' own; the processor's do not see other programs. Writes docs/results/dense_n4.json.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import striate
from measuring import keep

SIDE, WINDOW, WINDOWS = 512, 95, 64
LAYERS = ("conv2d", "linear")
CLOCKS = ("wall", "processor")


class Layers(TorchFunctionMode):
    """Notes the calls of convolutions and fully connected layers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Tensor], tuple[Any, ...]]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__ in LAYERS and not args[0].is_meta:
            self.calls.append((func, args))
        return func(*args, **(kwargs or {}))

    def again(self) -> None:
        """Call them again."""
        for func, args in self.calls:
            func(*args)


def plain_fragments(network: nn.Module, image: Tensor) -> Tensor:
    """Answer for every pixel by fragments, all at once, each pooled by PyTorch on its own."""
    x, sides = image, []
    for layer in cast(nn.Sequential, network.layers):
        if isinstance(layer, nn.MaxPool2d):
            side = (x.shape[2] - 1) // 2
            corners = [(i, j) for i in (0, 1) for j in (0, 1)]
            parts = [x[:, :, i : i + 2 * side, j : j + 2 * side] for i, j in corners]
            x = torch.cat([F.max_pool2d(part, 2) for part in parts])
            sides.append(2)
        elif isinstance(layer, nn.Linear):
            kernel = 3 if layer.in_features > 200 else 1
            x = F.conv2d(x, layer.weight.view(len(layer.weight), -1, kernel, kernel), layer.bias)
        elif not isinstance(layer, nn.Flatten):
            x = layer(x)
    while sides:  # the last pooling's phases are outermost
        step, count = sides.pop(), len(x) // 4
        x = x.view(step, step, count, *x.shape[1:]).permute(2, 3, 4, 0, 5, 1)
        x = x.reshape(count, x.shape[1], x.shape[2] * step, x.shape[4] * step)
    return x


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Give wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def middle(values: Sequence[float]) -> float:
    return round(statistics.median(values), 4)


@torch.inference_mode()
def main() -> None:
    """Time the rounds and keep what they give."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    torch.set_num_threads(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    torch.manual_seed(0)
    network: nn.Module = striate.build("n4").eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = F.pad(torch.randn(1, 1, SIDE, SIDE), (WINDOW // 2,) * 4, mode="reflect")
    form = striate.dense(network, WINDOW)
    positions = (SIDE, SIDE)
    spread, parted = (form._follow(image, spreads=spreads) for spreads in (True, False))
    patches = image.unfold(2, WINDOW, 1).unfold(3, WINDOW, 1)[0, 0, 100, :WINDOWS, None]
    patches = patches.contiguous(memory_format=torch.channels_last)
    layers = Layers()
    with layers:
        expected = form.answer(image)
    matrices = torch.randn(2, 2048, 2048)
    works: dict[str, Callable[[], Any]] = {
        "dense": lambda: form(image),
        "layers_alone": layers.again,
        "dense_by_dilation": lambda: spread.run(image, positions, at_once=False),
        "plain_fragments": lambda: plain_fragments(network, image),
        "windows": lambda: network(patches),
        "matrix_product": lambda: matrices[0] @ matrices[1],  # as PyTorch's library has it
    }
    difference = max(
        (other - expected).abs().max().item() / expected.abs().max().item()
        for other in (works["dense_by_dilation"](), works["plain_fragments"]())
    )
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(timed(work))
    batches = SIDE**2 / WINDOWS
    times["windows"] = [(wall * batches, own * batches) for wall, own in times["windows"]]

    def ratio(one: str, other: str) -> dict[str, float]:
        both = list(zip(times[one], times[other], strict=True))
        return {clock: middle([a[i] / b[i] for a, b in both]) for i, clock in enumerate(CLOCKS)}

    products = parted.multiply_adds(positions)
    dense = statistics.median(own for _, own in times["dense"])
    best = min(own for _, own in times["windows"])
    rate = 2048**3 / min(own for _, own in times["matrix_product"])
    keep(
        "dense_n4",
        {
            "command": "python benchmarks/dense_n4.py",
            "task": f"n4, a slice of {SIDE}x{SIDE} mirrored by {WINDOW // 2} pixels",
            "rounds": rounds,
            "seconds": {
                name: {clock: middle([t[i] for t in some]) for i, clock in enumerate(CLOCKS)}
                for name, some in times.items()
            },
            "windows_are": f"extrapolated from one batch of {WINDOWS}, channels last",
            "largest_difference_of_the_largest_score": difference,
            "multiply_adds": products,
            "multiply_adds_of_the_windows": SIDE**2 * 120_929_200,
            "matrix_products_per_second_of_the_processor": round(rate),
            "floor_seconds_at_that_rate": round(products / rate, 4),
            "dense_over_layers_alone": ratio("dense", "layers_alone"),
            "products_per_second_of_the_processor_in_the_layers_alone": round(
                products / statistics.median(own for _, own in times["layers_alone"])
            ),
            "dilation_over_dense": ratio("dense_by_dilation", "dense"),
            "plain_fragments_over_dense": ratio("plain_fragments", "dense"),
            "windows_over_dense": ratio("windows", "dense"),
            "best_windows_over_median_dense": round(best / dense, 1),
        },
    )


if __name__ == "__main__":
    main()
