"""Weights by name or from a file, into the one network that they are for.

Weights fit by names and shapes and may still compute something else: those of torchvision's
resnet50 fit the paper's. So a file names its network, by its SHA-256 or by what striate wrote into
it; where it does not, and another network has the same names and shapes, the user is asked.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from striate import models
from striate.errors import UsageError, did_you_mean
from striate.fetching import fetch, is_whole, locked_folder, sha256_of
from striate.files import user_cache
from striate.models import NETWORKS, find_network
from striate.published_weights import PUBLISHED, PublishedWeights
from striate.recipe_values import recipe_fields
from striate.weights_files import read_weights
from striate.weights_fitting import check_fit, load_tensors, translate_timm, twins_of

FOLDER = "weights"  # under a data folder or the cache
FORM = ("width", "depth", "normalization")  # what a recipe sets of a network's build
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".tar", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Weights:
    """Weights that have been read and are for a certain network.

    Attributes:
        given: The name or file as it was typed; a file's path is absolute.
        network: The network they are for.
        path: The file.
        sha256: Of the file, in hexadecimal.
        tensors: Name → value, float32.
        notes: What was done in reading, in words.
        mean: For each channel, what the network's input was centred on, if known.
        std: For each channel, what it was divided by, if known.
        options: With which the network is built.
        input: All that is known of what the network was shown.
    """

    given: str
    network: str
    path: Path
    sha256: str
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    input: Mapping[str, Any] = field(default_factory=dict)

    def load_into(self, network: nn.Module) -> str:
        """Put the weights into a network and report in a line what was done.

        Raises:
            UsageError: They do not fit; the network is as it was.
        """
        name = self.path.name
        source = name if name != "model.safetensors" else f"{self.path.parent.name}/{name}"
        done = load_tensors(
            network, self.network, self.tensors, source=source, options=self.options
        )
        return f"weights {source} (SHA-256 {self.sha256[:8]}): {'; '.join([*done, *self.notes])}"

    def standardization(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Give the mean and deviation that the weights expect of so many channels, if known.

        A single channel takes the average of several, and several take those of a single one.
        """
        if self.mean is None or self.std is None:
            return None
        if len(self.mean) == channels:
            return self.mean, self.std
        if channels == 1:
            return (sum(self.mean) / len(self.mean),), (sum(self.std) / len(self.std),)
        return (self.mean * channels, self.std * channels) if len(self.mean) == 1 else None


def build(
    name: str,
    in_channels: int | None = None,
    num_classes: int | None = None,
    *,
    weights: str | Path | None = None,
    **options: Any,
) -> nn.Module:
    """Build a network by name, with fresh weights or with given ones.

    With other channels or classes than those of the weights, the input is adapted or the
    head starts fresh, and the rest is kept; a line on stderr says what was done.

    Args:
        name: A key of ``striate.models.NETWORKS``.
        in_channels: Channels of the images; the paper's by default.
        num_classes: Number of classes; the paper's by default.
        weights: A name that ``striate models`` lists, a file (safetensors, or a state dict
            of torchvision's or timm's), a run folder, or ``NETWORK:FILE`` for a file that
            does not say which of several networks it is for. Fresh ones are drawn from
            torch's global generator.
        options: What else the network lets its user set: of ``unet``, ``width`` and ``depth``.

    Returns:
        The network in training mode: images to logits, ``(N, C, *spatial)`` to
        ``(N, num_classes)``, or to ``(N, num_classes, *spatial)`` where each pixel is labelled.

    Raises:
        UsageError: There is no network or are no weights of that name, the network has no such
            option, or the weights are for another network.
        DataError: The weights cannot be fetched or read.

    Example:
        >>> network = build("lecun1990")
        >>> sum(parameter.numel() for parameter in network.parameters())
        2578
    """
    find_network(name)
    opened = None if weights is None else open_weights(str(weights), name, options=options)
    network = models.build(name, in_channels, num_classes, **options)
    if opened is not None:
        print(opened.load_into(network), file=sys.stderr)
    return network


