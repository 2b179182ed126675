"""The run folder: all that training leaves, and the only wire to everything after it.

    recipe.yaml         every field, defaults included
    environment.json    versions, device, threads, command, commit, the data's fingerprint
    classes.json        class names, in the order of the logits
    input.json          what the network expects of an image (``InputSpec``)
    progress.csv        one line an epoch
    model.safetensors   the best weights on validation; without validation, the last
    curves.svg          the progress, drawn
    state/              what a resumed run needs: two generations, each named by its checksum
    README.md           the model card
    evaluation.json, confusion.svg, mistakes.html, result.png    written by an evaluation
    stopped.json        why training stopped before its end, if it did

The folder appears by one rename, with a first state inside. ``state/`` holds everything;
progress, weights, curves and card are rewritten from it, so a kill at any instant leaves a
folder that opens and resumes. Nothing in it is ever unpickled into code.
"""

import csv
import fcntl
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from striate import plotting
from striate.batches import prepare
from striate.errors import DataError, RunError, UsageError
from striate.files import sync_folder, write_file
from striate.models import build
from striate.preparation import InputSpec
from striate.recipes import Recipe

FORMAT = 1
GENERATIONS = 2
PROGRESS_COLUMNS = {
    "epoch": "epoch",
    "learning_rate": "learning_rate",
    "train_loss": "train_loss",
    "train_error": "train_error [share]",
    "validation_loss": "validation_loss",
    "validation_error": "validation_error [share]",
    "seconds": "seconds [s since the start]",
}

State = dict[str, Any]
Row = dict[str, float | None]


