"""Memory of a set of very many small image files: read, kept, and an epoch of batches.

    python benchmarks/many_files.py [FILES]

Writes FILES (100,000) PNG files of 32 by 32 pixels in ten class folders to a temporary folder,
reads them by two worker processes, and makes every batch of an epoch. Prints by how much the
resident memory of the process grew, at the end and at most, and the time of each part. Writes
docs/results/many_files.json.
"""

import io
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from measuring import keep
from striate.datasets import list_images
from striate.display import Silent
from striate.file_classification import FileClassification
from striate.file_data import Reading, file_spec, form_for, read_files
from striate.recipes import Recipe


def resident() -> int:
    """Say how much memory this process has in place [bytes]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Peak:
    """Watches the resident memory in a thread."""

    def __init__(self) -> None:
        self.most, self.going = resident(), True
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while self.going:
            self.most = max(self.most, resident())
            time.sleep(0.02)

    def stop(self) -> int:
        """End the watch; give the most that was seen."""
        self.going = False
        self.thread.join()
        return self.most


def write_files(folder: Path, count: int) -> None:
    """Write small images, no two of them equal."""
    draw = np.random.default_rng(0)
    for number in range(count):
        place = folder / str(number % 10)
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.repeat(np.repeat(draw.integers(0, 256, (4, 4, 3), np.uint8), 8, 0), 8, 1)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG", compress_level=1)
        (place / f"{number:06d}.png").write_bytes(content.getvalue())


def main() -> None:
    """Write, read, make the batches, and keep the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    folder = Path(tempfile.mkdtemp())
    try:
        write_files(folder / "few", 100)
        write_files(folder / "many", count)
        figures: dict[str, float] = {}
        for name in ("few", "many"):  # the first imports what is needed
            recipe = Recipe(network="resnet20", data=str(folder / name), batch_size=128)
            before, peak, started = resident(), Peak(), time.perf_counter()
            listing = list_images(recipe.data)
            assert listing is not None
            listed = time.perf_counter()
            reading = Reading(folder / "cache", 2)
            data = read_files(
                listing, form_for(recipe, (32, 32)), reading, Silent(), skip_bad=False
            )
            read = time.perf_counter()
            task = FileClassification(recipe, file_spec(data, (3, 32, 32), recipe), data, 0)
            seen = sum(len(batch.targets) for batch in task.batches(0, 0))
            ended = time.perf_counter()
            figures = {
                "files": seen,
                "list_seconds": round(listed - started, 2),
                "read_seconds": round(read - listed, 2),
                "epoch_seconds": round(ended - read, 2),
                "growth_bytes": resident() - before,
                "growth_at_most_bytes": peak.stop() - before,
            }
            del listing, data, task
    finally:
        shutil.rmtree(folder)
    keep("many_files", figures)


if __name__ == "__main__":
    main()
