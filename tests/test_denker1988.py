"""Denker's preprocessing against loops, sets, scipy, and every small image there is."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.nn import functional

from striate.datasets.usps import read_usps_part
from striate.models.denker1988 import (
    HEIGHT,
    INK,
    NUM_FEATURES,
    WIDTH,
    Denker1988,
    coarse_blocks,
    combine,
    extract_features,
    find_shear,
    fire,
    scale_and_deskew,
    skeletonize,
)
from striate.models.denker1988_templates import feature_templates, map_rules

EIGHT = np.ones((3, 3))


@pytest.fixture(scope="module")
def digits(request):
    """The first 120 real digits of the test part, (120, 16, 16), ink 1."""
    folder = request.getfixturevalue("usps")
    return (read_usps_part(folder / "zip.test.gz", num_classes=10).images[:120, 0] + 1) / 2


@st.composite
def strokes(draw) -> torch.Tensor:
    """A blank page of 16x16 with up to five straight strokes, 1 to 3 pixels thick."""
    page = torch.zeros(16, 16)
    for _ in range(draw(st.integers(1, 5))):
        ends = [draw(st.integers(2, 13)) for _ in range(4)]
        thick = draw(st.integers(1, 3))
        for t in np.linspace(0, 1, 40):
            row = round(ends[0] + t * (ends[2] - ends[0]))
            column = round(ends[1] + t * (ends[3] - ends[1]))
            page[row : row + thick, column : column + thick] = 1
    return page


def num_components(image: torch.Tensor) -> int:
    return ndimage.label(image.numpy(), EIGHT)[1]


def num_holes(image: torch.Tensor) -> int:
    return ndimage.label(~np.pad(image.numpy(), 1))[1] - 1


# ---------------------------------------------------------------- scaling and deskewing


def xy_moment(ink: torch.Tensor, shear: float, middle: float) -> tuple[float, float]:
    """XY moment of the pixels' centres after the shear, and the YY moment, by a plain loop."""
    points = [
        (column - shear * (row - middle), row) for row, column in ink.nonzero().double().tolist()
    ]
    center_x, center_y = np.mean(points, axis=0)
    xy = sum((x - center_x) * (y - center_y) for x, y in points)
    return xy, sum((y - center_y) ** 2 for _, y in points)


@given(strokes())
@settings(deadline=None, max_examples=50)
def test_after_the_shear_the_xy_moment_is_zero(page):
    ink = page >= INK
    shear, middle = find_shear(ink[None])
    xy, yy = xy_moment(ink, float(shear[0]), float(middle[0]))
    assert abs(xy) <= 1e-9 * max(yy, 1)


