"""Grey values of one image made like those of another."""

import numpy as np
from numpy.typing import NDArray


def match_histogram(
    image: NDArray[np.number], reference: NDArray[np.number]
) -> NDArray[np.float64]:
    """Give an image the distribution of grey values of another, channel by channel.

    A value takes the reference's value of the same rank; between two of the reference's ranks
    it is interpolated. What is darker stays darker. The images may have different sizes.

    Args:
        image: ``(C, *spatial)``.
        reference: ``(C, *spatial)``, with as many channels.

    Returns:
        The shape of ``image``, in the reference's values.

    Raises:
        ValueError: The channels differ in number, or one of the images is empty.

    Source:
        F. Milletari, N. Navab and S.-A. Ahmadi, "V-Net", 2016, section 3 names it; it is
        textbook histogram specification.

    Example:
        >>> match_histogram(np.array([[0, 1, 1, 2]]), np.array([[50, 60, 60, 70]]))
        array([[50., 60., 60., 70.]])
    """
    if image.shape[:1] != reference.shape[:1] or not image.size or not reference.size:
        raise ValueError(
            f"the image is {image.shape} and the reference {reference.shape}; both need pixels, "
            "and the same channels on the first axis"
        )
    matched = np.empty(image.shape)
    for out, channel, wanted in zip(matched, image, reference, strict=True):
        _, places, counts = np.unique(channel.ravel(), return_inverse=True, return_counts=True)
        values, wanted_counts = np.unique(wanted.ravel(), return_counts=True)
        ranks = np.cumsum(counts) / channel.size
        wanted_ranks = np.cumsum(wanted_counts) / wanted.size
        out[...] = np.interp(ranks, wanted_ranks, values)[places].reshape(channel.shape)
    return matched
