"""The form in which images from files are kept: reduced to what a recipe reads, never enlarged.

Bytes are reduced by PyTorch's fixed-point form of the same triangle weights as
``preparation.resize``, 20 times as fast and at most one level of 255 away from it; all other
values by ``preparation.resize`` itself. Training, evaluation and prediction of files share it.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from striate.images import DecodedImage, without_alpha
from striate.preparation import resize, size_with_side

MOST_IN_FIXED_POINT = 4  # channels; of more, PyTorch 2.13 garbles images of a single column


class Form(NamedTuple):
    """To what images are reduced; just one of the two is given.

    Attributes:
        size: Height and width that no image exceeds, each axis by itself, so that the aspect
            may change [pixels].
        side: The longest that the shorter side may be, the aspect kept [pixels].
    """

    size: tuple[int, int] | None = None
    side: int | None = None

    def reduced(self, own: tuple[int, int]) -> tuple[int, int]:
        """Say to what size an image is reduced.

        Example:
            >>> Form(side=256).reduced((375, 500)), Form(size=(32, 32)).reduced((20, 40))
            ((256, 341), (20, 32))
        """
        if self.size is not None:
            return min(own[0], self.size[0]), min(own[1], self.size[1])
        if self.side is None or min(own) <= self.side:
            return own
        height, width = size_with_side(own, self.side)
        return height, width

    @property
    def least(self) -> tuple[int, int] | None:
        """Say what size of a photograph is enough to reduce it from."""
        return None if self.side is None else (self.side, self.side)

    @property
    def name(self) -> str:
        """Name the form in a path.

        Example:
            >>> Form(size=(28, 32)).name, Form(side=256).name
            ('size-28x32', 'side-256')
        """
        return f"side-{self.side}" if self.size is None else f"size-{self.size[0]}x{self.size[1]}"


class Kept(NamedTuple):
    """An image in the form in which it is kept.

    Attributes:
        pixels: ``(H, W, C)``, uint8, uint16 or float32, without opacity.
        full_scale: The value that means white.
        own_size: Height and width before it was reduced [pixels].
        notes: What was done to it, in words for the user.
    """

    pixels: np.ndarray
    full_scale: float
    own_size: tuple[int, int]
    notes: tuple[str, ...]


def keep(image: DecodedImage, form: Form) -> Kept:
    """Lay transparency on its ground and reduce an image.

    Args:
        image: As decoded.
        form: What it is reduced to.

    Returns:
        Of the type that the file stores, rounded to the nearest where values are mixed.
    """
    pixels, notes = without_alpha(image)
    own = image.reduced_from or (pixels.shape[0], pixels.shape[1])
    small = reduce(pixels, image.pixels.dtype, form.reduced(own))
    # What is kept is found by its content, under whatever name.
    of_content = [note for note in image.notes if "though it is named" not in note]
    return Kept(np.ascontiguousarray(small), image.full_scale, own, (*of_content, *notes))


def reduce(pixels: np.ndarray, dtype: np.dtype[Any], size: tuple[int, int]) -> np.ndarray:
    """Bring pixels to the type that their file stores, rounded, and to a size.

    Args:
        pixels: ``(H, W, C)``, perhaps float32 because values were mixed.
        dtype: Of the file.
        size: The new height and width [pixels].
    """
    if dtype.kind == "u" and pixels.dtype.kind == "f":
        pixels = pixels.round().astype(dtype)
    return resized(pixels, size)


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image of any type by triangle weights, widened when shrinking.

    Args:
        pixels: ``(H, W, C)``, uint8, uint16 or float32.
        size: The new height and width [pixels].

    Returns:
        ``(*size, C)``, of the same type; the very same array if the size is right.

    Example:
        >>> ramp = np.array([[[0], [100], [200], [250]]], np.uint8)
        >>> resized(ramp, (1, 2)).ravel().tolist()
        [71, 207]
    """
    if pixels.shape[:2] == tuple(size):
        return pixels
    if pixels.dtype == np.uint8 and pixels.shape[2] <= MOST_IN_FIXED_POINT:
        # With the axis of images put before, PyTorch sees that a pixel's channels lie together.
        planes = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
        small = F.interpolate(planes, size=size, mode="bilinear", antialias=True)
        return small[0].permute(1, 2, 0).numpy()
    planes = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
    values = resize(planes, size)[0].permute(1, 2, 0).numpy()
    if pixels.dtype.kind == "u":
        values = values.round()
    return values.astype(pixels.dtype)
