"""Write docs/results.md from the result files, so that no number in it is typed by hand.

python benchmarks/results_page.py
"""

import json
from pathlib import Path
from typing import Any

import results_canon
import results_files
import results_masks

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"

HEAD = """# Results

Written by `python benchmarks/results_page.py` from `docs/results/`, where each measurement lies with its
machine, versions and every single value. No seed was left out.
"""

PUBLISHED = """## Published networks

Test error [%], beside what the paper prints, of the weights after the last pass. Network, loss and passes are the paper's; what the papers leave open, and
where we depart from them, stands in each network's file.

| network | data | seeds | test error, mean ± deviation | each seed | paper | command |
|---|---|--:|--:|---|---|---|
"""


def read(name: str) -> dict[str, Any] | None:
    """Read a result file, or None where the measurement was not made."""
    file = RESULTS / f"{name}.json"
    if not file.exists():
        return None
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return result


def published() -> str:
    """Give the table of published networks."""
    text = PUBLISHED
    for file in sorted(RESULTS.glob("published_*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        error = result["test_error_percent"]
        text += (
            f"| {file.stem.removeprefix('published_')} | {result['data']}, "
            f"{result['test_images']:,} images | {len(result['seeds'])} | "
            f"{error['mean']:.2f} ± {error['deviation']:.2f} | "
            f"{', '.join(f'{value:.2f}' for value in error['values'])} | "
            f"{result['paper_error_percent']:g} ({result['paper']}) | `{result['command']}` |\n"
        )
    if choice := read("choice_lecun1990"):
        compared = ", ".join(
            f"{row['validation_error_percent']:.2f} % (batch {row['batch_size']}, "
            f"rate {row['learning_rate']:g})"
            for row in choice["after_the_last_pass"]
        )
        text += (
            "\nBatch and rate of `lenet5-mnist` were chosen on 10,000 held-out training images. Those of "
            "`lecun1990-usps` were first compared on the test part, which they should not have been; compared "
            f"again on held-out training images, the same setting is best: {compared}.\n"
        )
    return text


def speed() -> str:
    """Give the paragraphs on speed, for the measurements that were made."""
    text = "## Speed\n"
    if mnist := read("mnist_99"):
        ours, accuracy = mnist["ours_seconds"], mnist["ours_test_accuracy_percent"]
        text += f"""
**MNIST to 99 % test accuracy**, from process start, imports and data included:
`striate train --recipe mnist-99` took {ours["mean"]:.1f} s (mean of {len(ours["values"])} runs with other seeds, \
{ours["least"]:.1f} to {ours["most"]:.1f} s) and reached {accuracy["mean"]:.2f} % \
({accuracy["least"]:.2f} to {accuracy["most"]:.2f} %). PyTorch's own MNIST example, between those runs on the \
same machine, took {mnist["baseline_seconds"]:.0f} s: {mnist["times_faster"]:g} times as long as our median. That example tests itself after \
each epoch; with a process of `striate evaluate` (reports and pictures included) added to ours, the ratio is \
{mnist["times_faster_with_evaluation"]:g}.
"""
    if ten := read("cifar10_ten_minutes"):
        rows = "\n".join(
            f"| {each['seconds']:g} s | {each['ours']['test_accuracy_percent']:.1f} % | "
            f"{each['ours']['single_view_percent']:.1f} % | {each['ours']['epochs_begun']} | "
            f"{each['plain_resnet18']['test_accuracy_percent']:.1f} % | "
            f"{each['plain_resnet18']['epochs']:g} |"
            for each in ten["budgets"]
        )
        text += f"""
**CIFAR-10 on a processor**, test accuracy after a budget of training, {ten["machine"]["threads"]} threads: \
`striate train --recipe {ten["recipe"]} --time` by its own views and by one, beside a plain ResNet-18 recipe \
(float32, SGD, cosine), each from the beginning for each budget (`benchmarks/cifar10_ten_minutes.py`).

| budget | ours | one view | epochs begun | plain ResNet-18 | epochs |
|--:|--:|--:|--:|--:|--:|
{rows}
"""
    if start := read("start_up"):
        median = start["median_seconds"]
        text += f"""
**Start-up**, medians of {start["rounds"]} rounds of whole processes: `striate --help` {median["help"]:.3f} s, \
`striate train --help` {median["train_help"]:.3f} s, `import striate` {median["import_striate"]:.3f} s, the bare \
interpreter {median["python"]:.3f} s, `import torch` {median["import_torch"]:.3f} s.
"""
    if loop := read("loop_cost"):
        text += f"""
**The loop's own cost** (order, gathering, preparation, log, checks) is {loop["loop_share_percent"]:.1f} % of an \
epoch of LeNet-5 on MNIST at batch 128 (median of {loop["rounds"]} epochs); the rest is forward pass, loss, backward \
pass and update. Augmentation (shift, rotation, scale, shear) adds {loop["augmentation_share_percent"]:.1f} points.
"""
    return text


def kills() -> str:
    """Give the paragraph on killed runs."""
    result = read("kills")
    if result is None:
        return ""
    return f"""## Killed runs

{result["kills"]} real SIGKILLs at random moments, over {result["runs"]} runs of LeNet-5 on digits with augmentation \
and averaged weights, each resumed until it was done: {result["runs_with_equal_bits"]} of {result["runs"]} runs ended \
in the unbroken run's weights, bit for bit (`benchmarks/kills.py`). The suite kills at every single write, sync and \
rename besides.
"""


def render() -> str:
    """Give the whole page."""
    parts = (
        HEAD,
        published(),
        results_canon.short_runs(read("resnet20_cifar10"), read("pooling"), read("denker1988")),
        results_masks.membranes(read("isbi2012")),
        results_masks.hippocampus(read("hippocampus")),
        speed(),
        results_canon.speed(read("canon_speed")),
        results_masks.dense_speed(read("tiled_unet"), read("dense_n4"), read("unet_step")),
        results_files.images_in_files(
            *(read("jpeg_loader"), read("resnet18_photographs"), read("many_files"))
        ),
        results_files.processes(read("processes")),
        results_canon.counting(read("counting")),
        kills(),
        machines(),
    )
    return "\n".join(part for part in parts if part)


def machines() -> str:
    """Say on what all this was measured."""
    rows = {
        (m["processor"], m["processors"], m["python"], m["torch"])
        for file in RESULTS.glob("*.json")
        for m in [json.loads(file.read_text(encoding="utf-8"))["machine"]]
    }
    lines = [
        f"- {processor}, {cores} cores, Python {python}, PyTorch {torch}"
        for processor, cores, python, torch in sorted(rows)
    ]
    return "## Machines\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "results.md").write_text(render(), encoding="utf-8")
