"""A folder of photographs to training batches: ours beside Pillow and torchvision's loader.

    python benchmarks/jpeg_loader.py [PHOTOS] [PASSES]

Windows of 224 pixels by area and aspect, mirrored at random, normalised, in batches of 64, on two
processors, by two worker processes on either side. The photographs are imagenet-sample's hundred,
each copied until there are PHOTOS (2,000), with bytes of their own at the end, so that no two
files are equal. The peer is what PyTorch's own reference does: ImageFolder, RandomResizedCrop,
RandomHorizontalFlip, ToTensor, Normalize, DataLoader with persistent workers. Our first epoch is
the pass that reads, checks, measures and keeps every image, and the epoch itself; later ones read
what is kept. Both sides alternate. Besides, how many are decoded by the extra's decoder and nothing
else, which no first epoch can surpass. Needs STRIATE_DATA and STRIATE_PEERS, the extra `fast`, and
to be run by .venv-peers. Writes docs/results/jpeg_loader.json.
"""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from measuring import keep
from photographs import SIDE, photographs, reference_loader
from striate.datasets import list_images
from striate.devices import keep_memory, memory_kept
from striate.display import Silent
from striate.file_classification import FileClassification
from striate.file_data import Reading, file_spec, form_for, read_files
from striate.images.jpeg import simplejpeg
from striate.recipes import Recipe
from striate.worker_processes import in_workers

BATCH, WORKERS = 64, 2


def ours(folder: Path, cache: Path) -> tuple[FileClassification, float]:
    """Read the folder once; give the task and the seconds."""
    started = time.perf_counter()
    recipe = Recipe(
        network="resnet18",
        data=str(folder),
        batch_size=BATCH,
        image_size=256,
        crop="area",
        flip=True,
    )
    listing = list_images(str(folder))
    assert listing is not None
    form = form_for(recipe, (SIDE, SIDE))
    data = read_files(listing, form, Reading(cache, WORKERS), Silent(), skip_bad=False)
    spec = file_spec(data, (3, SIDE, SIDE), recipe)
    return FileClassification(recipe, spec, data, WORKERS), time.perf_counter() - started


def decoded(paths: Sequence[Path]) -> list[None]:
    """Decode files, and forget them."""
    decoder = simplejpeg()
    assert decoder is not None
    for path in paths:
        decoder.decode_jpeg(path.read_bytes(), "RGB")
    return [None] * len(paths)


def decoding_seconds(folder: Path) -> float:
    """Decode all files by the worker processes."""
    paths = sorted(folder.rglob("*.JPEG"))
    started = time.perf_counter()
    for _ in in_workers(paths, decoded, workers=WORKERS, remedy="try again", begin=keep_memory):
        pass
    return time.perf_counter() - started


def seconds(batches: Iterator[Tensor]) -> float:
    """Take every batch, and look at a value of each."""
    started = time.perf_counter()
    for images in batches:
        assert images.shape[1:] == (3, SIDE, SIDE)
        images[0, 0, 0, 0].item()
    return time.perf_counter() - started


def epoch_seconds(task: FileClassification, epoch: int) -> float:
    """Take every batch of an epoch of ours."""
    return seconds(batch.images for batch in task.batches(epoch, 0))


def main() -> None:
    """Time both sides in turn and keep the medians."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    passes = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    folder = Path(tempfile.mkdtemp())
    try:
        photographs(folder / "photos", count)
        firsts, laters, readings, references, decodings = [], [], [], [], []
        reference = reference_loader(folder / "photos", BATCH, WORKERS)
        for number in range(passes):
            references.append(seconds(images for images, _ in reference))
            decodings.append(decoding_seconds(folder / "photos"))
            task, reading = ours(folder / "photos", folder / f"cache{number}")
            firsts.append(reading + epoch_seconds(task, 0))
            readings.append(reading)
            laters.append(statistics.median([epoch_seconds(task, 1), epoch_seconds(task, 2)]))
            del task
            shutil.rmtree(folder / f"cache{number}")
            told = f"{references[-1]:.2f}, {firsts[-1]:.2f} and {laters[-1]:.2f} s"
            print(f"pass {number + 1} of {passes}: {told}", file=sys.stderr)
    finally:
        shutil.rmtree(folder)
    rates = {
        name: count / statistics.median(times)
        for name, times in (
            *(("reference", references), ("reading", readings), ("first", firsts)),
            *(("later", laters), ("decoding_alone", decodings)),
        )
    }
    result = {
        "photographs": count,
        "passes": passes,
        "workers": WORKERS,
        "images_a_second": {name: round(rate, 1) for name, rate in rates.items()},
        "first_times_reference": round(rates["first"] / rates["reference"], 2),
        "later_times_reference": round(rates["later"] / rates["reference"], 2),
    }
    print(result)
    keep("jpeg_loader", result)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with memory_kept():  # as in training
        main()
