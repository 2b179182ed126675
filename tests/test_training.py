"""Training: it learns, chooses on validation, stops when asked, and goes on to the same bits."""

import json
import os
import signal
import threading
from itertools import pairwise

import pytest
import torch

from striate.batches import load_training_data
from striate.datasets.idx import write_idx
from striate.display import Silent
from striate.errors import DataError, Interrupted, RunError, TrainingError
from striate.models import build
from striate.ordering import steps_of
from striate.runs import Run
from striate.training import resume, train


def final_weights(run: Run) -> dict[str, torch.Tensor]:
    return run.load_state()[0]["weights"]


def assert_same_run(one: Run, other: Run) -> None:
    a, b = one.load_state()[0], other.load_state()[0]
    for kind in ("weights", "average"):
        assert (a[kind] is None) == (b[kind] is None)
        for name in a[kind] or ():
            assert torch.equal(a[kind][name], b[kind][name]), name
    for name, tensor in a["best"]["weights"].items():
        assert torch.equal(tensor, b["best"]["weights"][name]), name
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in s["progress"]] for s in (a, b)
    ]
    assert rows[0] == rows[1]


class StopAfter(Silent):
    """Sends this process a signal after so many steps, as Ctrl-C does."""

    def __init__(self, steps: int, number: int = signal.SIGINT) -> None:
        self.left, self.number = steps, number

    def step(self, epoch: int, images: int, loss: float) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def test_three_classes_of_bars_are_learnt(recipe, tmp_path):
    run = train(recipe.replace(epochs=12), tmp_path / "run")
    rows = run.progress()
    assert rows[-1]["validation_error"] == 0
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] / 3


def test_the_same_recipe_gives_the_same_bits_and_another_seed_others(recipe, tmp_path):
    one = train(recipe, tmp_path / "one")
    assert_same_run(one, train(recipe, tmp_path / "two"))
    other = train(recipe.replace(seed=4), tmp_path / "other")
    assert not torch.equal(final_weights(one)["h1.weight"], final_weights(other)["h1.weight"])


@pytest.mark.parametrize("steps", [1, 4, 5, 7, 13])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_the_resumed_run_ends_in_the_same_bits(recipe, tmp_path, steps, number):
    recipe = recipe.replace(ema=0.9, momentum=0.9, nesterov=True)
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted, match=r"all is saved, go on with `striate train --resume"):
        train(recipe, tmp_path / "cut", display=StopAfter(steps, number))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_same_run(whole, resume(tmp_path / "cut"))


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "weight_decay": 0.1, "learning_rate": 0.003},
        {"schedule": "plateau", "plateau_epochs": 1, "learning_rate": 0.001},
        {"ema": 0.95, "elastic": 1.0},
        {"flip": True, "crop_padding": 3, "shift": 0, "rotation": 0},
        {"crop": "random", "image_size": 30, "side_range": (29, 40)},
        {"crop": "area", "image_size": 30, "protocol": "ten-crop"},
        {"optimizer": "muon", "layer_decay": 0.5, "layer_rates": {"output": 2.0}},
        {"freeze": ("h1",), "clip": 0.5},
        {"micro_batch": 4, "precision": "bf16"},
        {"loss": "cross-entropy", "class_weights": "balanced"},
        {"validation": 0},
        {"patience": 2, "learning_rate": 1e-7, "epochs": 9},
    ],
)
def test_a_run_cut_twice_ends_in_the_same_bits(recipe, tmp_path, changes):
    recipe = recipe.replace(**changes)
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted, match="all is saved"):
        train(recipe, tmp_path / "cut", display=StopAfter(3))
    with pytest.raises(Interrupted, match="all is saved"):
        resume(tmp_path / "cut", display=StopAfter(4))
    assert_same_run(whole, resume(tmp_path / "cut"))


def test_a_finished_run_resumes_to_itself(recipe, tmp_path):
    run = train(recipe, tmp_path / "run")
    before = final_weights(run)
    rows = run.progress()
    assert resume(run.path).progress() == rows
    assert all(torch.equal(t, before[n]) for n, t in final_weights(run).items())


def test_the_best_weights_on_validation_are_kept(recipe, tmp_path):
    recipe = recipe.replace(learning_rate=0.3, schedule="constant", epochs=8)
    run = train(recipe, tmp_path / "run")
    state = run.load_state()[0]
    scores = [(row["validation_error"], row["validation_loss"]) for row in run.progress()]
    assert state["best"]["epoch"] == scores.index(min(scores)) + 1
    weights = run.network().state_dict()
    assert all(torch.equal(t, weights[n]) for n, t in state["best"]["weights"].items())


