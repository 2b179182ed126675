"""The house rules that a machine can check: floors, names, sizes, tests that test something."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from house_plan import FLOORS, MAY_USE_THE_DOOR, OPEN_TO_ALL, TESTED_BY

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "src" / "striate"
SOURCES = sorted(HOUSE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").glob("*.py"))
CHECKED = [*SOURCES, *TESTS, *sorted((ROOT / "benchmarks").glob("*.py"))]

# Tests of more than one file.
OF_THE_WHOLE = {
    *("test_architecture", "test_crashes", "test_deck", "test_docs", "test_packaging"),
    *("test_peers", "test_tracing_random"),
}

BANNED_NAMES = {
    *("util", "utils", "helper", "helpers", "common", "core", "base", "manager", "managers"),
    *("info", "misc", "shared", "stuff"),
}
BANNED_IMPORTS = {"torchvision", "timm", "monai", "torchmetrics"}
MOST_LINES = 400

# Functions that answer a question; called as a statement, the answer is thrown away.
QUESTIONS = {
    *("equal", "allclose", "isclose", "array_equal", "array_equiv", "all", "any", "isfinite"),
    *("isinstance", "issubclass", "startswith", "endswith", "is_set", "exists", "is_file"),
    *("is_dir", "match", "fullmatch", "search", "is_floating_point", "is_contiguous"),
}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(tree: ast.AST) -> set[str]:
    """Name all that a file imports, anywhere in it, also for types only."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_rooms(tree: ast.AST) -> set[str]:
    """Name the rooms that a file imports from; the door itself is ``striate``."""
    paths = [name.split(".") for name in imported(tree)]
    return {path[1] if len(path) > 1 else "striate" for path in paths if path[0] == "striate"}


def room_of(path: Path) -> str:
    return path.relative_to(HOUSE).with_suffix("").parts[0]


def wrong_imports(room: str, rooms: set[str]) -> set[str]:
    """Name the rooms that a room may not import from."""
    below = set() if room in OPEN_TO_ALL else OPEN_TO_ALL
    for floor in FLOORS:
        if room in floor:
            break
        below = below | floor
    allowed = below | {room} | ({"striate"} if room in MAY_USE_THE_DOOR else set())
    return rooms - allowed


# ---------------------------------------------------------------- floors


def test_every_room_stands_on_one_floor():
    rooms = {room_of(path) for path in SOURCES} - {"__init__", "__main__"}
    placed = [room for floor in FLOORS for room in floor]
    assert len(placed) == len(set(placed))
    assert set(placed) == rooms


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_only_go_down(path):
    room, rooms = room_of(path), imported_rooms(tree_of(path))
    if room == "__init__":  # the door opens to every room but the command line
        assert "cli" not in rooms
    elif room == "__main__":
        assert rooms == {"cli"}
    else:
        assert wrong_imports(room, rooms) == set()


def test_an_import_that_goes_up_or_sideways_is_found_wherever_it_stands():
    inside = "def f():\n    if x:\n        from striate.training import train"
    assert wrong_imports("runs", imported_rooms(ast.parse(inside))) == {"training"}
    for line in ("import striate.training", "from striate import training"):
        assert wrong_imports("runs", imported_rooms(ast.parse(line))) == {"training"}
        assert wrong_imports("prediction", imported_rooms(ast.parse(line))) == {"training"}
        assert wrong_imports("cli", imported_rooms(ast.parse(line))) == set()
    door = imported_rooms(ast.parse("import striate"))
    assert wrong_imports("runs", door) == {"striate"}
    assert wrong_imports("provenance", door) == set()
    family = imported_rooms(ast.parse("from striate.datasets.sets import Part"))
    assert wrong_imports("datasets", family) == set()
    assert wrong_imports("models", family) == {"datasets"}
    refusal = imported_rooms(ast.parse("from striate.errors import DataError"))
    assert wrong_imports("files", refusal) == set()
    assert wrong_imports("errors", imported_rooms(ast.parse("import striate.files"))) == {"files"}


def test_the_page_on_architecture_shows_the_same_floors():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    floors: dict[int, set[str]] = {}
    for number, rooms in re.findall(r"^\| (\d+) \| (.+?) \|", page, re.MULTILINE):
        floors.setdefault(int(number), set()).update(re.findall(r"`(\w+)/?`", rooms))
    assert [rooms for _, rooms in sorted(floors.items())] == FLOORS


# ---------------------------------------------------------------- files


def expected_tests(path: Path) -> list[str]:
    key = path.relative_to(HOUSE).with_suffix("").as_posix()
    return TESTED_BY.get(key, [f"test_{path.stem}"])


def test_every_source_file_has_its_test_file():
    there = {path.stem for path in TESTS}
    missing = {name_of(path) for path in SOURCES if not there.issuperset(expected_tests(path))}
    assert missing == set()


def test_every_test_file_has_its_source_file():
    wanted = {stem for path in SOURCES for stem in expected_tests(path)} | OF_THE_WHOLE
    assert {path.stem for path in TESTS if path.stem.startswith("test_")} - wanted == set()


