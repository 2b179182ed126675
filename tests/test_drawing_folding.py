"""Folds: every step in one of them, equal blocks counted, found from structure alone."""

import random

import pytest
from torch import nn

from sketching import NETWORKS_TO_DRAW, residual, traced
from striate.drawing.folding import cut, folded
from striate.drawing.steps import steps
from striate.tracing import trace


@pytest.mark.parametrize("name", NETWORKS_TO_DRAW)
def test_every_step_is_in_one_fold_in_order(name):
    found = steps(traced(name))
    folds = folded(found)
    assert [i for fold in folds for i in fold.steps] == list(range(len(found)))
    for fold in folds:
        assert bool(fold.drawn) != bool(fold.summary)
        assert fold.drawn == fold.steps[: len(fold.drawn)]
        if fold.drawn:
            assert len(fold.steps) == fold.times * len(fold.drawn)
        if fold.drawn and fold.alike:
            drawn = sum(found[i].parameters for i in fold.drawn)
            assert fold.times * drawn == sum(found[i].parameters for i in fold.steps)


def test_152_layers_are_41_boxes_whatever_the_modules_are_called():
    network, shape = NETWORKS_TO_DRAW["152 layers"]()
    folds = folded(steps(trace(network, shape)))
    assert [fold.times for fold in folds if fold.times > 1] == [2, 7, 35, 2]
    assert sum(fold.boxes for fold in folds) == 41
    names = [f"{random.Random(i).random()}".replace(".", "") for i in range(len(network))]
    renamed = folded(steps(trace(residual(3, 8, 36, 3, names=names), shape)))
    assert renamed == folds


def test_a_small_network_is_not_folded():
    found = steps(trace(residual(3, 4, 3), (3, 64, 64)))
    assert len(found) <= 64
    assert {fold.times for fold in folded(found)} == {1}


def test_blocks_of_other_widths_are_folded_only_where_the_page_would_be_full():
    def pyramid(depth):  # every block is wider than the one before
        layers = [nn.Conv2d(i + 1, i + 2, 3, padding=1) for i in range(depth)]
        return steps(trace(nn.Sequential(*layers), (1, 5, 7)))

    assert len(folded(pyramid(150))) == 151
    start, fold = folded(pyramid(200))
    assert (start.drawn, fold.times, fold.alike) == ((0,), 200, False)


def test_what_is_too_tangled_is_summed_up_by_what_repeats_in_it():
    class Tangle(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv1d(2, 2, 3, padding=1) for _ in range(40))

        def forward(self, x):
            first = x
            for layer in self.layers:
                x = layer(x) + first
            return x

    folds = folded(steps(trace(nn.Sequential(Tangle(), nn.Conv1d(2, 3, 1)), (2, 9))))
    (summed,) = (fold for fold in folds if fold.summary)
    assert summed.summary == ("40 × (3 convolution → addition)",)
    assert len(summed.steps) == 80


def test_a_network_is_cut_where_all_its_paths_meet():
    found = steps(traced("residual"))
    blocks = cut(found)
    assert [len(block) for block in blocks] == [1, 1, 1, 5, 4, 5, 4, 1, 1]
    for block in blocks:
        inside = set(block)
        later = range(block[-1] + 1, len(found))
        read = {source for i in later for source in found[i].inputs}
        assert read & inside <= {block[-1]}


def test_a_block_in_which_all_read_all_is_summed_up_however_small_the_network():
    folds = folded(steps(traced("dense")))
    assert [fold.summary for fold in folds if fold.summary] == [
        ("30 × (3×3 convolution → concatenation)",)
    ]


def test_blocks_of_the_same_layers_wired_otherwise_are_not_folded():
    class Around(nn.Module):  # the second convolution is passed by, or the third
        def __init__(self, second):
            super().__init__()
            self.second = second
            self.layers = nn.ModuleList(nn.Conv1d(2, 2, 3, padding=1) for _ in range(3))

        def forward(self, x):
            a = self.layers[0](x)
            b = self.layers[1](a)
            return x + ((a if self.second else b) + self.layers[2](b))

    def times(pattern):
        network = nn.Sequential(nn.Conv1d(1, 2, 1), *(Around(second) for second in pattern))
        return [fold.times for fold in folded(steps(trace(network, (1, 9))))]

    assert times([True] * 30) == [1, 1, 30]
    assert max(times([True] * 15 + [False] * 15)) == 15
