"""Places for the boxes of a small graph: in rows from top to bottom, few crossings, short lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import inf

_SWEEPS = 8
# A line that passes a row takes this much room in it, and pulls this much less than a box.
_LANE = 16.0
_PULL_OF_A_LANE = 1e-3
_PULL_OF_AN_END = 1e3  # the last box stands under the entry

Node = tuple[int, int]  # (number, -1) of a box; (number of the edge, row) where an edge passes


@dataclass
class Layout:
    """Where the boxes of a graph stand.

    Attributes:
        rows: Of each box, from 0.
        centers: Of each box, across; that of the entry is 0.
        lanes: Of each edge (from, to), the places (row, across) at which it passes rows.
    """

    rows: dict[int, int]
    centers: dict[int, float]
    lanes: dict[tuple[int, int], list[tuple[int, float]]] = field(default_factory=dict)


def lay_out(inputs: Mapping[int, Sequence[int]], widths: Mapping[int, float], gap: float) -> Layout:
    """Place the boxes of a graph.

    A box stands in the row below the lowest of those that it reads. An edge that passes rows
    goes between their boxes. The order in a row follows the mean of the neighbours' places, up
    and down in turn; then boxes move under one another as far as their neighbours leave room.

    Args:
        inputs: For each box, in an order in which it follows them, the boxes that it reads.
            What is read and is no box is the entry, which stands above the first row at 0.
        widths: Of each box.
        gap: Between two boxes of a row, at least.

    Returns:
        Rows from 0, and places across relative to the entry.

    Example:
        >>> found = lay_out({1: [0], 2: [0], 3: [1, 2]}, {1: 40, 2: 40, 3: 40}, gap=20)
        >>> found.rows, found.centers
        ({1: 0, 2: 0, 3: 1}, {1: -30.0, 2: 30.0, 3: 0.0})
    """
    graph = _Graph(inputs, widths)
    for sweep in range(_SWEEPS):
        graph.order(downwards=sweep % 2 == 0)
    graph.center()
    for sweep in range(2 * _SWEEPS):
        graph.spread(gap, downwards=sweep % 2 == 0)
    for _ in range(_SWEEPS):
        graph.straighten(gap)
    return Layout(
        graph.rows,
        {box: round(graph.place[box, -1], 3) for box in inputs},
        {
            edge: [(row, round(graph.place[number, row], 3)) for number, row in chain]
            for edge, chain in graph.chains.items()
            if chain
        },
    )


class _Graph:
    """Boxes and lanes in rows; an edge that passes rows is a chain of lanes, one a row."""

    def __init__(self, inputs: Mapping[int, Sequence[int]], widths: Mapping[int, float]) -> None:
        self.rows: dict[int, int] = {}
        for box, sources in inputs.items():
            self.rows[box] = max((self.rows.get(source, -1) for source in sources), default=-1) + 1
        self.ranks: list[list[Node]] = [[] for _ in range(max(self.rows.values()) + 1)]
        for box, row in self.rows.items():
            self.ranks[row].append((box, -1))
        self.neighbours: dict[Node, tuple[list[Node], list[Node]]] = {
            (box, -1): ([], []) for box in {*inputs, *(s for ss in inputs.values() for s in ss)}
        }
        self.chains: dict[tuple[int, int], list[Node]] = {}
        for number, (source, box) in enumerate((s, b) for b, ss in inputs.items() for s in ss):
            passed = range(self.rows.get(source, -1) + 1, self.rows[box])
            chain: list[Node] = [(number, row) for row in passed]
            for lane in chain:
                self.ranks[lane[1]].append(lane)
                self.neighbours[lane] = ([], [])
            for upper, lower in pairwise([(source, -1), *chain, (box, -1)]):
                self.neighbours[upper][1].append(lower)
                self.neighbours[lower][0].append(upper)
            self.chains[source, box] = chain
        self.width = {n: _LANE if n[1] >= 0 else widths[n[0]] for r in self.ranks for n in r}
        self.exit = (max(inputs), -1)
        self.pulls = {node: _PULL_OF_A_LANE if node[1] >= 0 else 1.0 for node in self.neighbours}
        for chain in self._unbranched():  # as wide and as strong all along: so it can be straight
            self.width.update(dict.fromkeys(chain, max(self.width[node] for node in chain)))
            self.pulls.update(dict.fromkeys(chain, max(self.pulls[node] for node in chain)))
        self.place = dict.fromkeys(self.neighbours, 0.0)
        for rank in self.ranks:
            self._number(rank)

    def _number(self, rank: list[Node]) -> None:
        for i, node in enumerate(rank):
            self.place[node] = i - (len(rank) - 1) / 2

    def order(self, *, downwards: bool) -> None:
        """Sort every row by the mean place of the neighbours in the row before."""
        for rank in self.ranks if downwards else reversed(self.ranks):
            means = {}
            for node in rank:
                near = self.neighbours[node][0 if downwards else 1]
                places = [self.place[n] for n in near]
                means[node] = sum(places) / len(places) if places else self.place[node]
            rank.sort(key=means.__getitem__)
            self._number(rank)

    def center(self) -> None:
        """Put everything in the middle; the order in the rows stays."""
        self.place = dict.fromkeys(self.place, 0.0)

    def spread(self, gap: float, *, downwards: bool) -> None:
        """Move every node towards its neighbours, as near as the room in its row allows."""
        for rank in self.ranks if downwards else reversed(self.ranks):
            wishes, weights = [], []
            for node in rank:
                above, below = self.neighbours[node]
                pulls = [(self.place[n], self.pulls[n]) for n in (*above, *below)]
                total = sum(pull for _, pull in pulls)
                wish = sum(place * pull for place, pull in pulls) / total if total else 0.0
                wishes.append(0.0 if node == self.exit else wish)
                weights.append(_PULL_OF_AN_END if node == self.exit else self.pulls[node])
            room = [(self.width[a] + self.width[b]) / 2 + gap for a, b in pairwise(rank)]
            for node, place in zip(rank, fit(wishes, weights, room), strict=True):
                self.place[node] = place

    def straighten(self, gap: float) -> None:
        """Put what follows one another without branching under one another, where it fits."""
        rank_of = {node: (rank, i) for rank in self.ranks for i, node in enumerate(rank)}
        for chain in self._unbranched():
            low, high = -inf, inf
            for node in chain:
                rank, i = rank_of[node]
                if i > 0:
                    room = (self.width[rank[i - 1]] + self.width[node]) / 2 + gap
                    low = max(low, self.place[rank[i - 1]] + room)
                if i + 1 < len(rank):
                    room = (self.width[rank[i + 1]] + self.width[node]) / 2 + gap
                    high = min(high, self.place[rank[i + 1]] - room)
            mean = sum(self.place[node] for node in chain) / len(chain)
            if low <= high:
                self.place.update(dict.fromkeys(chain, min(max(mean, low), high)))

    def _unbranched(self) -> list[list[Node]]:
        """List the longest chains in which each is all that the next reads, and the reverse."""
        chains: list[list[Node]] = []
        chain_of: dict[Node, list[Node]] = {}
        for rank in self.ranks:
            for node in rank:
                above = self.neighbours[node][0]
                if len(above) == 1 and above[0] in chain_of and self._is_only_reader(above[0]):
                    chain = chain_of[above[0]]
                else:
                    chain = []
                    chains.append(chain)
                if node != self.exit:
                    chain.append(node)
                    chain_of[node] = chain
        return [chain for chain in chains if len(chain) > 1]

    def _is_only_reader(self, node: Node) -> bool:
        return len(self.neighbours[node][1]) == 1


def fit(wishes: Sequence[float], weights: Sequence[float], room: Sequence[float]) -> list[float]:
    """Find the places nearest to some wishes, by least squares, that leave room in between.

    Args:
        wishes: Where each would like to be, in the order in which they will be.
        weights: How strongly.
        room: The least distance of each from the next.

    Example:
        >>> fit([0.0, 0.0, 5.0], [1, 1, 1], [2, 2])
        [-1.0, 1.0, 5.0]
    """
    offsets = [0.0, *accumulate(room)]
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for wish, weight, offset in zip(wishes, weights, offsets, strict=True):
        mean, total, count = wish - offset, weight, 1
        while pools and pools[-1][0] > mean:
            other, other_total, other_count = pools.pop()
            mean = (mean * total + other * other_total) / (total + other_total)
            total, count = total + other_total, count + other_count
        pools.append((mean, total, count))
    means = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