def test_without_validation_the_last_weights_are_kept(recipe, tmp_path):
    run = train(recipe.replace(validation=0), tmp_path / "run")
    assert [row["validation_error"] for row in run.progress()] == [None] * 4
    last = final_weights(run)
    assert all(torch.equal(t, last[n]) for n, t in run.network().state_dict().items())


def test_patience_ends_a_run_that_no_longer_improves(recipe, tmp_path):
    run = train(
        recipe.replace(epochs=50, patience=3, learning_rate=1e-12, shift=0, rotation=0),
        tmp_path / "run",
    )
    rows = run.progress()
    scores = [(row["validation_error"], row["validation_loss"]) for row in rows]
    assert len(rows) < 50
    assert len(rows) == scores.index(min(scores)) + 1 + 3


def test_a_plateau_cuts_the_rate(recipe, tmp_path):
    recipe = recipe.replace(
        schedule="plateau", plateau_epochs=2, epochs=9, learning_rate=1e-12, shift=0, rotation=0
    )
    rates = [row["learning_rate"] for row in train(recipe, tmp_path / "run").progress()]
    assert rates[0] == 1e-12
    assert rates[-1] < 1e-13
    cuts = [b / a for a, b in pairwise(rates) if b != a]
    assert cuts == pytest.approx([0.1] * len(cuts))


def test_a_time_budget_ends_the_run_in_time_with_the_rate_run_out(recipe, tmp_path):
    run = train(
        recipe.replace(epochs=10**6, time=1.5, schedule="cosine", learning_rate=0.01),
        tmp_path / "run",
    )
    before, last = run.progress()[-2:]
    assert before["seconds"] < 1.5 <= last["seconds"]
    assert 0 <= last["learning_rate"] < 0.001


def test_an_epoch_that_time_cuts_short_is_not_told_as_a_whole_one(recipe, tmp_path):
    told: list[str] = []

    class Listening(Silent):
        def note(self, text: str) -> None:
            told.append(text)

    cut = recipe.replace(epochs=1, time=1e-9)
    run = train(cut, tmp_path / "run", display=Listening())
    assert told[1:] == ["stopped by time in epoch 1 of 1, after 1 of 5 steps"]
    assert "the last may be cut short" in (run.path / "README.md").read_text("utf-8")


