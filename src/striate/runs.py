"""The run folder: all that training leaves, and the only wire to everything after it.

    recipe.yaml         every field, defaults included
    environment.json    versions, device, threads, command, commit, the data's fingerprint
    classes.json        class names, in the order of the logits
    input.json          what the network expects of an image (``InputSpec``)
    split.csv           of images in files: part, class, group and SHA-256 of each
    progress.csv        one line an epoch
    model.safetensors   the best weights on validation; without validation, the last
    curves.svg          the progress, drawn
    state/              what a resumed run needs: two generations, each named by its checksum
    README.md           the model card
    evaluation.json, confusion.svg, mistakes.html, result.png, answers.csv    written by an
                        evaluation; of a run that labels pixels without mistakes.html and
                        answers.csv
    stopped.json        why training stopped before its end, if it did
    tensorboard/        event files, if they were asked for

The folder appears by one rename, with a first state inside. ``state/`` holds everything;
progress, weights, curves and card are rewritten from it, and after a lengthening the recipe's
epochs, so a kill at any instant leaves a folder that opens and resumes. Nothing in it is ever
unpickled into code.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from striate import plotting
from striate.distributed import is_first
from striate.errors import DataError, RunError, UsageError
from striate.files import locked, write_file
from striate.model_card import model_card
from striate.models import build, find_network
from striate.preparation import InputSpec, prepare
from striate.recipes import Recipe
from striate.run_states import State, read_state, write_state
from striate.tile_input import TileSpec

FORMAT = 1
EVALUATION_FILES = re.compile(
    r"(answers(-.*)?\.csv|evaluation(-.*)?\.json|confusion(-.*)?\.svg|mistakes(-.*)?\.html|result(-.*)?\.png)"
)
FILES = (
    *("recipe.yaml", "environment.json", "classes.json", "input.json", "progress.csv", "state"),
    *("model.safetensors", "curves.svg", "README.md", "stopped.json", "split.csv"),
    "tensorboard",
)
PROGRESS_COLUMNS = {
    "epoch": "epoch",
    "learning_rate": "learning_rate",
    "train_loss": "train_loss",
    "train_error": "train_error [share]",
    "validation_loss": "validation_loss",
    "validation_error": "validation_error [share]",
    "validation_dice": "validation_dice [mean over classes]",
    "seconds": "seconds [s since the start]",
}

# Columns that a run without masks does not have.
OF_MASKS = ("validation_dice",)

Row = dict[str, float | None]


def plan_of(recipe: Recipe) -> dict[str, Any]:
    """Give the part of a recipe that a lengthening changes, as plain values for a state."""
    return recipe.model_dump(mode="json", include={"epochs", "time", "lengthened"})


def network_options(recipe: Recipe) -> dict[str, Any]:
    """Give what a recipe sets of its network's build, for ``models.build``."""
    names = ("width", "depth", "normalization")
    return {name: value for name in names if (value := getattr(recipe, name)) is not None}


