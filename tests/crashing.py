"""Die at the n-th write, sync or rename of a training run, for every n; resume; compare.

Run as a program of its own, so that its children are forked before any thread exists:

    python crashing.py DATA OUT

Prints one JSON line for each n: the call it died at, whether the run folder was there, and
whether the resumed (or, without a folder, repeated) run ended in the unbroken run's bits.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import torch

from striate.recipes import Recipe
from striate.training import resume, train

DIED = 9
CALLS = ("write", "fsync", "replace", "rename", "unlink", "rmdir")


def digest(path: Path) -> str:
    """Hash everything a run is for: its last state's weights, best weights and progress."""
    from striate.runs import Run

    state = Run(path).load_state()[0]
    content = hashlib.sha256()
    for weights in (state["weights"], state["best"]["weights"]):
        for name, tensor in weights.items():
            content.update(name.encode() + tensor.numpy().tobytes())
    for row in state["progress"]:
        content.update(repr({k: v for k, v in row.items() if k != "seconds"}).encode())
    for name in ("model.safetensors", "recipe.yaml", "classes.json", "input.json"):
        content.update((path / name).read_bytes())
    return content.hexdigest()


def in_a_child(work) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying_at(n: int, log: Path, work) -> None:
    """Run work, but die at the n-th call that changes the disk: in a write, half way."""
    calls = 0
    for name in CALLS:
        real = getattr(os, name)

        def counted(*arguments, name=name, real=real, **keywords):
            nonlocal calls
            calls += 1
            if calls == n:
                log.write_text(name)
                if name == "write":
                    descriptor, data = arguments
                    real(descriptor, data[: len(data) // 2])
                os._exit(DIED)
            return real(*arguments, **keywords)

        setattr(os, name, counted)
    work()


def main() -> None:
    torch.set_num_threads(1)
    data, out = sys.argv[1], Path(sys.argv[2])
    recipe = Recipe(
        network="lecun1990", data=data, epochs=2, batch_size=12, validation=0.2, shift=1, ema=0.9
    )
    in_a_child(lambda: train(recipe, out / "whole", save_seconds=0))
    expected = digest(out / "whole")
    survive(recipe, out, expected)
    survive_overwriting(recipe, out, expected)


def survive_overwriting(recipe: Recipe, out: Path, expected: str) -> None:
    """Die while a run takes the place of another: the place then holds one of the two."""
    in_a_child(lambda: train(recipe.replace(seed=9), out / "other", save_seconds=0))
    other = digest(out / "other")
    n = 0
    while True:
        n += 1
        path, log = out / f"over{n}", out / "log"
        shutil.copytree(out / "other", path)
        code = in_a_child(
            lambda n=n, path=path, log=log: dying_at(
                n, log, lambda: train(recipe, path, overwrite=True, save_seconds=0)
            )
        )
        if code != DIED:
            assert code == 0, f"died at {n} with exit code {code}"
            break
        again = in_a_child(lambda path=path: resume(path))
        same = again == 0 and digest(path) in (expected, other)
        litter = [p.name for p in out.iterdir() if p.name.startswith(f".over{n}.")]
        died = log.read_text()
        result = {"n": n, "died_at": died, "overwrite": True, "same": same, "litter": litter}
        print(json.dumps(result))


def survive(recipe: Recipe, out: Path, expected: str) -> None:
    """Die while a run is made and trained; resume it, or begin again where there is none."""
    n = 0
    while True:
        n += 1
        path, log = out / f"run{n}", out / "log"
        code = in_a_child(
            lambda n=n, path=path, log=log: dying_at(
                n, log, lambda: train(recipe, path, save_seconds=0)
            )
        )
        if code != DIED:
            assert code == 0, f"died at {n} with exit code {code}"
            break
        there = path.exists()
        finish = resume if there else (lambda place: train(recipe, place, save_seconds=0))
        again = in_a_child(lambda finish=finish, path=path: finish(path))
        same = again == 0 and digest(path) == expected
        litter = [p.name for p in (*out.iterdir(), *path.rglob("*")) if p.name.endswith(".part")]
        died = log.read_text()
        print(
            json.dumps({"n": n, "died_at": died, "folder": there, "same": same, "litter": litter})
        )


if __name__ == "__main__":
    main()
