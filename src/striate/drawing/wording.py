"""The words of a drawing: what stands in the boxes, over the maps and in the caption."""

from collections import Counter
from collections.abc import Sequence
from math import prod

from striate.drawing.steps import Step, spaced
from striate.tracing import Trace

_SHORT = {
    "convolution": "conv",
    "transposed convolution": "transposed conv",
    "max pooling": "max pool",
    "average pooling": "average pool",
}
# What each kind of step is painted with.
PAINTS = {
    "input": "input",
    "convolution": "convolution",
    "transposed convolution": "transposed",
    "resizing": "transposed",
    "max pooling": "pooling",
    "average pooling": "pooling",
    "subsampling": "pooling",
    "linear": "linear",
    "light": "norm",
    "addition": "merge",
    "concatenation": "merge",
    "product": "merge",
    "other": "other",
}
_CONVOLUTIONS = ("convolution", "transposed convolution")


def by(numbers: Sequence[int]) -> str:
    """Write a size: 3×224×224."""
    return "×".join(map(str, numbers)) or "1"


def usual(steps: Sequence[Step]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Give what stands before and after more than half of a network's convolutions.

    A caption says it once, so that the boxes need not.
    """
    around = Counter((step.before, step.after) for step in steps if step.kind in _CONVOLUTIONS)
    most, count = max(around.items(), key=lambda item: item[1], default=(None, 0))
    return most if most and any(most) and 2 * count > around.total() > 2 else None


def heading(step: Step, read: Sequence[int], channels: str | None = None) -> str:
    """Say in a box what a step does, as the papers' figures do.

    Args:
        step: Of a network.
        read: The shape that it reads.
        channels: Written for its number of channels, where that is not the one number that it
            has; "" leaves it out.

    Example:
        >>> from striate.tracing import Window
        >>> window = Window("convolution", (7, 7), (2, 2), (1, 1), 1)
        >>> shape = (64, 112, 112)
        >>> heading(
        ...     Step("convolution", "c", "Conv2d", (0,), shape, window, (), (), 9472, (0,)),
        ...     (3, 224, 224),
        ... )
        '7×7 conv, 64, /2'
    """
    many = f"{step.channels:,}" if channels is None else channels
    if step.kind == "input":
        return f"input {by(step.shape)}"
    if step.kind in _CONVOLUTIONS and step.window:
        w = step.window
        depthwise = 1 < w.groups == step.channels == read[0]
        words = [f"{by(w.kernel)} {'depthwise ' * depthwise}{_SHORT[step.kind]}", many]
        if w.groups > 1 and not depthwise:
            words.append(f"{w.groups} groups")
        if max(w.dilation) > 1:
            words.append(f"dilation {_one(w.dilation)}")
        return ", ".join(filter(None, [*words, *_stride(step)]))
    if step.kind in ("max pooling", "average pooling", "subsampling"):
        word = _SHORT.get(step.kind, step.kind)
        if prod(step.sides) == 1 and step.kind != "subsampling":
            return f"global {word}"
        if step.window is None:
            return word
        return ", ".join([f"{by(step.window.kernel)} {word}", *_stride(step)])
    if step.kind == "resizing":
        return f"resize{_factor(step.sides, read[1:])}"
    if step.kind == "linear":
        return ", ".join(filter(None, [operation(step), many]))
    if step.kind == "concatenation":
        return ", ".join(filter(None, ["concatenation", many]))
    if step.kind == "light":
        return ", ".join(step.after) or spaced(step.label)
    return {"addition": "+", "product": "×"}.get(step.kind, spaced(step.label))


def _factor(sides: Sequence[int], read: Sequence[int]) -> str:
    factors = {after // before for after, before in zip(sides, read, strict=False)}
    whole = all(after % before == 0 for after, before in zip(sides, read, strict=False))
    return f", ×{factors.pop()}" if whole and len(factors) == 1 else f" to {by(sides)}"


def _one(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else by(numbers)


def _stride(step: Step) -> list[str]:
    window = step.window
    if window is None or max(window.stride) == 1:
        return []
    return [f"{'×' if step.kind.startswith('transposed') else '/'}{_one(window.stride)}"]


def operation(step: Step) -> str:
    """Name a full connection by its class where that says more."""
    is_plain = step.label.lower() in ("linear", "lazylinear", "addmm", "matmul")
    return "linear" if is_plain else spaced(step.label)


def around(step: Step, most: tuple[tuple[str, ...], tuple[str, ...]] | None) -> tuple[str, str]:
    """Say what stands before and after the main layer of a step; nothing if it is the usual."""
    if step.kind == "light" or (step.kind in _CONVOLUTIONS and (step.before, step.after) == most):
        return "", ""
    after = ", ".join(step.after)
    if most and step.kind in _CONVOLUTIONS and not (step.before or step.after):
        after = "nothing after it"
    return ", ".join(step.before), after


def caption(
    trace: Trace, most: tuple[tuple[str, ...], tuple[str, ...]] | None = None
) -> tuple[str, ...]:
    """Say under the title what the drawing does not show."""
    facts = [
        f"input {by(trace.input_shape)}",
        f"{trace.parameters:,} parameters",
        f"{'≥ ' if trace.unknown else ''}{trace.multiply_adds:,} multiply-adds",
    ]
    lines = [" · ".join(facts)]
    unused = trace.parameters - sum(layer.parameters for layer in trace.layers)
    if unused:
        lines.append(f"{unused:,} of the parameters are in layers that did not run.")
    if most:
        before, after = (" and ".join(words) for words in most)
        told = [f"{before} before" if before else "", f"{after} after" if after else ""]
        lines.append(
            f"Every convolution has {', '.join(filter(None, told))} it, unless its box says "
            "otherwise."
        )
    if trace.unknown:
        lines.append(f"Could not be followed, and not counted: {_some(trace.unknown)}.")
    return tuple(lines)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def tooltip(step: Step, repeats: Sequence[Step] = ()) -> str:
    """Tell the name, class, shape and parameters of a step to the pointer that rests on it.

    Args:
        step: The one that is drawn.
        repeats: Those that it stands for, itself among them.
    """
    if step.kind == "input" and not step.layers:
        return f"input {by(step.shape)}"
    name = f"{step.name} ({step.label})" if step.name else "input"
    own = f"{name}: {by(step.shape)}"
    count = sum(repeat.parameters for repeat in repeats)
    more = len(repeats) - 1
    if count != step.parameters * len(repeats):
        return f"{own}, and {more} more of its form, {count:,} parameters in all"
    if step.parameters:
        own += f", {step.parameters:,} parameters"
    return f"{own}, and {more} more like it" if more > 0 else own
