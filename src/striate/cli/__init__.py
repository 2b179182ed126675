"""The command line: parses, calls one function, prints. Data to stdout, talk to stderr."""

import importlib
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

import striate
from striate.cli import compare, data, draw, lists, results, study
from striate.errors import FailedElsewhere, Interrupted, StriateError
from striate.interruption import quit_at_ctrl_c
from striate.launching import is_launched, leave, speaks

TRAIN_HELP = """Train NETWORK on DATA, or by a --recipe, and leave a run folder.

Options that are not given take the network's own values.
`striate train lenet5 digits` needs no files and takes less than a minute.
"""

FIND_RATE_HELP = """Train NETWORK on DATA for 100 steps at a growing learning rate, keep nothing.

Prints the rate at which the loss falls fastest, and a tenth of the rate of the lowest loss.
"""

TUNE_HELP = """Search for the recipe of NETWORK on DATA with the lowest validation error.

Every trial is a run folder in --out; the same command goes on with a search that was stopped.
"""

# What typer's parser raises on a wrong option; typer has no public name for it.
_ParserError: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def main() -> None:
    """Run the command line and exit with its code."""
    quit_at_ctrl_c()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no "×" still gets the rest
    code = run_command(sys.argv[1:])
    if is_launched():
        leave(code)
    sys.exit(code)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command; a refusal is one line on stderr.

    Args:
        arguments: What follows ``striate`` on the command line.

    Returns:
        The exit code: 0 done, 1 failed, 2 usage, 3 data problem, 130 interrupted.
    """
    try:
        with _together(arguments) as takes_part:
            if not takes_part:
                return 0
            code = int(_app(arguments)(list(arguments), standalone_mode=False) or 0)
        if code == Interrupted.exit_code:  # the parser takes Ctrl-C and says nothing
            raise KeyboardInterrupt
        return code
    except _ParserError as error:
        if arguments:
            print(f"striate: {_one_line(error)}", file=sys.stderr)
        else:
            error.show()
        return int(error.exit_code)
    except FailedElsewhere as error:
        return error.exit_code
    except StriateError as error:
        print(f"striate: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"striate: {reason}; look at the disk and its permissions", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, typer.Abort):
        print("striate: interrupted", file=sys.stderr)
        return Interrupted.exit_code


@contextmanager
def _together(arguments: Sequence[str]) -> Iterator[bool]:
    """Join the processes that torchrun started; say whether this one has something to do.

    What they do not do together, the first does alone.
    """
    if not is_launched():
        yield True
    elif {"train", "evaluate"}.isdisjoint(arguments[:1]):
        yield speaks()
    else:
        from striate.distributed import processes

        with processes():
            yield True


def _one_line(error: Any) -> str:
    """Say what the parser refused, and the nearest name or where the names stand."""
    near = getattr(error, "possibilities", None)
    if near:
        return f"no option is called {error.option_name}; did you mean {near[0]}?"
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    if "Did you mean" in message or context is None:
        return message
    names: list[str] = []
    while context.parent:
        names.insert(0, context.info_name)
        context = context.parent
    return f"{message.rstrip('.')}; see `{' '.join(['striate', *names])} --help`"


def _app(arguments: Sequence[str]) -> typer.Typer:
    app = typer.Typer(
        name="striate",
        help="Convolutional networks as published: train them, measure them, use them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    app.command()(lists.models)
    app.command()(lists.datasets)
    app.command()(lists.describe)
    app.command()(draw.draw)
    app.command(name="train", help=TRAIN_HELP)(_recipe_command("train", arguments))
    app.command(name="find-rate", help=FIND_RATE_HELP)(_recipe_command("find-rate", arguments))
    app.command(name="tune", help=TUNE_HELP)(_recipe_command("tune", arguments))
    app.command()(results.evaluate)
    app.command()(results.predict)
    app.command()(compare.compare)
    app.command()(study.study)
    app.add_typer(data.data, name="data")
    return app


def _recipe_command(name: str, arguments: Sequence[str]) -> Any:
    """Give a command its options only where it is called: making them takes a tenth of a second."""
    if name not in arguments:
        return lambda: None
    module = importlib.import_module(f"striate.cli.{name.replace('-', '_')}")
    return getattr(module, name.replace("-", "_"))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"striate {striate.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, metavar="", help="Show the version."
        ),
    ] = False,
) -> None:
    pass
