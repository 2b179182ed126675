"""Image files written byte by byte, by their standards, or by other libraries."""

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image

GREY_TYPE, RGB_TYPE, LA_TYPE, RGBA_TYPE = 0, 2, 4, 6


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def paeth(left: int, up: int, corner: int) -> int:
    distances = [abs(left + up - corner - value) for value in (left, up, corner)]
    return (left, up, corner)[distances.index(min(distances))]


def filtered(rows: list[bytes], width: int) -> bytes:
    """Rows under the five filters of the PNG standard in turn; width: bytes of a pixel."""
    out, above = b"", bytes(len(rows[0]) if rows else 0)
    for number, row in enumerate(rows):
        left, corner = bytes(width) + row, bytes(width) + above
        guesses = {
            0: lambda i, left=left, up=above, corner=corner: 0,
            1: lambda i, left=left, up=above, corner=corner: left[i],
            2: lambda i, left=left, up=above, corner=corner: up[i],
            3: lambda i, left=left, up=above, corner=corner: (left[i] + up[i]) // 2,
            4: lambda i, left=left, up=above, corner=corner: paeth(left[i], up[i], corner[i]),
        }
        guess = guesses[(number + 3) % 5]
        kind = bytes([(number + 3) % 5])
        out += kind + bytes((value - guess(i)) % 256 for i, value in enumerate(row))
        above = row
    return out


def png(pixels, bits, colour, *, interlaced=False, extra=b"") -> bytes:
    """A PNG of samples of 8 or 16 bits, by the standard, without any image library."""
    height, width = pixels.shape[:2]
    big = pixels.astype(">u2" if bits == 16 else np.uint8)
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes = [*starts, (1, 0, 2, 1)] if interlaced else [(0, 0, 1, 1)]
    data = b""
    for top, left, down, across in passes:
        part = big[top::down, left::across]
        pixel = part.dtype.itemsize * (part.shape[2] if part.ndim == 3 else 1)
        if part.size:
            data += filtered([row.tobytes() for row in part], pixel)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


def packed_png(rows: bytes, width: int, bits: int, extra: bytes = b"") -> bytes:
    """A grey PNG of one line and fewer than 8 bits."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, GREY_TYPE, 0, 0, 0))
    body = header + extra + chunk(b"IDAT", zlib.compress(b"\0" + rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def packed_tiff(data: bytes, width: int, bits: int) -> bytes:
    """A grey TIFF of one line, uncompressed, any number of bits."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, 1), (273, 122), (277, 1)]
    tags += [(278, 1), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def big(values) -> bytes:
    """16-bit values as PNG and PNM store them."""
    return values.astype(">u2").tobytes()


def written(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def tiff(pixels, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def named_chunk(name: str, value: int) -> bytes:
    """A chunk of one number of 32 bits."""
    return chunk(name.encode(), struct.pack(">I", value))


def framed(*chunks: bytes) -> bytes:
    """A PNG of these chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def indexed_png(bits: int) -> tuple[bytes, np.ndarray]:
    """A PNG of one line of two pixels with a palette, and its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, bits, 3, 0, 0, 0))
    body = chunk(b"PLTE", bytes([9, 8, 7, 60, 50, 40]))
    data = chunk(b"IDAT", zlib.compress(bytes([0, 1 << 8 - 2 * bits])))
    return framed(header, body, data), np.array([[[9, 8, 7], [60, 50, 40]]])


def turned_to(kind: str, picture: Image.Image, orientation: int) -> bytes:
    """A file whose EXIF block asks to be turned; lossless or nearly so."""
    exif = Image.Exif()
    exif[274] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True}
    return written(picture, kind, exif=exif, **options)


def with_sof(data: bytes, offset: int, value: int) -> bytes:
    """A JPEG with one byte of its frame header exchanged: 1 the kind of coding, 4 the precision."""
    where = data.index(b"\xff\xc0")
    return data[: where + offset] + bytes([value]) + data[where + offset + 1 :]


def bmp(
    bits: int, rows: bytes, width: int, height: int, palette: bytes = b"", coding: int = 0
) -> bytes:
    """A BMP of the version of Windows 3."""
    start = 54 + len(palette)
    header = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, coding, len(rows), 0, 0, len(palette) // 4, 0
    )
    return struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + header + palette + rows


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with the value of one tag exchanged."""
    start = struct.unpack_from("<I", data, 4)[0]
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            return data[: entry + 2] + struct.pack("<HII", 4, 1, value) + data[entry + 12 :]
    raise ValueError(f"the file has no tag {tag}")


def ycck(pixels: np.ndarray, **options: int) -> bytes:
    """A JPEG of luminance, chroma and black, as Photoshop writes them: turned round."""
    chroma = np.array(Image.fromarray(255 - pixels).convert("YCbCr"))
    black = np.zeros_like(chroma[..., :1])
    data = written(Image.fromarray(np.dstack([255 - chroma, black]), "CMYK"), "JPEG", **options)
    where = data.index(b"Adobe") + 11
    return data[:where] + b"\2" + data[where + 1 :]