@pytest.mark.parametrize("rate", [1e20, 1e38])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_weights(recipe, tmp_path, rate):
    recipe = recipe.replace(
        network="lenet5_relu",
        learning_rate=rate,
        schedule="step",
        milestones={0: 1e-3 / rate, 2: 1.0},
    )
    with pytest.raises(TrainingError, match=r"in epoch 3, step [12], .*kept, see .*stopped\.json"):
        train(recipe, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert len(run.progress()) == 2
    trained = run.load_state()[0]["weights"]  # the first state: nothing was saved in between
    assert any(not torch.equal(t, trained[n]) for n, t in run.network().state_dict().items())
    assert all(t.isfinite().all() for t in run.network().state_dict().values())
    stop = json.loads((run.path / "stopped.json").read_text())
    assert stop["epoch"] == 3
    shown = steps_of(run.recipe, 2, load_training_data(run.recipe).num_training)
    assert stop["examples"] == shown[stop["step"] - 1].tolist()
    assert set(stop["largest_weight"]) == {n for n, _ in run.network().named_parameters()}


def test_other_data_under_the_same_name_are_refused(recipe, tmp_path, small_set):
    with pytest.raises(Interrupted, match="all is saved"):
        train(recipe, tmp_path / "run", display=StopAfter(2))
    labels = small_set / "train-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[-1] = (content[-1] + 1) % 3
    labels.write_bytes(content)
    with pytest.raises(DataError, match=r"are not those this run began with .*--data-dir"):
        resume(tmp_path / "run")


def test_a_full_disk_is_one_line_and_what_was_saved_is_whole(recipe, tmp_path, monkeypatch):
    import errno

    with pytest.raises(Interrupted, match="all is saved"):
        train(recipe, tmp_path / "run", display=StopAfter(6))
    before = {
        file: file.read_bytes() for file in sorted((tmp_path / "run").rglob("*")) if file.is_file()
    }

    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(RunError, match=r"No space left on device; .*free the disk, then go on"):
            resume(tmp_path / "run", save_seconds=0)
    after = {
        file: file.read_bytes() for file in sorted((tmp_path / "run").rglob("*")) if file.is_file()
    }
    assert after == before
    assert_same_run(train(recipe, tmp_path / "whole"), resume(tmp_path / "run"))


def test_initial_weights_are_the_seed_s(recipe, tmp_path):
    frozen = recipe.replace(learning_rate=1e-30, epochs=1, validation=0)
    for seed in (3, 4):
        run = train(frozen.replace(seed=seed), tmp_path / f"run{seed}")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            expected = build("lecun1990", 1, 3).state_dict()
        for name, tensor in run.network().state_dict().items():
            assert torch.allclose(tensor, expected[name], rtol=0, atol=1e-20), name


def test_a_run_in_training_is_locked(recipe, tmp_path):
    refusals = []

    class Meddling(Silent):
        def step(self, epoch, images, loss):
            with pytest.raises(RunError, match="another process is training") as refusal:
                resume(tmp_path / "run")
            refusals.append(refusal)

    train(recipe.replace(epochs=1), tmp_path / "run", display=Meddling())
    assert len(refusals) == 5


def test_a_folder_that_moved_is_given_with_data_dir(recipe, tmp_path, small_set):
    with pytest.raises(Interrupted, match="all is saved"):
        train(recipe, tmp_path / "run", display=StopAfter(2))
    small_set.rename(tmp_path / "moved")
    with pytest.raises(DataError, match="no folder"):
        resume(tmp_path / "run")
    assert len(resume(tmp_path / "run", data_dir=tmp_path / "moved").progress()) == 4


def test_a_set_with_one_image_a_class_cannot_validate(recipe, tmp_path, part):
    folder = tmp_path / "few"
    folder.mkdir()
    for name in ("train", "t10k"):
        write_idx(folder / f"{name}-images-idx3-ubyte", part.images[:3, 0])
        write_idx(folder / f"{name}-labels-idx1-ubyte", part.targets[:3].to(torch.uint8))
    few = recipe.replace(data=str(folder))
    with pytest.raises(DataError, match=r"few has one image a class.*set validation to 0"):
        train(few, tmp_path / "run")
    assert len(train(few.replace(validation=0), tmp_path / "run").progress()) == 4


def test_a_relative_folder_is_found_again_from_elsewhere(recipe, tmp_path, small_set, monkeypatch):
    monkeypatch.chdir(small_set.parent)
    with pytest.raises(Interrupted, match="all is saved"):
        train(recipe.replace(data="./bars"), tmp_path / "run", display=StopAfter(2))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(resume(tmp_path / "run").progress()) == 4


def test_the_run_s_thread_count_is_used_again_and_the_caller_s_left_alone(recipe, tmp_path):
    torch.set_num_threads(2)
    threads = []

    class Watching(StopAfter):
        def step(self, epoch, images, loss):
            threads.append(torch.get_num_threads())
            super().step(epoch, images, loss)

    with pytest.raises(Interrupted, match="all is saved"):
        train(recipe, tmp_path / "run", display=Watching(2))
    assert Run(tmp_path / "run").load_state()[0]["threads"] == 1  # a small network
    resume(tmp_path / "run", display=Watching(-1))
    assert set(threads) == {1}
    assert torch.get_num_threads() == 2


def test_the_threads_that_are_asked_for_are_used_and_kept(recipe, tmp_path):
    notes = []

    class Telling(StopAfter):
        def note(self, text):
            notes.append(text)

    with pytest.raises(Interrupted, match="all is saved"):
        train(recipe, tmp_path / "run", num_threads=3, display=Telling(2))
    run = Run(tmp_path / "run")
    assert (run.load_state()[0]["threads"], run.environment["threads"]) == (3, 3)
    assert notes[-1].endswith("cpu, 3 threads")
    with pytest.raises(Interrupted, match="all is saved"):
        resume(run.path, num_threads=2, display=Telling(2))
    assert "with 2 threads instead of 3 the weights will not be, bit for bit, those" in notes[-2]
    assert run.load_state()[0]["threads"] == 2
    before = len(notes)
    resume(run.path, num_threads=2, display=Telling(-1))
    assert [note[-9:] for note in notes[before:]] == ["2 threads"]
    assert torch.get_num_threads() == 1


def test_training_works_in_a_thread_of_another_program(recipe, tmp_path):
    thread = threading.Thread(target=train, args=(recipe.replace(epochs=1), tmp_path / "run"))
    thread.start()
    thread.join()
    assert len(Run(tmp_path / "run").progress()) == 1


def test_the_caller_s_random_numbers_are_left_alone(recipe, tmp_path):
    torch.manual_seed(8)
    expected = torch.rand(3)
    torch.manual_seed(8)
    train(recipe.replace(epochs=1), tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)