def test_the_exceptions_are_of_files_that_exist():
    assert all((HOUSE / f"{key}.py").is_file() for key in TESTED_BY)


def test_no_file_is_longer_than_400_lines():
    lines = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in CHECKED}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


@pytest.mark.parametrize(
    ("name", "banned"),
    [("image_utils", True), ("base", True), ("databases", False), ("information", False)],
)
def test_a_name_is_banned_by_its_words(name, banned):
    assert is_banned(name) == banned


def is_banned(stem: str) -> bool:
    return not BANNED_NAMES.isdisjoint(stem.lower().split("_"))


def test_no_file_or_folder_is_called_by_a_name_that_says_nothing():
    parts = {part for path in CHECKED for part in path.relative_to(ROOT).with_suffix("").parts}
    assert {part for part in parts if is_banned(part)} == set()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_source_imports_a_package_that_needs_torchvision(path):
    packages = {name.split(".")[0] for name in imported(tree_of(path))}
    assert packages & BANNED_IMPORTS == set()


# ---------------------------------------------------------------- checks that check nothing


def called(node: ast.AST) -> str:
    """Name what a call calls, without what stands before its last dot."""
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    return getattr(function, "attr", getattr(function, "id", ""))


def is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return is_text(node.left) or is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def always_true_asserts(tree: ast.AST) -> Iterator[int]:
    """Find asserts of what is true because it is not empty, or is a generator."""
    kinds = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.GeneratorExp, ast.Lambda)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and (isinstance(node.test, kinds) or is_text(node.test)):
            yield node.lineno


def unused_answers(tree: ast.AST) -> Iterator[int]:
    """Find comparisons, and calls of functions that answer a question, that stand alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and (
            isinstance(node.value, (ast.Compare, ast.BoolOp, ast.UnaryOp))
            or called(node.value) in QUESTIONS
        ):
            yield node.lineno


def cut_messages(tree: ast.AST) -> Iterator[int]:
    """Find exceptions whose message a comma has cut in two."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            texts = [argument for argument in node.exc.args if is_text(argument)]
            if len(texts) > 1:
                yield node.lineno


def raises_without_match(tree: ast.AST) -> Iterator[int]:
    """Find expected exceptions whose words are not looked at."""
    for node in ast.walk(tree):
        if called(node) == "raises" and isinstance(node, ast.Call):
            matches = [word.value for word in node.keywords if word.arg == "match"]
            if not matches or (isinstance(matches[0], ast.Constant) and not matches[0].value):
                yield node.lineno


GATES = [always_true_asserts, unused_answers, cut_messages, raises_without_match]


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.__name__)
def test_no_check_checks_nothing(gate):
    found = [f"{name_of(path)}:{line}" for path in CHECKED for line in gate(tree_of(path))]
    assert found == []


@pytest.mark.parametrize(
    ("gate", "code"),
    [
        (always_true_asserts, "assert [a == b]"),
        (always_true_asserts, "assert (a == b, 'message')"),
        (always_true_asserts, "assert (x > 0 for x in y)"),
        (always_true_asserts, "assert {'a': 1}"),
        (always_true_asserts, "assert f'{a} is b'"),
        (unused_answers, "torch.equal(a, b)"),
        (unused_answers, "np.allclose(a, b)"),
        (unused_answers, "def test_it():\n    math.isclose(a, b)"),
        (unused_answers, "a == b"),
        (unused_answers, "not a.is_set()"),
        (unused_answers, "all(a)"),
        (cut_messages, "raise ValueError(f'{a} is wrong; ', 'give b')"),
        (cut_messages, "raise errors.DataError('one' 'two', 'three' + 'four')"),
        (raises_without_match, "with pytest.raises(ValueError): f()"),
        (raises_without_match, "with open(a), pytest.raises((ValueError, KeyError)): f()"),
        (raises_without_match, "with pytest.raises(ValueError, match=''): f()"),
    ],
)
def test_a_gate_finds_its_specimen(gate, code):
    assert list(gate(ast.parse(code))) == [len(code.splitlines())]


@pytest.mark.parametrize(
    ("gate", "code"),
    [
        (always_true_asserts, "assert [x for x in y if x]"),
        (always_true_asserts, "assert [a] == [b], 'message'"),
        (always_true_asserts, "assert not [a]"),
        (unused_answers, "assert torch.equal(a, b)"),
        (unused_answers, "equal = np.array_equal(a, b)"),
        (unused_answers, "np.testing.assert_allclose(a, b)"),
        (unused_answers, "yield"),
        (cut_messages, "raise ValueError('one ' f'{two}')"),
        (cut_messages, "raise OSError(errno.ENOSPC, 'full', path)"),
        (raises_without_match, "with pytest.raises(ValueError, match='needed is b'): f()"),
    ],
)
def test_a_gate_lets_honest_code_through(gate, code):
    assert list(gate(ast.parse(code))) == []
