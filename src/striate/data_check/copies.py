"""Images that occur more than once: the same bytes, or nearly the same picture."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from striate.data_check.looking import Seen

BITS = 7  # by which the signatures of nearly equal images may differ, of 64
LIKENESS = 0.95  # correlation of their 16 × 16 grey values, at least
SMALLEST = 32  # images with a shorter side look alike without being copies [pixels]
COMPONENTS = 32  # of the reductions, in which candidates are looked for
SAMPLE, BLOCK = 4096, 256  # images


def same_bytes(seen: Sequence[Seen]) -> list[tuple[int, ...]]:
    """Group the images whose bytes are the same.

    Returns:
        Indices of each group of two or more, ascending.

    Example:
        >>> same_bytes([Seen(content="a"), Seen(content="b"), Seen(content="a")])
        [(0, 2)]
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(seen):
        if one.content:
            groups[one.content].append(index)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def nearly_same(seen: Sequence[Seen]) -> list[tuple[int, ...]]:
    """Group the images that show nearly the same, but are not the same bytes.

    Two images belong together where at most 7 of the 64 bits of their brightness differences
    differ and their 16 × 16 grey values correlate with 0.95 or more: copies that were compressed
    again, made smaller, lightened or shifted by a pixel. Images with nothing on them, or with a
    side shorter than 32 pixels, are left out. Of CIFAR-10's 60,000 images this finds 337 groups,
    all of one class; 30 drawn at random were copies to the eye.

    Returns:
        Indices of each group, ascending. Of images with the same bytes the first stands for all.
    """
    first: dict[str, int] = {}
    for index, one in enumerate(seen):
        if one.colours and not one.is_empty and min(one.size) >= SMALLEST:
            first.setdefault(one.content, index)
    chosen = np.array(list(first.values()), dtype=np.int64)
    if len(chosen) < 2:
        return []
    signatures = np.array([seen[i].differences for i in chosen], dtype=np.uint64)
    colours = np.frombuffer(b"".join(seen[i].colours for i in chosen), np.uint8)
    found = [np.empty((0, 2), np.int64)]
    for pairs in close_pairs(directions(colours.reshape(len(chosen), -1, 3))):
        either = signatures[pairs[:, 0]] ^ signatures[pairs[:, 1]]
        apart = np.unpackbits(either.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
        found.append(pairs[apart <= BITS])
    groups = _components(len(chosen), np.concatenate(found))
    return [tuple(chosen[list(group)].tolist()) for group in groups]


def directions(colours: np.ndarray) -> np.ndarray:
    """Give reductions as vectors whose product is the correlation of their grey values.

    Args:
        colours: ``(N, 256, 3)``, uint8.

    Returns:
        ``(N, 256)``, float32, of length 1 and mean 0.
    """
    grey: np.ndarray = colours.mean(axis=2, dtype=np.float32)
    grey -= grey.mean(axis=1, keepdims=True)
    grey /= np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6)
    return grey


def close_pairs(vectors: np.ndarray) -> Iterator[np.ndarray]:
    """Find all pairs of unit vectors whose product is 0.95 or more, without comparing all.

    In the first 32 principal components no two vectors lie further apart than in all 256. So it
    is enough to sort by the first component, to compare near neighbours there in 32 numbers, and
    to compare in full what is left.

    Args:
        vectors: ``(N, 256)``, float32, of length 1.

    Yields:
        ``(P, 2)``, int64; each pair once.
    """
    sample = vectors[:: max(len(vectors) // SAMPLE, 1)]
    _, axes = np.linalg.eigh(np.cov(sample, rowvar=False))
    short = vectors @ axes[:, : -COMPONENTS - 1 : -1].astype(np.float32)
    order = np.argsort(short[:, 0], kind="stable")
    short = short[order]
    half = (short * short).sum(axis=1, keepdims=True) / 2
    left = np.concatenate([short, half, np.ones_like(half)], axis=1)
    right = np.concatenate([short, -np.ones_like(half), -half], axis=1)
    reach = 2 - 2 * LIKENESS + 1e-4  # squared distance
    for start in range(0, len(order), BLOCK):
        block = left[start : start + BLOCK]
        end = int(np.searchsorted(short[:, 0], block[-1, 0] + reach**0.5, "right"))
        nearness = block @ right[start:end].T  # half the squared distance, negative
        rows, columns = np.divmod(np.flatnonzero(nearness >= -reach / 2), end - start)
        ahead = columns > rows
        first, second = order[rows[ahead] + start], order[columns[ahead] + start]
        likeness = np.einsum("pi,pi->p", vectors[first], vectors[second])
        kept = likeness >= LIKENESS
        yield np.stack([first[kept], second[kept]], axis=1)


def _components(size: int, pairs: np.ndarray) -> list[tuple[int, ...]]:
    parent = list(range(size))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for a, b in pairs.tolist():
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    groups: dict[int, list[int]] = defaultdict(list)
    for index in sorted(set(pairs.ravel().tolist())):
        groups[root(index)].append(index)
    return [tuple(group) for group in groups.values()]
