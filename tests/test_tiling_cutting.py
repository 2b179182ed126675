"""Pieces of an axis, and the choice among their lengths against trying all."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from labelling import UNet
from striate.errors import UsageError
from striate.lettering import amount
from striate.tiling import memory_bytes
from striate.tiling.cutting import Cutting, _lengths, cut
from striate.tiling.fitting import Axis, fit_axes


@given(
    image=st.integers(1, 90),
    lost=st.integers(0, 9),
    steps=st.integers(1, 7),
    spoils=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    block=st.sampled_from([1, 1, 2, 5, 8]),
    data=st.data(),
)
def test_pieces_answer_every_pixel_once_from_unspoiled_outputs(
    image, lost, steps, spoils, block, data
):
    extra = data.draw(st.integers(0, steps - 1))
    size = image + lost + extra
    axis = Axis(image, size, lost // 2, size - lost, steps, *spoils, ())
    lengths = _lengths(axis, block, 1000)
    length = int(data.draw(st.sampled_from(lengths)))
    pieces = cut(axis, length, block)
    assert all(piece.output.stop % block == 0 for piece in pieces[:-1])
    answered = [p for piece in pieces for p in range(piece.output.start, piece.output.stop)]
    assert answered == list(range(image))
    for piece in pieces:
        start, stop = piece.source.start + axis.before, piece.source.stop + axis.before
        assert 0 <= start < stop <= size
        assert start % steps == 0
        assert stop - start <= length
        assert (size - (stop - start)) % steps == 0
        # Output i of a tile is output start + i of the whole.
        assert piece.output.start == start + piece.inner.start
        assert piece.output.stop == start + piece.inner.stop
        assert piece.inner.start >= (spoils[0] if start else 0)
        assert piece.inner.stop <= stop - start - lost - (spoils[1] if stop < size else 0)


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("padding", [0, 1])
def test_no_lengths_within_the_limit_need_much_less_work(padding, share):
    network = UNet(levels=2, padding=padding)
    axes, _, _ = fit_axes(network, (1, 103, 83))
    cutting = Cutting(network, 1, axes)
    limit = int(share * cutting.bytes(cutting.whole))
    found = cutting.within(limit)
    assert cutting.bytes(found) <= limit
    along = [[*range(axis.overlap + axis.step, axis.size + 1, 4 * axis.step)] for axis in axes]
    possible = [n for n in itertools.product(*along) if cutting.bytes(n) <= limit]
    assert len(possible) > 5
    least = min(cutting.work(lengths) for lengths in possible)
    assert cutting.work(found) <= 1.05 * least


def test_a_tile_that_the_network_refuses_is_left_out():
    class Choosy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 3, padding=1)

        def forward(self, x):
            if 20 < x.shape[2] < 40:
                raise ValueError("never so")
            return self.layer(x)

    network = Choosy()
    axes, _, _ = fit_axes(network, (1, 60, 30))
    cutting = Cutting(network, 1, axes)
    assert cutting.work((32, 30)) is None
    for share in (0.3, 0.5, 0.6, 0.7):
        lengths = cutting.within(int(share * cutting.bytes(cutting.whole)))
        assert cutting.work(lengths) is not None


@pytest.mark.parametrize("memory", [1, 999, 1000, 123_456, 9_999_999, 10**9, 1_234_567_891_234])
def test_an_amount_is_rounded_up_and_can_be_read_back(memory):
    assert memory <= memory_bytes(amount(memory)) <= 1.011 * memory


def test_the_smallest_tile_is_named():
    network = UNet(levels=2)
    axes, _, _ = fit_axes(network, (1, 103, 83))
    with pytest.raises(UsageError, match=r"smallest tile of this network, 18×18 pixels; give"):
        Cutting(network, 1, axes).within(1)
