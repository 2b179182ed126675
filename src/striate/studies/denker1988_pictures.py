"""Pictures of Denker's preprocessing: ten digits stage by stage, and the 49 templates."""

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from striate import datasets
from striate.errors import DataError
from striate.files import write_file
from striate.models.denker1988 import (
    BLOCKS_HIGH,
    BLOCKS_WIDE,
    HEIGHT,
    INK,
    WIDTH,
    coarse_blocks,
    combine,
    fire,
    scale_and_deskew,
    skeletonize,
)
from striate.models.denker1988_templates import (
    MAP_NAMES,
    deletion_templates,
    feature_templates,
    map_rules,
)
from striate.preparation import to_unit

_PAPER, _INK, _QUIET, _LINE = (255, 255, 255), (28, 33, 40), (87, 96, 106), (208, 215, 222)
_GREY, _WANTED, _FORBIDDEN = (200, 205, 211), (47, 111, 208), (200, 50, 31)
_FREE = (240, 242, 245)
_ZOOM = 3  # picture pixels a pixel of a digit


def draw(data: str, folder: Path, *, data_dir: Path | None = None) -> list[Path]:
    """Write stages.png, one digit of each class through the pipeline, and templates.png.

    A class without a training image has no row.

    Args:
        data: Name or folder of a set of grey digits with a training part.
        folder: Where to write; it must exist.
        data_dir: Where named sets are looked for first.

    Returns:
        The files.

    Raises:
        DataError: The set's images have several channels.
    """
    found = datasets.load(data, data_dir=data_dir, parts=("train",))
    part = found.parts["train"]
    if part.images.shape[1] != 1:
        raise DataError(
            f"{data} has images of {part.images.shape[1]} channels; needed are grey digits"
        )
    first = [int((part.targets == one).nonzero()[0, 0]) for one in torch.unique(part.targets)]
    images = to_unit(part.images[first, 0], found.value_range)
    written = []
    for name, picture in (("stages", stages(images)), ("templates", templates())):
        file = io.BytesIO()
        picture.quantize(64).save(file, "PNG", optimize=True)
        write_file(folder / f"{name}.png", file.getvalue())
        written.append(folder / f"{name}.png")
    return written


def stages(images: Tensor) -> Image.Image:
    """Draw digits in rows: as they are, binarised, fitted, skeleton, maps above their blocks.

    Args:
        images: ``(N, H, W)``, float in [0, 1], ink 1.
    """
    fitted = scale_and_deskew(images)
    skeletons = skeletonize(fitted)
    maps = combine(fire(skeletons, feature_templates()), map_rules())
    blocks = coarse_blocks(maps)
    wide, high = WIDTH * _ZOOM, HEIGHT * _ZOOM
    map_wide, map_high = WIDTH * _ZOOM // 2, HEIGHT * _ZOOM // 2
    across, pitch, left = 9, high + 14, 12
    maps_left = left + 4 * (wide + 12) + 8
    width = maps_left + across * (map_wide + 2 * BLOCKS_WIDE * 4 + 2) + 12
    page = Image.new("RGB", (width, 34 + len(images) * pitch), _PAPER)
    pen = ImageDraw.Draw(page)
    titles = ("image", "ink", "fitted", "skeleton")
    for k, title in enumerate(titles):
        pen.text((left + k * (wide + 12), 9), title, _QUIET, _font(14))
    pen.text(
        (maps_left, 9), "the 18 maps, each with its 3x5 blocks to its right", _QUIET, _font(14)
    )
    for row in range(len(images)):
        top = 32 + row * pitch
        for k, shown in enumerate(
            (
                _shades(images[row]),
                _shades((images[row] >= INK).float()),
                _shades(fitted[row].float()),
                _over(skeletons[row], fitted[row]),
            )
        ):
            _paste(page, shown, (left + k * (wide + 12), top), (wide, high))
        for place in range(len(MAP_NAMES)):
            x = maps_left + place % across * (map_wide + 2 * BLOCKS_WIDE * 4 + 2)
            y = top + place // across * (map_high + 2)
            _paste(page, _over(maps[row, place], skeletons[row]), (x, y), (map_wide, map_high - 1))
            at = (x + map_wide + 2, y)
            _paste(page, _shades(blocks[row, place]), at, (BLOCKS_WIDE * 6, BLOCKS_HIGH * 9))
    return page


def templates() -> Image.Image:
    """Draw the 8 templates of skeletonisation and the 49 of the features; blue wants ink."""
    kernels = feature_templates().kernels[:, 0]
    groups = (
        (
            "8 templates that delete the middle pixel, in frames of 5x5",
            deletion_templates()[0][:, 0],
        ),
        ("16 strokes", kernels[:16]),
        ("16 half strokes", kernels[16:32]),
        ("16 ends of strokes", kernels[32:48]),
        ("ink crowded around the middle", kernels[48:]),
    )
    side, cell, top = 63, 9, 12
    height = top + sum(24 + -(-len(group) // 8) * (side + 10) + 8 for _, group in groups)
    page = Image.new("RGB", (8 * (side + 10) + 24, height + 20), _PAPER)
    pen = ImageDraw.Draw(page)
    for title, group in groups:
        pen.text((12, top), title, _INK, _font(14))
        top += 24
        for place, kernel in enumerate(group):
            x, y = 12 + place % 8 * (side + 10), top + place // 8 * (side + 10)
            for row, values in enumerate(kernel.tolist()):
                for column, value in enumerate(values):
                    color = _WANTED if value > 0 else _FORBIDDEN if value < 0 else _FREE
                    a, b = x + column * cell, y + row * cell
                    pen.rectangle((a, b, a + cell - 2, b + cell - 2), fill=color)
        top += -(-len(group) // 8) * (side + 10) + 8
    pen.text(
        (12, top - 2),
        "blue: ink wanted, +1    red: ink forbidden, -5    pale: 0",
        _QUIET,
        _font(14),
    )
    return page


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _shades(values: Tensor) -> NDArray[np.uint8]:
    """Paper at 0 and ink at 1: ``(H, W, 3)``."""
    share = values[..., None].double().numpy()
    mixed = np.array(_PAPER) * (1 - share) + np.array(_INK) * share
    pixels: NDArray[np.uint8] = mixed.astype(np.uint8)
    return pixels


def _over(front: Tensor, back: Tensor) -> NDArray[np.uint8]:
    """The front in ink over the back in grey."""
    picture = np.full((*front.shape, 3), _PAPER, np.uint8)
    picture[back.numpy()] = _GREY
    picture[front.numpy()] = _INK
    return picture


def _paste(
    page: Image.Image, pixels: NDArray[np.uint8], at: tuple[int, int], size: tuple[int, int]
) -> None:
    """Enlarge to fit, keep the aspect, and frame."""
    height, width = pixels.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    fitted = (round(width * scale), round(height * scale))
    page.paste(Image.fromarray(pixels).resize(fitted, Image.Resampling.NEAREST), at)
    frame = (at[0] - 1, at[1] - 1, at[0] + fitted[0], at[1] + fitted[1])
    ImageDraw.Draw(page).rectangle(frame, outline=_LINE)
