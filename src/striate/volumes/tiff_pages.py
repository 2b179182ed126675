"""The pages of a TIFF as one array, of which only what is asked for is decoded."""

import itertools
import math
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from striate.errors import DataError
from striate.images.pillow import quiet

JPEG = (6, 7, 34892, 33007)
CACHED = 2**26  # bytes of decoded strips that are kept


class Pages:
    """The pages of a series, indexed as a numpy array is; only what is asked for is decoded."""

    def __init__(self, path: Path, tiff: Any, series: Any) -> None:
        self.path, self.tiff, self.pages = path, tiff, list(series.pages)
        self.page = series.keyframe
        self.shape, self.inner = series.shape, self.page.shape
        if self.shape[len(self.shape) - len(self.inner) :] != self.inner:
            raise ValueError(f"pages of {self.inner} do not make up an array of {self.shape}")
        if len(self.pages) * math.prod(self.inner) != math.prod(self.shape):
            raise ValueError(f"{len(self.pages)} pages of {self.inner} do not fill {self.shape}")
        self.lock = threading.Lock()
        page_bytes = math.prod(self.inner) * series.dtype.itemsize
        chunk_bytes = math.prod(self.page.chunks) * series.dtype.itemsize
        self.by_tifffile = self._decodes_here()
        self.chunk = _kept(self._chunk, chunk_bytes)
        self.by_pillow = _kept(self._by_pillow, page_bytes)

    def __getitem__(self, index: tuple[int | slice, ...]) -> np.ndarray:
        outer = len(self.shape) - len(self.inner)
        ranges = [
            range(size)[part] if isinstance(part, slice) else range(part, part + 1)
            for part, size in zip(index, self.shape, strict=True)
        ]
        result = np.empty([len(part) for part in ranges], self.page.dtype)
        if result.size:
            numbers = [tuple(enumerate(part)) for part in ranges[:outer]]
            for places in itertools.product(*numbers):
                number = (
                    np.ravel_multi_index([n for _, n in places], self.shape[:outer] or (1,))
                    if places
                    else 0
                )
                self._fill(int(number), ranges[outer:], result[tuple(at for at, _ in places)])
        dropped = tuple(0 if not isinstance(part, slice) else slice(None) for part in index)
        return result[dropped]

    def _fill(self, number: int, ranges: list[range], out: np.ndarray) -> None:
        """Read a region of one page."""
        page = self.pages[number]
        if page.is_final:
            dtype = self.page.dtype.newbyteorder(self.tiff.byteorder)
            mapped = np.memmap(self.path, dtype, "r", page.dataoffsets[0], self.inner)
            out[...] = mapped[tuple(slice(part.start, part.stop) for part in ranges)]
            return
        if not self.by_tifffile:
            pixels = self.by_pillow(number)
            out[...] = pixels[tuple(slice(part.start, part.stop) for part in ranges)]
            return
        chunks, grid = page.chunks, page.chunked
        # A separate plane of samples is an axis of the grid that the chunk itself lacks.
        sides = (*(1,) * (len(grid) - len(chunks)), *chunks)
        wanted = [
            range(part.start // side, -(-part.stop // side))
            for part, side in zip(ranges, sides, strict=True)
        ]
        for position in itertools.product(*wanted):
            piece = self.chunk(number, int(np.ravel_multi_index(position, grid)))
            source, target = [], []
            for part, place, side, size in zip(ranges, position, sides, piece.shape, strict=True):
                first, last = max(part.start, place * side), min(part.stop, place * side + size)
                source.append(slice(first - place * side, last - place * side))
                target.append(slice(first - part.start, last - part.start))
            out[tuple(target)] = piece[tuple(source)]

    def _chunk(self, number: int, index: int) -> np.ndarray:
        """Decode a strip or tile, in the axes of the page."""
        page = self.pages[number]
        if index >= len(page.dataoffsets):
            raise ValueError(f"page {number} lacks its strip or tile {index}")
        with self.lock:
            file = self.tiff.filehandle
            file.seek(page.dataoffsets[index])
            data = file.read(page.databytecounts[index])
        piece, _, _ = self.page.decode(data, index)  # (depth, rows, columns, samples)
        piece = piece[0] if piece.shape[0] == 1 and self.page.imagedepth == 1 else piece
        if self.page.axes.endswith("S"):
            return np.asarray(piece)
        piece = piece[..., 0]
        return np.asarray(piece[None] if self.page.axes.startswith("S") else piece)

    def _by_pillow(self, number: int) -> np.ndarray:
        with quiet():
            picture = Image.open(self.path, formats=["TIFF"])
            picture.seek(self.pages[number].index)
        with picture:
            pixels = np.array(picture)
        if pixels.shape != self.inner or pixels.dtype != self.page.dtype:
            raise DataError(
                f"{self.path} is a TIFF of {self.page.samplesperpixel} × {self.page.bitspersample} "
                f"bits, {self.page.compression.name} compressed, which cannot be decoded here; "
                "save it uncompressed or deflate (zip)"
            )
        return pixels

    def _decodes_here(self) -> bool:
        page = self.page
        if page.compression in JPEG:
            return False
        try:
            tifffile.TIFF.DECOMPRESSORS[page.compression]
            tifffile.TIFF.UNPREDICTORS[page.predictor]
        except (KeyError, ImportError):
            return False
        return True


def _kept(function: Callable[..., np.ndarray], size: int) -> Callable[..., np.ndarray]:
    """Keep the last results of a function, up to ``CACHED`` bytes; one at least."""
    return lru_cache(maxsize=max(1, CACHED // max(1, size)))(function)
