"""The report of a check: what was found, and figures of the whole set."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from striate.data_check.finding import Finding
from striate.data_check.looking import Seen


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        name: Of the set.
        source: Where it lies.
        layout: How it lies there, in words.
        classes: Names of the classes.
        names: What each image is called.
        targets: For each image the index of its class.
        parts: For each part the indices of its images.
        seen: What was seen of each image.
        findings: What is wrong or odd, what must be looked at first.
        notes: What the listing left out or assumed.
        seconds: How long the check took.
    """

    name: str
    source: str
    layout: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
    targets: Sequence[int]
    parts: Mapping[str, Sequence[int]]
    seen: Sequence[Seen]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @cached_property
    def part_of(self) -> dict[int, str]:
        """The part of each image that is in one."""
        return {index: part for part, indices in self.parts.items() for index in indices}

    @property
    def must_be_looked_at(self) -> bool:
        """Whether something was found that spoils training or its figures."""
        return any(finding.is_serious for finding in self.findings)

    def balance(self) -> dict[str, dict[str, int]]:
        """Count the readable images of each class in each part."""
        counts = {
            part: Counter(self.targets[i] for i in indices if not self.seen[i].refusal)
            for part, indices in self.parts.items()
        }
        return {
            name: {part: counts[part][index] for part in self.parts}
            for index, name in enumerate(self.classes)
        }

    def statistics(self) -> dict[str, Any]:
        """Give sizes, kinds of pixels, range and what was done to the readable images."""
        read = [one for one in self.seen if not one.refusal]
        sizes = np.array([one.size for one in read]).reshape(-1, 2)
        kinds = Counter((one.channels, one.dtype, one.full_scale) for one in read)
        return {
            "readable": len(read),
            "height": _spread(sizes[:, 0]),
            "width": _spread(sizes[:, 1]),
            "kinds": [
                {
                    "channels": kind[0],
                    "dtype": kind[1],
                    "full_scale": kind[2],
                    "images": count,
                    "low": min(one.low for one in read if _kind(one) == kind),
                    "high": max(one.high for one in read if _kind(one) == kind),
                }
                for kind, count in kinds.most_common()
            ],
            "notes": dict(Counter(note for one in read for note in one.notes).most_common()),
        }

    def to_dict(self) -> dict[str, Any]:
        """Give all that a program may want to know."""
        return {
            "name": self.name,
            "source": self.source,
            "layout": self.layout,
            "images": len(self.names),
            "must_be_looked_at": self.must_be_looked_at,
            "findings": [
                {
                    "kind": finding.kind,
                    "serious": finding.is_serious,
                    "text": finding.text,
                    "count": len(finding.details),
                    "details": [
                        {"images": [self.names[i] for i in group], "detail": detail}
                        for group, detail in zip(finding.groups, finding.details, strict=True)
                    ],
                }
                for finding in self.findings
            ],
            "classes": self.balance(),
            **self.statistics(),
            "listing_notes": list(self.notes),
        }


def _kind(one: Seen) -> tuple[int, str, float]:
    return one.channels, one.dtype, one.full_scale


def _spread(values: np.ndarray) -> list[int]:
    """Give the smallest, the median and the largest."""
    if not len(values):
        return []
    return [int(values.min()), int(np.median(values)), int(values.max())]
