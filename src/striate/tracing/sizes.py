"""Which sizes of input a network accepts, found by tracing it at each."""

import itertools
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from torch import nn

from striate.errors import UsageError
from striate.tracing import trace


class LegalSizes(NamedTuple):
    """The sides of input that a network accepts.

    Attributes:
        most: The largest side that was tried; the smallest is 1 [pixels].
        accepted: The sides at which the network runs, ascending.
        whole: Those of them at which every window of every layer also reaches the far end of its
            map, so that no row or column is dropped on the way.
    """

    most: int
    accepted: tuple[int, ...]
    whole: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON takes it."""
        return {"least": 1, **self._asdict(), "rule": str(self)}

    def __str__(self) -> str:
        """Say what the sides have in common; beyond ``most`` that is a continuation."""
        rule = _rule(self.accepted, self.most)
        if self.whole == self.accepted:
            return rule
        return f"{rule}; without a dropped row or column {_rule(self.whole, self.most)}"


def legal_sizes(network: nn.Module, input_shape: Sequence[int], *, most: int) -> LegalSizes:
    """Try all sides up to a largest, equal along every axis, and say which the network accepts.

    A side is accepted if the network can be traced at it: no window is larger than its map, maps
    that are joined or added fit, and the network itself does not refuse.

    Args:
        network: As for ``trace``.
        input_shape: Of an example that the network reads; its channels are kept.
        most: The largest side to try [pixels]; 1 is the smallest.

    Returns:
        The sides that are accepted.

    Raises:
        UsageError: The range is empty, or the input has no spatial axes; or no side is accepted,
            nor is the example's shape. What the network itself raises at that shape goes through.

    Example:
        >>> halves = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2))
        >>> print(legal_sizes(halves, (1, 9, 9), most=20))
        any from 4; without a dropped row or column 2k, from 4
    """
    channels, *axes = input_shape
    if not axes or most < 1:
        raise UsageError(
            f"sides up to {most} of an input {tuple(input_shape)}: 1 or more and an input with "
            "channels and at least one spatial axis are needed"
        )
    cut: dict[int, bool] = {}
    for side in range(1, most + 1):
        # What a network raises at a size that it does not accept is its own choice.
        with suppress(ValueError, RuntimeError, AssertionError):
            cut[side] = bool(trace(network, (channels, *(side for _ in axes))).cut)
    if not cut:  # if the example fails too, the sides were not what it failed at
        trace(network, input_shape)
    return LegalSizes(most, tuple(cut), tuple(side for side in cut if not cut[side]))


def _rule(sides: Sequence[int], most: int) -> str:
    """Say a few words of a list of sizes; what runs to the end of the range is said to go on."""
    if not sides:
        return f"none from 1 to {most}"
    first, last = sides[0], sides[-1]
    steps = {after - before for before, after in itertools.pairwise(sides)}
    if not steps:
        return f"exactly {first}" if first < most else f"{first}, the largest side tried"
    if len(steps) > 1 or (len(sides) < 3 and steps != {1}):
        listed = ", ".join(map(str, sides[:6]))
        return f"{listed}, … up to {last}" if len(sides) > 6 else listed
    step = steps.pop()
    goes_on = last + step > most
    if step == 1:
        return f"any from {first}" if goes_on else f"{first} to {last}"
    rest = f"+{first % step}" if first % step else ""
    return f"{step}k{rest}, from {first}" + ("" if goes_on else f" to {last}")
