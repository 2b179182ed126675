"""Named tensors to a network: what fits is loaded, the input and the head are adapted.

Which tensors depend on the channels of the images and which on the number of classes is found
by building the network with one more of each, without memory for its weights.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.models import NETWORKS, find_network, outline

Shapes = Mapping[str, tuple[int, ...]]

# Classifiers that only training asks, GoogLeNet's; files without them are common.
AUXILIARY = re.compile(r"aux\d+\.")
# Of batch normalisation; nothing here reads it, and older files lack it.
COUNTER = ".num_batches_tracked"
# timm's VGG has its fully connected layers under other names, the first two as convolutions.
TIMM_VGG = {
    "pre_logits.fc1": "classifier.0",
    "pre_logits.fc2": "classifier.3",
    "head.fc": "classifier.6",
}
NAMED_AT_MOST = 3


class Axis(NamedTuple):
    """The axis of a tensor that grows with channels or classes, and by how much for each."""

    axis: int
    each: int

    def count(self, shape: Sequence[int]) -> int:
        """Tell how many channels or classes a tensor of this shape is for; 0 is unclear."""
        length = shape[self.axis] if len(shape) > self.axis else 0
        return 0 if length % self.each else length // self.each


@dataclass(frozen=True)
class Layout:
    """The shapes of a network, and which of them depend on channels and classes."""

    shapes: Shapes
    inputs: Mapping[str, tuple[Axis, ...]]
    head: Mapping[str, tuple[Axis, ...]]

    def resized(self, channels: int, classes: int) -> dict[str, tuple[int, ...]]:
        """Give the shapes of the same network for other channels and classes; 0 keeps them.

        Args:
            channels: Of the images.
            classes: Of the head.

        Returns:
            Name → shape.
        """
        shapes = dict(self.shapes)
        for axes, count in ((self.inputs, channels), (self.head, classes)):
            for name, growing in axes.items():
                shape = list(shapes[name])
                for axis, each in growing:
                    shape[axis] = each * count or shape[axis]
                shapes[name] = tuple(shape)
        return shapes


@dataclass(frozen=True)
class Fit:
    """How named tensors fit a network; the shapes are those that came and those needed."""

    channels: int
    classes: int
    anew: frozenset[str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def misfits(self) -> str:
        """Say in a line what does not fit; empty where all does."""
        shapes = [
            f"{name} is {_by(came)}, needed {_by(needed)}"
            for name, (came, needed) in self.wrong.items()
        ]
        kinds = {
            "missing": self.missing,
            "not expected": self.unexpected,
            "of a wrong shape": shapes,
        }
        return ", ".join(
            f"{len(names)} tensor{'s' if len(names) > 1 else ''} {kind} ({_first(names)})"
            for kind, names in kinds.items()
            if names
        )


def layout_of(name: str, **options: Any) -> Layout:
    """Find the shapes of a network, the tensors that read the image, and those of its head.

    Args:
        name: Of the network.
        options: With which it is built, as for ``striate.models.build``.

    Returns:
        The shapes, and which axes grow with channels and with classes.

    Example:
        >>> layout = layout_of("resnet20")
        >>> layout.inputs
        {'conv1.weight': (Axis(axis=1, each=1),)}
        >>> layout.head
        {'fc.weight': (Axis(axis=0, each=1),), 'fc.bias': (Axis(axis=0, each=1),)}
    """
    network = find_network(name)
    channels, classes = network.input_shape[0], network.num_classes
    shapes = shapes_of(name, **options)
    return Layout(
        shapes,
        _growing(shapes, shapes_of(name, channels + 1, classes, **options)),
        _growing(shapes, shapes_of(name, channels, classes + 1, **options)),
    )


@functools.cache
def shapes_of(
    name: str, in_channels: int | None = None, num_classes: int | None = None, **options: Any
) -> Shapes:
    """Give name → shape of all that a network's ``state_dict`` holds, without its weights.

    Args:
        name: Of the network.
        in_channels: Channels of the images; the paper's by default.
        num_classes: Number of classes; the paper's by default.
        options: With which it is built, as for ``striate.models.build``.
    """
    network = outline(name, in_channels, num_classes, **options)
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def twins_of(name: str) -> list[str]:
    """Name the other networks with the same names and shapes, which compute something else.

    Example:
        >>> twins_of("resnet50"), twins_of("vgg11")
        (['resnet50_v1_5'], [])
    """
    own, shapes = find_network(name), shapes_of(name)
    return [
        other
        for other, network in NETWORKS.items()
        if other != name
        and network.module == own.module
        # What labels pixels reads images of any size.
        and (own.task == "segmentation" or network.input_shape == own.input_shape)
        and shapes_of(other) == shapes
    ]


def fit_of(layout: Layout, tensors: Mapping[str, Tensor]) -> Fit:
    """Compare named tensors with a network, for whatever channels and classes they are.

    Args:
        layout: Of the network.
        tensors: Name → tensor.

    Returns:
        Channels and classes of the tensors, and what does not fit.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    channels = _count(layout.inputs, shapes)
    classes = _count(layout.head, shapes)
    auxiliary = {name for name in layout.shapes if AUXILIARY.match(name)}
    anew = set()
    for part in (auxiliary, layout.head.keys() - auxiliary):  # a part is there, or is not
        if part.isdisjoint(shapes):
            anew |= part
    needed = layout.resized(channels, classes)
    return Fit(
        channels,
        classes,
        frozenset(anew),
        tuple(n for n in needed if n not in shapes and n not in anew and not n.endswith(COUNTER)),
        tuple(name for name in shapes if name not in needed),
        {n: (s, needed[n]) for n, s in shapes.items() if n in needed and s != needed[n]},
    )


