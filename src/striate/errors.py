"""The exceptions a caller may catch, each with its exit code, and refusals of wrong names."""

import difflib
from collections.abc import Iterable


class StriateError(Exception):
    """Anything striate refuses or could not finish; the message is one line for the user."""

    exit_code = 1


class UsageError(StriateError, ValueError):
    """A name, option or value that does not exist or does not fit."""

    exit_code = 2


class DataError(StriateError, ValueError):
    """Images, labels or files that are missing, damaged or not what they claim to be."""

    exit_code = 3


class RunError(StriateError):
    """A run folder that cannot be written, opened or resumed."""


class TrainingError(StriateError):
    """Training that cannot go on, for example because the loss is not finite."""


class Interrupted(StriateError):
    """Training stopped by the user after its state was saved."""

    exit_code = 130


class FailedElsewhere(StriateError):
    """Another of several processes failed and has said why; this one ends in silence."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Answer a name that does not exist with the nearest one that does, or with all of them.

    Args:
        name: That does not exist.
        known: Those that do.
        otherwise: Said in place of all of them, where they are too many.

    Example:
        >>> did_you_mean("mnits", ["digits", "mnist"])
        "did you mean 'mnist'?"
        >>> did_you_mean("xyz", ["mnist", "digits"])
        'known: digits, mnist'
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return otherwise or f"known: {', '.join(names)}"


def require_choice(option: str, given: object, choices: Iterable[object]) -> None:
    """Refuse a value that an option does not have.

    Args:
        option: Its name.
        given: The value that came.
        choices: All that it may be.

    Raises:
        UsageError: It is none of them.

    Example:
        >>> require_choice("pooling", "mean", ["max", "average"])
        Traceback (most recent call last):
        striate.errors.UsageError: pooling is 'mean'; choose one of 'max', 'average'
    """
    legal = list(choices)
    if given not in legal:
        raise UsageError(f"{option} is {given!r}; choose one of {', '.join(map(repr, legal))}")
