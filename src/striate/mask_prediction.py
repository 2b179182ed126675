"""Files of images and volumes to files of labels, tile by tile, in their format and geometry."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from striate.channels import with_channels
from striate.cluster import Job, label_zarr_on_cluster, workers_here
from striate.display import Progress
from striate.errors import DataError, UsageError
from striate.label_files import shares_file
from striate.mask_scoring import check_views, probabilities
from striate.mirroring import Read, Region
from striate.runs import Run
from striate.segmentation import pixel_form
from striate.tile_input import Statistics, TileSpec, as_tensor, as_trained, standardize, statistics
from striate.tile_journal import predict_to_file
from striate.tiled_prediction import labels_of
from striate.tiling import TilePlan, plan_tiles
from striate.volumes import Source, is_volume, open_volume, suffix_of, write_volume
from striate.volumes.ome_zarr import blocks_of, create_zarr

# Values that are read at once to measure an image.
SLAB_VALUES = 16_000_000
SPACING_APART = 1.1


class Labelled(NamedTuple):
    """A file of labels that was written.

    Attributes:
        path: The image.
        out: Its labels.
        pixels: For each class how many there are.
        notes: What was done to the image, and what does not fit the training images.
        probabilities: The file of each class's probability, where it was asked for.
    """

    path: Path
    out: Path
    pixels: dict[str, int]
    notes: tuple[str, ...]
    probabilities: Path | None = None


class Labeller:
    """A run ready to label files.

    Args:
        run: A run that labels pixels.
        memory: What a tile's maps may take, in bytes or as ``"500MB"``.
        device: Where it computes.
        protocol: ``"single"``; or ``"turns"``, for which an image is read whole.
        blend: Where tiles cannot equal the whole, blend overlapping ones.
        probabilities: Write the probability of each class beside the labels, float32.

    Raises:
        UsageError: There is no such protocol.
    """

    def __init__(
        self,
        run: Run,
        *,
        memory: str = "1GB",
        device: torch.device | None = None,
        protocol: str = "single",
        blend: bool = False,
        probabilities: bool = False,
    ) -> None:
        check_views(protocol)
        self.blend, self.probabilities = blend, probabilities
        self.run, self.spec, self.memory, self.protocol = run, run.tile_spec, memory, protocol
        self.device = device or torch.device("cpu")
        self.form = pixel_form(run.network().to(self.device), run.recipe.network)

    def label(
        self,
        path: Path,
        out: Path,
        progress: Progress | None = None,
        begun: Callable[[int], None] | None = None,
    ) -> Labelled:
        """Label one file; after a kill at any time, the same call goes on where it was.

        Args:
            path: An image or a volume.
            out: Where its labels go; the suffix names the format.
            progress: Called after each tile.
            begun: Called with the number of tiles that are finished already, if any are.

        Raises:
            DataError: The file cannot be read, does not fit the run, or holds what is no number.
            UsageError: The network cannot be cut into tiles, or needs more memory.
            RunError: The disk is full or cannot be written.
        """
        with _naming(path), open_volume(path) as stored:
            source = with_channels(stored, self.spec.channels)
            read, notes = self._reader(source)
            count = np.zeros(len(self.run.classes), np.int64)

            def finish(labels: NDArray[np.uint8]) -> None:
                for slab in _slabs(labels.shape, 1):
                    count[:] += np.bincount(labels[slab].ravel(), minlength=len(count))
                write_volume(out, labels, like=source)

            beside = shares_file(out) if self.probabilities else None

            def finish_shares(shares: NDArray[np.float32]) -> None:
                write_volume(shares_file(out), shares, like=source)

            if self.protocol == "single":
                plan = self._plan(source)
                predict_to_file(
                    self.form, plan, read, out, finish,
                    settings=self._settings(path),
                    finish_shares=finish_shares if beside else None,
                    begun=begun, progress=progress,
                )  # fmt: skip
            else:
                image = read(tuple(slice(0, size) for size in source.shape[1:])).to(self.device)
                shares = probabilities(
                    self.form, image, self.protocol, memory=self.memory, blend=self.blend
                )
                if beside:
                    finish_shares(shares.numpy())
                finish(labels_of(shares).numpy())
        pixels = dict(zip(self.run.classes, count.tolist(), strict=True))
        return Labelled(path, out, pixels, (*notes, *_lost(path, out)), beside)

    def check_cluster(self, outs: Sequence[Path], address: str) -> None:
        """Refuse what a cluster does not do, before anything is read.

        Raises:
            UsageError: The address is none, an output is no Zarr, or another protocol,
                blending or probabilities are asked for.
        """
        workers_here(address)
        asked = {"--protocol turns": self.protocol != "single", "--blend": self.blend,
                 "--probabilities": self.probabilities}  # fmt: skip
        idle = [option for option, is_given in asked.items() if is_given]
        if idle:
            raise UsageError(
                f"a cluster writes labels of single views alone; leave {' and '.join(idle)} out"
            )
        for out in outs:
            if suffix_of(out) != ".zarr":
                raise UsageError(
                    f"a cluster writes labels into a Zarr, block by block, and {out.name} is none; "
                    f"give -o {out.stem}.zarr"
                )

    def label_on_cluster(
        self, path: Path, out: Path, address: str, progress: Progress | None = None
    ) -> Labelled:
        """Label one file over the workers of a Dask cluster, into an OME-Zarr.

        Args:
            path: An image or a volume, at a path that all workers see.
            out: The Zarr to make, at such a path too.
            address: Of the scheduler, ``tcp://host:8786``, or ``local:2`` for two workers here.
            progress: Called after each tile.

        Raises:
            UsageError: ``out`` is no Zarr, the protocol is not single, a package is missing.
            DataError: The file cannot be read, or does not fit the run.
            RunError: The cluster cannot be reached, or a tile failed again and again.
        """
        self.check_cluster([out], address)
        with _naming(path), open_volume(path) as stored:
            source = with_channels(stored, self.spec.channels)
            _, notes = self._reader(source)
            size = source.shape[1:]
            blocks = self._blocks(size)
            plan = self._plan(source, clustered=True)

            def create(folder: Path) -> str:
                create_zarr(folder, size, np.dtype(np.uint8), False, source.geometry, blocks)
                return str(folder / "0")

            open_read = partial(open_reader, path.absolute(), self.spec, self._own(source))
            job = Job(self.form, plan, open_read, array="")
            label_zarr_on_cluster(job, out, create, address, progress=progress)
        count = np.zeros(len(self.run.classes), np.int64)
        with open_volume(out) as labels:
            for slab in _slabs(size, 1):
                count += np.bincount(labels.read(slab).ravel(), minlength=len(count))
        pixels = dict(zip(self.run.classes, count.tolist(), strict=True))
        return Labelled(path, out, pixels, (*notes, *_lost(path, out)))

    def plan(self, path: Path, *, clustered: bool = False) -> TilePlan:
        """Say what labelling a file will take, here or on a cluster, before it begins."""
        with _naming(path), open_volume(path) as stored:
            return self._plan(with_channels(stored, self.spec.channels), clustered=clustered)

    def _plan(self, source: Source, *, clustered: bool = False) -> TilePlan:
        if not clustered:
            return plan_tiles(self.form, source.shape, memory=self.memory, blend=self.blend)
        blocks = self._blocks(source.shape[1:])
        try:
            return plan_tiles(self.form, source.shape, memory=self.memory, blocks=blocks)
        except UsageError as error:
            size = "×".join(map(str, blocks))
            raise UsageError(
                f"{error} (on a cluster a tile answers whole blocks of the Zarr, {size} pixels)"
            ) from error

    def _blocks(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Say in which blocks a cluster writes: a tile is of one slice, and so is a block."""
        if len(size) > len(self.spec.tile):
            return (1, *blocks_of(size[1:]))
        return blocks_of(size)

    def _settings(self, path: Path) -> dict[str, str | int]:
        """Name what the labels depend on but for network and tiles."""
        beside = (
            [path] if path.suffix not in (".mhd", ".nhdr") else path.parent.glob(f"{path.stem}.*")
        )
        files = sorted(path.rglob("*")) if path.is_dir() else sorted(beside)
        facts = [each.stat() for each in files]
        return {
            "image": str(path.absolute()),
            "files": len(facts),
            "bytes": sum(each.st_size for each in facts),
            "changed": max(each.st_mtime_ns for each in facts),
            "input": self.spec.model_dump_json(),
            "probabilities": self.probabilities,
        }

    def _reader(self, source: Source) -> tuple[Read, tuple[str, ...]]:
        """Give a way to read regions as the network takes them, and what there is to say."""
        dtype = np.dtype(source.dtype).name
        _, note = as_trained(torch.zeros(source.shape[0], 1), dtype, self.spec, str(source.path))
        notes = [*source.notes, *([note] if note else [])]
        spacing, trained = source.geometry.spacing_in("mm"), self.spec.spacing
        if spacing is not None and trained is not None:
            axes = len(trained)
            apart = [max(a, b) / min(a, b) for a, b in zip(spacing[-axes:], trained, strict=True)]
            if max(apart) > SPACING_APART:
                sizes = [" × ".join(f"{s:.3g}" for s in each) for each in (spacing, trained)]
                notes.append(
                    f"its pixels are {sizes[0]} mm, those of training {sizes[1]}: "
                    "do not trust the labels before looking"
                )
        return reader(source, self.spec, self._own(source)), tuple(notes)

    def _own(self, source: Source) -> Statistics | None:
        """Measure an image slab by slab, where it is standardised by itself."""
        if self.spec.intensity != "image":
            return None

        def pieces() -> Iterator[Tensor]:
            for slab in _slabs(source.shape[1:], source.shape[0]):
                yield _finite(source, slab)

        return statistics(pieces())


