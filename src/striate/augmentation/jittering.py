"""Random brightness, contrast, saturation and hue: one affine map of an image's colours.

Nothing is cut between the four, so that they are one product with a matrix for each image, in the
normalised values themselves; values are cut to [0, 1] once, at the end.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from striate.augmentation.placing import each
from striate.randomness import uniforms
from striate.recipes import Recipe

LUMA = (0.299, 0.587, 0.114)  # grey of red, green and blue
# In-phase and quadrature of the YIQ of NTSC, of red - grey and blue - grey.
IN_PHASE, QUADRATURE = (0.74, -0.27), (0.48, 0.41)


def jitters(recipe: Recipe) -> bool:
    """Say whether a recipe changes brightness, contrast, saturation or hue."""
    return any((recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue))


def jitter(
    images: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    recipe: Recipe,
    epoch: int,
    indices: Tensor,
) -> Tensor:
    """Change brightness, then contrast, then saturation, then hue, each image by its own numbers.

    In [0, 1]: brightness multiplies by a factor; contrast moves away from the image's mean grey,
    or towards it; saturation moves each pixel away from its own grey; hue turns colours about the
    grey axis. Factors are uniform in 1 plus and minus the recipe's value, the angle of hue up to
    its value either way [turns]. Images of other than 3 channels have no grey: their contrast is
    about the mean of each channel.

    Args:
        images: ``(N, C, *spatial)``, normalised.
        mean: For each channel, what was subtracted from values in [0, 1].
        std: For each channel, what they were divided by then.
        recipe: Says how strong each change is; its seed fixes the numbers.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        Images of the same shape, normalised, with values that were cut to [0, 1]; the very same
        tensor if the recipe changes nothing.

    Source:
        The four changes and their ranges are torchvision's ColorJitter, which draws their order
        too, cuts to [0, 1] after each and turns the hue in HSV. Hue as a rotation of the plane
        of I and Q: P. Haeberli, "Matrix operations for image processing", 1993; YIQ with the
        coefficients of NTSC (FCC, 1953). It keeps the grey of every pixel; HSV keeps its maximum.
    """
    if not jitters(recipe):
        return images
    drawn = 2 * uniforms(recipe.seed, epoch, indices, "jitter", 4) - 1
    brightness = 1 + recipe.brightness * drawn[:, :1]
    contrast = 1 + recipe.contrast * drawn[:, 1:2]
    centers, scales = (torch.tensor(values, device=images.device) for values in (mean, std))
    gain = brightness * contrast
    middle = torch.zeros_like(gain)  # about which contrast moves
    if recipe.contrast:
        middle = images.flatten(2).mean(dim=2) * scales + centers
        if len(mean) == 3:
            middle = middle @ torch.tensor(LUMA, device=images.device)[:, None]
    offset = (1 - contrast) * brightness * middle - centers
    if recipe.saturation or recipe.hue:
        saturation = 1 + recipe.saturation * drawn[:, 2]
        colors = gain[:, :, None] * color_matrices(saturation, recipe.hue * drawn[:, 3])
        offset = (offset + colors @ centers) / scales
        colors = colors * scales / scales[:, None]
        flat = torch.baddbmm(offset[:, :, None], colors, images.flatten(2))
        changed = flat.view(images.shape)
    else:
        offset = (offset + gain * centers) / scales
        changed = torch.addcmul(each(offset, images), images, each(gain, images))
    black, white = -centers / scales, (1 - centers) / scales
    return changed.clamp_(each(black[None], images), each(white[None], images))


def color_matrices(saturation: Tensor, hue: Tensor) -> Tensor:
    """Make the matrices that saturate colours, then turn their hue; grey stays grey.

    Args:
        saturation: ``(N,)``, the factor of what differs from grey.
        hue: ``(N,)``, the angle [turns].

    Returns:
        ``(N, 3, 3)``, for columns of red, green and blue.

    Example:
        >>> grey = color_matrices(torch.zeros(1), torch.zeros(1))[0] @ torch.tensor([1.0, 0, 0])
        >>> [round(value, 3) for value in grey.tolist()]  # red without its colour
        [0.299, 0.299, 0.299]
    """
    grey = torch.tensor(LUMA, dtype=torch.float64)
    red, blue = (torch.eye(3, dtype=torch.float64)[channel] - grey for channel in (0, 2))
    yiq = torch.stack([grey, *(a * red + b * blue for a, b in (IN_PHASE, QUADRATURE))])
    to_yiq, back = yiq.to(hue), torch.linalg.inv(yiq).to(hue)
    cosine = saturation * torch.cos(2 * math.pi * hue)
    sine = saturation * torch.sin(2 * math.pi * hue)
    nil, one = torch.zeros_like(hue), torch.ones_like(hue)
    turned = torch.stack([one, nil, nil, nil, cosine, -sine, nil, sine, cosine], dim=1)
    matrices: Tensor = back @ turned.view(-1, 3, 3) @ to_yiq
    return matrices
