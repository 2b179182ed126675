"""The door: what `import striate` offers, and how little it loads."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import striate

SOURCE = Path(striate.__file__).read_text("utf-8")


def loaded_after(code: str) -> list[str]:
    """Name the modules that a fresh interpreter has after some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys, json; print(json.dumps(list(sys.modules)))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    modules: list[str] = json.loads(done.stdout.splitlines()[-1])
    return modules


def imported_for_types() -> dict[str, str]:
    """Read the imports under TYPE_CHECKING: public name → the module it is taken from."""
    (block,) = [node for node in ast.parse(SOURCE).body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    names = {}
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        names.update({alias.name: str(statement.module) for alias in statement.names})
    return names


def test_everything_that_is_listed_is_there():
    assert sorted(striate.__all__) == striate.__all__
    assert len(set(striate.__all__)) == len(striate.__all__)
    for name in striate.__all__:
        assert getattr(striate, name) is not None


def test_dir_names_what_is_listed_and_the_version():
    assert set(dir(striate)) == {*striate.__all__, "__version__"}


def test_type_checkers_see_the_names_that_are_listed_from_the_same_rooms():
    seen = imported_for_types()
    assert set(seen) == set(striate.__all__)
    packages = {name for name, module in seen.items() if module == "striate"}
    assert packages == set(striate.__all__) - set(striate._ROOMS)
    rooms = {name: f"striate.{room}" for name, room in striate._ROOMS.items()}
    assert {name: seen[name] for name in rooms} == rooms


@pytest.mark.parametrize("name", striate.__all__)
def test_a_name_is_the_thing_in_its_room(name):
    module = import_module(imported_for_types()[name])
    if module is striate:
        assert getattr(striate, name) is import_module(f"striate.{name}")
    else:
        assert getattr(striate, name) is vars(module)[name]


def test_a_star_gives_what_is_listed():
    names: dict[str, object] = {}
    exec("from striate import *", names)
    assert set(names) - {"__builtins__"} == set(striate.__all__)


@pytest.mark.parametrize("name", ["Recipes", "prediction_", "np", "Any_"])
def test_an_unknown_name_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"module 'striate' has no attribute '{name}'"):
        getattr(striate, name)


@pytest.mark.parametrize(
    "code",
    [
        "import striate",
        "import striate; striate.models.NETWORKS; striate.datasets.DATASETS; dir(striate)",
        "from striate.cli import run_command; run_command(['--help'])",
        "from striate.cli import run_command; run_command(['models'])",
        "from striate.cli import run_command; run_command(['datasets', '--json'])",
        "from striate.cli import run_command; run_command(['train', '--help'])",
        "from striate.cli import run_command; run_command(['train', 'lenet6', 'digits'])",
    ],
)
def test_names_and_help_load_no_heavy_library(code):
    heavy = {"torch", "numpy", "PIL", "sklearn", "scipy", "matplotlib", "safetensors", "tifffile"}
    modules = loaded_after(code)
    assert "striate" in modules
    assert heavy & set(modules) == set()


def test_the_heavy_libraries_are_loaded_when_they_are_used():
    assert "torch" in loaded_after("import striate; striate.build('lecun1990')")


def test_the_version_is_a_version():
    numbers = striate.__version__.split(".")
    assert len(numbers) == 3
    assert all(number.isdecimal() for number in numbers)
