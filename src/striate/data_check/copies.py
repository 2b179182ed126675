"""Images that occur more than once: the same bytes, or nearly the same picture."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from striate.data_check.looking import Seen
from striate.datasets.listing import equal_bytes

BITS = 7  # by which the signatures of nearly equal images may differ, of 64
LIKENESS = 0.95  # correlation of their 16 × 16 grey values, at least
SMALLEST = 32  # images with a shorter side look alike without being copies [pixels]
COMPONENTS = 32  # of the reductions, in which candidates are looked for
SAMPLE, BLOCK = 4096, 256  # images
PAIRS = 2**15  # compared in full at once, to bound memory


def same_bytes(seen: Sequence[Seen]) -> list[tuple[int, ...]]:
    """Group the images whose bytes are the same.

    Returns:
        Indices of each group of two or more, ascending.

    Example:
        >>> same_bytes([Seen(content="a"), Seen(content="b"), Seen(content="a")])
        [(0, 2)]
    """
    return equal_bytes(one.content for one in seen)


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
    together = _Groups(len(chosen))
    vectors = directions(colours.reshape(len(chosen), -1, 3))
    for pairs in close_pairs(vectors, together.apart):
        either = signatures[pairs[:, 0]] ^ signatures[pairs[:, 1]]
        differing = np.unpackbits(either.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
        together.join(pairs[differing <= BITS])
    return [tuple(chosen[group].tolist()) for group in together.groups()]


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


def close_pairs(
    vectors: np.ndarray, wanted: Callable[[np.ndarray], np.ndarray] | None = None
) -> Iterator[np.ndarray]:
    """Find all pairs of unit vectors whose product is 0.95 or more, without comparing all.

    In the first 32 principal components no two vectors lie further apart than in all 256. So it
    is enough to sort by the first component, to compare near neighbours there in 32 numbers, and
    to compare in full what is left.

    Args:
        vectors: ``(N, 256)``, float32, of length 1.
        wanted: Says of pairs ``(P, 2)`` which to compare, ``(P,)``, bool; it may say otherwise
            after each yield. By default all.

    Yields:
        ``(P, 2)``, int64, some of the pairs; each once.
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
        near = np.flatnonzero(nearness >= -reach / 2)
        for piece in np.split(near, range(PAIRS, len(near), PAIRS)):
            rows, columns = np.divmod(piece, end - start)
            ahead = columns > rows
            pairs = np.stack([order[rows[ahead] + start], order[columns[ahead] + start]], axis=1)
            if wanted is not None:
                pairs = pairs[wanted(pairs)]
            likeness = np.einsum("pi,pi->p", *vectors[pairs.T])
            yield pairs[likeness >= LIKENESS]


class _Groups:
    """Numbers that grow together, pair by pair; of each group the smallest is its root."""

    def __init__(self, size: int) -> None:
        self.root = np.arange(size)

    def apart(self, pairs: np.ndarray) -> np.ndarray:
        """Tell of pairs ``(P, 2)`` which are in two groups: ``(P,)``, bool."""
        first, second = self.root[pairs.T]
        return np.asarray(first != second)

    def join(self, pairs: np.ndarray) -> None:
        """Make one group of the two of each pair, ``(P, 2)``."""
        while len(pairs := pairs[self.apart(pairs)]):
            roots = self.root[pairs]
            np.minimum.at(self.root, roots.max(axis=1), roots.min(axis=1))
            while not np.array_equal(further := self.root[self.root], self.root):
                self.root = further

    def groups(self) -> list[np.ndarray]:
        """Give each group of two or more, ascending."""
        order = np.argsort(self.root, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(self.root[order])) + 1)
        return [group for group in groups if len(group) > 1]
