"""The run folder: reads back, refuses what is not one, survives damage."""

import json
import os

import pytest
import safetensors.torch
import torch

from striate.errors import DataError, RunError, UsageError
from striate.preparation import prepare
from striate.recipes import Recipe
from striate.runs import FORMAT, Run
from striate.training import resume, train

FILES = {
    "recipe.yaml", "environment.json", "classes.json", "input.json", "progress.csv",
    "model.safetensors", "curves.svg", "state", "README.md",
}  # fmt: skip


@pytest.fixture
def run(tmp_path, small_set):
    recipe = Recipe(network="lecun1990", data=str(small_set), epochs=3, batch_size=9)
    return train(recipe, tmp_path / "run", save_seconds=0)


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_run_folder_has_its_files_and_nothing_else(run):
    assert names(run.path) == FILES
    assert names(run.path.parent) == {"bars", "run"}
    assert len(list((run.path / "state").iterdir())) == 2


def test_a_run_reads_back_what_training_gave(run, small_set):
    again = Run(run.path)
    assert again.recipe == run.recipe
    assert set(again.recipe.model_fields_set) == set(Recipe.model_fields)
    assert again.classes == ("0", "1", "2")
    assert [row["epoch"] for row in again.progress()] == [1, 2, 3]
    assert again.environment["data_source"] == str(small_set)
    assert again.evaluation() is None


def test_weights_open_without_striate_and_say_what_they_are(run):
    with safetensors.safe_open(run.path / "model.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["striate"])
    assert (facts["network"], facts["classes"]) == ("lecun1990", ["0", "1", "2"])
    weights = safetensors.torch.load_file(run.path / "model.safetensors")
    for name, tensor in run.network().state_dict().items():
        assert torch.equal(tensor, weights[name])


def test_predict_gives_probabilities_for_bytes_and_floats_of_any_size(run, part):
    bytes_ = run.predict(part.images)
    assert bytes_.shape == (51, 3)
    assert torch.allclose(bytes_.sum(dim=1), torch.ones(51))
    assert torch.allclose(run.predict(part.images / 255), bytes_, atol=1e-5)
    logits = run.network()(prepare(part.images, (0, 255), run.spec))
    assert torch.allclose(logits.softmax(dim=1), bytes_)
    assert run.predict(torch.zeros(2, 1, 31, 45)).shape == (2, 3)


def test_predict_refuses_what_the_network_cannot_read(run):
    with pytest.raises(DataError, match=r"shape \(2, 3, 16, 16\); this run reads \(N, 1, H, W\)"):
        run.predict(torch.zeros(2, 3, 16, 16))
    with pytest.raises(DataError, match=r"run from -1 to 1; scale floats to \[0, 1\]"):
        run.predict(torch.linspace(-1, 1, 256).view(1, 1, 16, 16))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"absent does not exist; `striate train"):
        Run(tmp_path / "absent")
    with pytest.raises(UsageError, match=r"is not a run: it has no recipe\.yaml"):
        Run(tmp_path)


@pytest.mark.parametrize("name", ["environment.json", "classes.json", "input.json", "recipe.yaml"])
def test_a_damaged_description_is_named(run, name):
    (run.path / name).write_text("{")
    with pytest.raises(RunError, match=f"{run.path} is a damaged run"):
        Run(run.path)


