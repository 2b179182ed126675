"""The ISBI 2012 challenge's measures: by scikit-image, by loops, by hand, on real membranes."""

import time
from collections import deque

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage.measure import label
from skimage.metrics import adapted_rand_error, variation_of_information
from skimage.segmentation import watershed
from sklearn.metrics.cluster import pair_confusion_matrix

from striate.membrane_metrics import (
    THRESHOLDS,
    membrane_scores,
    splits_and_mergers,
    thin,
    warp,
)


def cells(text):
    """A truth from rows of text, where . is membrane."""
    return np.array([[letter != "." for letter in row] for row in text.split()])


def noisy(truth, seed=0, blur=1.5, noise=0.9):
    """What a network might answer of a truth, in [0, 1]."""
    generator = np.random.default_rng(seed)
    soft = ndimage.gaussian_filter(truth + generator.normal(0, noise, truth.shape), blur)
    return np.clip(soft, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def membranes():
    """A small truth like a micrograph's: the borders between the nearest of some points."""
    generator = np.random.default_rng(2)
    points = generator.uniform(0, 70, (12, 2))
    grid = np.indices((61, 70)).reshape(2, -1).T
    nearest = np.linalg.norm(grid[:, None] - points, axis=2).argmin(axis=1).reshape(61, 70)
    flat = ndimage.maximum_filter(nearest, 3) == ndimage.minimum_filter(nearest, 3)
    return flat, noisy(flat)


# ---------------------------------------------------------------- pairs and information


def pair_score(true, segments):
    """F of pairs by scikit-learn, which leaves out those of a pixel with itself."""
    one, other = singled(true, segments)
    pairs = pair_confusion_matrix(one, other)
    both = pairs[1, 1] + len(one)
    return 2 * both / (2 * both + pairs[0, 1] + pairs[1, 0])


def singled(truth, segments):
    """Labels of the true cells' pixels, each pixel without a segment a segment of its own."""
    inside = truth > 0
    given = segments[inside].astype(np.int64)
    lonely = given == 0
    given[lonely] = segments.max() + 1 + np.arange(lonely.sum())
    return truth[inside], given


def test_membrane_in_a_cell_is_as_many_segments_as_pixels(membranes):
    truth, probability = membranes
    scores = membrane_scores([probability], [truth])
    true = label(truth, connectivity=1)
    errors, rands, infos = [], [], []
    for threshold in THRESHOLDS:
        segments = label(probability > threshold, connectivity=1)
        errors.append(1 - pair_score(true, segments))
        near, _, _ = adapted_rand_error(*singled(true, segments), ignore_labels=())
        assert errors[-1] == pytest.approx(near, abs=5e-3)
        thinned = thin(segments.astype(np.int32))
        rands.append(pair_score(true, thinned))
        pair = singled(true, thinned)
        split, merge = variation_of_information(*pair, ignore_labels=())
        shares = [np.unique(each, return_counts=True)[1] / len(each) for each in pair]
        own = [-(share * np.log2(share)).sum() for share in shares]
        # Twice what both have in common, over what they have each.
        infos.append((sum(own) - split - merge) / sum(own))
    assert scores["rand_error"] == pytest.approx(min(errors), rel=1e-9)
    assert scores["v_rand"] == pytest.approx(max(rands), rel=1e-9)
    assert scores["v_info"] == pytest.approx(max(infos), rel=1e-9)
    best = scores["thresholds"]
    assert best["rand_error"] == THRESHOLDS[int(np.argmin(errors))]
    assert best["v_rand"] == THRESHOLDS[int(np.argmax(rands))]
    assert best["v_info"] == THRESHOLDS[int(np.argmax(infos))]


def test_pairs_add_over_slices_and_thinned_scores_are_averaged():
    whole, parted = cells("aaaaaaa aaaaaaa"), cells("aaa.bbb aaa.bbb")
    # In the first slice all is right; in the second two cells of 6 are taken for one.
    scores = membrane_scores([whole * 1.0, np.ones((2, 7))], [whole, parted])
    pairs = [14**2, 6**2 + 6**2]
    f = 2 * sum(pairs) / (sum(pairs) + 14**2 + 12**2)
    assert scores["rand_error"] == pytest.approx(1 - f)
    assert scores["v_rand"] == pytest.approx((1 + 2 * pairs[1] / (pairs[1] + 12**2)) / 2)
    assert scores["v_info"] == pytest.approx((1 + 0) / 2)
    assert scores["pixel_error"] == pytest.approx(1 - 2 * 26 / (28 + 26))


def test_thick_membranes_cost_rand_error_and_not_v_rand():
    truth = cells("aaaaa.bbbbb " * 4)
    thick = ndimage.binary_erosion(truth, iterations=1, border_value=1)
    scores = membrane_scores([thick.astype(float)], [truth])
    assert scores["rand_error"] > 0.2
    assert scores["v_rand"] == scores["v_info"] == 1
    assert scores["warping_error"] == 0


def test_slices_without_a_cell():
    nothing = np.zeros((4, 5), bool)
    scores = membrane_scores([np.zeros((4, 5))], [nothing])
    assert scores["rand_error"] is scores["v_rand"] is scores["v_info"] is None
    assert scores["pixel_error"] == scores["warping_error"] == 0
    truth = cells("aa.bb")
    alone = membrane_scores([truth * 1.0], [truth])
    both = membrane_scores([truth * 1.0, np.zeros((4, 5))], [truth, nothing])
    assert both["v_rand"] == alone["v_rand"] == 1


def test_pixel_error_is_at_its_best_threshold(membranes):
    truth, probability = membranes
    dices = [
        2 * (truth & (probability > t)).sum() / (truth.sum() + (probability > t).sum())
        for t in THRESHOLDS
    ]
    scores = membrane_scores([probability], [truth])
    assert scores["pixel_error"] == pytest.approx(1 - max(dices))
    assert scores["thresholds"]["pixel_error"] == THRESHOLDS[int(np.argmax(dices))]


# ---------------------------------------------------------------- thinning


def flooded(segments):
    """Vincent and Soille's flooding of a flat ground from its basins, four neighbours, a queue."""
    labels = np.where(segments > 0, segments, -1)
    height, width = labels.shape

    def beside(y, x):
        steps = ((y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x))
        return [(v, u) for v, u in steps if 0 <= v < height and 0 <= u < width]

    queue = deque(
        (y, x)
        for y, x in np.argwhere(labels < 0).tolist()
        if any(labels[place] > 0 for place in beside(y, x))
    )
    queued = {*queue}
    while queue:
        y, x = queue.popleft()
        around = {int(labels[place]) for place in beside(y, x)} - {-1, 0}
        labels[y, x] = around.pop() if len(around) == 1 else 0
        for place in beside(y, x):
            if labels[place] < 0 and place not in queued:
                queued.add(place)
                queue.append(place)
    return np.maximum(labels, 0)


def test_thinned_membranes_are_lines_that_part_the_same_segments(membranes):
    truth, _ = membranes
    segments = label(ndimage.binary_erosion(truth, iterations=2), connectivity=1).astype(np.int32)
    thinned = thin(segments)
    assert (thinned[segments > 0] == segments[segments > 0]).all()
    apart = label(thinned > 0, connectivity=1)
    assert apart.max() == segments.max()
    for axis in (0, 1):
        one, other = (np.delete(thinned, end, axis) for end in (-1, 0))
        assert ((one == other) | (one == 0) | (other == 0)).all()
    lines = (thinned == 0).mean()
    assert 0.02 < lines < 0.2
    # No line is two wide: no square of 3x3 is all line.
    assert not ndimage.binary_erosion(thinned == 0, np.ones((3, 3))).any()


def test_two_fronts_that_meet_leave_a_line_one_wide():
    for gap in range(1, 6):
        row = np.array([[1, *gap * [0], 2]], np.int32)
        assert (thin(row) == 0).sum() == 1
        assert (thin(row[:, ::-1].copy().T) == 0).sum() == 1


def test_cell_is_what_is_above_the_threshold_not_at_it():
    truth = cells("aaa.bbb aaa.bbb")
    scores = membrane_scores([truth * 1e-3], [truth])
    assert scores["pixel_error"] == scores["rand_error"] == scores["warping_error"] == 0
    assert {*scores["thresholds"].values()} == {0}


def test_thinning_nothing_and_all():
    assert thin(np.zeros((3, 4), np.int32)).tolist() == np.zeros((3, 4)).tolist()
    assert thin(np.full((3, 4), 7, np.int32)).tolist() == np.full((3, 4), 7).tolist()
    corner = np.zeros((3, 4), np.int32)
    corner[0, 0] = 5
    assert thin(corner).tolist() == np.full((3, 4), 5).tolist()


def test_thinning_scores_as_a_queue_and_as_scikit_images_watershed(isbi2012):
    truths = tifffile.imread(isbi2012 / "train-labels.tif")[:2] > 0
    for seed, truth in enumerate(truths[:, :256, :256]):
        true = label(truth, connectivity=1)
        probability = noisy(truth, seed, 2)
        segments = label(probability > 0.75, connectivity=1).astype(np.int32)
        ours = pair_score(true, thin(segments))
        assert ours == pytest.approx(pair_score(true, flooded(segments)), abs=2e-3)
        ground = np.zeros(segments.shape)
        theirs = watershed(ground, segments, connectivity=1, watershed_line=True)
        assert ours == pytest.approx(pair_score(true, theirs), abs=5e-3)
        assert ours - pair_score(true, segments) > 0.05


# ---------------------------------------------------------------- warping


def topology(inside):
    """Numbers of cells (four neighbours) and of membranes (eight), the image's outside one."""
    return label(inside, connectivity=1).max(), label(~np.pad(inside, 1), connectivity=2).max()


def test_a_bent_truth_keeps_its_topology_and_comes_nearer(membranes):
    truth, probability = membranes
    for threshold in (0.3, 0.5, 0.8):
        answer = probability > threshold
        bent = warp(truth, probability, threshold)
        assert topology(bent) == topology(truth)
        assert (bent != answer).sum() < (truth != answer).sum()
        # Nothing that could be flipped is left: each pixel that differs changes the topology
        # of its surroundings.
        for y, x in np.argwhere(bent != answer).tolist():
            near = np.pad(bent, 1)[y : y + 3, x : x + 3]
            with_, without = near.copy(), near.copy()
            with_[1, 1], without[1, 1] = True, False
            assert surroundings(with_) != surroundings(without)


def surroundings(near):
    """Topology of 3x3 pixels: cells that reach the middle by sides, and membranes around it."""
    inner = label(near, connectivity=1)
    outer = label(~near, connectivity=2)
    sides = inner[[0, 1, 1, 2], [1, 0, 2, 1]]
    own = inner[1, 1]
    return len({*sides.tolist(), own} - {0}), len({*outer.ravel().tolist()} - {0})


def test_a_moved_membrane_is_no_error_and_a_gap_is_one_merger():
    truth = cells("aaaa.bbbbb " * 5)
    moved = np.roll(truth, 1, axis=1)
    assert splits_and_mergers(truth, moved.astype(float), 0.5) == 0
    assert (warp(truth, moved.astype(float), 0.5) == moved).all()
    gap = truth.copy()
    gap[2, 4] = True
    assert splits_and_mergers(truth, gap.astype(float), 0.5) == 1
    wide = truth.copy()
    wide[1:4, 4] = True
    assert splits_and_mergers(truth, wide.astype(float), 0.5) == 3


def test_a_wall_through_a_cell_splits_it_and_a_hole_or_an_island_does_not():
    truth = np.ones((9, 12), bool)
    wall, hole = truth.copy(), truth.copy()
    wall[:, 6] = False
    hole[4, 6] = False
    # The wall grows from both edges until one pixel holds the cell together.
    assert splits_and_mergers(truth, wall.astype(float), 0.5) == 1
    assert splits_and_mergers(truth, hole.astype(float), 0.5) == 0
    nothing = np.zeros((9, 12), bool)
    assert splits_and_mergers(nothing, (~hole).astype(float), 0.5) == 0


def test_a_ring_is_not_split_where_its_ends_meet_within_20_pixels():
    def cut(side):
        ring = np.zeros((side + 4, side + 4), bool)
        ring[2:-2, 2:-2] = True
        ring[3:-3, 3:-3] = False
        answer = ring.copy()
        answer[2, side // 2] = False
        return splits_and_mergers(ring, answer.astype(float), 0.5)

    assert cut(9) == 0
    assert cut(51) == 1


def test_the_surest_pixels_are_flipped_first():
    truth = cells("aaa.bbb " * 3)
    probability = truth * 0.9
    probability[:, 3] = (0.6, 0.95, 0.7)  # a merger in three rows; one row must stay
    bent = warp(truth, probability, 0.5)
    assert not bent[:, 3].any()
    flat = cells("aaaaa aaaaa")
    hole = np.full((2, 5), 0.9)
    hole[:, 2] = (0.1, 0.4)
    assert warp(flat, hole, 0.5).tolist() == cells("aa.aa aaaaa").tolist()


def test_warping_error_is_a_share_of_all_pixels(membranes):
    truth, probability = membranes
    counts = [splits_and_mergers(truth, probability, t) for t in THRESHOLDS]
    scores = membrane_scores([probability, truth * 1.0], [truth, truth])
    assert scores["warping_error"] == pytest.approx(min(counts) / (2 * truth.size))
    assert min(counts) > 0


# ---------------------------------------------------------------- real membranes


def test_a_perfect_answer_has_no_error_and_a_slice_takes_seconds(isbi2012):
    truth = tifffile.imread(isbi2012 / "train-labels.tif")[0] > 0
    started = time.process_time()
    scores = membrane_scores([np.where(truth, 0.95, 0.04)], [truth])
    seconds = time.process_time() - started
    assert [scores[name] for name in ("pixel_error", "rand_error", "warping_error")] == [0, 0, 0]
    assert scores["v_info"] > 0.99
    assert 0.99 < scores["v_rand"] <= 1
    assert seconds < 10
