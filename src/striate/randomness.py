"""Random numbers that are functions of (seed, epoch, index, purpose), and of nothing else.

A counter-based hash takes the place of generators: the numbers that image 17 gets in epoch 3
do not depend on the batch it is in, on workers, on processes or on what was drawn before. So
a killed run resumes to the same bits.
"""

import zlib

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 2^64 / golden ratio, odd, as a signed 64-bit number
_MIX_1 = -4658895280553007687  # the two constants of the splitmix64 finaliser
_MIX_2 = -7723592293110705685


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _wrap(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


def hashes(seed: int, epoch: int, indices: Tensor, purpose: str, count: int) -> Tensor:
    """Hash (seed, epoch, index, purpose, place) to 64 bits.

    Args:
        seed: The run's seed.
        epoch: Counted from 0.
        indices: ``(N,)``, int64, the examples' places in the training set.
        purpose: What the numbers are for; other purposes get independent numbers.
        count: Numbers wanted for each example.

    Returns:
        ``(N, count)``, int64, all 64 bits random.

    Source:
        G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number
        generators", OOPSLA 2014, for the finaliser.
    """
    key = torch.tensor(_wrap(seed * 0x9E3779B97F4A7C15 + zlib.crc32(purpose.encode())))
    key = _mix(_mix(key) + _wrap(epoch * 0xD1B54A32D192ED03 + 1))
    places = torch.arange(1, count + 1, device=indices.device)
    return _mix(_mix(indices[:, None] * _GOLDEN + key.item()) + places * _GOLDEN)


def uniforms(seed: int, epoch: int, indices: Tensor, purpose: str, count: int) -> Tensor:
    """Draw numbers uniform in [0, 1).

    Args:
        seed, epoch, indices, purpose, count: As in ``hashes``.

    Returns:
        ``(N, count)``, float32.

    Example:
        >>> images = torch.tensor([4, 2])
        >>> both = uniforms(0, 3, images, "shift", 2)
        >>> torch.equal(both[1:], uniforms(0, 3, images[1:], "shift", 2))
        True
    """
    return _shift(hashes(seed, epoch, indices, purpose, count), 40).to(torch.float32) * 2.0**-24


def integers(
    seed: int, epoch: int, indices: Tensor, purpose: str, count: int, below: int | Tensor
) -> Tensor:
    """Draw whole numbers from 0 to ``below`` - 1.

    Args:
        seed, epoch, indices, purpose, count: As in ``hashes``.
        below: A number, or a tensor that broadcasts to the result; at least 1.

    Returns:
        ``(N, count)``, int64.
    """
    return _shift(hashes(seed, epoch, indices, purpose, count), 1) % below


def normals(seed: int, epoch: int, indices: Tensor, purpose: str, count: int) -> Tensor:
    """Draw numbers from N(0, 1).

    Args:
        seed, epoch, indices, purpose, count: As in ``hashes``.

    Returns:
        ``(N, count)``, float32.
    """
    pairs = uniforms(seed, epoch, indices, purpose, 2 * count)
    radius = (-2 * torch.log1p(-pairs[:, :count])).sqrt()
    return radius * torch.cos(2 * torch.pi * pairs[:, count:])


def order(seed: int, epoch: int, length: int) -> Tensor:
    """Permute 0 ... length - 1, in another order each epoch.

    Args:
        seed: The run's seed.
        epoch: Counted from 0.
        length: How many numbers.

    Returns:
        ``(length,)``, int64.

    Example:
        >>> sorted(order(0, 1, 5).tolist())
        [0, 1, 2, 3, 4]
    """
    keys = hashes(seed, epoch, torch.arange(length), "order", 1)[:, 0]
    return torch.sort(keys, stable=True).indices
