"""The wheel has what it needs and works without the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import striate

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_has_every_source_file_the_licence_and_its_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(file.relative_to(ROOT / "src")) for file in (ROOT / "src").rglob("*.py")}
    assert sources | {"striate/py.typed"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert f"striate-{striate.__version__}-" in wheel.name


def test_the_wheel_trains_evaluates_and_describes(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "striate", *arguments],
            cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip

    run("train", "lecun1990", "digits", "--epochs", "2", "--out", "run")
    assert json.loads(run("evaluate", "run", "--json"))["examples"] == 300
    assert json.loads(run("describe", "run", "--json"))["parameters"] == 2_578
    where = subprocess.run(
        [sys.executable, "-c", "import striate; print(striate.__file__)"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert Path(where.strip()).is_relative_to(tmp_path / "installed")
