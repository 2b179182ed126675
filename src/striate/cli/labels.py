"""`striate predict` with a run that labels pixels: files to files of labels, told in lines."""

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import striate
from striate.errors import DataError, RunError, StriateError, UsageError
from striate.interruption import hint_at_ctrl_c

if TYPE_CHECKING:
    from striate.mask_prediction import Labelled


class MaskOptions(NamedTuple):
    """How pixels are to be labelled."""

    out: Path | None
    overwrite: bool
    memory: str
    protocol: str
    cluster: str | None
    blend: bool
    probabilities: bool
    device: str
    threads: int | None


def found(
    find: Callable[[Sequence[Path]], list[Path]], paths: Sequence[Path]
) -> tuple[list[Path], list[StriateError]]:
    """List the files that paths stand for, and what is wrong with the other paths.

    Args:
        find: Gives the files of paths, or refuses one.
        paths: As typed.

    Raises:
        DataError: There is one path alone and it is refused.
    """
    files: list[Path] = []
    errors: list[StriateError] = []
    for path in paths:
        try:
            files += find([path])
        except DataError as error:
            errors.append(error)
    if not files:
        raise_last(errors)
    return files, errors


def raise_last(errors: Sequence[StriateError]) -> None:
    """Tell all errors in a line each; the last is raised, and decides the exit code."""
    for error in errors[:-1]:
        print(f"striate: {error}", file=sys.stderr)
    if errors:
        raise errors[-1]


def label(run: "striate.Run", paths: list[Path], options: MaskOptions, *, as_json: bool) -> None:
    """Label the pixels of files, one after the other; what fails is told at the end."""
    from striate.devices import choose_device
    from striate.devices import threads as computing_with
    from striate.display import count_bar
    from striate.label_files import mask_files, outputs_for, shares_file
    from striate.mask_prediction import Labeller

    labeller = Labeller(
        run,
        memory=options.memory,
        device=choose_device(options.device),
        protocol=options.protocol,
        blend=options.blend,
        probabilities=options.probabilities,
    )
    if options.protocol != run.recipe.protocol:
        _say(f"labels of protocol {options.protocol}; evaluate uses the run's own, "
             f"{run.recipe.protocol}")  # fmt: skip
    files, errors = found(mask_files, paths)
    outs = outputs_for(files, options.out, overwrite=options.overwrite)
    taken = [file for file in map(shares_file, outs) if file.exists()]
    if options.probabilities and taken and not options.overwrite:
        raise UsageError(f"{taken[0]} exists; replace it with --overwrite, or choose another -o")
    if options.cluster is not None:
        labeller.check_cluster(outs, options.cluster)
    for folder in {out.parent for out in outs}:
        folder.mkdir(parents=True, exist_ok=True)
    done: list[Labelled] = []
    told = ""
    with computing_with(options.threads):
        for number, (path, out) in enumerate(zip(files, outs, strict=True)):
            try:
                plan = labeller.plan(path, clustered=options.cluster is not None)
                if len(plan.tiles) > 1 and str(plan) != told:
                    told = str(plan)
                    _say(f"{path}: {told}")
                    if plan.notice:
                        _say(plan.notice)
                with count_bar(path.name, "tiles") as progress, _on_ctrl_c(number, len(files)):
                    if options.cluster is None:
                        begun = partial(_say_begun, path, len(plan.tiles))
                        done.append(labeller.label(path, out, progress, begun))
                    else:
                        done.append(labeller.label_on_cluster(path, out, options.cluster, progress))
            except (DataError, RunError, UsageError) as reason:
                errors.append(reason)
                continue
            for note in done[-1].notes:
                _say(f"{path}: {note}")
    if as_json:
        print(json.dumps([_as_json(each) for each in done], indent=1))
    else:
        _print(done)
    raise_last(errors)


def _say_begun(path: Path, tiles: int, finished: int) -> None:
    _say(f"{path}: goes on, {finished:,} of {tiles:,} tiles are done already")


def _on_ctrl_c(number: int, count: int) -> AbstractContextManager[None]:
    """Let an interruption say how to go on: ``number`` of ``count`` images are labelled."""
    if not number:
        return hint_at_ctrl_c("the same command goes on where it was")
    return hint_at_ctrl_c(
        f"{number:,} of {count:,} images are labelled; the same command without them goes on"
    )


def _say(text: str) -> None:
    """Print on stderr, broken between words."""
    print(_wrapped(text), file=sys.stderr)


def _wrapped(text: str, indent: str = "") -> str:
    width = max(shutil.get_terminal_size().columns, 40)
    return textwrap.fill(
        text, width, initial_indent=indent, subsequent_indent=indent or "  ",
        break_long_words=False, break_on_hyphens=False,
    ).replace("\u00a0", " ")  # fmt: skip


def _print(done: Sequence["Labelled"]) -> None:
    """Print where the labels of each image are and how they are shared out; then of all."""
    for each in done:
        print(f"{each.path} → {each.out}")
        if each.probabilities is not None:
            print(f"  probabilities → {each.probabilities}")
        print(_wrapped(_shares(each.pixels), "  "))
    if len(done) > 1:
        total = Counter[str]()
        for each in done:
            total.update(each.pixels)
        print(_wrapped(f"{len(done):,} images: {_shares(total)}"))


def _as_json(each: "Labelled") -> dict[str, Any]:
    told = {**each._asdict(), "path": str(each.path), "out": str(each.out)}
    if told["probabilities"] is not None:
        told["probabilities"] = str(each.probabilities)
    return told


def _shares(pixels: dict[str, int]) -> str:
    whole = max(sum(pixels.values()), 1)
    shares = (f"{name} {100 * count / whole:.1f} %" for name, count in pixels.items())
    return ", ".join(share.replace(" ", "\u00a0") for share in shares)  # kept in one line
