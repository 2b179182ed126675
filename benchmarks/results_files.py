"""The paragraphs of docs/results.md on images in files."""

from typing import Any


def images_in_files(
    loader: dict[str, Any] | None, training: dict[str, Any] | None, many: dict[str, Any] | None
) -> str:
    """Give the paragraphs, for the measurements that were made."""
    text = ""
    if loader:
        rates = loader["images_a_second"]
        text += f"""
**From JPEG files to batches** of windows of 224 pixels, {loader["photographs"]:,} photographs, {loader["workers"]} \
workers, images a second: Pillow and torchvision's reference loader {rates["reference"]:,.0f}; ours in the first epoch, with \
the pass that reads, checks, measures and keeps every image, {rates["first"]:,.0f} ({loader["first_times_reference"]:g} \
times as many), in later epochs {rates["later"]:,.0f} ({loader["later_times_reference"]:g} times) \
(`benchmarks/jpeg_loader.py`). The two workers decode {rates["decoding_alone"]:,.0f} a second if they do nothing else.
"""
    if training:
        plain, coarse = training["float32"], training["bf16"]
        text += f"""
**ResNet-18 on photographs**, batches of 16, images a second: a plain eager loop with that loader \
{training["peer_images_a_second"]:.1f}; `striate train` {plain["images_a_second"]:.1f} ({plain["times_peer"]:g} times as \
many), with `--precision bf16` {coarse["images_a_second"]:.1f} ({coarse["times_peer"]:g} times). Of the time the network waits \
{100 * coarse["share_waiting_for_data"]:.1f} % for data at most (`benchmarks/resnet18_photographs.py`).
"""
    if many:
        text += f"""
**{many["files"]:,} small files** are listed in {many["list_seconds"]:g} s and read in {many["read_seconds"]:.0f} s; the \
process then holds {many["growth_bytes"] / 1e6:.0f} MB more than before, at most \
{many["growth_at_most_bytes"] / 1e6:.0f} MB while it reads (`benchmarks/many_files.py`).
"""
    return "## Images in files\n" + text if text else ""


def processes(measured: dict[str, Any] | None) -> str:
    """Give the section on how far runs of several processes drift, if that was measured."""
    if measured is None:
        return ""
    ways = ("two processes", "one process, two threads")
    rows = "\n".join(
        f"| {each['epochs']} | {each['steps']} | "
        + " | ".join(f"{each[way]['distance']:.1e}" for way in ways)
        + f" | {each['one process']['training_loss']:.4f} | "
        + " | ".join(f"{each[way]['training_loss']:.4f}" for way in ways)
        + " |"
        for each in measured["spread"]
    )
    return f"""## Several processes

**How far two processes drift from one**, `{measured["network"]}` by its own recipe on {measured["images"]:,} images of \
CIFAR-10, beside what another number of threads does, which is another order of the same sums: distance of all weights \
from those of one process, as a share of their length, and the training loss of the last epoch \
(`benchmarks/processes_spread.py`).

| epochs | steps | two processes | two threads | loss: one process | two processes | two threads |
|--:|--:|--:|--:|--:|--:|--:|
{rows}
"""
