"""Refusals: each kind with its exit code, and the nearest name for a wrong one."""

import pytest

from striate import errors
from striate.errors import StriateError, UsageError, did_you_mean, require_choice

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
]


def test_the_exit_codes_are_the_published_ones():
    codes = {kind.__name__: kind.exit_code for kind in KINDS}
    assert codes == {
        "StriateError": 1, "UsageError": 2, "DataError": 3, "RunError": 1, "TrainingError": 1,
        "FailedElsewhere": 1,
        "Interrupted": 130,
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_one_except_catches_them_all(kind):
    with pytest.raises(StriateError, match=r"^what came$"):
        raise kind("what came")


def test_a_wrong_value_is_a_value_error_too():
    values = {kind.__name__ for kind in KINDS if issubclass(kind, ValueError)}
    assert values == {"UsageError", "DataError"}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("lenet6", "did you mean 'lenet5'?"),
        ("mnits", "did you mean 'mnist'?"),
        ("LENET5", "known: digits, lenet5, mnist"),
        ("", "known: digits, lenet5, mnist"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest_or_with_all(name, answer):
    assert did_you_mean(name, iter(["mnist", "lenet5", "digits"])) == answer


def test_a_choice_that_does_not_exist_is_refused_with_those_that_do():
    for given in ("a", "", None, "AB", ["A"]):
        with pytest.raises(UsageError, match=r"^shortcuts is .*; choose one of 'A', 'B'$"):
            require_choice("shortcuts", given, "AB")
    with pytest.raises(UsageError, match=r"^depth is 20; choose one of 18, 34$"):
        require_choice("depth", 20, {18: (2, 2), 34: (3, 4)})
    require_choice("depth", 34, {18: (2, 2), 34: (3, 4)})
