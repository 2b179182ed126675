"""The loop that updates weights: epochs, choices on validation, saving, stopping."""

import copy
import hashlib
import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from striate import distributed
from striate.batch_statistics import over_processes
from striate.batches import Batch
from striate.datasets.listing import counted
from striate.display import Display, Silent
from striate.errors import Interrupted, RunError, TrainingError
from striate.execution_choice import choose_execution, needs_choice
from striate.fine_tuning import tune
from striate.gradients import Execution, Gradients, micro_batch_words
from striate.interruption import stop_signals
from striate.loading import told_of_workers
from striate.optimization import Optimizer, update_average
from striate.recipes import Recipe
from striate.run_states import State
from striate.runs import Row, Run, plan_of
from striate.schedules import learning_rate
from striate.tasks import Task

# Epochs that take less than this are not saved one by one.
SECONDS_BETWEEN_SAVES = 1.0
# Of an epoch that takes longer, the state is saved in between.
SECONDS_WITHIN_EPOCH = 300.0


@dataclass
class _Progress:
    """Where the loop stands; all of it goes into the state."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    mistakes: int = 0
    seen: int = 0
    judged: int = 0  # images, or pixels, that could be right or wrong
    elapsed: float = 0.0
    reductions: int = 0
    epochs_since_best: int = 0
    epochs_since_reduction: int = 0
    finished: bool = False
    lengthenings: int = 0
    cut_after: int = 0  # steps of a last epoch that time ended early
    rows: list[Row] = field(default_factory=list)


class TrainingLoop:
    """A network on its way through the epochs of a complete recipe."""

    def __init__(
        self,
        recipe: Recipe,
        task: Task,
        network: nn.Module,
        *,
        device: torch.device | None = None,
        display: Display | None = None,
        save_seconds: float = SECONDS_BETWEEN_SAVES,
    ) -> None:
        self.recipe, self.task = recipe, task
        self.display = display or Silent()
        self.device = device = device or torch.device("cpu")
        self.save_seconds = save_seconds
        over_processes(network)
        self.network = network.to(device).train()
        roles = tune(self.network, recipe)
        task.to(device)
        self.gradients = Gradients(self.network, task, recipe, note=self.display.note)
        self.is_chosen = not needs_choice(recipe)
        self.average = copy.deepcopy(self.network) if recipe.ema else None
        self.optimizer = Optimizer(self.network.parameters(), recipe, roles)
        self.steps_per_epoch = task.steps_per_epoch
        self.at = _Progress()
        self.started = time.monotonic()
        self.best: dict[str, Any] = {"weights": self._weights(), "epoch": 0, "score": None}

    def state(self) -> State:
        """Give everything that a resumed run needs, as plain values and tensors."""
        at = self.at
        return {
            **{name: getattr(at, name) for name in at.__dataclass_fields__ if name != "rows"},
            "progress": at.rows,
            "weights": self.network.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state(),
            "best": self.best,
            "threads": torch.get_num_threads(),
            "plan": plan_of(self.recipe),
            "processes": distributed.size(),
            "micro_batch": self.gradients.micro_batch,
            "execution": self.gradients.execution._asdict() if self.is_chosen else None,
        }

    def load(self, state: State) -> None:
        """Take up what ``state`` gave."""
        names = state.keys() & (self.at.__dataclass_fields__.keys() - {"rows"})
        self.at = _Progress(rows=state["progress"], **{name: state[name] for name in names})
        self.at.judged = state.get("judged", self.at.seen)
        self.network.load_state_dict(state["weights"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state(state["optimizer"])
        self.gradients.micro_batch = state.get("micro_batch")
        if state.get("execution") is not None:
            self.gradients.execute(Execution(**state["execution"]))
            self.is_chosen = True
        self.best = state["best"]

    def go(self, run: Run) -> None:
        """Train until the recipe is done, saving on the way."""
        recipe, at = self.recipe, self.at
        examples = self.task.num_examples
        self._require_equal()
        if not at.finished:
            self.display.note(self._plan())
            if recipe.batch_size > examples:
                self.display.note(
                    f"a batch of {recipe.batch_size:,} is more than all {examples:,}: each epoch "
                    "is one step of them all"
                )
            self._choose_execution(run)
        self.display.begin(recipe.epochs, examples, at.epoch * examples + at.seen)
        self.started = time.monotonic() - at.elapsed
        last_save = time.monotonic()
        if at.finished:
            self.display.note("this run is finished; its files are written again")
        try:
            with stop_signals() as stopped, told_of_workers():
                while not at.finished:
                    self.epoch(run, stopped)
                    if not at.finished and time.monotonic() - last_save >= self.save_seconds:
                        self._save(run)
                        last_save = time.monotonic()
            self._save(run)
        finally:
            self.display.end()
        if at.cut_after:
            self.display.note(
                f"stopped by time in epoch {at.epoch} of {recipe.epochs}, after {at.cut_after} of "
                f"{self.steps_per_epoch} steps"
            )
        elif at.epoch < recipe.epochs:
            why = "time" if recipe.time is not None and at.elapsed >= recipe.time else "patience"
            self.display.note(f"stopped by {why} after {at.epoch} of {recipe.epochs} epochs")

    def _choose_execution(self, run: Run) -> None:
        """Measure how to compute, once for a run: what is resumed goes on in the same way."""
        if self.is_chosen:
            return
        if distributed.size() > 1:  # their measurements would differ, and so would their steps
            self.display.note(
                f"several processes compute as they are told: {self.gradients.execution}"
            )
            self.is_chosen = True
            return
        batch = next(iter(self.task.batches(self.at.epoch, self.at.step)))
        steps = (self.recipe.epochs - self.at.epoch) * self.steps_per_epoch - self.at.step
        chosen = choose_execution(self.gradients, batch, steps, self.display.note)
        self.gradients.execute(chosen)
        self.is_chosen = True
        self._save(run)

    def _plan(self) -> str:
        """Say in a line what is about to be done."""
        threads = torch.get_num_threads()
        spread = f", {distributed.size()} processes" if distributed.size() > 1 else ""
        return (
            f"{self.recipe.network} on {self.recipe.data}: "
            f"{counted(self.task.num_training, 'image')}, "
            f"{counted(self.steps_per_epoch, 'step')} an epoch, {self.device}, "
            f"{counted(threads, 'thread')}{spread}{self._moving()}{self._at_once()}"
        )

    def _require_equal(self) -> None:
        """Refuse processes that would learn from other data or begin with other weights."""
        if distributed.size() == 1:
            return
        remedy = "give every machine the same data and the same striate"
        distributed.require_equal("the data", self.task.fingerprint, remedy)
        content = hashlib.sha256()
        for tensor in self.network.state_dict().values():
            content.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        distributed.require_equal("the weights", content.hexdigest(), remedy)

    def _moving(self) -> str:
        sizes = [parameter.numel() for parameter in self.network.parameters()]
        moving = sum(parameter.numel() for parameter in self.optimizer.parameters)
        if moving == sum(sizes):
            return ""
        return f", {moving:,} of {sum(sizes):,} parameters train"

    def _at_once(self) -> str:
        micro_batch = self.gradients.micro_batch
        return f", {micro_batch_words(self.network, micro_batch)}" if micro_batch else ""

    def epoch(self, run: Run, stopped: threading.Event) -> None:
        """Train to the end of the epoch, from the step where it stands."""
        recipe, at = self.recipe, self.at
        share = distributed.rank(), distributed.size()
        saved = at.elapsed
        for batch in self.task.batches(at.epoch, at.step, share):
            loss = self._step(run, batch)
            at.step += 1
            self.display.step(at.epoch + 1, batch.num_examples, loss)
            is_stopped = self._read_clock(stopped.is_set())
            if recipe.time is not None and at.elapsed >= recipe.time:
                break
            if is_stopped:
                self._save(run)
                distributed.wait()
                raise Interrupted(
                    f"stopped in epoch {at.epoch + 1}, step {at.step}; all is saved, go on with "
                    f"`striate train --resume {run.path}`"
                )
            if at.elapsed - saved >= SECONDS_WITHIN_EPOCH:
                self._save(run)
                saved = at.elapsed
        self._end_epoch(run)

    def _read_clock(self, is_stopped: bool = False) -> bool:
        """Take the first process's time, and say whether any process was told to stop.

        The time is in begun milliseconds, so that what is compared is what is written.
        """
        elapsed = math.ceil(1000 * (time.monotonic() - self.started)) / 1000
        told = torch.tensor([elapsed * distributed.is_first(), is_stopped], dtype=torch.float64)
        self.at.elapsed, stops = distributed.add_up(told).tolist()
        return bool(stops)

    def _step(self, run: Run, batch: Batch) -> float:
        at, rate = self.at, self._rate(self.at.step)
        loss, *counts = self.gradients(at.epoch, batch)
        if not math.isfinite(loss):
            self._refuse(run, f"the loss is {loss}", rate, batch.indices)
        distributed.add_up_gradients(self.optimizer.parameters)
        self.optimizer.step(rate)
        if self.average is not None:
            update_average(self.average, self.network, self.recipe.ema, self.optimizer.steps)
        at.loss_sum += loss * batch.num_examples
        wrong, judged = distributed.add_up(torch.tensor(counts)).tolist()
        at.mistakes += wrong
        at.judged += judged
        at.seen += batch.num_examples
        return loss

    def _rate(self, step_of_epoch: int) -> float:
        at = self.at
        step = at.epoch * self.steps_per_epoch + step_of_epoch
        return learning_rate(
            self.recipe,
            step,
            self.steps_per_epoch,
            reductions=at.reductions,
            elapsed=at.elapsed,
        )

    def _end_epoch(self, run: Run) -> None:
        recipe, at = self.recipe, self.at
        rate = self._rate(at.step - 1)
        row: Row = {
            "epoch": at.epoch + 1,
            "learning_rate": rate,
            "train_loss": at.loss_sum / at.seen,
            "train_error": at.mistakes / max(at.judged, 1),
            "validation_loss": None,
            "validation_error": None,
        }
        score = None
        if self.task.num_validation:
            measured = self.task.validate(self.average or self.network)
            row["validation_loss"], row["validation_error"] = measured.loss, measured.error
            if measured.dice is not None:
                row["validation_dice"] = measured.dice
            if not math.isfinite(measured.loss):
                self._refuse(run, f"the validation loss is {measured.loss}", rate, None)
            score = measured.score
        elif not all(bool(weight.isfinite().all()) for weight in self.network.parameters()):
            self._refuse(run, "a weight is not finite", rate, None)
        self._compare(score)
        self._read_clock()
        row["seconds"] = at.elapsed
        at.rows.append(row)
        at.epoch += 1
        at.cut_after = at.step if at.step < self.steps_per_epoch else 0
        at.step = at.mistakes = at.judged = at.seen = 0
        at.loss_sum = 0.0
        at.finished = (
            at.epoch >= recipe.epochs
            or (recipe.time is not None and at.elapsed >= recipe.time)
            or (recipe.patience is not None and at.epochs_since_best >= recipe.patience)
        )
        self.display.end_epoch(row)

    def _compare(self, score: list[float] | None) -> None:
        """Keep the weights if they are the best yet; let the plateau rule count."""
        at = self.at
        if score is None or self.best["score"] is None or score < self.best["score"]:
            self.best = {"weights": self._weights(), "epoch": at.epoch + 1, "score": score}
            at.epochs_since_best = at.epochs_since_reduction = 0
            return
        at.epochs_since_best += 1
        at.epochs_since_reduction += 1
        if at.epochs_since_reduction >= self.recipe.plateau_epochs:
            at.reductions += 1
            at.epochs_since_reduction = 0

    def _weights(self) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = (self.average or self.network).state_dict()
        return {name: tensor.detach().clone() for name, tensor in weights.items()}

    def _save(self, run: Run) -> None:
        if not distributed.is_first():
            return
        try:
            run.save(self.state())
        except RunError as error:
            raise RunError(
                f"{error}; free the disk, then go on with `striate train --resume {run.path}`"
            ) from error

    def _refuse(self, run: Run, what: str, rate: float, indices: Tensor | None) -> None:
        at = self.at
        examples = distributed.joined([] if indices is None else indices.tolist())
        stop = {
            "reason": what,
            "epoch": at.epoch + 1,
            "step": at.step + 1,
            "learning_rate": rate,
            "examples": None if indices is None else examples,
            "largest_weight": {
                name: weight.detach().abs().max().item()
                for name, weight in self.network.named_parameters()
            },
        }
        file = distributed.from_first(lambda: run.note_stop(stop))
        if distributed.is_first():
            run.write_results(self.best["weights"], at.rows)
        distributed.wait()
        raise TrainingError(
            f"{what} in epoch {at.epoch + 1}, step {at.step + 1}, at learning rate {rate:.3g}; "
            f"the best weights before it are kept, see {file}; try a lower --learning-rate"
        )
