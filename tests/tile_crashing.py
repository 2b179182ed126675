"""Label an image into a file; as a program, die at any call that changes the disk.

python tile_crashing.py OUT          label, slowly, and print a line for each tile
python tile_crashing.py OUT all      die everywhere; print a JSON line for each n
"""

import json
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch

import striate.tile_journal
from crashing import DIED, dying_at, in_a_child
from labelling import UNet
from striate.files import write_file
from striate.tile_journal import predict_to_file, working_folder
from striate.tiling import plan_tiles


@cache
def prepared():
    torch.manual_seed(0)
    network, image = UNet(levels=2), torch.rand(1, 157, 61)
    return network, image, plan_tiles(network, tuple(image.shape), memory="150KB")


def work(out: Path, seconds: float = 0) -> int:
    """Label an image; give the number of tiles that were run."""
    network, image, plan = prepared()
    runs = 0

    def read(region):
        nonlocal runs
        runs += 1
        if seconds:
            print(runs, flush=True)
            time.sleep(seconds)
        return image[(slice(None), *region)]

    def finish(labels):
        write_file(out, np.ascontiguousarray(labels).tobytes())

    predict_to_file(network, plan, read, out, finish, settings={})
    return runs


def main() -> None:
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    striate.tile_journal.SYNC_SECONDS = 0
    prepared()  # once, before the children
    if len(sys.argv) == 2:
        work(out, seconds=0.05)
        return
    in_a_child(lambda: work(out / "whole"))
    n = 0
    while True:
        n += 1
        place, log = out / f"labels{n}", out / "log"
        code = in_a_child(lambda n=n, place=place, log=log: dying_at(n, log, lambda: work(place)))
        if code != DIED:
            assert code == 0, f"died at {n} with exit code {code}"
            break
        counted = out / "count"
        again = in_a_child(
            lambda place=place, counted=counted: counted.write_text(str(work(place)))
        )
        result = {
            "n": n,
            "died_at": log.read_text(),
            "same": again == 0 and place.read_bytes() == (out / "whole").read_bytes(),
            "runs": int(counted.read_text()),
            "litter": working_folder(place).exists(),
        }
        print(json.dumps(result))


if __name__ == "__main__":
    main()
