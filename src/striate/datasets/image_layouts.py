"""Sets of images in files, known by looking: class folders, tables, Hugging Face's, shards."""

from pathlib import Path

from striate.datasets.class_folders import Walk, images_below, read_class_folders
from striate.datasets.gathering import below
from striate.datasets.label_tables import (
    TABLES,
    metadata_files,
    names_images,
    read_label_tables,
    tables_in,
)
from striate.datasets.layouts import recognise
from striate.datasets.listing import Listing, counted, some
from striate.datasets.mask_layouts import holds_masks
from striate.datasets.shards import is_shards, read_shards, shards_in
from striate.errors import DataError, UsageError

PACKED = (".zip", ".rar", ".7z")


def read_listing(data: str | Path, layout: str = "auto", *, outputs: Path | None = None) -> Listing:
    """List the images of a set that lies in files; none of them is opened.

    Args:
        data: A folder, a table, an archive, a pattern of archives as ``a-{00..09}.tar``, or
            ``pipe:COMMAND``.
        layout: One that a recipe knows; auto looks in this order: shards, Hugging Face's metadata
            file, a table, class folders.
        outputs: As in ``read_shards``.

    Returns:
        The images sorted by name, the classes by name (by number where all are numbers). The
        parts are those that the set says, or train alone.

    Raises:
        UsageError: The images have masks.
        DataError: There is no such set, or it is wrong in a way that would harm a training; what
            is wrong is counted and some of it named.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "flowers"
        >>> for name in ("rose/1.jpg", "rose/2.jpg", "tulip/1.jpg"):
        ...     (folder / name).parent.mkdir(parents=True, exist_ok=True)
        ...     (folder / name).touch()
        >>> read_listing(folder).layout
        'class folders: 2 classes, 3 images'
    """
    data = str(data)
    try:
        if layout == "shards" or (layout == "auto" and is_shards(data) and not Path(data).is_dir()):
            return read_shards(data, outputs)
        path = Path(data)
        return _read_file(path, layout) if path.is_file() else _read_folder(path, layout)
    except OSError as error:
        where = error.filename or data
        raise DataError(f"could not look into {where}: {error.strerror or error}") from error


def _read_file(path: Path, layout: str) -> Listing:
    if path.name in ("metadata.csv", "metadata.jsonl") and layout in ("auto", "huggingface"):
        return _read_tables([(path, None)], path.parent, "Hugging Face's metadata")
    if path.suffix.lower() in TABLES and layout in ("auto", "table"):
        return _read_tables([(path, None)], path.parent, "table")
    if path.suffix.lower() in PACKED:
        raise DataError(f"{path} is an archive; unpack it and give the path of its folder")
    raise DataError(
        f"{path} is a file"
        + (f", but layout {layout} needs a folder" if layout != "auto" else "")
        + "; give the path of a folder of images by class, a table (.csv, .tsv) or a shard (.tar)"
    )


def _read_folder(folder: Path, layout: str) -> Listing:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give the path of one that holds a data set")
    if layout == "folders":
        found = read_class_folders(folder, chosen=True)
        return found or _refuse(folder)
    if layout == "table":
        return _read_tables(tables_in(folder), folder, "table")
    if layout == "huggingface":
        return _read_tables(metadata_files(folder), folder, "Hugging Face's metadata")
    if holds_masks(folder):
        raise UsageError(
            f"{folder} holds images with masks; train a network that labels pixels, unet say, or "
            "give --layout folders to take its folders as classes"
        )
    shards = shards_in(folder)
    if shards:
        image = next(images_below(folder, "", Walk()), None)
        if image is not None:
            raise DataError(
                f"{folder} holds {counted(len(shards), 'shard')} ({below(shards[0][0], folder)}) "
                f"and images in files ({image}); give --layout shards for the ones, or --layout "
                "folders (or table) for the others"
            )
        return read_shards(str(folder))
    metadata = metadata_files(folder)
    if metadata and all(path.suffix == ".jsonl" or names_images(path) for path, _ in metadata):
        return _read_tables(metadata, folder, "Hugging Face's metadata")
    tables = tables_in(folder)
    if tables:
        return _read_tables(tables, folder, "table")
    return read_class_folders(folder) or _refuse(folder)


def _read_tables(files: list[tuple[Path, str | None]], folder: Path, title: str) -> Listing:
    if not files:
        wanted = "metadata.csv or metadata.jsonl" if title != "table" else "table .csv or .tsv"
        raise DataError(f"{folder} holds no {wanted} with columns for path and label; write one")
    gathered = read_label_tables(files, folder, by_folder=title != "table")
    name, source = folder.resolve().name, str(folder)
    if len(files) == 1 and files[0][1] is None:
        source = str(files[0][0])
    told = f"{title} {some([below(path, folder) for path, _ in files])}"
    return gathered.listing(name, source, told)


def _refuse(folder: Path) -> Listing:
    """Refuse a folder in which nothing was found, as the sets of other layouts are refused."""
    parquet = sorted(folder.rglob("*.parquet"))
    if parquet:
        raise DataError(
            f"{folder} holds Parquet files ({below(parquet[0], folder)}), which are not read; save "
            "the images as files, and path,label as a table"
        )
    recognise(folder)
    raise DataError(f"{folder} holds no image; give the path of a folder of images by class")
