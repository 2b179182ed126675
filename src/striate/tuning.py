"""A search for a better recipe: trials that are ordinary runs, judged by validation alone."""

import importlib.util
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from striate.display import Display, PassingOn, Silent
from striate.errors import Interrupted, TrainingError, UsageError
from striate.files import write_file
from striate.models import find_network, with_defaults
from striate.recipes import Recipe
from striate.task_making import prepare
from striate.training import train

BEST = "best.yaml"


class Outcome(NamedTuple):
    """One trial.

    Attributes:
        run: The name of its run folder.
        state: ``complete``, ``pruned``, ``failed`` or ``running``.
        score: Lowest validation error, of masks 1 minus the mean Dice; None if it has none.
        fields: What was tried.
    """

    run: str
    state: str
    score: float | None
    fields: dict[str, Any]


def default_space(recipe: Recipe) -> dict[str, Any]:
    """Say what is searched if nothing else is asked for.

    Args:
        recipe: Complete.

    Returns:
        For each field of the recipe ``{"low", "high", "log"}`` or a list of values.
    """
    rate = recipe.learning_rate
    space: dict[str, Any] = {
        "learning_rate": {"low": rate / 10, "high": rate * 10, "log": True},
        "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
        "rotation": {"low": 0.0, "high": 20.0},
        "scale": {"low": 0.0, "high": 0.2},
    }
    if find_network(recipe.network).task == "segmentation":
        return {**space, "grey": {"low": 0.0, "high": 0.3}, "noise": {"low": 0.0, "high": 0.1}}
    space["shift"] = {"low": 0.0, "high": 3.0}
    if recipe.loss == "cross-entropy":
        space["label_smoothing"] = {"low": 0.0, "high": 0.2}
    return space


def read_space(path: Path) -> dict[str, Any]:
    """Read a space from YAML: ``field: [values]`` or ``field: {low: , high: , log: true}``.

    Raises:
        UsageError: It cannot be read, or a field or form is none.
    """
    try:
        space = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"the space {path} cannot be read: {' '.join(str(error).split())}") from (
            error
        )
    if not isinstance(space, dict) or not space:
        raise UsageError(f"the space {path} has no 'field: values' lines")
    for name, values in space.items():
        if name not in Recipe.model_fields or name in ("network", "data", "epochs", "lengthened"):
            raise UsageError(f"the space {path} names {name!r}, which is no field to search")
        ends = isinstance(values, dict) and {"low", "high"} <= values.keys() <= {
            *("low", "high", "log")
        }
        if not ends and not (isinstance(values, list) and values):
            raise UsageError(
                f"the space {path} gives {name} as {values!r}; write a list of values, or "
                "{low: 0.001, high: 0.1, log: true}"
            )
    return space