class Run:
    """A run folder that exists.

    Args:
        path: The folder.

    Attributes:
        path: The folder.
        recipe: What was asked for.
        classes: Class names, in the order of the logits.
        task: What the network answers: ``"classification"``, ``"window"`` or
            ``"segmentation"``.

    Raises:
        UsageError: The folder is missing or is not a run.
        RunError: The run is damaged, or was written by a later version.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not (self.path / "recipe.yaml").is_file():
            what = "is not a run: it has no recipe.yaml" if self.path.exists() else "does not exist"
            raise UsageError(
                f"{self.path} {what}; `striate train NETWORK DATA --out DIR` makes one"
            )
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
            self.task = find_network(self.recipe.network).task
            spec = InputSpec if self.task == "classification" else TileSpec
            self._spec = spec.model_validate_json((self.path / "input.json").read_bytes())
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{self.path} is a damaged run ({str(error).splitlines()[0]}); put the file back "
                "from a copy, or train again"
            ) from error

    @property
    def split(self) -> str | None:
        """Which image is in which part, as split.csv; None of a run that was not on files."""
        file = self.path / "split.csv"
        return file.read_text("utf-8", "surrogateescape") if file.is_file() else None

    @property
    def spec(self) -> InputSpec:
        """What the network expects of an image that it gives one label.

        Raises:
            RunError: It labels pixels.
        """
        if isinstance(self._spec, InputSpec):
            return self._spec
        raise RunError(f"{self.path} labels pixels; it has no label for a whole image")

    @property
    def tile_spec(self) -> TileSpec:
        """What the network expects of an image whose pixels it labels.

        Raises:
            RunError: It labels whole images.
        """
        if isinstance(self._spec, TileSpec):
            return self._spec
        raise RunError(f"{self.path} labels whole images; it has no label for a pixel")

    def fresh_network(self) -> nn.Module:
        """Build the network with weights of no meaning; the caller's random numbers stay."""
        with torch.random.fork_rng(devices=[]):
            options = network_options(self.recipe)
            return build(self.recipe.network, self._spec.channels, len(self.classes), **options)

    def network(self) -> nn.Module:
        """Build the network with the run's best weights, ready for prediction.

        Raises:
            RunError: The weights file is missing, damaged, or of another network.
        """
        file = self.path / "model.safetensors"
        network = self.fresh_network()
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
        if not isinstance(images, Tensor):
            raise DataError(
                f"images are {type(images).__name__}; give a torch tensor "
                f"(N, {self.spec.channels}, H, W), or files to `striate predict`"
            )
        if images.dim() != 2 + len(self.spec.image_size) or images.shape[1] != self.spec.channels:
            raise DataError(
                f"images have shape {tuple(images.shape)}; this run reads "
                f"(N, {self.spec.channels}, H, W)"
            )
        if not images.is_floating_point() and images.dtype != torch.uint8:
            raise DataError(
                f"images are {images.dtype}; give bytes (uint8), or floats scaled to [0, 1]"
            )
        if len(images) == 0:
            return torch.empty(0, len(self.classes))
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
                if column in line
            }
            for line in csv.DictReader(io.StringIO(text))
        ]

    def evaluation(self) -> dict[str, Any] | None:
        """Read evaluation.json, or None where no evaluation was made."""
        file = self.path / "evaluation.json"
        return cast("dict[str, Any]", json.loads(file.read_bytes())) if file.exists() else None

    def write_evaluation(
        self,
        evaluation: Mapping[str, Any],
        *,
        confusion: str,
        picture: bytes,
        mistakes: str | None = None,
        answers: str | None = None,
        other: str = "",
    ) -> None:
        """Keep an evaluation: figures, confusion matrix (SVG), picture (PNG), mistakes (HTML).

        Args:
            evaluation: What evaluation.json is to hold.
            confusion: The matrix as SVG.
            picture: The result as PNG.
            mistakes: The page; a run that labels pixels has none.
            answers: The answer to each image as CSV; a run that labels pixels has none.
            other: What sets it apart from the run's own evaluation: another data set,
                another protocol, an ensemble; the files then carry it, as in
                evaluation-usps.json, and the model card stays as it is.
        """
        figures = json.dumps(evaluation, indent=1) + "\n"
        contents: tuple[str | bytes | None, ...] = (confusion, mistakes, picture, answers, figures)
        for name, content in zip(evaluation_files(other), contents, strict=True):
            if content is not None:
                write_file(self.path / name, content)
        if other:
            return
        write_file(
            self.path / "README.md",
            model_card(self.recipe, self._spec, self.classes, self.progress(), evaluation),
        )

    def note_stop(self, stop: Mapping[str, Any]) -> Path:
        """Keep why training stopped before its end; give the file."""
        file = self.path / "stopped.json"
        write_file(file, json.dumps(stop, indent=1) + "\n")
        return file

    def follow(self, state: State) -> bool:
        """Take up the plan that a state was saved under, also in recipe.yaml.

        Returns:
            Whether recipe.yaml had another plan: a kill came between the two, or the newest
            state was damaged.

        Raises:
            RunError: The folder cannot be written.
        """
        plan = state.get("plan", plan_of(self.recipe))
        if plan == plan_of(self.recipe):
            return False
        self.recipe = self.recipe.replace(**plan)
        if is_first():
            write_file(self.path / "recipe.yaml", self.recipe.to_yaml())
        return True

    def save(self, state: State) -> None:
        """Keep a state, drop all but the newest two, rewrite what follows from it."""
        write_state(self.path, state)
        self.write_results(state["best"]["weights"], state["progress"])

    def write_results(self, weights: Mapping[str, Tensor], rows: Sequence[Row]) -> None:
        """Write what follows from a state: best weights, progress, curves, model card.

        An evaluation of other weights is removed.
        """
        evaluation = self.evaluation()
        if evaluation is not None and evaluation["epochs"] != len(rows):
            evaluation = None
            for file in self.path.iterdir():
                if EVALUATION_FILES.fullmatch(file.name):
                    file.unlink()
        facts = {
            "network": self.recipe.network,
            "classes": self.classes,
            "input": self._spec.model_dump(),
        }
        content = safetensors.torch.save(
            {name: tensor.cpu().contiguous() for name, tensor in weights.items()},
            # One entry, because safetensors writes several in an order that changes.
            {"striate": json.dumps(facts)},
        )
        write_file(self.path / "model.safetensors", content)
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        keys = [key for key in PROGRESS_COLUMNS if key not in OF_MASKS or (rows and key in rows[0])]
        lines.writerow(PROGRESS_COLUMNS[key] for key in keys)
        lines.writerows(
            ["" if row[key] is None else repr(row[key]) for key in keys] for row in rows
        )
        write_file(self.path / "progress.csv", text.getvalue())
        title = f"{self.recipe.network} on {self.recipe.data}"
        write_file(self.path / "curves.svg", plotting.curves(rows, title=title))
        card = model_card(self.recipe, self._spec, self.classes, rows, evaluation)
        write_file(self.path / "README.md", card)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this run at the same time.

        Raises:
            RunError: Another process is training it, or it has no state/.
        """
        try:
            descriptor = os.open(self.path / "state", os.O_RDONLY)
        except OSError as error:
            raise RunError(
                f"{self.path / 'state'} cannot be opened: {error.strerror}; a run without it can "
                "be used but not trained on"
            ) from error
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(descriptor))
            except BlockingIOError as error:
                raise RunError(
                    f"another process is training {self.path}; wait for its end"
                ) from error
            yield

    def load_state(self) -> tuple[State, list[str]]:
        """Read the newest state whose checksum holds, and messages about those that do not.

        Raises:
            RunError: No state is whole.
        """
        return read_state(self.path)


def evaluation_files(other: str = "") -> tuple[str, ...]:
    """Name the files of an evaluation, in the order in which they are written.

    Example:
        >>> evaluation_files("usps")[2:]
        ('result-usps.png', 'answers-usps.csv', 'evaluation-usps.json')
    """
    names = ("confusion.svg", "mistakes.html", "result.png", "answers.csv", "evaluation.json")
    end = f"-{other}" if other else ""
    return tuple(name.replace(".", f"{end}.") for name in names)