class Run:
    """A run folder that exists.

    Args:
        path: The folder.

    Attributes:
        path: The folder.
        recipe: What was asked for.
        classes: Class names, in the order of the logits.
        spec: What the network expects of an image.

    Raises:
        RunError: The folder is missing, is not a run, or was written by a later version.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not (self.path / "recipe.yaml").is_file():
            what = "is not a run: it has no recipe.yaml" if self.path.exists() else "does not exist"
            raise RunError(f"{self.path} {what}; `striate train NETWORK DATA --out DIR` makes one")
        try:
            environment = json.loads((self.path / "environment.json").read_bytes())
            if environment["format"] > FORMAT:
                raise RunError(
                    f"{self.path} has run format {environment['format']}, this striate reads up "
                    f"to {FORMAT}; install a later striate"
                )
            self.environment: dict[str, Any] = environment
            self.recipe = Recipe.from_yaml((self.path / "recipe.yaml").read_text("utf-8"))
            self.classes: tuple[str, ...] = tuple(
                json.loads((self.path / "classes.json").read_bytes())
            )
            self.spec = InputSpec.model_validate_json((self.path / "input.json").read_bytes())
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{self.path} is a damaged run: {' '.join(str(error).split())}"
            ) from error

    def network(self) -> nn.Module:
        """Build the network with the run's best weights, ready for prediction.

        Raises:
            RunError: The weights file is missing, damaged, or of another network.
        """
        file = self.path / "model.safetensors"
        network = build(self.recipe.network, self.spec.channels, len(self.classes))
        try:
            network.load_state_dict(safetensors.torch.load_file(file))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise RunError(
                f"{file} does not hold this run's weights: {' '.join(str(error).split())}; "
                f"`striate train --resume {self.path}` writes it again"
            ) from error
        return network.eval()

    @torch.inference_mode()
    def predict(self, images: Tensor) -> Tensor:
        """Give the probability of each class.

        Args:
            images: ``(N, C, H, W)``: bytes in [0, 255] or floats in [0, 1], any height and width.

        Returns:
            ``(N, classes)``, rows that add up to 1.

        Raises:
            DataError: The channels or the range do not fit.
        """
        if images.dim() != 2 + len(self.spec.image_size) or images.shape[1] != self.spec.channels:
            raise DataError(
                f"images have shape {tuple(images.shape)}; this run reads "
                f"(N, {self.spec.channels}, H, W)"
            )
        if images.is_floating_point() and not 0 <= images.min() <= images.max() <= 1:
            raise DataError(
                f"images run from {images.min():g} to {images.max():g}; scale floats to [0, 1]"
            )
        full_scale = 1.0 if images.is_floating_point() else 255.0
        logits = self.network()(prepare(images, (0.0, full_scale), self.spec))
        return torch.softmax(logits, dim=1)

    def progress(self) -> list[Row]:
        """Read progress.csv: a mapping an epoch, with the keys of ``PROGRESS_COLUMNS``."""
        text = (self.path / "progress.csv").read_text("utf-8")
        return [
            {
                key: float(line[column]) if line[column] else None
                for key, column in PROGRESS_COLUMNS.items()
            }
            for line in csv.DictReader(io.StringIO(text))
        ]

    def evaluation(self) -> dict[str, Any] | None:
        """Read evaluation.json, or None where no evaluation was made."""
        file = self.path / "evaluation.json"
        return cast("dict[str, Any]", json.loads(file.read_bytes())) if file.exists() else None

    def write_evaluation(
        self, evaluation: Mapping[str, Any], *, confusion: str, mistakes: str, picture: bytes
    ) -> None:
        """Keep an evaluation: figures, confusion matrix (SVG), mistakes (HTML), picture (PNG)."""
        write_file(self.path / "confusion.svg", confusion)
        write_file(self.path / "mistakes.html", mistakes)
        write_file(self.path / "result.png", picture)
        write_file(self.path / "evaluation.json", json.dumps(evaluation, indent=1) + "\n")
        write_file(self.path / "README.md", _card(self, self.progress(), evaluation))

    def note_stop(self, stop: Mapping[str, Any]) -> Path:
        """Keep why training stopped before its end; give the file."""
        file = self.path / "stopped.json"
        write_file(file, json.dumps(stop, indent=1) + "\n")
        return file

    def save(self, state: State) -> None:
        """Keep a state, drop all but the newest two, rewrite what follows from it."""
        _write_state(self.path, state)
        _write_results(self, state)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this run at the same time.

        Raises:
            RunError: Another process is training it.
        """
        descriptor = os.open(self.path / "state", os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise RunError(f"another process is training {self.path}; wait for its end") from error
        finally:
            os.close(descriptor)

    def load_state(self) -> tuple[State, list[str]]:
        """Read the newest state whose checksum holds, and messages about those that do not.

        Raises:
            RunError: No state is whole.
        """
        for leftover in (*self.path.glob(".*.part"), *(self.path / "state").glob(".*.part")):
            leftover.unlink()
        notes: list[str] = []
        for file in _states(self.path):
            try:
                content = file.read_bytes()
                if hashlib.sha256(content).hexdigest()[:16] == file.stem.split("-")[-1]:
                    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                    return cast(State, state), notes
            except (OSError, RuntimeError, zipfile.BadZipFile, EOFError):
                pass
            aside = file.with_suffix(".damaged")
            file.rename(aside)
            notes.append(f"{file} is damaged (its checksum differs); kept aside as {aside.name}")
        raise RunError(f"no state in {self.path / 'state'} is whole; train again with --overwrite")


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a place for a new run that is taken, before any work is done.

    Raises:
        UsageError: The folder holds a run and ``overwrite`` is off, or holds anything else.
        RunError: The folder above cannot be written.
    """
    if path.exists():
        if (path / "recipe.yaml").exists():
            if not overwrite:
                raise UsageError(
                    f"{path} holds a run; go on with `striate train --resume {path}`, replace it "
                    "with --overwrite, or choose another --out"
                )
        elif not path.is_dir() or any(path.iterdir()):
            raise UsageError(f"{path} exists and is not a run; choose another --out")
    above = path.absolute().parent
    while not above.exists():
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise RunError(f"cannot write into {above}; choose a folder that you may write with --out")


def create_run(
    path: Path,
    *,
    recipe: Recipe,
    spec: InputSpec,
    classes: Sequence[str],
    environment: Mapping[str, Any],
    state: State,
    overwrite: bool = False,
) -> Run:
    """Make a run folder with a first state; it appears under its name complete, or not at all.

    Raises:
        UsageError: As in ``check_free``.
        RunError: The disk is full or the folder cannot be written.
    """
    check_free(path, overwrite=overwrite)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        for stale in path.parent.glob(f".{path.name}.*.part"):
            shutil.rmtree(stale)
        (beside / "state").mkdir(parents=True)
        write_file(beside / "recipe.yaml", recipe.to_yaml())
        write_file(beside / "classes.json", json.dumps(list(classes), indent=1) + "\n")
        write_file(beside / "input.json", spec.model_dump_json(indent=1) + "\n")
        written = {"format": FORMAT, **environment}
        write_file(beside / "environment.json", json.dumps(written, indent=1) + "\n")
        Run(beside).save(state)
        if path.exists() and any(path.iterdir()):
            replaced = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.rename(replaced)
            beside.rename(path)
            shutil.rmtree(replaced)
        else:
            beside.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise RunError(
            f"could not make {path}: {error.strerror}; choose another place with --out"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Run(path)


def _states(path: Path) -> list[Path]:
    """List the states, newest first: names begin with epoch and step."""
    return sorted((path / "state").glob("*.pt"), reverse=True)


def _write_state(path: Path, state: State) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    checksum = hashlib.sha256(content).hexdigest()[:16]
    write_file(path / "state" / f"{state['epoch']:06d}-{state['step']:08d}-{checksum}.pt", content)
    for old in _states(path)[GENERATIONS:]:
        old.unlink()


def _write_results(run: Run, state: State) -> None:
    rows = state["progress"]
    # One entry, because safetensors writes several in an order that changes.
    facts = {
        "network": run.recipe.network,
        "classes": run.classes,
        "input": run.spec.model_dump(),
    }
    metadata = {"striate": json.dumps(facts)}
    weights = {name: tensor.cpu().contiguous() for name, tensor in state["best"]["weights"].items()}
    write_file(run.path / "model.safetensors", safetensors.torch.save(weights, metadata))
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(PROGRESS_COLUMNS.values())
    lines.writerows(
        ["" if row[key] is None else repr(row[key]) for key in PROGRESS_COLUMNS] for row in rows
    )
    write_file(run.path / "progress.csv", text.getvalue())
    title = f"{run.recipe.network} on {run.recipe.data}"
    write_file(run.path / "curves.svg", plotting.curves(rows, title=title))
    write_file(run.path / "README.md", _card(run, rows, None))


def _card(run: Run, rows: Sequence[Row], evaluation: Mapping[str, Any] | None) -> str:
    """Write the model card: what it is, how good it is, how to use it."""
    recipe, spec = run.recipe, run.spec
    done = f"{len(rows)} of {recipe.epochs} epochs"
    lines = [
        "---",
        "library_name: striate",
        "pipeline_tag: image-classification",
        f"tags: [{recipe.network}]",
        "---",
        "",
        f"# {recipe.network} on {recipe.data}",
        "",
        f"Network `{recipe.network}` ({len(run.classes)} classes), trained on `{recipe.data}` "
        f"for {done} with seed {recipe.seed}; every choice is in `recipe.yaml`.",
        "",
    ]
    errors = [row["validation_error"] for row in rows if row["validation_error"] is not None]
    if errors:
        lines += [f"- lowest validation error: {100 * min(errors):.2f} %"]
    if evaluation:
        lines += [
            f"- accuracy on {evaluation['examples']:,} images of `{evaluation['data']}` "
            f"({evaluation['part']}): {100 * evaluation['accuracy']:.2f} %, see `evaluation.json`"
        ]
    lines += [
        f"- input: {spec.channels} channel{'s' if spec.channels > 1 else ''}, resized to "
        f"{'x'.join(map(str, spec.image_size))}, network reads "
        f"{'x'.join(map(str, spec.input_size))} pixels",
        f"- classes: {', '.join(run.classes[:20])}{' …' if len(run.classes) > 20 else ''}",
        "",
        "```",
        "striate predict THIS_FOLDER IMAGE...",
        "striate evaluate THIS_FOLDER",
        "```",
        "",
    ]
    return "\n".join(lines)