def tune(
    recipe: Recipe,
    folder: Path,
    *,
    trials: int,
    seconds: float | None = None,
    space: Mapping[str, Any] | None = None,
    display: Display | None = None,
    told: Callable[[Outcome], None] | None = None,
    **options: Any,
) -> list[Outcome]:
    """Search for the recipe with the lowest validation error.

    Trials are drawn by Optuna's TPE; one whose error after an epoch is above the median of
    the others' is stopped. The test part is never read. Every trial is a run folder,
    trial-000 and so on; study.db keeps the search, best.yaml the best recipe so far. The same
    call goes on with a search that was stopped or killed.

    Args:
        recipe: What is not searched.
        folder: Where trials and search are kept; made if missing.
        trials: How many there are to be in all.
        seconds: No longer than this, in this call; a trial that is then running is stopped.
        space: As ``default_space`` gives it, or ``read_space``.
        display: Told of each trial's epochs.
        told: Called with each trial that ended.
        options: ``data_dir``, ``device``, ``num_threads`` and ``reading`` of ``training.train``.

    Returns:
        All trials of the search.

    Raises:
        UsageError: Optuna is missing, there is no validation part, or the folder holds
            another search.
        Interrupted: Ctrl-C; what was found is kept.

    Source:
        T. Akiba et al., "Optuna: a next-generation hyperparameter optimization framework",
        2019. TPE: J. Bergstra et al., 2011.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UsageError('tune needs Optuna, which is not here; pip install "striate[tune]"')
    display = display or Silent()
    complete = with_defaults(recipe)
    places = options.get("data_dir"), options.get("reading")
    if not prepare(complete, recipe.model_fields_set, Silent(), *places).task.num_validation:
        raise UsageError(
            f"{recipe.data} has no validation part and --validation is 0; give --validation 0.1, "
            "because a search must not see the test part"
        )
    space = dict(space or default_space(complete))
    folder.mkdir(parents=True, exist_ok=True)
    study = _study(folder, recipe, space)
    ends = math.inf if seconds is None else time.monotonic() + seconds
    while len(study.trials) < trials and time.monotonic() < ends:
        trial = study.ask()
        fields = {name: _draw(trial, name, values) for name, values in space.items()}
        try:
            _try(study, trial, recipe.replace(**fields), folder, _Watching(display, trial, ends),
                 options)  # fmt: skip
        finally:
            _write_best(study, recipe, folder)
        if told is not None:
            told(_outcome(study.trials[trial.number]))
    return [_outcome(trial) for trial in study.trials]


def _study(folder: Path, recipe: Recipe, space: dict[str, Any]) -> Any:
    """Open the search of a folder; what a killed process left running has failed."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="striate",
        storage=f"sqlite:///{folder.resolve() / 'study.db'}",
        direction="minimize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    asked = {"recipe": recipe.to_yaml(), "space": space}
    if not study.user_attrs:
        for name, value in asked.items():
            study.set_user_attr(name, value)
    elif study.user_attrs != asked:
        raise UsageError(
            f"{folder} holds a search with another recipe or space; give the same, or another --out"
        )
    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.RUNNING:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    study.sampler = optuna.samplers.TPESampler(seed=(recipe.seed + len(study.trials)) % 2**32)
    return study


def _draw(trial: Any, name: str, values: Any) -> Any:
    if isinstance(values, list):
        return trial.suggest_categorical(name, values)
    low, high = values["low"], values["high"]
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=bool(values.get("log")))
    return trial.suggest_float(name, low, high, log=bool(values.get("log")))


def _try(
    study: Any,
    trial: Any,
    recipe: Recipe,
    folder: Path,
    watching: "_Watching",
    options: dict[str, Any],
) -> None:
    """Train one trial and tell the search how it ended."""
    import optuna

    states = optuna.trial.TrialState
    place = folder / f"trial-{trial.number:03d}"
    try:
        train(recipe, place, display=watching, overwrite=True, **options)
    except optuna.TrialPruned:
        study.tell(trial, state=states.PRUNED)
    except TrainingError:
        study.tell(trial, 1.0)  # as bad as can be, so that the search keeps away
    except Interrupted as error:
        study.tell(trial, state=states.FAIL)
        raise Interrupted(
            f"stopped in {place.name}; the others are kept, the same command goes on"
        ) from error
    except BaseException:
        study.tell(trial, state=states.FAIL)
        raise
    else:
        study.tell(trial, watching.best)


class _Watching(PassingOn):
    """A display that reports each epoch to the search, and stops the trial where it says so."""

    def __init__(self, display: Display, trial: Any, ends: float) -> None:
        super().__init__(display)
        self.trial, self.ends = trial, ends
        self.best = math.inf

    def end_epoch(self, row: Mapping[str, float | None]) -> None:
        import optuna

        super().end_epoch(row)
        dice, error = row.get("validation_dice"), row["validation_error"]
        score = 1 - dice if dice is not None else error
        self.best = min(self.best, math.inf if score is None else score)
        epoch = row["epoch"]
        self.trial.report(self.best, int(epoch or 0))
        if self.trial.should_prune() or time.monotonic() >= self.ends:
            raise optuna.TrialPruned


def _write_best(study: Any, recipe: Recipe, folder: Path) -> None:
    """Keep the best complete trial's recipe, if there is one."""
    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if done:
        best = min(done, key=lambda trial: float(trial.value))
        write_file(folder / BEST, recipe.replace(**best.params).to_yaml())


def _outcome(trial: Any) -> Outcome:
    names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    scores = [*trial.intermediate_values.values()]
    return Outcome(
        f"trial-{trial.number:03d}",
        names.get(trial.state.name, "running"),
        trial.value if trial.value is not None else min(scores, default=None),
        dict(trial.params),
    )
