"""Every image of a set looked at: what is broken, odd, twice there or in the wrong place."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from striate.data_check.finding import findings
from striate.data_check.looking import Seen, look_at, look_at_chunk
from striate.data_check.report import Report
from striate.datasets.listing import Listing, Place
from striate.datasets.sets import ImageSet
from striate.display import Progress
from striate.images import DecodedImage
from striate.worker_processes import CHUNK, in_workers

__all__ = ["Report", "check", "check_in_memory"]

MAX_PIXELS = 200_000_000


def check(
    listing: Listing,
    *,
    max_pixels: int = MAX_PIXELS,
    workers: int = 0,
    told: Progress | None = None,
) -> Report:
    """Look at every image of a listing.

    Args:
        listing: Where the images are.
        max_pixels: Larger images are told instead of decoded.
        workers: Processes that decode; 0 decodes in this one.
        told: Called with the images done and the number of all.

    Raises:
        RunError: A worker was killed.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "seven.png"
        >>> _ = path.write_bytes(b"")
        >>> place = Place(str(path), "seven.png")
        >>> parts = {"train": torch.tensor([0])}
        >>> report = check(Listing("a", ("7",), (place,), torch.tensor([0]), parts, "", ""))
        >>> [finding.kind for finding in report.findings], report.must_be_looked_at
        (['broken', 'empty class'], True)
    """
    started = time.monotonic()
    seen: list[Seen] = []
    for one in _look(listing.places, max_pixels, workers):
        seen.append(one)
        if told is not None and (len(seen) % CHUNK == 0 or len(seen) == len(listing.places)):
            told(len(seen), len(listing.places))
    names = tuple(place.name for place in listing.places)
    parts = {name: indices.tolist() for name, indices in listing.parts.items()}
    targets = listing.targets.tolist()
    return Report(
        name=listing.name,
        source=listing.source,
        layout=listing.layout,
        classes=listing.classes,
        names=names,
        targets=targets,
        parts=parts,
        seen=seen,
        findings=findings(
            *(listing.classes, targets, parts, seen, names),
            groups=listing.groups,
            empty=listing.empty,
        ),
        notes=listing.notes,
        seconds=time.monotonic() - started,
    )


def check_in_memory(
    image_set: ImageSet, told: Progress | None = None
) -> tuple[Report, dict[str, np.ndarray]]:
    """Look at every image of a set that lies in memory.

    Args:
        image_set: The set.
        told: Called with the images done and the number of all.

    Returns:
        report: As of files; an image is called by its part and number.
        images: For each name the ``(H, W, C)`` values.
    """
    started = time.monotonic()
    names: list[str] = []
    seen: list[Seen] = []
    targets: list[int] = []
    parts: dict[str, list[int]] = {}
    pixels: dict[str, np.ndarray] = {}
    low, high = image_set.value_range
    whole = sum(len(part.images) for part in image_set.parts.values())
    for part, (images, labels) in image_set.parts.items():
        parts[part] = list(range(len(names), len(names) + len(images)))
        targets += labels.tolist()
        for number, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
            names.append(f"{part} image {number}")
            pixels[names[-1]] = image
            decoded = DecodedImage(image, high - low if image.dtype.kind == "f" else high, ())
            seen.append(look_at(decoded, hashlib.sha256(image.tobytes()).hexdigest()))
            if told is not None and len(seen) % 1000 == 0:
                told(len(seen), whole)
    report = Report(
        name=image_set.name,
        source=image_set.source,
        layout="in memory",
        classes=image_set.classes,
        names=tuple(names),
        targets=targets,
        parts=parts,
        seen=seen,
        findings=findings(image_set.classes, targets, parts, seen, names),
        seconds=time.monotonic() - started,
    )
    return report, pixels


def _look(places: Sequence[Place], max_pixels: int, workers: int) -> Iterator[Seen]:
    look = partial(look_at_chunk, max_pixels=max_pixels)
    if workers == 0 or len(places) <= CHUNK:
        for place in places:
            yield from look([place])
        return
    remedy = "give the command again with fewer --workers or a smaller --max-pixels"
    yield from in_workers(places, look, workers=workers, remedy=remedy)
