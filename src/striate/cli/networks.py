"""What a person types for a network: a name, a run folder, or a function of their own."""

import sys
from contextlib import redirect_stdout
from importlib import import_module
from inspect import signature
from pathlib import Path
from sysconfig import get_path
from traceback import walk_tb
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

import striate
from striate.errors import StriateError, UsageError, did_you_mean
from striate.models import NETWORKS, find_network, outline

if TYPE_CHECKING:
    from torch import nn

    from striate.tracing import Trace

NETWORK_HELP = "Name of a network, a run folder, or your own as package.module:factory."

NetworkArgument = Annotated[str, typer.Argument(metavar="NETWORK", help=NETWORK_HELP)]
Input = Annotated[
    str | None,
    typer.Option("--input", metavar="SHAPE", help="Channels, then the sides, as 3x224x224."),
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
            raise UsageError(f"{error}{_place(error)}") from error
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
    if (Path(network) / "recipe.yaml").exists():
        run = striate.Run(network)
        return Typed(run.recipe.network, run.network(), _shape(input_shape, _shown(run)))
    if network not in NETWORKS:
        if ":" in network:
            return _own_network(network, input_shape)
        _refuse_file_or_folder(network)
    shape = _shape(input_shape, find_network(network).input_shape)
    return Typed(network, outline(network, in_channels=shape[0]), shape)


def _shown(run: "striate.Run") -> tuple[int, ...]:
    """Give the shape that a run's network is shown: an image, a tile, or a window."""
    if run.task == "classification":
        return (run.spec.channels, *run.spec.input_size)
    if run.task == "window":
        return (run.tile_spec.channels, *find_network(run.recipe.network).input_shape[1:])
    return (run.tile_spec.channels, *run.tile_spec.tile)


def _refuse_file_or_folder(text: str) -> None:
    """Say what to type instead of a Python file, a module, or a folder that is no run."""
    path = Path(text)
    module = path if path.suffix == ".py" else Path(text.replace(".", "/"))
    files = (path, Path(f"{module}.py"), module / "__init__.py")
    if module.name and any(file.is_file() for file in files):
        raise UsageError(
            f"{text} is a module of Python; {_as_module(module, 'NAME')}, NAME being the function "
            "or class in it that makes the network"
        )
    if path.is_dir() or len(path.parts) > 1:
        what = "is not a run: it has no recipe.yaml" if path.is_dir() else "does not exist"
        raise UsageError(
            f"{text} {what}; give the name of a network, a run folder, or your own as "
            "package.module:factory"
        )


def _as_module(path: Path, name: str) -> str:
    """Say what to type for a name in a file."""
    if path.is_absolute() or ".." in path.parts:
        return f"go to {path.parent} and type {path.stem}:{name}"
    return f"type {'.'.join(path.with_suffix('').parts)}:{name}"


def _own_network(text: str, input_shape: str | None) -> Typed:
    """Import a module, with the current folder among the places, and call the function in it."""
    from torch import nn

    module, _, name = text.partition(":")
    path = Path(module)
    if path.suffix == ".py" or len(path.parts) > 1:
        raise UsageError(f"{text}: a module is needed, not a file; {_as_module(path, name)}")
    if not module or not name:
        raise UsageError(f"{text} is half of package.module:factory; give both")
    if input_shape is None:
        raise UsageError(f"{text} does not say what it reads; add --input, as --input 3x224x224")
    shape = _shape(input_shape)
    sys.path.insert(0, str(Path.cwd()))
    try:
        with redirect_stdout(sys.stderr):
            made = _named(module, name)
            built = made if isinstance(made, nn.Module) else made()
    except StriateError:
        raise
    except (Exception, SystemExit) as error:
        raise _in_a_line(text, error) from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not isinstance(built, nn.Module):
        raise UsageError(
            f"{text} gives a {type(built).__name__}; a torch.nn.Module, or a function without "
            "arguments that returns one, is needed"
        )
    return Typed(text, built, shape)


def _named(module: str, name: str) -> Any:
    """Find what makes a network: a module, or what can be called without arguments."""
    from torch import nn

    home = import_module(module)
    if not hasattr(home, name):
        known = [key for key, value in vars(home).items() if callable(value) and key[0] != "_"]
        raise UsageError(f"{module} has no {name!r}; {did_you_mean(name, known)}")
    made = getattr(home, name)
    if callable(made) and not isinstance(made, nn.Module):
        try:
            signature(made).bind()
        except TypeError as error:
            raise UsageError(
                f"{module}:{name} cannot be called without arguments ({error}); name a function "
                "that calls it with those it needs"
            ) from error
        except ValueError:
            pass  # it does not say what it takes
    return made


def _in_a_line(text: str, error: BaseException) -> UsageError:
    reason = str(error).strip().partition("\n")[0]
    said = f"{text}: {type(error).__name__}: {reason}".rstrip(": ")
    return UsageError(f"{said}{_place(error)}")


def _place(error: BaseException) -> str:
    """Say in which line of the user's own code an exception came up, if in one."""
    here, ours = Path.cwd(), Path(striate.__file__).parent
    for frame, line in reversed([*walk_tb(error.__traceback__)]):
        file = Path(frame.f_code.co_filename)
        is_installed = {"site-packages", "dist-packages"} & {*file.parts}
        if file.is_file() and not (
            is_installed or file.is_relative_to(ours) or file.is_relative_to(get_path("stdlib"))
        ):
            return f" ({file.relative_to(here) if file.is_relative_to(here) else file}:{line})"
    return ""


def _shape(text: str | None, own: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Read a shape that was typed; without one, or for its number of axes, there is the own."""
    if text is None:
        return own
    try:
        shape = tuple(int(side) for side in text.lower().replace("×", "x").split("x"))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1 or (own and len(shape) != len(own)):
        raise UsageError(f"--input is {text!r}; write channels, height and width as 3x224x224")
    return shape
