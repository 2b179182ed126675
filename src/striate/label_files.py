"""Which files are to be labelled, pixel by pixel, and where the labels of each go."""

from collections.abc import Sequence
from pathlib import Path

from striate.errors import DataError, UsageError
from striate.files import identity
from striate.images import SUFFIXES, require
from striate.volumes import FORMATS, WRITABLE, is_volume, suffix_of


def mask_files(paths: Sequence[Path]) -> list[Path]:
    """List the images and volumes that paths stand for; folders are walked.

    A folder that is a volume itself, a Zarr or a DICOM series, is taken as it is.

    Raises:
        DataError: A path does not exist, or a folder holds nothing that can be read.
    """
    files: list[Path] = []
    for path in paths:
        require(path)
        if not path.is_dir() or is_volume(path):
            files.append(path)
            continue
        inside = _walk(path)
        if not inside:
            known = " ".join(dict.fromkeys((*FORMATS, *SUFFIXES)))
            raise DataError(f"{path} holds no image or volume; they are known by suffix: {known}")
        files += inside
    return files


def _walk(folder: Path) -> list[Path]:
    """List what can be labelled in a folder; volumes that are folders are not entered."""
    files: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not is_volume(path):
            files += _walk(path)
        elif is_volume(path) or path.suffix.lower() in SUFFIXES:
            files.append(path)
    return files


def outputs_for(files: Sequence[Path], out: Path | None, *, overwrite: bool) -> list[Path]:
    """Say where the labels of each file go.

    Args:
        files: The images.
        out: A file for a single image, else a folder; ``labels`` in the current one by default.
        overwrite: Whether files that are there may be replaced.

    Raises:
        UsageError: Two images would go to one file, a file is there, it would be the image, or
            its format is not written.
    """
    single = out is not None and len(files) == 1 and suffix_of(out) in (*FORMATS, ".png")
    if single and out is not None and suffix_of(out) not in WRITABLE:
        raise UsageError(f"{out}: {suffix_of(out)} is not written; known: {' '.join(WRITABLE)}")
    if out is not None and not single and out.suffix and not out.is_dir():
        if suffix_of(out) in (*FORMATS, ".png"):
            raise UsageError(f"{out} is a file, but there are {len(files)} images; name a folder")
        raise UsageError(
            f"{out}: labels are not written as {out.suffix}; name a folder, or a file of "
            f"{' '.join(WRITABLE)}"
        )
    folder = out or Path("labels")
    names = [out if single and out else folder / _name(path) for path in files]
    first: dict[Path, Path] = {}
    images: set[tuple[int, int]] = set()
    for path, name in zip(files, names, strict=True):
        if name in first:
            raise UsageError(
                f"{first[name]} and {path} would both be labelled in {name}; give them one by "
                "one, each with -o FILE"
            )
        first[name] = path
        if name.exists():
            images = images or {identity(each) for each in files}
            if identity(name) in images:
                raise UsageError(f"{name} is the image itself; choose another -o")
            if not overwrite:
                raise UsageError(
                    f"{name} exists; replace it with --overwrite, or choose another -o"
                )
    return names


def _name(path: Path) -> str:
    """Name the labels of an image: as it is called, where its format is written."""
    suffix = suffix_of(path)
    if suffix in WRITABLE:
        return path.name
    stem = path.name[: len(path.name) - len(suffix)]
    return stem + {".mhd": ".mha", ".nhdr": ".nrrd"}.get(
        suffix, ".mha" if is_volume(path) else ".png"
    )


def shares_file(out: Path) -> Path:
    """Name the file of probabilities beside a file of labels; a PNG cannot hold them.

    Example:
        >>> shares_file(Path("a.nii.gz")).name, shares_file(Path("b.png")).name
        ('a.probabilities.nii.gz', 'b.probabilities.tif')
    """
    suffix = suffix_of(out)
    stem = out.name[: len(out.name) - len(suffix)]
    return out.with_name(f"{stem}.probabilities{'.tif' if suffix == '.png' else suffix}")
