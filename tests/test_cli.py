"""The command line as a person or a script meets it: what it says, where, and its exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

import striate
from commanding import refused, said
from striate import datasets
from striate.models import NETWORKS, RECIPES
from striate.runs import Run


def shell(command: str, **options) -> subprocess.CompletedProcess:
    """Run a line of shell in which ``striate`` is the command."""
    called = f'striate() {{ "{sys.executable}" -m striate "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", called], capture_output=True, text=True, check=False, timeout=100,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, **options,
    )  # fmt: skip


def test_models_names_every_network_and_every_recipe(capsys):
    text = said(capsys, "models")
    assert all(re.search(rf"^  {name} ", text, re.MULTILINE) for name in NETWORKS)
    assert all(network.paper.removeprefix("after ") in text for network in NETWORKS.values())
    assert all(name in text for name in RECIPES)
    listed = json.loads(said(capsys, "models", "--json"))
    assert list(listed["networks"]) == list(NETWORKS)
    assert listed["recipes"] == sorted(RECIPES)
    assert listed["networks"]["lenet5"]["input_shape"] == [1, 32, 32]
    assert {"paper", "title", "num_classes", "recipe"} < set(listed["networks"]["lenet5"])


ALL_SETS = [*datasets.DATASETS, *datasets.MASK_SETS]


def test_datasets_names_every_set(capsys):
    text = said(capsys, "datasets")
    assert all(re.search(rf"^  {name} ", text, re.MULTILINE) for name in ALL_SETS)
    listed = json.loads(said(capsys, "datasets", "--json"))
    assert list(listed) == ALL_SETS
    assert listed["digits"]["task"] == "classification"
    assert listed["hippocampus"]["image_shape"] == [1, None, None, None]
    assert listed["camvid-half"]["task"] == "segmentation"
    assert listed["isbi2012"]["modalities"] == ["EM"]
    assert listed["digits"]["parts"] == {"train": 1197, "validation": 300, "test": 300}
    assert len(listed["cifar10"]["classes"]) == 10


def test_describe_gives_the_paper_s_counts(capsys):
    counted = json.loads(said(capsys, "describe", "lenet5", "--json"))
    assert list(counted)[:5] == [
        "network", "input_shape", "parameters", "connections", "multiply_adds",
    ]  # fmt: skip
    assert (counted["network"], counted["input_shape"]) == ("lenet5", [1, 32, 32])
    assert (counted["parameters"], counted["connections"]) == (60_000, 340_908)
    for layer in counted["layers"]:
        assert set(layer) >= {
            "name", "kind", "output_shape", "parameters", "connections", "multiply_adds",
            "receptive_field",
        }  # fmt: skip
    assert sum(layer["connections"] for layer in counted["layers"]) == 340_908
    table = said(capsys, "describe", "lenet5")
    assert "60,000" in table
    assert "340,908" in table


def test_describe_takes_another_input_and_a_run(capsys, run):
    wide = json.loads(said(capsys, "describe", "lecun1990", "--input", "3x28x28", "--json"))
    assert wide["input_shape"] == [3, 28, 28]
    assert wide["parameters"] > 2578
    own = json.loads(said(capsys, "describe", run, "--json"))
    assert (own["network"], own["input_shape"]) == ("lecun1990", [1, 28, 28])
    assert own["parameters"] < 2578  # three classes in place of ten


def test_a_misspelt_option_is_answered_with_the_nearest(capsys):
    for wrong, right in (("--epocs", "epochs"), ("--learning-rat", "learning-rate")):
        line = refused(capsys, 2, "train", "lenet5", "digits", wrong, "3")
        assert line == f"striate: no option is called {wrong}; did you mean --{right}?\n"
    line = refused(capsys, 2, "models", "--jsn")
    assert line == "striate: no option is called --jsn; did you mean --json?\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("train lenet6 digits", "no network is called 'lenet6'; did you mean 'lenet5'?"),
        ("train lenet5 digts", "no data set is called 'digts'; did you mean 'digits'? or give"),
        ("train --recipe mnist-98", "no recipe is called 'mnist-98'; did you mean 'mnist-99'?"),
        ("trian lenet5 digits", "No such command 'trian'. Did you mean 'train'?"),
        ("describe lenet6", "no network is called 'lenet6'; did you mean 'lenet5'?"),
        ("describe lenet5 --input 1xx32", "--input is '1xx32'; write channels, height and width"),
        ("describe lenet5 --input 1x40x40", "LeNet-5 reads images of 32x32, not (1, 1, 40, 40);"),
        ("train", "NETWORK and DATA missing: striate train NETWORK DATA, or --recipe NAME;"),
        ("train lenet5", "DATA missing: striate train NETWORK DATA, or --recipe NAME;"),
        ("train lenet5 digits more", "Got unexpected extra argument(s) (more); see `striate train"),
        ("train lenet5 digits --epochs", "Option '--epochs' requires an argument."),
        ("train lenet5 digits --epochs 0", "--epochs is 0; needed is 1 or more"),
        (
            "train lenet5 digits --loss mse",
            "--loss is mse; needed is 'cross-entropy'",
        ),
        ("train lenet5 digits --time 3d", "--time is 3d; needed is a time in s, min or h"),
        ("train lenet5 digits --device cuda:77", "device 'cuda:77' is not to be had here"),
        ("train --recipe absent.yaml", "recipe file absent.yaml cannot be read: "),
        ("evaluate", "Missing argument 'RUN'; see `striate evaluate --help`"),
        ("data check", "Missing argument 'DATA'; see `striate data check --help`"),
        (
            "data check isbi2012",
            "isbi2012 has a mask for each image, which this check does not know",
        ),
        ("data check digits --group x", "--group has no effect: images of digits have no names;"),
        ("train --recipe zzz", "no recipe is called 'zzz'; give a network's name as in `striate"),
        ("--no-such", "No such option: --no-such; see `striate --help`"),
    ],
)
def test_what_does_not_exist_or_fit_is_a_usage_error_in_one_line(
    capsys, tmp_path, monkeypatch, arguments, line
):
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, 2, *arguments.split()).startswith(f"striate: {line}")
    assert not list(tmp_path.iterdir())


def test_the_program_helps_and_tells_its_version():
    done = shell("striate --help; echo code $?; striate --version; striate train -h")
    assert done.stderr == ""
    assert "code 0\n" in done.stdout
    assert f"\nstriate {striate.__version__}\n" in done.stdout
    for command in ("models", "datasets", "describe", "train", "evaluate", "predict"):
        assert re.search(rf"^\W*{command} ", done.stdout, re.MULTILINE), command
    assert "--learning-rate" in done.stdout


def test_exit_codes_reach_the_shell(run, tmp_path):
    lines = (
        "striate models", "striate", "striate trian",
        f"striate predict {run} absent.png", "striate models --json | head -c 3",
    )  # fmt: skip
    done = shell("; ".join(f"{line} >out; echo $?" for line in lines), cwd=tmp_path)
    assert done.stdout.split() == ["0", "2", "2", "3", "0"]
    refusals = [line for line in done.stderr.splitlines() if line]
    assert len(refusals) == 2
    assert all(line.startswith("striate: ") for line in refusals)


def test_ctrl_c_saves_says_how_to_go_on_and_so_it_goes_on(capsys, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "striate", "train", "lenet5", "digits", "--epochs", "9",
         "--batch-size", "200", "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    first = [process.stderr.readline() for _ in range(2)]
    assert first[0] == "lenet5 on digits: 1,197 images, 6 steps an epoch, cpu, 1 thread\n"
    assert first[1].startswith("epoch 1/9")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    *epochs, last = errors.splitlines()
    assert all(line.startswith("epoch ") for line in epochs)
    assert re.fullmatch(
        r"striate: stopped in epoch \d+, step \d+; all is saved, go on with "
        rf"`striate train --resume {re.escape(str(out))}`",
        last,
    )
    assert 1 <= len(Run(out).progress()) < 9
    assert said(capsys, "train", "--resume", str(out)) == f"{out}\n"
    assert [row["epoch"] for row in Run(out).progress()] == list(range(1, 10))


def test_ctrl_c_outside_training_is_one_line(capsys, tmp_path):
    """A named pipe that nobody writes to keeps the command waiting until the signal comes."""
    waiting = tmp_path / "recipe.yaml"
    os.mkfifo(waiting)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    assert refused(capsys, 130, "train", "--recipe", str(waiting)) == "striate: interrupted\n"
    timer.join()


@pytest.mark.parametrize("command", ["describe", "draw", "evaluate", "predict", "train"])
def test_help_says_what_to_write_behind_an_option_not_its_type(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    text = said(capsys, command, "--help")
    options = [line for line in text.splitlines() if "--" in line and "--help" not in line]
    assert len(options) >= 4
    assert not [line for line in options if "<" in line]
    usage = next(line for line in text.splitlines() if "Usage:" in line)
    arguments = usage.partition("[OPTIONS]")[2]
    assert arguments == arguments.upper()
    assert max(map(len, text.splitlines())) <= 80