def test_a_later_format_is_refused(run):
    environment = json.loads((run.path / "environment.json").read_text())
    environment["format"] = FORMAT + 1
    (run.path / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(RunError, match=f"has run format {FORMAT + 1}, this striate reads up to"):
        Run(run.path)


@pytest.mark.parametrize("damage", ["truncate", "other network", "absent"])
def test_damaged_weights_are_refused_and_resume_writes_them_again(run, damage):
    file = run.path / "model.safetensors"
    before = file.read_bytes()
    if damage == "truncate":
        file.write_bytes(before[:-7])
    elif damage == "other network":
        safetensors.torch.save_file({"fc.weight": torch.zeros(3, 2)}, file)
    else:
        file.unlink()
    with pytest.raises(RunError, match=r"does not hold this run's weights: .*--resume"):
        run.network()
    resume(run.path)
    assert file.read_bytes() == before


def states(run):
    return sorted((run.path / "state").glob("*.pt"))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_state_is_found_and_the_one_before_is_used(run, damage):
    older, newest = states(run)
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    newest.write_bytes({"flip": content, "truncate": content[:-1], "empty": b""}[damage])
    state, notes = run.load_state()
    assert state["epoch"] == 2
    assert f"{newest} is damaged (its checksum differs)" in notes[0]
    assert [file.name for file in states(run)] == [older.name]


def test_a_byte_flipped_anywhere_in_a_state_is_found(run):
    newest = states(run)[-1]
    content = newest.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 60)):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        newest.write_bytes(damaged)
        assert run.load_state()[0]["epoch"] == 2
        newest.with_suffix(".damaged").unlink()
    newest.write_bytes(content)
    assert run.load_state()[0]["epoch"] == 3


def test_without_a_whole_state_nothing_is_resumed(run):
    for file in states(run):
        file.write_bytes(b"x" + file.read_bytes())
    with pytest.raises(RunError, match=r"no state in .*state is whole; train again"):
        run.load_state()


def test_a_pickle_that_runs_code_is_never_run(run, tmp_path):
    import hashlib

    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'owned'}",))

    torch.save({"epoch": 9, "x": Evil()}, tmp_path / "evil.pt")
    content = (tmp_path / "evil.pt").read_bytes()
    checksum = hashlib.sha256(content).hexdigest()[:16]
    (run.path / "state" / f"000000009-00000000-{checksum}.pt").write_bytes(content)
    with pytest.raises(RunError, match=r"is whole but holds no state that this striate reads"):
        run.load_state()
    assert not (tmp_path / "owned").exists()


def test_a_run_without_its_state_can_be_used_but_not_trained_on(run):
    import shutil

    shutil.rmtree(run.path / "state")
    assert Run(run.path).network() is not None
    with pytest.raises(RunError, match=r"state cannot be opened: .* can be used but not trained"):
        resume(run.path)


def test_using_a_run_leaves_the_caller_s_random_numbers_alone(run, part):
    torch.manual_seed(8)
    expected = torch.rand(3)
    torch.manual_seed(8)
    run.predict(part.images)
    resume(run.path)
    assert torch.equal(torch.rand(3), expected)


def test_an_evaluation_stays_with_its_weights_and_goes_with_them(small_set, tmp_path):
    import striate
    from striate.errors import Interrupted
    from test_training import StopAfter

    recipe = Recipe(network="lecun1990", data=str(small_set), epochs=3, batch_size=9)
    with pytest.raises(Interrupted, match="all is saved"):
        train(recipe, tmp_path / "cut", display=StopAfter(7), save_seconds=0)
    striate.evaluate(Run(tmp_path / "cut"))
    run = resume(tmp_path / "cut")
    assert names(run.path) == FILES  # it was of the weights of the first epoch
    striate.evaluate(run)
    resume(run.path)
    assert run.evaluation()["epochs"] == 3
    assert "accuracy on 12 images" in (run.path / "README.md").read_text("utf-8")


def test_no_images_and_other_integers_are_answered_plainly(run):
    assert run.predict(torch.zeros(0, 1, 16, 16)).shape == (0, 3)
    with pytest.raises(DataError, match=r"images are torch\.int16; give bytes"):
        run.predict(torch.zeros(2, 1, 16, 16, dtype=torch.int16))


def test_two_processes_do_not_train_one_run(run):
    with (
        run.locked(),
        pytest.raises(RunError, match=r"another process is training .*run; wait for its end"),
    ):
        resume(run.path)


def test_the_model_card_says_what_it_is(run):
    card = (run.path / "README.md").read_text("utf-8")
    assert "# lecun1990 on" in card
    assert "3 of 3 epochs" in card
    assert "lowest validation error" in card
