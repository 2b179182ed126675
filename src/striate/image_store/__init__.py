"""Images of a listing, each decoded once, checked and reduced, then read again at any place.

Kept in memory-mapped files under the user's cache folder, so that later epochs, runs and
predictions decode nothing; or, without a cache, decoded anew whenever they are read, to the same
bytes. What is in memory are some hundred bytes an image, however large it is.
"""

import hashlib
import mmap
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from striate.datasets.listing import Listing, Place
from striate.display import Progress
from striate.errors import DataError
from striate.image_store.filling import Refused, fill, read_content, read_place
from striate.image_store.forms import Form
from striate.image_store.keeping import Cache, Record

__all__ = ["Form", "ImageStore", "open_store"]

NO_RESERVE = 0x4000 if sys.platform == "linux" else 0  # Linux's MAP_NORESERVE


class ImageStore:
    """The images of a listing, in a form.

    Args:
        places: Where the images are.
        records: What is known of each.
        form: What they are reduced to.
        folder: Where their pixels lie; None decodes them at every reading.

    Attributes:
        sizes: ``(N, 2)``, height and width of each, reduced [pixels].
        own_sizes: ``(N, 2)``, the same before they were reduced.
        channels: ``(N,)``, without opacity.
        full_scales: ``(N,)``, the value that means white.
        holds_bytes: Whether all are 8-bit.
        sums: ``(N, C)``, of each channel's values; 0 for channels that an image has not.
        squares: ``(N, C)``, of the squared values.
        notes: How many images each of the things was done to that are worth saying.
    """

    def __init__(
        self, places: Sequence[Place], records: Sequence[Record], form: Form, folder: Path | None
    ) -> None:
        self.places, self.form, self.folder = places, form, folder
        shapes = torch.tensor([record.shape for record in records]).view(-1, 3)
        self.sizes, self.channels = shapes[:, :2], shapes[:, 2]
        self.own_sizes = torch.tensor([record.own_size for record in records]).view(-1, 2)
        self.full_scales = torch.tensor([r.full_scale for r in records], dtype=torch.float64)
        self.dtypes = [sys.intern(record.dtype) for record in records]
        self.holds_bytes = set(self.dtypes) <= {"uint8"} and bool((self.full_scales == 255).all())
        widest = int(self.channels.max()) if len(records) else 0
        self.sums, self.squares = (
            torch.tensor(
                [getattr(r, name) + (0.0,) * (widest - len(r.sums)) for r in records],
                dtype=torch.float64,
            )
            for name in ("sums", "squares")
        )
        self.notes = Counter(note for record in records for note in record.notes)
        self.contents = [bytes.fromhex(record.content) for record in records]
        names = sorted({record.segment for record in records})
        self._segments = names
        numbers = {name: number for number, name in enumerate(names)}
        self._segment = [numbers[record.segment] for record in records]
        self._offsets = [record.offset for record in records]
        self._maps: tuple[int, dict[int, mmap.mmap]] = (0, {})

    def __len__(self) -> int:
        return len(self.places)

    def pixels(self, index: int) -> np.ndarray:
        """Read an image.

        Returns:
            ``(H, W, C)``, uint8, uint16 or float32; not to be written into.

        Raises:
            DataError: It is decoded anew and its file changed or went away.
        """
        if self.folder is None:
            return self._anew(index)
        shape = (*self.sizes[index].tolist(), int(self.channels[index]))
        return np.ndarray(
            shape, self.dtypes[index], self._map(self._segment[index]), self._offsets[index]
        )

    def unit(self, index: int, channels: int) -> Tensor:
        """Read an image in [0, 1], grey repeated.

        Args:
            index: Which image.
            channels: That are wanted; 1 or 3 where the image is grey, otherwise its own.

        Returns:
            ``(channels, H, W)``, float32.

        Raises:
            DataError: As ``pixels``.
        """
        pixels = torch.from_numpy(self.pixels(index).astype(np.float32)).permute(2, 0, 1)
        return (pixels / self.full_scales[index].item()).expand(channels, -1, -1)

    def _anew(self, index: int) -> np.ndarray:
        place = self.places[index]
        content = read_content(place)
        if hashlib.sha256(content).digest() != self.contents[index]:
            raise DataError(f"{place.path} has changed since training began; start a new run")
        return read_place(place, self.form, content).pixels

    def release(self) -> None:
        """Let the system have back the memory of what was read; it stays in the disk's cache."""
        if self._maps[0] == os.getpid():
            for each in self._maps[1].values():
                each.madvise(mmap.MADV_DONTNEED)

    def _map(self, number: int) -> mmap.mmap:
        if self._maps[0] != os.getpid():  # a forked worker maps for itself
            self._maps = (os.getpid(), {})
        maps = self._maps[1]
        if number not in maps:
            with (self.folder or Path()).joinpath(self._segments[number]).open("rb") as file:
                # Private, as PyTorch wants memory that could be written; none is set aside.
                kind, pages = mmap.MAP_PRIVATE | NO_RESERVE, mmap.PROT_READ | mmap.PROT_WRITE
                maps[number] = mmap.mmap(file.fileno(), 0, kind, pages)
        return maps[number]

    def fingerprint(self, listing: Listing) -> str:
        """SHA-256 over classes, parts, names, labels and contents, in the listing's order."""
        digest = hashlib.sha256("\0".join(listing.classes).encode())
        for part, indices in sorted(listing.parts.items()):
            digest.update(f"\n{part} {len(indices)}\n".encode())
            for index in indices.tolist():
                name = os.fsencode(self.places[index].name)
                digest.update(b"%s\0%d\0%s" % (name, listing.targets[index], self.contents[index]))
        return digest.hexdigest()


def open_store(
    listing: Listing,
    form: Form,
    *,
    cache: Path | None,
    workers: int = 0,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> tuple[ImageStore, list[Refused | None]]:
    """Read every image of a listing once and keep it.

    Args:
        listing: Where the images are.
        form: What they are reduced to.
        cache: The folder of the cache; None keeps nothing.
        workers: Processes that decode; 0 decodes in this one.
        progress: Called with the images done and the number of all.
        note: Told when another process has to be waited for.

    Returns:
        store: Of the images that could be read, in their order.
        refused: For each of the listing's places why it cannot be read, or None.

    Raises:
        RunError: A worker was killed, or the disk is full.
    """
    kept = None if cache is None else Cache(cache, form)
    results = fill(listing.places, form, kept, workers=workers, progress=progress, note=note)
    folder = None if kept is None else kept.folder
    pairs = [
        (place, result)
        for place, result in zip(listing.places, results, strict=True)
        if isinstance(result, Record)
    ]
    places, records = [place for place, _ in pairs], [record for _, record in pairs]
    store = ImageStore(places, records, form, folder)
    return store, [result if isinstance(result, Refused) else None for result in results]