def check_fit(
    name: str,
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Fit:
    """Refuse named tensors that do not fit a network of whatever channels and classes.

    Args:
        name: The network's name.
        tensors: Name → value.
        source: Where they come from, for the message.
        options: With which the network is built.

    Raises:
        UsageError: Tensors are missing, not expected or of a wrong shape; the message names
            the networks that they do fit.
    """
    fit = fit_of(layout_of(name, **options), tensors)
    if fit.misfits():
        raise UsageError(f"{source} does not fit {name}: {fit.misfits()}; {_remedy(tensors)}")
    return fit


def load_tensors(
    network: nn.Module,
    name: str,
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> list[str]:
    """Put named tensors into a network of ``NETWORKS``, whatever its channels and classes.

    Tensors that read the image are adapted to the network's channels, see
    ``adapt_channels``. A head for another number of classes, or one that is not among the
    tensors, keeps the network's initial weights, and so do auxiliary classifiers that are not
    among them. Everything else has to fit.

    Args:
        network: As ``build(name, ...)`` made it; its weights are replaced.
        name: Its name.
        tensors: Name → value.
        source: Where they come from, for the messages.
        options: With which the network was built.

    Returns:
        How many were loaded, what was adapted and what starts anew, in words.

    Raises:
        UsageError: As in ``check_fit``; the network is then as it was.

    Example:
        >>> from striate.models import build
        >>> trained = build("lecun1990").state_dict()
        >>> network = build("lecun1990", in_channels=3, num_classes=7)
        >>> notes = load_tensors(network, "lecun1990", trained, source="trained")
        >>> "; ".join(notes[1:])
        'input adapted from 1 to 3 channels; head new for 7 classes, trained has 10'
    """
    layout = layout_of(name, **options)
    fit = check_fit(name, tensors, source=source, options=options)
    own = network.state_dict()
    shapes = {key: tuple(tensor.shape) for key, tensor in own.items()}
    channels, classes = _count(layout.inputs, shapes), _count(layout.head, shapes)
    anew = fit.anew | (layout.head.keys() if classes != fit.classes else set())
    loaded = {key: tensor for key, tensor in tensors.items() if key not in anew}
    for key, growing in layout.inputs.items():
        for axis, each in growing:
            loaded[key] = adapt_channels(loaded[key], channels, axis=axis, each=each)
    network.load_state_dict({**own, **loaded})
    notes = [f"{len(loaded)} of {len(own)} tensors"]
    if channels != fit.channels:
        notes.append(f"input adapted from {fit.channels} to {channels} channels")
    if any(key in anew and not AUXILIARY.match(key) for key in layout.head):
        has = f"{fit.classes:,}" if fit.classes else "none"
        notes.append(f"head new for {classes:,} classes, {source} has {has}")
    if any(AUXILIARY.match(key) for key in fit.anew):
        notes.append("auxiliary classifiers new")
    return notes


def adapt_channels(weight: Tensor, channels: int, *, axis: int = 1, each: int = 1) -> Tensor:
    """Turn weights that read an image into weights for another number of channels.

    An image that is the same in all channels gives the same maps before and after. More
    channels repeat the old ones in turn, each divided by the number of its copies: from 1 to
    3, a third each. Fewer channels take the old ones in turn and add them up: from 3 to
    1, the sum of all.

    Args:
        weight: The axis of the channels anywhere.
        channels: How many are wanted.
        axis: Where they are.
        each: How many values in a row belong to one channel.

    Returns:
        The same shape, but for the axis; the same tensor where nothing changes.

    Example:
        >>> adapt_channels(torch.tensor([[1.0, 2.0, 4.0]]), 1)
        tensor([[7.]])
        >>> adapt_channels(torch.tensor([[1.0, 2.0, 4.0]]), 4)
        tensor([[0.5000, 2.0000, 4.0000, 0.5000]])
    """
    old = weight.shape[axis] // each
    if old == channels:
        return weight
    parts = torch.unflatten(weight, axis, (old, each)).unbind(axis)
    if channels > old:
        copies = [len(range(place, channels, old)) for place in range(old)]
        adapted = [parts[place % old] / copies[place % old] for place in range(channels)]
    else:
        adapted = [torch.stack(parts[place::channels]).sum(dim=0) for place in range(channels)]
    return torch.cat(adapted, dim=axis)


def translate_timm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the fully connected layers of timm's VGG the names and shapes of torchvision's.

    Args:
        tensors: Name → tensor, of any network.

    Returns:
        The same, but for the head of timm's VGG.

    Example:
        >>> tensors = translate_timm({"pre_logits.fc1.weight": torch.zeros(4, 2, 7, 7)})
        >>> {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        {'classifier.0.weight': (4, 98)}
    """
    if not any(name.startswith("pre_logits.fc1.") for name in tensors):
        return dict(tensors)
    translated = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        own = TIMM_VGG.get(layer, layer)
        matrix = own != layer and kind == "weight"
        translated[f"{own}.{kind}"] = tensor.flatten(1) if matrix else tensor
    return translated


def _growing(shapes: Shapes, larger: Shapes) -> dict[str, tuple[Axis, ...]]:
    """Find the axes that grow when there is one more of something."""
    growing = {
        name: tuple(
            Axis(axis, longer - length)
            for axis, (length, longer) in enumerate(zip(shape, larger[name], strict=True))
            if longer != length
        )
        for name, shape in shapes.items()
    }
    return {name: axes for name, axes in growing.items() if axes}


def _count(growing: Mapping[str, tuple[Axis, ...]], shapes: Shapes) -> int:
    """Tell for how many channels or classes tensors are, by the first of them that shows it."""
    counts = (axes[0].count(shapes[name]) for name, axes in growing.items() if name in shapes)
    return next(filter(None, counts), 0)


def _remedy(tensors: Mapping[str, Tensor]) -> str:
    """Name the networks that tensors fit."""
    names = {name for name in tensors if not name.endswith(COUNTER)}
    fitting = []
    for name in NETWORKS:
        own = {key for key in shapes_of(name) if not key.endswith(COUNTER)}
        if own == names and not fit_of(layout_of(name), tensors).misfits():
            fitting.append(name)
    if fitting:
        return f"it fits {' and '.join(fitting)}"
    return "it fits no network of `striate models`"


def _first(names: Sequence[str]) -> str:
    return ", ".join([*names[:NAMED_AT_MOST], *(["..."] if len(names) > NAMED_AT_MOST else [])])


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a single number"
