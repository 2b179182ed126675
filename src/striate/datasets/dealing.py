"""Images dealt out to parts: by class in the wanted shares, groups whole, from a seed and names.

Nothing here depends on the order in which the images were listed: an image is known by its name,
and its turn is a hash of the seed and that name.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch

from striate.randomness import hashes


class Block(NamedTuple):
    """Images that stay together: a group's, or one alone.

    Attributes:
        turn: Its place in the random order; the lower comes first.
        name: The group's or the image's.
        members: Indices of its images.
        counts: How many of them there are of each class.
    """

    turn: int
    name: str
    members: tuple[int, ...]
    counts: Mapping[int, int]


def blocks_of(
    indices: Iterable[int],
    names: Sequence[str],
    classes: Sequence[int],
    *,
    seed: int,
    purpose: str,
) -> list[Block]:
    """Put images of one name together, in an order that the seed and the names decide.

    Args:
        indices: The images to deal out.
        names: For every image of the set its group, or its own name.
        classes: For every image of the set its class index.
        seed: The run's.
        purpose: Other purposes give independent orders.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index in indices:
        members[names[index]].append(index)
    keys = torch.tensor([_number(name) for name in members], dtype=torch.int64)
    turns = hashes(seed, 0, keys, purpose, 1)[:, 0].tolist()
    single = {each: {each: 1} for each in set(classes)}
    dealt = [
        Block(
            turn,
            name,
            tuple(group),
            single[classes[group[0]]]
            if len(group) == 1
            else Counter(classes[index] for index in group),
        )
        for turn, (name, group) in zip(turns, members.items(), strict=True)
    ]
    return sorted(dealt, key=lambda block: block[:2])


def _number(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def hold_out(
    blocks: Sequence[Block], share: float, *, parts: int = 2
) -> tuple[list[int], list[int]]:
    """Take a share of the images of every class, and leave blocks of each for the other parts.

    Of single images the count of each class is the share to less than one image, but at least
    one. Groups are taken in their random order where that brings the classes nearer to their
    shares.

    Args:
        blocks: In their order.
        share: Wanted, above 0 and below 1.
        parts: That are to be made in all; each gets a block of every class that has as many.

    Returns:
        taken: Indices of images, ascending.
        lacking: Classes of which none could be taken, ascending.
    """
    sizes: Counter[int] = Counter()
    left: Counter[int] = Counter()  # blocks of each class that remain
    for block in blocks:
        for each, count in block.counts.items():
            sizes[each] += count
            left[each] += 1
    kept = {each: max(min(parts, count) - 1, 1) for each, count in left.items()}
    wanted = _quotas(sizes, left, kept, share)

    def may_go(block: Block) -> bool:
        return all(left[each] > kept[each] for each in block.counts)

    held: Counter[int] = Counter()
    taken: list[Block] = []
    passed: list[Block] = []
    for block in blocks:
        if all(held[each] >= wanted[each] for each in block.counts):
            passed.append(block)
            continue
        gain = sum(
            ((held[each] + count - wanted[each]) ** 2 - (held[each] - wanted[each]) ** 2)
            / sizes[each]
            for each, count in block.counts.items()
        )
        if gain < 0 and may_go(block):
            _take(block, taken, held, left)
        else:
            passed.append(block)
    if all(held[each] or not wanted[each] for each in sizes):
        passed = []
    for block in sorted(passed, key=lambda block: (len(block.members), *block[:2])):
        missing = any(wanted[each] and not held[each] for each in block.counts)
        if missing and may_go(block):
            _take(block, taken, held, left)
    indices = sorted(index for block in taken for index in block.members)
    return indices, sorted(each for each in sizes if not held[each])


def _take(block: Block, taken: list[Block], held: Counter[int], left: Counter[int]) -> None:
    taken.append(block)
    held.update(block.counts)
    left.subtract(block.counts.keys())


def _quotas(
    sizes: Mapping[int, int], blocks: Mapping[int, int], kept: Mapping[int, int], share: float
) -> dict[int, int]:
    """Round each class's share up or down, so that all together are nearest to theirs."""
    quotas = {
        each: max(int(share * size), 1) if blocks[each] > kept[each] else 0
        for each, size in sizes.items()
    }
    missing = round(share * sum(sizes.values())) - sum(quotas.values())
    remainders = sorted(
        (each for each in sizes if 0 < quotas[each] < share * sizes[each]),
        key=lambda each: (quotas[each] - share * sizes[each], each),
    )
    for each in remainders[: max(missing, 0)]:
        quotas[each] += 1
    return quotas


def folds_of(blocks: Sequence[Block], count: int) -> list[list[int]]:
    """Deal images into folds of as many images of each class, blocks whole.

    Of single images, folds differ by at most one image of a class and one in all. Groups go, the
    least balanced first, where their classes are rarest so far.

    Args:
        blocks: In their order; at least ``count``.
        count: Of folds, at least 2.

    Returns:
        For each fold its indices, ascending; disjoint, together all.

    Source:
        The order of groups and the measure are those of scikit-learn's ``StratifiedGroupKFold``.
    """
    if all(len(block.members) == 1 for block in blocks):
        in_order = sorted(blocks, key=lambda block: (min(block.counts), *block[:2]))
        return [
            sorted(block.members[0] for block in in_order[fold::count]) for fold in range(count)
        ]
    sizes: Counter[int] = Counter()
    for block in blocks:
        sizes.update(block.counts)
    held: list[Counter[int]] = [Counter() for _ in range(count)]
    folds: list[list[int]] = [[] for _ in range(count)]

    def spread(block: Block) -> float:
        return -sum((number / sizes[each]) ** 2 for each, number in block.counts.items())

    for left, block in zip(
        range(len(blocks), 0, -1), sorted(blocks, key=lambda b: (spread(b), *b[:2])), strict=True
    ):
        empty = [fold for fold in range(count) if not folds[fold]]
        costs = {
            fold: (
                sum(
                    number * (2 * held[fold][each] + number) / sizes[each] ** 2
                    for each, number in block.counts.items()
                ),
                len(folds[fold]),
                fold,
            )
            for fold in (empty if len(empty) == left else range(count))
        }
        best = min(costs, key=costs.__getitem__)
        held[best].update(block.counts)
        folds[best] += block.members
    return [sorted(fold) for fold in folds]
