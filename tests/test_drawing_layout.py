"""Places of boxes: room between them, edges downwards, straight lines where there is room."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from striate.drawing.layout import fit, lay_out


@st.composite
def graphs(draw):
    """Boxes 1 to n; each reads the entry 0 or boxes before it."""
    size = draw(st.integers(1, 14))
    inputs = {
        box: sorted(draw(st.sets(st.integers(0, box - 1), min_size=1, max_size=3)))
        for box in range(1, size + 1)
    }
    return inputs, {box: draw(st.integers(20, 150)) for box in inputs}


@given(graphs())
def test_boxes_have_room_and_edges_lead_down(graph):
    inputs, widths = graph
    found = lay_out(inputs, widths, gap=18)
    for row in set(found.rows.values()):
        boxes = sorted((found.centers[b], b) for b in inputs if found.rows[b] == row)
        for (x0, b0), (x1, b1) in pairwise(boxes):
            assert x1 - x0 >= (widths[b0] + widths[b1]) / 2 + 18 - 0.01
        for chain in found.lanes.values():
            for lane in (x for at, x in chain if at == row):
                assert all(abs(lane - x) >= widths[b] / 2 + 18 - 0.01 for x, b in boxes)
    for box, sources in inputs.items():
        for source in sources:
            above = found.rows.get(source, -1)
            passed = [row for row, _ in found.lanes.get((source, box), [])]
            assert passed == list(range(above + 1, found.rows[box]))


@given(graphs())
def test_the_same_graph_has_the_same_places(graph):
    assert lay_out(*graph, gap=18) == lay_out(*graph, gap=18)


def test_a_chain_with_a_skip_beside_it_is_straight():
    found = lay_out({1: [0], 2: [1], 3: [0, 2]}, {1: 80, 2: 120, 3: 22}, gap=18)
    assert found.centers == {1: pytest.approx(0, abs=0.2), 2: pytest.approx(0, abs=0.2), 3: 0}
    (chain,) = found.lanes.values()
    assert len({x for _, x in chain}) == 1
    assert chain[0][1] >= 60 + 18


@pytest.mark.parametrize("wide", [5, 6, 7, None])
def test_four_branches_stand_side_by_side_evenly_and_none_bends(wide):
    inputs = {1: [0], 2: [0], 3: [0], 4: [0], 5: [2], 6: [3], 7: [4], 8: [1, 5, 6, 7]}
    found = lay_out(inputs, dict.fromkeys(inputs, 90) | {wide or 5: 110, 8: 130}, gap=18)
    assert [found.centers[i] for i in (2, 3, 4)] == [found.centers[i] for i in (5, 6, 7)]
    places = [found.centers[i] for i in (1, 2, 3, 4)]
    assert places == sorted(places)
    assert places[0] + places[3] == pytest.approx(0, abs=15)  # as far to the left as to the right
    assert {x for _, x in found.lanes[1, 8]} == {places[0]}
    assert found.centers[8] == pytest.approx(0, abs=0.2)


NUMBERS = st.floats(-100, 100)


@given(
    st.lists(st.tuples(NUMBERS, st.floats(0.1, 10), st.floats(0, 50)), min_size=1, max_size=6),
    st.lists(NUMBERS, min_size=6, max_size=6),
)
def test_no_other_places_with_enough_room_are_nearer_to_the_wishes(rows, moves):
    wishes, weights, room = ([row[i] for row in rows] for i in range(3))
    room = room[1:]

    def far(places):
        return sum(w * (p - wish) ** 2 for p, wish, w in zip(places, wishes, weights, strict=True))

    best = fit(wishes, weights, room)
    assert all(b - a >= r - 1e-6 for (a, b), r in zip(pairwise(best), room, strict=True))
    other = [best[0] + moves[0]]
    for i, r in enumerate(room):
        other.append(max(best[i + 1] + moves[i + 1], other[-1] + r))
    assert far(best) <= far(other) + 1e-6 * (1 + far(other))
