"""Arithmetic of sliding windows along one axis, on integers: output sizes."""


def output_size(
    size: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    ceil: bool = False,
) -> int:
    """Count the positions of a window along one axis.

    Args:
        size: Length of the axis [indices].
        kernel: Taps of the window, ``dilation`` indices apart.
        stride: Distance between neighbouring windows [indices].
        padding: Indices added at each end.
        ceil: Whether a last window may hang over the end, as long as it starts inside the
            axis or its left padding (``ceil_mode`` of PyTorch's pooling).

    Returns:
        The number of positions; 0 or less when the window does not fit.

    Example:
        >>> output_size(28, 5), output_size(7, 2, stride=2), output_size(7, 2, stride=2, ceil=True)
        (24, 3, 4)
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def transposed_size(
    size: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> int:
    """Count the outputs of a transposed convolution along one axis.

    Each input writes a window of ``kernel`` outputs, ``dilation`` apart, ``stride`` after its
    neighbour's; then ``padding`` outputs are cut off at both ends, ``output_padding`` added.

    Example:
        >>> transposed_size(5, 3, stride=2, padding=1, output_padding=1)
        10
    """
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1
