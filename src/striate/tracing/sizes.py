"""Which sizes of input a network accepts, found by tracing it at each."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from striate.errors import UsageError
from striate.tracing import trace


class LegalSizes(NamedTuple):
    """The sides of input that a network accepts.

    Attributes:
        sides: Those accepted, ascending [pixels].
        least: The smallest side that was tried.
        most: The largest side that was tried.
        rule: What the accepted ones have in common, in a few words; beyond ``most`` it is a
            continuation, not a finding.
    """

    sides: tuple[int, ...]
    least: int
    most: int
    rule: str


def legal_sizes(
    network: nn.Module, input_shape: Sequence[int], *, least: int = 1, most: int
) -> LegalSizes:
    """Try all sides in a range, the same along every axis, and say which the network accepts.

    A side is accepted if the network can be traced at it: no window is larger than its map, maps
    that are joined or added fit, and the network itself does not refuse.

    Args:
        network: As for ``trace``.
        input_shape: An example's shape; its channels are kept.
        least: The smallest side to try [pixels].
        most: The largest side to try [pixels].

    Raises:
        UsageError: The range is empty, or the input has no spatial axes.

    Example:
        >>> legal_sizes(nn.Sequential(nn.Conv2d(1, 2, 5, 2)), (1, 9, 9), most=20).rule
        'any from 5'
    """
    channels, *axes = input_shape
    if not axes or not 1 <= least <= most:
        raise UsageError(
            f"sides {least} to {most} of an input {tuple(input_shape)}: a range from 1 on and "
            "an input with channels and at least one spatial axis are needed"
        )
    sides = tuple(
        side
        for side in range(least, most + 1)
        if _accepts(network, (channels, *(side for _ in axes)))
    )
    return LegalSizes(sides, least, most, _rule(sides, least, most))


def _accepts(network: nn.Module, shape: tuple[int, ...]) -> bool:
    try:
        trace(network, shape)
    except (ValueError, RuntimeError, AssertionError):
        return False
    return True


def _rule(sides: Sequence[int], least: int, most: int) -> str:
    """Say a few words of a list of sizes; what runs to the end of the range is said to go on."""
    if not sides:
        return f"none from {least} to {most}"
    first, last = sides[0], sides[-1]
    steps = {after - before for before, after in itertools.pairwise(sides)}
    if not steps:
        return f"exactly {first}" if first < most else f"{first}, the largest side tried"
    if len(steps) > 1 or len(sides) < 3:
        listed = ", ".join(map(str, sides[:6]))
        return f"{listed}, … up to {last}" if len(sides) > 6 else listed
    step = steps.pop()
    goes_on = last + step > most
    if step == 1:
        return f"any from {first}" if goes_on else f"{first} to {last}"
    rest = f"+{first % step}" if first % step else ""
    return f"{step}k{rest}, from {first}" + ("" if goes_on else f" to {last}")
