"""What a person types for a network: a name, a run folder, or a function of their own."""

import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

import striate
from striate.errors import StriateError, UsageError
from striate.models import NETWORKS, find_network, outline

if TYPE_CHECKING:
    from torch import nn

    from striate.tracing import Trace

NETWORK_HELP = "Name of a network, a run folder, or your own as package.module:factory."

Input = Annotated[
    str | None, typer.Option("--input", help="Channels, then the sides, as 3x224x224.")
]


class Typed(NamedTuple):
    """A network to be looked at.

    Attributes:
        name: How it is called.
        network: Without weights, if it is one of ours.
        input_shape: Channels, then the sides.
    """

    name: str
    network: "nn.Module"
    input_shape: tuple[int, ...]

    def trace(self) -> "Trace":
        """Trace it.

        Raises:
            UsageError: It does not fit its input, or cannot be traced.
        """
        from striate.tracing import trace

        try:
            with redirect_stdout(sys.stderr):  # what a network prints is no part of the answer
                return trace(self.network, self.input_shape)
        except ValueError as error:
            raise UsageError(str(error)) from error
        except Exception as error:
            if ":" in self.name:
                raise _in_a_line(self.name, error) from error
            raise


def typed_network(network: str, input_shape: str | None) -> Typed:
    """Find what was typed.

    A name of ours is built without weights; a function of the user's is called, which runs
    whatever is in its file.

    Raises:
        UsageError: There is no such network, or its input shape is not known.
    """
    shape = None if input_shape is None else _shape(input_shape)
    if (Path(network) / "recipe.yaml").exists():
        run = striate.Run(network)
        own = (run.spec.channels, *run.spec.input_size)
        if shape is not None and len(shape) == 1:
            raise _no_shape(str(input_shape))
        return Typed(run.recipe.network, run.network(), shape or own)
    if ":" in network and network not in NETWORKS:
        return _own_network(network, shape)
    own_shape = find_network(network).input_shape
    if shape is not None and len(shape) == 1 < len(own_shape):
        raise _no_shape(str(input_shape))
    shape = shape or own_shape
    return Typed(network, outline(network, in_channels=shape[0]), shape)


def _own_network(text: str, shape: tuple[int, ...] | None) -> Typed:
    """Import a module, with the current folder among the places, and call the function in it."""
    from torch import nn

    module, _, factory = text.partition(":")
    if shape is None:
        raise UsageError(f"{text} does not say what it reads; add --input, as --input 3x224x224")
    sys.path.insert(0, str(Path.cwd()))
    try:
        with redirect_stdout(sys.stderr):
            made = getattr(import_module(module), factory)
            built = made if isinstance(made, nn.Module) else made()
    except StriateError:
        raise
    except Exception as error:
        raise _in_a_line(text, error) from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not isinstance(built, nn.Module):
        raise UsageError(
            f"{text} gives a {type(built).__name__}; a torch.nn.Module, or a function without "
            "arguments that returns one, is needed"
        )
    return Typed(text, built, shape)


def _in_a_line(text: str, error: Exception) -> UsageError:
    reason = str(error).strip().partition("\n")[0]
    return UsageError(f"{text}: {type(error).__name__}: {reason}".rstrip(": "))


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(side) for side in text.lower().replace("×", "x").split("x"))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise _no_shape(text)
    return shape


def _no_shape(text: str) -> UsageError:
    return UsageError(f"--input is {text!r}; write channels, height and width as 3x224x224")
