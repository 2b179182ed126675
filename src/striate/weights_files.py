"""Files of weights to named tensors: safetensors and what ``torch.save`` writes.

A file is known by its first bytes, not by its name. Nothing in it is ever run: a pickle that
asks for more than tensors and plain values is refused.
"""

import json
import math
import re
import struct
import tarfile
import textwrap
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from striate.errors import DataError

# Where a checkpoint keeps its weights, in the order in which they are looked for.
WRAPPERS = ("state_dict", "model_state_dict", "model")
# What training programs and compilers put before every name.
PREFIXES = ("module.", "model.", "_orig_mod.")
# With what torch.save begins: a zip archive; before version 1.6, this number as a pickle.
TORCH_SAVE = (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
SAVE_AGAIN = "save the weights alone, by torch.save(network.state_dict(), FILE)"


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights holds.

    Attributes:
        tensors: Name → value; floating point in float32.
        network: The network that the file says it is for, or None.
        mean: For each channel, what that network's input is centred on, or None.
        std: For each channel, what it is divided by, or None.
        notes: What was done to the file's content, in words.
        input: All that a file of striate's says of its network's input.
    """

    tensors: dict[str, Tensor]
    network: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()
    input: Mapping[str, Any] = field(default_factory=dict)


def read_weights(path: Path) -> WeightsFile:
    """Read the named tensors of a file.

    Checkpoints that keep the weights under ``state_dict``, ``model_state_dict`` or ``model``
    are understood, so are names that all begin with ``module.``, ``model.`` or
    ``_orig_mod.``, and half precision, which becomes float32; ``notes`` says so.

    Args:
        path: A safetensors file, or one written by ``torch.save``.

    Raises:
        DataError: The file is missing, damaged, no weights file, asks for code to be run, or
            holds values that are not finite.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "weights.pth")
        >>> torch.save({"state_dict": {"module.fc.weight": torch.zeros(3, 5)}}, path)
        >>> file = read_weights(path)
        >>> list(file.tensors), file.notes
        (['fc.weight'], ("weights taken from 'state_dict'", "prefix 'module.' taken off"))
    """
    metadata: Mapping[str, str] = {}
    content: object
    if _kind(path) == "safetensors":
        content, metadata = _read_safetensors(path)
    else:
        content = _read_torch(path)
    notes: list[str] = []
    tensors = _without_prefixes(_unwrapped(path, content, notes), notes)
    tensors = {name: _plain(path, name, tensor) for name, tensor in tensors.items()}
    given = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    for dtype in sorted(given - {torch.float32}, key=str):
        notes.append(f"converted from {str(dtype).removeprefix('torch.')}")
    for name, tensor in tensors.items():
        tensors[name] = tensor = tensor.float() if tensor.is_floating_point() else tensor
        if not math.isfinite(tensor.sum(dtype=torch.float64)):
            raise DataError(
                f"{path}: {name} holds values that are not finite, so training went wrong before "
                "it was saved; take an earlier file"
            )
    network, shown = _facts(metadata)
    mean, std = (tuple(shown[name]) if shown else None for name in ("mean", "std"))
    return WeightsFile(tensors, network, mean, std, tuple(notes), shown)


def _kind(path: Path) -> str:
    """Tell safetensors from what torch.save writes, and refuse everything else by its name."""
    try:
        with path.open("rb") as file:
            begin = file.read(512)
        size = path.stat().st_size
    except OSError as error:
        raise DataError(
            f"weights {path} cannot be read: {error.strerror or error}; give a file, a run "
            "folder or a name that `striate models` lists"
        ) from error
    if len(begin) > 8 and begin[8:9] == b"{":
        (header,) = struct.unpack("<Q", begin[:8])
        if header + 8 <= size:
            return "safetensors"
    if begin.startswith(TORCH_SAVE):
        return "torch"
    if tarfile.is_tarfile(path):
        raise DataError(
            f"{path} is in the tar format of PyTorch before 0.1.10, which cannot be read without "
            f"running what it asks for; {SAVE_AGAIN}, where it comes from a source you trust"
        )
    what = "is neither safetensors nor a file of torch.save"
    if not begin:
        what = "is empty"
    elif begin.lstrip()[:1] == b"<":
        what = "is a web page, as a server sends in place of a file"
    elif begin.startswith(b"version https://git-lfs"):
        what = "is a Git LFS pointer in place of the file"
    elif begin.startswith(b"\x80"):
        raise DataError(
            f"{path} is a pickle, but none of torch.save's, and is not read; {SAVE_AGAIN}"
        )
    elif begin[8:9] == b"{":
        what = f"is broken off after {size:,} bytes"
    elif begin.startswith((b"\xff\xd8", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")):
        what = "is an image"
    raise DataError(f"{path} {what}; fetch the weights file again")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise _damaged(path, error) from error


def _read_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can raise anything in there
        text = str(error)
        if wanted := re.search(r"GLOBAL (\S+)", text):
            raise DataError(
                f"{path} asks for code to be run ({wanted[1]}), which is never done; "
                f"{SAVE_AGAIN}, where it comes from a source you trust"
            ) from error
        if "TorchScript" in text:
            raise DataError(
                f"{path} is a TorchScript program, not a file of weights; load it with "
                f"torch.jit.load, and {SAVE_AGAIN}"
            ) from error
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = re.sub(r"^\[enforce fail[^]]*\] \. ", "", lines[0] if lines else type(error).__name__)
    reason = textwrap.shorten(reason.partition(". ")[0], 100, placeholder=" ...").rstrip(".")
    return DataError(f"{path} is damaged or broken off ({reason}); fetch it again")


def _unwrapped(path: Path, content: object, notes: list[str]) -> dict[str, Tensor]:
    """Find the mapping of names to tensors in what a file holds."""
    if isinstance(content, Mapping) and not _is_weights(content):
        for key in WRAPPERS:
            if _is_weights(content.get(key)):
                notes.append(f"weights taken from {key!r}")
                return dict(content[key])
        if "param_groups" in content:
            raise DataError(f"{path} holds the state of an optimizer, and no weights; {SAVE_AGAIN}")
        keys = ", ".join(repr(key) for key in list(content)[:6]) or "nothing"
        raise DataError(
            f"{path} holds {keys}{', ...' if len(content) > 6 else ''}, and weights under none of "
            f"{', '.join(WRAPPERS)}; {SAVE_AGAIN}"
        )
    if not isinstance(content, Mapping):
        raise DataError(
            f"{path} holds a {type(content).__name__}, not names with tensors; {SAVE_AGAIN}"
        )
    return dict(content)


def _is_weights(content: object) -> bool:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    )


def _without_prefixes(tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    while True:
        found = [prefix for prefix in PREFIXES if all(n.startswith(prefix) for n in tensors)]
        if not found:
            return tensors
        notes.append(f"prefix {found[0]!r} taken off")
        tensors = {name.removeprefix(found[0]): tensor for name, tensor in tensors.items()}


def _plain(path: Path, name: str, tensor: Tensor) -> Tensor:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        kind = "quantized" if tensor.is_quantized else f"{tensor.dtype}, {tensor.layout}"
        raise DataError(f"{path}: {name} is no plain tensor ({kind}); save it as float32")
    return tensor.detach()


def _facts(metadata: Mapping[str, str]) -> tuple[str | None, dict[str, Any]]:
    """Read what striate writes beside the weights of its runs: network, and what it is shown."""
    try:
        facts = json.loads(metadata["striate"])
        shown = dict(facts["input"])
        for name in ("mean", "std"):
            shown[name] = [float(value) for value in shown[name]]
        return str(facts["network"]), shown
    except (ValueError, KeyError, TypeError):  # written by somebody else
        return None, {}
