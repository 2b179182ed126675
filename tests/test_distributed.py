"""Two processes against one: a step, a run, an evaluation, killed and interrupted."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import distributing
from commanding import said
from crashing import digest
from distributing import STEPS, spread, step
from striate import distributed
from striate.display import Silent
from striate.runs import Run
from striate.training import resume

WORK = Path(distributing.__file__)


# ---------------------------------------------------------------- alone


def test_alone_everything_is_as_it_was():
    values = torch.tensor([3.0, 4.0], requires_grad=True)
    assert distributed.size() == 1
    assert distributed.is_first()
    assert distributed.add_up(values) is values
    assert distributed.total(values) is values
    assert distributed.gather_objects("x") == ["x"]
    assert distributed.from_first(lambda: 5) == 5
    assert distributed.remembered("anything") is None
    distributed.require_equal("nothing", "x", "")
    distributed.wait()


@pytest.mark.parametrize("count", [0, 1, 6, 7])
@pytest.mark.parametrize("processes", [1, 2, 5])
def test_shares_are_contiguous_and_hold_every_row_once(count, processes):
    rows = list(range(count))
    parts = [rows[distributed.share_of(count, (n, processes))] for n in range(processes)]
    assert [row for part in parts for row in part] == rows
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_buckets_hold_every_parameter_once_in_order(monkeypatch):
    monkeypatch.setattr(distributed, "BUCKET", 10)
    parameters = [torch.zeros(size) for size in (4, 7, 1, 20, 2)]
    parameters.append(torch.zeros(3, dtype=torch.float64))
    buckets = list(distributed._buckets(parameters))
    assert [[len(each) for each in bucket] for bucket in buckets] == [[4, 7], [1, 20], [2], [3]]


# ---------------------------------------------------------------- two


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_two_processes_is_that_of_one(over_two, color_set, cells, name):
    two, one = over_two["steps"][name], step(name, str(color_set), str(cells))
    rows = STEPS[name]["batch_size"]
    assert two["here"] == [rows // 2, rows - rows // 2]
    limit = 1e-6 if name.endswith("in double") else 1e-5  # in double, losses are in single
    assert two["loss"] == pytest.approx(one["loss"], rel=limit)
    assert two["counts"] == one["counts"]
    assert [each.keys() for each in (two["gradients"], two["statistics"])] == [
        each.keys() for each in (one["gradients"], one["statistics"])
    ]
    ours, wanted = (torch.cat([g.flatten() for g in n["gradients"].values()]) for n in (two, one))
    assert (ours - wanted).norm() <= limit * wanted.norm()
    for key, expected in one["statistics"].items():
        torch.testing.assert_close(two["statistics"][key], expected, rtol=limit, atol=limit)
    assert one["measures"] is None or two["measures"] == pytest.approx(one["measures"], rel=1e-4)


def test_rows_are_scored_in_shares_and_come_back_in_order(over_two):
    one, seven = over_two["shares"]["scores"]
    assert one.tolist() == [[0]]
    assert seven[:, 0].tolist() == [0, 2, 4, 6, 8, 10, 12]


def test_what_the_first_makes_all_get(over_two):
    made, processes = over_two["shares"]["made"], over_two["shares"]["processes"]
    assert made == [processes[0]] * 2
    assert processes[0] != processes[1]


def test_a_refusal_of_the_first_is_everybody_s_and_a_difference_is_refused(over_two):
    first, second = over_two["refusals"]
    assert first == second
    assert first[0] == "the first says no"
    assert first[1].startswith("the data of process 1 of 2 differ from those of the first (1, not")


def test_lenet5_after_three_epochs_is_that_of_one_process_and_so_is_its_evaluation(
    over_two, tmp_path, capsys
):
    run, alone = over_two["out"] / "lenet5", tmp_path / "alone"
    command = ("train", "lenet5", "digits", "--epochs", "3", "--out")
    said(capsys, *command, str(alone))
    weights = [Run(path).load_state()[0]["weights"] for path in (alone, run)]
    for name, expected in weights[0].items():
        assert (weights[1][name] - expected).abs().max() <= 1e-5 * expected.abs().max(), name
    told = over_two["lenet5"]
    assert "2 processes" in told
    assert [told.count(f"epoch {n}/3") for n in (1, 2, 3)] == [1, 1, 1]
    together = json.loads(told[told.index("{") : told.rindex("}") + 1])
    evaluated = json.loads(said(capsys, "evaluate", str(run), "--json"))
    assert {**together, "seconds": 0} == {**evaluated, "seconds": 0}
    assert together["examples"] == 300


def test_killed_processes_are_started_anew_and_end_in_the_same_bits(over_two, tmp_path):
    """A message of the second process is its last, then a rename of the first."""
    out, whole = over_two["out"], over_two["out"] / "bars"
    work = (WORK, "dying_twice", tmp_path / "broken", out / "set")
    broken = spread(*work, options=("--max-restarts=3",))
    assert broken.returncode == 0, broken.stderr
    assert broken.stderr.count("exitcode: -9") == 2
    assert digest(tmp_path / "broken") == digest(whole)


def test_a_run_of_two_processes_goes_on_with_one_and_says_what_that_changes(over_two, tmp_path):
    run, notes = tmp_path / "run", []
    shutil.copytree(over_two["out"] / "bars", run)
    state = Run(run).load_state()[0]
    assert state["processes"] == 2
    for file in (run / "state").iterdir():
        file.unlink()
    Run(run).save({**state, "finished": False, "epoch": 5, "progress": state["progress"][:5]})

    class Listening(Silent):
        def note(self, text):
            notes.append(text)

    assert len(resume(run, display=Listening()).progress()) == 6
    assert any("1 process instead of 2 the weights will not be, bit for" in note for note in notes)


def test_told_to_stop_they_save_once_and_say_so_once(small_set, tmp_path):
    done = spread(WORK, "interrupted", tmp_path / "run", small_set)
    lines = re.findall("^striate: .*", done.stderr, re.MULTILINE)
    assert len(lines) == 1
    assert "all is saved, go on with" in lines[0]
    assert re.findall(r"exitcode *: (-?\d+)", done.stderr)[:1] == ["130"]
    assert Run(tmp_path / "run").load_state()[0]["step"] > 0


def test_a_refusal_is_one_line_of_all_processes(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("kept")
    done = spread("-m", "striate", "train", "lenet5", "digits", "--out", tmp_path / "mine")
    assert done.returncode == 1
    (line,) = re.findall("^striate: .*", done.stderr, re.MULTILINE)
    assert "exists and is not a run" in line
    assert "src/striate" not in done.stderr
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["file"]


def test_over_a_network_two_machines_make_one_run_at_the_first(over_two, tmp_path):
    """Two network namespaces; the second machine does not see the first one's folder."""
    asked = ["sh", "-c", "unshare -rn ip link && command -v nsenter"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no network namespaces (unshare -rn, ip)")
    script = Path(__file__).with_name("two_networks.sh")
    work = "train", "lenet5", "digits", "--epochs", "3", "--out", "run"
    done = subprocess.run(
        ["unshare", "-rn", "sh", script, sys.executable, tmp_path, *work],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "run\n"), done.stderr
    assert list((tmp_path / "second").iterdir()) == []
    assert digest(tmp_path / "first" / "run") == digest(over_two["out"] / "lenet5")


def test_without_torchrun_no_group_is_started():
    """Whatever other programs set of the same variables."""
    environment = {**os.environ, "WORLD_SIZE": "2", "RANK": "1"}
    code = (
        "from striate.distributed import processes, size\n"
        "with processes():\n    print(size(), __import__('torch').distributed.is_initialized())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 False\n"
