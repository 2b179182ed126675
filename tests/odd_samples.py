"""The pixels that the corpus of odd files is written from."""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from odd_writing import written

RNG = np.random.default_rng(16)
RAMP = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
COLOUR[0, 1] = COLOUR[2, 3] ^ (0, 1, 0)  # like the transparent colour but for one channel
DEEP = RNG.integers(0, 65_536, (6, 7, 4), dtype=np.uint16)


def palette(transparency=None) -> bytes:
    picture = Image.fromarray(GREY % 3).convert("P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    return written(picture, "PNG", **({"transparency": transparency} if transparency else {}))


COLOURS = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])[GREY % 3]
OPACITY = np.array([0, 128, 255])[GREY % 3]
KEY = COLOUR[2, 3]
KEYED = np.dstack([COLOUR, 255 * (COLOUR != KEY).any(axis=2)])
DEEP_KEY = np.dstack([DEEP[..., :3], 65_535 * (DEEP[..., :3] != DEEP[1, 2, :3]).any(axis=2)])
BILEVEL = GREY > 127
FLOAT = RNG.random((5, 7), dtype=np.float32)
PALETTE = {"photometric": "palette", "colormap": RNG.integers(0, 65_536, (3, 256), np.uint16)}

SMOOTH = np.add.outer(np.arange(24) * 4, np.arange(32) * 3).astype(np.uint8)
PHOTO = np.dstack([SMOOTH, SMOOTH[::-1], 255 - SMOOTH])
PICTURE, CMYK = (
    Image.fromarray(PHOTO),
    Image.fromarray(np.dstack([255 - PHOTO, 0 * SMOOTH]), "CMYK"),
)
FRAMES = {"save_all": True, "append_images": [Image.fromarray(255 - PHOTO)]}
JPEG = {"quality": 100, "subsampling": 0}
UPRIGHT = {
    2: PHOTO[:, ::-1], 3: PHOTO[::-1, ::-1], 4: PHOTO[::-1], 5: PHOTO.swapaxes(0, 1),
    6: np.rot90(PHOTO, -1), 7: PHOTO[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(PHOTO),
}  # fmt: skip
GRADED = np.dstack([COLOUR, GREY])
WIDE = (np.arange(10_000) % 251).astype(np.uint8)[None]


class Kept(NamedTuple):
    """A file that is read.

    Attributes:
        content: Of the file.
        pixels: What its pixels are; grey ones without their channel axis.
        full_scale: The value of white.
        has_alpha: Whether the last channel is opacity.
        words: A part of what the notes say; empty where nothing was done and nothing is said.
        within: How far pixels of lossy formats may lie apart.
    """

    content: bytes
    pixels: Any
    full_scale: float = 255
    has_alpha: bool = False
    words: str = ""
    within: float = 0
