"""Image files to arrays, whatever their format, size of sample and number of channels."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from striate.errors import DataError, did_you_mean
from striate.images.decoding import decode, kind_of, what_else

FORMATS = "PNG, JPEG, TIFF, GIF, WebP, BMP or PNM"
SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
    ".webp": "WebP",
    ".bmp": "BMP",
    **dict.fromkeys((".pbm", ".pgm", ".ppm", ".pnm", ".pfm"), "PNM"),
}
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as JPEG and Pillow weigh red, green and blue
WHITE = 0.95  # a visible part this bright would vanish on white
PLACEMENTS = {  # what an EXIF orientation asks for: whether to transpose, then the axes to flip
    1: (False, ()),
    2: (False, (1,)),
    3: (False, (0, 1)),
    4: (False, (0,)),
    5: (True, ()),
    6: (True, (1,)),
    7: (True, (0, 1)),
    8: (True, (0,)),
}


class DecodedImage(NamedTuple):
    """An image as its file stores it.

    Attributes:
        pixels: ``(H, W, C)``, C being 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA, or any number
            in a TIFF; uint8, uint16 or float32 as stored.
        full_scale: The stored value that means white: 255, 65535, 1.0 ...
        notes: What was done on the way, in words for the user.
        has_alpha: Whether the last channel is opacity.
        reduced_from: ``(H, W)`` of the whole image where it was decoded at a smaller scale.
    """

    pixels: np.ndarray
    full_scale: float
    notes: tuple[str, ...]
    has_alpha: bool = False
    reduced_from: tuple[int, int] | None = None


def read_image(
    path: Path,
    *,
    content: bytes | None = None,
    max_pixels: int = 200_000_000,
    at_least: tuple[int, int] | None = None,
) -> DecodedImage:
    """Read one image, whatever its name says, without losing a bit.

    Palettes are expanded, CMYK and YCbCr are converted to RGB and the EXIF orientation is
    applied; colour profiles are not. The first page or frame of several is read. The notes
    say which of these happened.

    Args:
        path: The file; where ``content`` is given, only what to call it.
        content: The bytes of the file, when it has been read already.
        max_pixels: Larger images are refused before they are decoded.
        at_least: ``(H, W)``, upright. A JPEG may be decoded at a half, a quarter or an eighth
            of its size, as long as it is at least this large; ``reduced_from`` then says how
            large it is. None for all pixels.

    Returns:
        The pixels, uint8 or uint16 as stored, or float32 in [0, 1].

    Raises:
        DataError: The file is missing, unreadable, empty, damaged, cut short, too large or
            not an image of a known format; or its values have no known white.

    Example:
        >>> ramp = b"P5 3 1 65535 " + bytes([0, 0, 1, 2, 255, 255])
        >>> read_image(Path("ramp.pgm"), content=ramp).pixels[0, :, 0].tolist()
        [0, 258, 65535]
    """
    with open_file(path) if content is None else io.BytesIO(content) as file:
        kind = _kind(file, path)
        try:
            stored = decode(file, path, kind, max_pixels, at_least)
        except (DataError, MemoryError):
            raise
        except Exception as error:  # decoders raise whatever damage makes them stumble over
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{path} is a {kind} file that is damaged or cut short ({reason}); "
                "none of it is used: copy or export it again"
            ) from error
    notes, full_size = stored.notes, stored.reduced_from
    transpose, flips = PLACEMENTS.get(stored.orientation, PLACEMENTS[1])
    pixels = stored.pixels.swapaxes(0, 1) if transpose else stored.pixels
    if transpose or flips:
        notes = (*notes, f"turned upright by EXIF orientation {stored.orientation}")
    if transpose and full_size:
        full_size = full_size[::-1]
    named = SUFFIXES.get(path.suffix.lower(), kind)
    if named != kind:
        notes = (*notes, f"read as {kind}, which it is, though it is named {path.suffix}")
    pixels = np.ascontiguousarray(np.flip(pixels, flips))
    return DecodedImage(pixels, stored.full_scale, notes, stored.has_alpha, full_size)


def read_indices(path: Path) -> np.ndarray | None:
    """Read the numbers of a picture whose file does not mean shades by them.

    These are pictures with a palette, and grey ones of 1, 2 or 4 bits, which ``read_image``
    stretches to the range of a byte.

    Args:
        path: A picture file.

    Returns:
        ``(H, W)``, uint8; None of any other picture.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mask.pbm"
        >>> _ = path.write_bytes(b"P4 3 1 " + bytes([0b01000000]))  # in this format 1 is black
        >>> read_indices(path).tolist()
        [[1, 0, 1]]
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            if opened.mode == "P":
                return np.array(opened)
            if opened.mode == "1":
                return np.array(opened, np.uint8)
            bits, kind = path.read_bytes()[24:26] if opened.format == "PNG" else (8, 0)
            if kind == 0 and bits < 8:
                return np.array(opened) // np.uint8(255 // (2**bits - 1))
    except (UnidentifiedImageError, OSError, SyntaxError):
        return None  # read_image says what is wrong with the file
    return None