def reader(source: Source, spec: TileSpec, own: Statistics | None) -> Read:
    """Give a way to read regions of an opened file as a run's network takes them."""
    dtype = np.dtype(source.dtype).name

    def read(region: Region) -> Tensor:
        values, _ = as_trained(_finite(source, region), dtype, spec, str(source.path))
        return standardize(values, spec, own)

    return read


def _finite(source: Source, region: Region) -> Tensor:
    """Read a region, and refuse what is no number."""
    values = as_tensor(source.read(region))
    if values.is_floating_point() and not bool(values.isfinite().all()):
        raise DataError(f"{source.path} holds values that are no numbers; repair the file")
    return values


def open_reader(path: Path, spec: TileSpec, own: Statistics | None) -> Read:
    """Open a file for ``reader``, as a worker of a cluster does."""
    return reader(with_channels(open_volume(path), spec.channels), spec, own)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in a refusal that does not."""
    try:
        yield
    except UsageError as error:
        if str(path) in str(error):
            raise
        raise UsageError(f"{path}: {error}") from error


def _lost(path: Path, out: Path) -> tuple[str, ...]:
    """Say what of an image's place its labels' format does not hold."""
    if not is_volume(out):
        return ()
    with open_volume(path) as image, open_volume(out) as labels:
        if image.geometry.affine is None or labels.geometry.affine is not None:
            return ()
    return (
        f"{labels.format} has no place for its orientation and origin: only the spacing is kept",
    )


def _slabs(shape: Sequence[int], channels: int) -> Iterator[Region]:
    """Cut an array along its first axis into parts of a bounded number of values."""
    row = channels * int(np.prod(shape[1:]))
    rows = max(1, SLAB_VALUES // row)
    for first in range(0, shape[0], rows):
        yield (slice(first, min(first + rows, shape[0])), *(slice(0, n) for n in shape[1:]))
