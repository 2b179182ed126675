"""The templates: how many, how large, which values; and that each fires at what it draws."""

import pytest
import torch

from striate.models.denker1988 import combine, fire
from striate.models.denker1988_templates import (
    MAP_NAMES,
    deletion_templates,
    feature_templates,
    map_rules,
)


def test_there_are_49_templates_of_7x7_with_the_values_of_the_paper():
    kernels, thresholds = feature_templates()
    assert kernels.shape == (49, 1, 7, 7)
    assert set(kernels.unique().tolist()) == {1.0, 0.0, -5.0}
    assert thresholds.shape == (49,)
    assert len({tuple(kernel.flatten().tolist()) for kernel in kernels}) == 49


def test_the_templates_of_the_skeleton_want_and_forbid_with_the_same_values():
    kernels, thresholds = deletion_templates()
    assert kernels.shape == (8, 1, 5, 5)
    assert set(kernels.unique().tolist()) == {1.0, 0.0, -5.0}
    assert (kernels[:, 0, 2, 2] == 1).all()
    assert thresholds.tolist() == [((kernel > 0).sum() - 0.5).item() for kernel in kernels]


def test_left_and_top_are_not_mirrored_by_right_and_bottom():
    kernels = deletion_templates().kernels[:, 0]
    top, left, bottom, right = kernels[0], kernels[1], kernels[3], kernels[4]
    assert not torch.equal(top.flip(0), bottom)
    assert not torch.equal(left.flip(1), right)
    extents = [
        (int(kernel.any(dim=1).sum()), int(kernel.any(dim=0).sum()))
        for kernel in (top, left, bottom, right)
    ]
    assert extents == [(3, 3), (3, 3), (4, 3), (3, 4)]


def test_18_maps_use_all_49_templates():
    rules = map_rules()
    assert len(rules) == len(MAP_NAMES) == 18
    assert {place for rule in rules for group in rule for place in group} == set(range(49))
    assert any(len(group) > 1 for rule in rules for group in rule)  # ANDs
    assert any(len(rule) > 1 for rule in rules)  # ORs


def test_each_template_fires_in_the_middle_of_the_ink_it_draws():
    templates = feature_templates()
    drawn = torch.nn.functional.pad(templates.kernels[:, 0] > 0, (5, 5, 5, 5))
    fired = fire(drawn, templates)
    assert fired[torch.arange(49), torch.arange(49), 8, 8].all()


@pytest.mark.parametrize(
    ("places", "least"),
    [(range(16), 5), (range(16, 32), 3), (range(32, 48), 4), (range(48, 49), 5)],
    ids=["strokes", "rays", "ends", "crowd"],
)
def test_a_template_fires_at_its_least_ink_and_not_at_a_pixel_less(places, least):
    templates = feature_templates()
    for place in places:
        page = torch.zeros(2, 7, 7, dtype=torch.bool)
        wanted = (templates.kernels[place, 0] > 0).nonzero()
        for image, number in zip(page, (least, least - 1), strict=True):
            image[tuple(wanted[:number].T)] = True
        assert fire(page, templates)[:, place, 3, 3].tolist() == [True, False]


@pytest.mark.parametrize(
    ("start", "step", "expected"),
    [
        ((8, 8), (0, 1), "end of a stroke to the right"),
        ((8, 8), (-1, 0), "end of a stroke upwards"),
        ((8, 8), (0, -1), "end of a stroke to the left"),
        ((8, 8), (1, 0), "end of a stroke downwards"),
        ((8, 0), (0, 1), "stroke horizontal"),
        ((16, 0), (-1, 1), "stroke rising"),
        ((0, 8), (1, 0), "stroke vertical"),
        ((0, 0), (1, 1), "stroke falling"),
    ],
)
def test_a_line_through_or_from_the_middle_is_seen_for_what_it_is(start, step, expected):
    page = torch.zeros(1, 17, 17, dtype=torch.bool)
    row, column = start
    while 0 <= row < 17 and 0 <= column < 17:
        page[0, row, column] = True
        row, column = row + step[0], column + step[1]
    maps = combine(fire(page, feature_templates()), map_rules())[0, :, 8, 8]
    seen = {name for name, there in zip(MAP_NAMES, maps.tolist(), strict=True) if there}
    assert expected in seen
    if expected.startswith("end"):
        assert {name for name in seen if name.startswith("end")} == {expected}
    else:  # neighbouring directions overlap, those at a right angle do not
        strokes = [name for name in MAP_NAMES if name.startswith("stroke")]
        assert strokes[strokes.index(expected) - 2] not in seen
    assert not any(name.startswith("arc") for name in seen)


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        (((-1, 1), (1, 1)), "arc open right"),
        (((-1, -1), (-1, 1)), "arc open up"),
        (((-1, -1), (1, -1)), "arc open left"),
        (((1, -1), (1, 1)), "arc open down"),
        (((-1, 0), (0, 1)), "arc open upper right"),
        (((1, 0), (0, -1)), "arc open lower left"),
    ],
)
def test_two_arms_at_a_right_angle_are_an_arc_open_between_them(arms, expected):
    page = torch.zeros(1, 17, 17, dtype=torch.bool)
    for down, across in arms:
        for reach in range(6):
            page[0, 8 + reach * down, 8 + reach * across] = True
    maps = combine(fire(page, feature_templates()), map_rules())[0, :, 8, 8]
    seen = {name for name, there in zip(MAP_NAMES, maps.tolist(), strict=True) if there}
    assert {name for name in seen if name.startswith("arc")} == {expected}