def image_files(paths: Sequence[Path]) -> list[Path]:
    """List the image files that paths stand for.

    Args:
        paths: Files, taken as given, and folders, which are walked: images by their suffix,
            in sorted order, hidden files and folders left out.

    Raises:
        DataError: A path does not exist, or a folder holds no image.
    """
    files: list[Path] = []
    for path in paths:
        require(path)
        if not path.is_dir():
            files.append(path)
            continue
        inside = [p for p in sorted(path.rglob("*")) if p.is_file() and not _hidden(p, path)]
        found = [p for p in inside if p.suffix.lower() in SUFFIXES]
        if not found:
            others = ", ".join(p.name for p in inside[:3]) + (", ..." if len(inside) > 3 else "")
            raise DataError(
                f"{path} holds no image"
                + (f" but {len(inside)} other files ({others})" if inside else " and no other file")
                + f"; images are known by their suffix: {' '.join(SUFFIXES)}"
            )
        files += found
    return files


def to_channels(image: DecodedImage, channels: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Bring an image to a number of channels, in stored units.

    Transparency is laid on white, or on black where the visible part is itself white (mean
    above 95 % of full scale). RGB becomes grey by the luminance weights of ITU-R BT.601,
    as float32; grey becomes RGB by repetition.

    Args:
        image: From ``read_image``.
        channels: 1 grey, 3 RGB; any other number only if the image has just as many.

    Returns:
        pixels: ``(H, W, channels)``, float32 where values had to be mixed, else as stored.
        notes: What was done, in words for the user.

    Raises:
        DataError: The image has another number of channels, with no fixed way between.

    Example:
        >>> grey = DecodedImage(np.array([[[7], [9]]], np.uint8), 255, ())
        >>> to_channels(grey, 3)[0].tolist()
        [[[7, 7, 7], [9, 9, 9]]]
    """
    if image.pixels.shape[2] == channels:
        return image.pixels, ()
    pixels, notes = without_alpha(image)
    given = pixels.shape[2]
    if given == channels:
        return pixels, notes
    if (given, channels) == (1, 3):
        return np.repeat(pixels, 3, axis=2), (*notes, "grey repeated as red, green and blue")
    if (given, channels) == (3, 1):
        if all((pixels[..., 0] == pixels[..., c]).all() for c in (1, 2)):
            return pixels[..., :1], (*notes, "three equal channels read as grey")
        grey = np.zeros(pixels.shape[:2], np.float32)
        for channel, weight in enumerate(LUMINANCE):
            grey += np.float32(weight) * pixels[..., channel]
        return grey[..., None], (*notes, "RGB to grey by luminance (BT.601)")
    raise DataError(
        f"the image has {given} channels, the network reads {channels}; "
        "choose or mix channels yourself and save the result, or train on images like this one"
    )


def without_alpha(image: DecodedImage) -> tuple[np.ndarray, tuple[str, ...]]:
    """Lay transparency on white, or on black where the visible part is itself white.

    Returns:
        pixels: ``(H, W, C)`` without opacity, in stored units; float32 where values were mixed.
        notes: What was done, in words for the user.
    """
    return _lay_on_ground(image) if image.has_alpha else (image.pixels, ())


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _lay_on_ground(image: DecodedImage) -> tuple[np.ndarray, tuple[str, ...]]:
    colours, alpha = image.pixels[..., :-1], image.pixels[..., -1:]
    if (alpha == image.full_scale).all():
        return colours, ("alpha channel left out: all opaque",)
    opacity = alpha.astype(np.float32) / np.float32(image.full_scale)
    visible = colours * opacity
    white = image.full_scale * colours.shape[2]
    on_black = visible.sum(dtype=np.float64) > WHITE * white * opacity.sum(dtype=np.float64)
    ground = np.float32(0 if on_black else image.full_scale)
    note = f"transparency laid on {'black, the image being white' if on_black else 'white'}"
    return visible + (1 - opacity) * ground, (note,)


def open_file(path: Path) -> BinaryIO:
    """Open a file to read.

    Raises:
        DataError: There is none, or it is a folder, a pipe, a device, or closed to this user.
    """
    require(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the image files in it")
    if not path.is_file():
        raise DataError(f"{path} is a pipe or device; save the image as a file first")
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path} cannot be read ({error.strerror}); look at its permissions and its disk"
    )


def _kind(file: BinaryIO, path: Path) -> str:
    """Tell the format by the first bytes."""
    try:
        head = file.read(64)
        file.seek(0)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not head:
        raise DataError(f"{path} is empty (0 bytes); copy or export it again")
    kind = kind_of(head)
    if kind:
        return kind
    raise DataError(
        f"{path} holds {what_else(head)}; needed is {FORMATS}: export it as one of these"
    )


def require(path: Path) -> None:
    """Refuse a path that does not exist, naming the nearest one in its folder that does.

    Raises:
        DataError: It does not exist, or its folder cannot be read.
    """
    try:
        if path.exists():
            return
        if path.is_symlink():
            raise DataError(
                f"{path} is a link to {path.readlink()}, which does not exist; mend or remove it"
            )
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError as error:
        raise DataError(
            f"{path} cannot be reached ({error.strerror}); look at the folder's permissions"
        ) from error
    remedy = did_you_mean(path.name, names, "check the name and the folder")
    raise DataError(f"{path} does not exist; {remedy}")
