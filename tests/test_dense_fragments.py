"""Windows slid over maps, sorted into fragments: in groups, at once, and by PyTorch's pooling."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.dense_form import dense, programs
from striate.dense_form.fragments import Slide, all_fragments, fragments, rows
from striate.dense_form.programs import Grid, Program, Step

SLIDES = [
    Slide((2, 2), (1, 1), (2, 2), "max"),
    Slide((3, 2), (2, 1), (1, 3), "max"),
    Slide((4, 1), (1, 1), (2, 1), "max"),
    Slide((2, 3), (1, 2), (3, 2), "sum"),
    Slide((1, 1), (1, 1), (2, 3), "take"),
]


def pooled(maps, slide):
    """Pool at every place by PyTorch."""
    if slide.operation == "sum":
        channels = maps.shape[1]
        ones = torch.ones(channels, 1, *slide.kernel, dtype=maps.dtype)
        return F.conv2d(maps, ones, dilation=slide.dilation, groups=channels)
    return F.max_pool2d(maps, slide.kernel, 1, dilation=slide.dilation)


@pytest.mark.parametrize("slide", SLIDES)
def test_fragments_are_the_answers_a_stride_apart(slide):
    maps = torch.randn(3, 5, 17, 19, dtype=torch.float64)
    at_all = pooled(maps, slide)
    sizes = [n // s - 1 for n, s in zip(at_all.shape[2:], slide.stride, strict=True)]
    one_by_one = list(fragments(maps, slide, sizes))
    at_once = all_fragments(maps, slide, sizes).split(3)
    phases = list(itertools.product(*map(range, slide.stride)))
    assert slide.phases() == phases
    assert len(one_by_one) == len(at_once) == len(phases)
    for phase, one, other in zip(phases, one_by_one, at_once, strict=True):
        ends = zip(phase, sizes, slide.stride, strict=True)
        places = tuple(slice(p, p + n * s, s) for p, n, s in ends)
        assert torch.allclose(one, at_all[(..., *places)])
        assert torch.allclose(other, at_all[(..., *places)])


@pytest.mark.parametrize("slide", SLIDES)
def test_slopes_go_where_pytorch_s_pooling_sends_them(slide):
    generator = torch.Generator().manual_seed(0)
    # Three values alone, so that maxima are often shared.
    maps = torch.randint(0, 3, (2, 3, 13, 17), generator=generator).double().requires_grad_()
    at_all = pooled(maps, slide)
    sizes = [n // s for n, s in zip(at_all.shape[2:], slide.stride, strict=True)]
    at_once = all_fragments(maps, slide, sizes)
    slopes = torch.rand(at_once.shape, dtype=torch.float64, generator=generator)
    wanted = torch.zeros_like(at_all)
    for phase, part in zip(slide.phases(), slopes.split(2), strict=True):
        ends = zip(phase, sizes, slide.stride, strict=True)
        wanted[(..., *(slice(p, p + n * s, s) for p, n, s in ends))] = part
    (expected,) = torch.autograd.grad(at_all, maps, wanted)
    (got,) = torch.autograd.grad(at_once, maps, slopes)
    assert torch.allclose(got, expected)


def test_rows_are_the_places_in_their_order():
    maps = torch.arange(2 * 3 * 4).view(2, 3, 2, 2)
    assert rows(maps)[:3].tolist() == [[0, 4, 8], [1, 5, 9], [2, 6, 10]]


def test_a_grid_has_the_places_that_its_windows_need():
    assert Grid((5, 3), (4, 1), (1, 2)).sizes((8, 7)) == (2 + 4, 7 + 2 * 2)


@pytest.mark.parametrize("limit", [1, 3000, 2**30])
def test_the_size_of_the_groups_changes_nothing(limit, monkeypatch):
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 4, 2, stride=2), nn.MaxPool2d(3, 1)),
        *(nn.Flatten(), nn.Linear(4, 3)),
    )
    form = dense(network, 15)
    images = torch.randn(2, 1, 26, 30)
    expected = form(images)
    monkeypatch.setattr(programs, "GROUP_BYTES", limit)
    groups = []
    together = programs._together
    monkeypatch.setattr(
        programs, "_together", lambda group: groups.append(len(group)) or together(group)
    )
    with torch.no_grad():
        assert torch.allclose(form(images), expected, atol=1e-6)
    assert max(groups) == (1 if limit == 1 else 4)


def test_a_value_that_is_read_later_keeps_the_fragments_together():
    single = Grid((1, 1), (1, 1), (1, 1))
    parted = single._replace(fragments=(2, 2))
    slide = Slide((1, 1), (1, 1), (2, 2), "take")
    steps = [
        Step((0,), 1, single, torch.relu),
        Step((1,), 2, parted, slide),
        Step((1,), 3, parted, slide),
        Step((2, 3), 4, parted, torch.add),
        Step((4,), 5, parted, slide._replace(stride=(1, 1))),
        Step((5,), 6, parted, rows),
    ]
    steps.insert(1, Step((1,), 7, single, torch.neg))  # which no one reads
    program = Program(steps, 2, 1)
    assert [step.is_waist for step in steps] == [True, False, False, False, True, True, True]
    assert [step.last_reads for step in steps[:5]] == [(0,), (), (), (1,), (2, 3)]
    images = torch.randn(2, 1, 3, 5)
    for at_once in (False, True):
        answers = program.run(images, (3, 5), at_once=at_once)
        assert torch.equal(answers, 2 * images.relu())
    assert program.rounded((3, 5)) == (4, 6)