def test_a_slanted_stroke_stands_upright_after_resampling():
    page = torch.zeros(1, 28, 28)
    for row in range(4, 24):
        page[0, row, 22 - row // 2 : 26 - row // 2] = 1
    fitted = scale_and_deskew(page)
    xy, yy = xy_moment(fitted[0], 0.0, 0.0)
    assert abs(xy / yy) < 0.02
    assert abs(float(find_shear(page >= INK)[0])) > 0.4


@given(strokes())
@settings(deadline=None, max_examples=80)
def test_a_digit_touches_one_pair_of_edges_and_is_centred_in_the_other(page):
    rows, columns = np.nonzero(scale_and_deskew(page[None])[0].numpy())
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    assert (top, bottom) == (0, HEIGHT - 1) or (left, right) == (0, WIDTH - 1)
    assert abs(top - (HEIGHT - 1 - bottom)) <= 1
    assert abs(left - (WIDTH - 1 - right)) <= 1


def test_all_real_digits_touch_too_and_proportions_are_kept(usps):
    for part in ("train", "test"):
        found = read_usps_part(usps / f"zip.{part}.gz", num_classes=10)
        for chunk in ((found.images[:, 0] + 1) / 2).split(500):
            fitted = scale_and_deskew(chunk)
            rows, columns = fitted.any(dim=2), fitted.any(dim=1)
            assert ((rows[:, 0] & rows[:, -1]) | (columns[:, 0] & columns[:, -1])).all()
    wide = torch.zeros(1, 16, 16)
    wide[0, 5:10, 1:15] = 1
    height = int(scale_and_deskew(wide)[0].any(dim=1).sum())
    assert height == pytest.approx(5 * WIDTH / 14, abs=1)


def test_grey_is_ink_from_0_4_on():
    bar = torch.zeros(1, 16, 16)
    bar[0, 2:14, 5:9] = 1
    assert not scale_and_deskew(0.39 * bar).any()
    assert torch.equal(scale_and_deskew(0.41 * bar).any(dim=2), torch.ones(1, 32).bool())


def test_a_blank_page_stays_blank_and_disturbs_no_neighbour(digits):
    batch = torch.stack([torch.zeros(16, 16), digits[3]])
    fitted = scale_and_deskew(batch)
    assert not fitted[0].any()
    assert torch.equal(fitted[1], scale_and_deskew(digits[3:4])[0])


@st.composite
def thin_lines(draw) -> torch.Tensor:
    """A page of a side of 16 to 64 with one straight line, a pixel wide."""
    side = draw(st.integers(16, 64))
    page, place = torch.zeros(side, side), st.integers(0, side - 1)
    (top, left), (bottom, right) = draw(
        st.tuples(st.tuples(place, place), st.tuples(place, place)).filter(
            lambda ends: max(abs(ends[0][0] - ends[1][0]), abs(ends[0][1] - ends[1][1])) >= 4
        )
    )
    length = max(abs(bottom - top), abs(right - left))
    for step in range(length + 1):
        row, column = (
            round(start + (end - start) * step / length)
            for start, end in ((top, bottom), (left, right))
        )
        page[row, column] = 1
    return page


def flat_line(side: int) -> torch.Tensor:
    page = torch.zeros(side, side)
    page[side // 3, 2:-2] = 1
    return page


@given(thin_lines())
@example(flat_line(28))
@example(flat_line(28).T.contiguous())
@example(flat_line(48))
@example(flat_line(64).T.contiguous())
@settings(deadline=None, max_examples=150)
def test_a_line_one_pixel_wide_keeps_its_ink_and_has_no_gap(page):
    fitted = scale_and_deskew(page[None])[0]
    touched = []
    for occupied in (fitted.any(dim=1), fitted.any(dim=0)):
        places = occupied.nonzero()[:, 0]
        assert len(places) > 0
        assert len(places) == places[-1] - places[0] + 1
        touched.append(bool(occupied[0] & occupied[-1]))
    assert any(touched)


def test_on_a_larger_page_a_thin_line_stays_and_a_digit_keeps_its_form(digits):
    assert scale_and_deskew(flat_line(301)[None]).any(dim=1).all()
    shapes = [
        digits,
        functional.interpolate(digits[:, None], scale_factor=5, mode="bilinear")[:, 0],
    ]
    own, large = map(scale_and_deskew, shapes)
    assert (own & large).sum() > 0.75 * (own | large).sum()


def test_images_that_have_channels_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 1, 16, 16\); needed is \(N, H, W\)"):
        extract_features(torch.zeros(2, 1, 16, 16))


# ---------------------------------------------------------------- skeleton


@given(strokes())
@settings(deadline=None, max_examples=80)
def test_a_skeleton_has_the_components_and_holes_of_its_strokes_and_no_ink_of_its_own(page):
    ink = page >= INK
    thin = skeletonize(ink[None])[0]
    assert num_components(thin) == num_components(ink)
    assert num_holes(thin) == num_holes(ink)
    assert not (thin & ~ink).any()
    assert torch.equal(skeletonize(thin[None])[0], thin)


def test_skeletons_of_real_digits_keep_components_and_holes_and_are_thin(digits):
    fitted = scale_and_deskew(digits)
    thin = skeletonize(fitted)
    for before, after in zip(fitted, thin, strict=True):
        assert num_components(after) == num_components(before)
        assert num_holes(after) == num_holes(before)
    assert not (thin & ~fitted).any()
    assert torch.equal(skeletonize(thin), thin)
    blocks = torch.nn.functional.avg_pool2d(thin[:, None].float(), 2, stride=1) == 1
    assert blocks.sum() <= 0.01 * thin.sum()  # two pixels thick at a few crossings


def test_every_image_of_4x5_keeps_its_components_and_holes():
    """All 1,048,576 of them, whole skeletons, side by side on one page for scipy."""
    for part in torch.arange(2**20).split(2**17):
        images = (part[:, None] >> torch.arange(20) & 1).bool().view(-1, 4, 5)
        framed = torch.nn.functional.pad(images, (1, 1, 1, 1))
        thin = skeletonize(framed)
        assert not (thin & ~framed).any()
        assert (counts_per_image(framed, EIGHT) == counts_per_image(thin, EIGHT)).all()
        # A component that vanishes while another splits would not change the count.
        page, after = (one.permute(1, 0, 2).flatten(1).numpy() for one in (framed, thin))
        labels, number = ndimage.label(page, EIGHT)
        assert len(np.unique(labels[after])) == number
        paper = [counts_per_image(walled(~one), None) for one in (framed, thin)]
        assert (paper[0] == paper[1]).all()


def walled(images: torch.Tensor) -> torch.Tensor:
    """A column without paper after each image, so that neighbours' paper is not connected."""
    return torch.nn.functional.pad(images, (0, 1))


def counts_per_image(images: torch.Tensor, structure: np.ndarray | None) -> np.ndarray:
    page = images.permute(1, 0, 2).flatten(1).numpy()
    labels, _ = ndimage.label(page, structure)
    found, first = np.unique(labels.ravel(), return_index=True)
    owner = first[found > 0] % page.shape[1] // images.shape[2]
    return np.bincount(owner, minlength=len(images))


@pytest.mark.parametrize("turned", [False, True])
def test_a_stroke_two_pixels_wide_loses_one_side_and_at_most_a_pixel_of_its_ends(turned):
    page = torch.zeros(1, 14, 14, dtype=torch.bool)
    page[0, 2:12, 6:8] = True
    thin = skeletonize(page.mT if turned else page)[0]
    thin = thin.T if turned else thin
    assert thin.any(dim=0).sum() == 1
    assert thin.sum() >= 8


def test_a_line_one_pixel_wide_is_left_alone():
    page = torch.zeros(1, 9, 9, dtype=torch.bool)
    page[0, 4, 1:8] = True
    diagonal = torch.eye(9, dtype=torch.bool)[None]
    for line in (page, page.mT, diagonal, diagonal.flip(2)):
        assert torch.equal(skeletonize(line), line)


# ---------------------------------------------------------------- templates, maps, blocks


def test_templates_fire_where_a_loop_says(digits):
    thin = skeletonize(scale_and_deskew(digits[:3]))
    kernels, thresholds = feature_templates()
    fired = fire(thin, feature_templates())
    assert fired.shape == (3, 49, 32, 20)
    page = np.pad(thin[1].numpy(), 3)
    for place in (0, 5, 20, 33, 47, 48):
        kernel = kernels[place, 0].numpy()
        for row in range(32):
            for column in range(20):
                total = (page[row : row + 7, column : column + 7] * kernel).sum()
                assert bool(fired[1, place, row, column]) == (total > float(thresholds[place]))


def test_maps_are_the_unions_and_intersections_of_their_rules(digits):
    fired = fire(skeletonize(scale_and_deskew(digits[5:7])), feature_templates())
    places = [set(map(tuple, fired[1, place].nonzero().tolist())) for place in range(49)]
    maps = combine(fired, map_rules())
    assert maps.shape == (2, 18, 32, 20)
    for rule, one in zip(map_rules(), maps[1], strict=True):
        wanted = set().union(*(set.intersection(*(places[t] for t in group)) for group in rule))
        assert set(map(tuple, one.nonzero().tolist())) == wanted


def test_coarse_blocks_are_roots_of_shares_three_wide_and_five_high():
    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(2, 18, 32, 20, generator=generator) < 0.1
    blocks = coarse_blocks(maps)
    assert blocks.shape == (2, 18, 5, 3)
    for row in range(5):
        for column in range(3):
            top, bottom = 32 * row // 5, -(-32 * (row + 1) // 5)
            left, right = 20 * column // 3, -(-20 * (column + 1) // 3)
            share = maps[1, 7, top:bottom, left:right].double().mean()
            assert float(blocks[1, 7, row, column]) == pytest.approx(float(share.sqrt()), abs=1e-6)


def test_a_digit_gives_270_values_whatever_else_is_in_the_batch(digits):
    features = extract_features(digits)
    assert features.shape == (120, 270)
    assert NUM_FEATURES == 270
    assert 0 <= features.min() <= features.max() <= 1
    assert torch.equal(extract_features(digits[17:18])[0], features[17])


def test_the_network_has_11_250_weights_and_its_rival_10_690():
    count = lambda network: sum(p.numel() for p in network.parameters())  # noqa: E731
    assert count(Denker1988()) == 11_250
    assert count(Denker1988(in_features=256)) == 10_690
    assert Denker1988()(torch.zeros(7, 270)).shape == (7, 10)