def open_weights(
    given: str,
    network: str,
    *,
    options: Mapping[str, Any] = MappingProxyType({}),
    data_dir: Path | None = None,
    published: Mapping[str, PublishedWeights] = PUBLISHED,
) -> Weights:
    """Find or fetch weights, read them, and make sure that they are for a network.

    A name's file is looked for under ``weights/`` in ``data_dir``, in the folder that the
    environment variable ``STRIATE_DATA`` names and in the user's cache, then where
    torchvision keeps its own, and is else fetched into the first or the cache.

    Args:
        given: As in ``build``.
        network: The name of the network.
        options: With which it is built, as for ``build``.
        data_dir: Where names are looked for first.
        published: Name → published weights.

    Raises:
        UsageError: There are no weights of that name, or they are for another network, or
            do not say for which of several.
        DataError: They cannot be fetched or read.
    """
    claimed, place = _parts(given)
    if place in published:
        _refuse_other(place, published[place].network, "by its name", claimed, network)
        path = _find_or_fetch(published[place], data_dir)
    else:
        path = _file(place, published)
    file = read_weights(path)
    sha256 = sha256_of(path)
    known = [entry for entry in published.values() if sha256.startswith(entry.sha256)]
    says, how = (known[0].network, "by its SHA-256") if known else (file.network, "as it says")
    if says is not None:
        _refuse_other(place, says, how, claimed, network)
    elif claimed is not None:
        _refuse_other(place, claimed, "as you say", None, network)
    else:
        _ask(place, network)
    _refuse_other_form(place, options)
    tensors = translate_timm(file.tensors)
    check_fit(network, tensors, source=path.name, options=options)
    return Weights(
        place if place in published else absolute(given),
        network,
        path.absolute(),
        sha256,
        tensors,
        file.notes,
        known[0].mean if known else file.mean,
        known[0].std if known else file.std,
        options,
        file.input,
    )


def absolute(given: str) -> str:
    """Write weights so that they are found again from elsewhere: files by absolute paths.

    Example:
        >>> absolute("resnet18-imagenet1k-v1"), absolute("vgg11:/data/vgg.pth")
        ('resnet18-imagenet1k-v1', 'vgg11:/data/vgg.pth')
    """
    claimed, place = _parts(given)
    if place in PUBLISHED:
        return given
    return f"{claimed}:" * (claimed is not None) + str(Path(place).expanduser().absolute())


def _parts(given: str) -> tuple[str | None, str]:
    """Split NETWORK:FILE in two."""
    name, colon, place = given.partition(":")
    return (name, place) if colon and name in NETWORKS else (None, given)


def _file(place: str, published: Mapping[str, PublishedWeights]) -> Path:
    path = Path(place).expanduser()
    if path.is_dir():
        if not (path / "model.safetensors").is_file():
            raise UsageError(f"{place} is a folder without model.safetensors; give a run or a file")
        return path / "model.safetensors"
    before, colon, _ = place.partition(":")
    if colon and not path.exists() and re.fullmatch(r"\w+", before):
        find_network(before)  # which refuses a name that is misspelt
    if not path.exists() and os.sep not in place and path.suffix not in SUFFIXES:
        raise UsageError(
            f"no weights are called {place!r}; {did_you_mean(place, published)}; or give a file "
            "or a run folder"
        )
    return path


def _find_or_fetch(entry: PublishedWeights, data_dir: Path | None) -> Path:
    given = os.environ.get("STRIATE_DATA")
    cache = user_cache()
    roots = [root for root in (data_dir, given and Path(given), cache) if root]
    folders = [*(root / FOLDER for root in roots), Path(torch.hub.get_dir(), "checkpoints")]
    for folder in folders:
        if is_whole(folder / entry.file, entry.sha256):
            return folder / entry.file
    folder = (data_dir or cache) / FOLDER
    with locked_folder(folder, entry.file):
        fetch(entry.address, folder / entry.file, sha256=entry.sha256)
    return folder / entry.file


def _refuse_other(place: str, says: str, how: str, claimed: str | None, network: str) -> None:
    wanted = network if claimed in (None, says) else claimed
    if says != wanted:
        twin = ", whose names and shapes are the same but which computes something else"
        raise UsageError(
            f"{place} holds weights of {says} ({how}), not of {wanted}"
            f"{twin if says in NETWORKS and wanted in twins_of(says) else ''}; take {says} as the "
            f"network, or other weights"
        )


def _refuse_other_form(place: str, options: Mapping[str, Any]) -> None:
    """Refuse a run whose network was built otherwise, with what it was built with."""
    file = Path(place).expanduser() / "recipe.yaml"
    if not file.is_file():
        return
    fields = recipe_fields(file)
    own = {name: fields[name] for name in FORM if fields.get(name) is not None}
    if any(options.get(name, value) != value for name, value in own.items()):
        said = ", ".join(f"{name} {value}" for name, value in own.items())
        given = " ".join(f"--{name} {value}" for name, value in own.items())
        raise UsageError(f"{place} has {said}, so its weights do not fit another; give {given}")


def _ask(place: str, network: str) -> None:
    twins = twins_of(network)
    if twins:
        v1_5 = [name for name in (network, *twins) if name.endswith("_v1_5")]
        hint = f" (torchvision's and timm's files are for {v1_5[0]})" if v1_5 else ""
        raise UsageError(
            f"{place} does not say whether it is for {' or '.join([network, *twins])}, which have "
            f"the same names and shapes but compute different things{hint}; if it is for "
            f"{network}, write --weights {network}:{place}"
        )
