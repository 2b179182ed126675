"""CIFAR-10 on a processor in ten minutes: `--recipe cifar10-10min` beside a plain ResNet-18.

    python benchmarks/cifar10_ten_minutes.py [SECONDS ...]

Both train for each budget, by default 60, 180 and 600 seconds, from the beginning; the rate of
either runs out with the budget. Data, start-up and evaluation are outside the clock on both sides.
Ours is `striate train --time` and `striate evaluate`. The plain recipe is a bare PyTorch loop, in
float32 and PyTorch's default layout: the ResNet-18 for CIFAR that people use, with a stem of 3x3,
SGD 0.1, momentum 0.9, weight decay 0.0005, batches of 128, random crops and flips, cosine. About
each minute it is shown 1,000 test images with the clock stopped, at the end all of them.
Needs STRIATE_DATA with cifar10/. Writes docs/results/cifar10_ten_minutes.json.
"""

import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import striate
from measuring import keep, run, striate_command
from striate import datasets

RECIPE = "cifar10-10min"
BUDGETS = (60.0, 180.0, 600.0)
BATCH, LOOK_EVERY, LOOKED_AT = 128, 60.0, 1000


def ours(seconds: float, folder: Path) -> dict[str, Any]:
    """Train by the recipe for a budget; evaluate by its own views and by a single one."""
    out = folder / f"run{seconds:g}"
    threads: list[str | Path] = ["--threads", str(torch.get_num_threads())]
    train = ("train", "--recipe", RECIPE, "--time", f"{seconds}s", "--device", "cpu")
    wall, _ = run(striate_command(*train, *threads, "--out", out))
    evaluate = ("evaluate", out, "--json", "--device", "cpu", *threads)
    own = json.loads(run(striate_command(*evaluate))[1])
    single = json.loads(run(striate_command(*evaluate, "--protocol", "single"))[1])
    rows = striate.Run(out).progress()
    return {
        "test_accuracy_percent": round(100 * own["accuracy"], 2),
        "single_view_percent": round(100 * single["accuracy"], 2),
        "seconds_from_process_start": round(wall, 1),
        "epochs_begun": len(rows),
        "training_accuracy_percent": [
            [round(row["seconds"] or 0, 1), round(100 * (1 - (row["train_error"] or 0)), 2)]
            for row in rows
        ],
    }


class Block(nn.Module):
    """Two 3x3 convolutions and what goes around them."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.around = nn.Sequential()
        if stride > 1 or in_channels != channels:
            self.around = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Add what was learnt to what came."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.around(x))


def resnet18() -> nn.Module:
    """Build the ResNet-18 for CIFAR: 3x3 stem without pooling, 64, 128, 256 and 512 maps."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)]
    layers.append(nn.ReLU())
    in_channels = 64
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(in_channels, channels, stride), Block(channels, channels, 1)]
        in_channels = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def changed(images: Tensor) -> Tensor:
    """Mirror half of the images, and cut each out of itself with 4 pixels of padding."""
    mirrored = torch.rand(len(images)) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    padded = F.pad(images, (4, 4, 4, 4))
    places = torch.randint(9, (len(images), 2)).tolist()
    cut = [each[:, y : y + 32, x : x + 32] for each, (y, x) in zip(padded, places, strict=True)]
    return torch.stack(cut)


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, targets: Tensor) -> float:
    """Give the share of right answers [%]."""
    network.eval()
    parts = zip(torch.split(images, 500), torch.split(targets, 500), strict=True)
    right = sum(int((network(some).argmax(dim=1) == wanted).sum()) for some, wanted in parts)
    network.train()
    return round(100 * right / len(targets), 2)


def plain(seconds: float) -> dict[str, Any]:
    """Train the plain recipe for a budget."""
    parts = datasets.load("cifar10", parts=("train", "test")).parts
    images, tests = (parts[name].images.float() / 255 for name in ("train", "test"))
    targets, wanted = parts["train"].targets, parts["test"].targets
    mean = images.mean(dim=(0, 2, 3), keepdim=True)
    std = images.std(dim=(0, 2, 3), keepdim=True)
    images, tests = (images - mean) / std, (tests - mean) / std
    torch.manual_seed(0)
    network = resnet18()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    looks: list[list[float]] = []
    elapsed, seen, order = 0.0, 0, torch.empty(0, dtype=torch.long)
    while elapsed < seconds:
        started = time.perf_counter()
        if len(order) == 0:
            order = torch.randperm(len(images))
        chosen, order = order[:BATCH], order[BATCH:]
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 + math.cos(math.pi * elapsed / seconds))
        optimizer.zero_grad()
        loss = F.cross_entropy(network(changed(images[chosen])), targets[chosen])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seen += len(chosen)
        elapsed += time.perf_counter() - started
        if elapsed // LOOK_EVERY > len(looks) and elapsed < seconds:
            looks.append([round(elapsed, 1), accuracy(network, *first(tests, wanted))])
    return {
        "test_accuracy_percent": accuracy(network, tests, wanted),
        "epochs": round(seen / len(images), 2),
        "accuracy_percent_on_1000_test_images": looks,
    }


def first(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Take as many test images as are looked at on the way."""
    return images[:LOOKED_AT], targets[:LOOKED_AT]


def main() -> None:
    """Train both for each budget, in turn, and keep the accuracies."""
    budgets = tuple(map(float, sys.argv[1:])) or BUDGETS
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds in budgets:
            result = {"seconds": seconds, "ours": ours(seconds, Path(folder))}
            result["plain_resnet18"] = plain(seconds)
            results.append(result)
            print(json.dumps(result), file=sys.stderr)
    keep("cifar10_ten_minutes", {"recipe": RECIPE, "budgets": results})


if __name__ == "__main__":
    main()
