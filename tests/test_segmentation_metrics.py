"""Metrics of masks: by scikit-learn and MONAI, by loops over pixels, by hand."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score

from peering import in_peers
from striate.datasets import load_masks
from striate.segmentation_metrics import count_pixels, mask_report, mean_dice, surface_report

CLASSES = ("ground", "disc", "ring", "never")


def scene(seed=0, size=(23, 31), ignored=True):
    """A mask with a disc and a ring, and an answer that is a little off."""
    generator = np.random.default_rng(seed)
    grid = np.indices(size)
    middle = np.array(size).reshape(-1, *(1,) * len(size)) / 2
    far = np.sqrt(((grid - middle) ** 2).sum(axis=0))
    mask = np.zeros(size, np.uint8)
    mask[far < min(size) * 0.45] = 2
    mask[far < min(size) * 0.25] = 1
    labels = np.roll(mask, 2, axis=-1)
    labels[generator.random(size) < 0.02] = 1
    if ignored:
        mask[..., :4] = 255
    return torch.from_numpy(labels), torch.from_numpy(mask)


# ---------------------------------------------------------------- counts


def test_counts_are_scikit_learns_and_add_over_images():
    labels, mask = scene()
    counted = mask != 255
    counts = count_pixels(labels, mask, 4)
    expected = confusion_matrix(mask[counted], labels[counted], labels=range(4))
    assert counts.tolist() == expected.tolist()
    top = count_pixels(labels[:9], mask[:9], 4)
    assert torch.equal(top + count_pixels(labels[9:], mask[9:], 4), counts)


def test_dice_and_iou_are_scikit_learns():
    labels, mask = scene()
    counted = mask != 255
    truth, given = mask[counted].numpy(), labels[counted].numpy()
    counts = count_pixels(labels, mask, 4)
    report = mask_report(counts, CLASSES)
    f1 = f1_score(truth, given, average=None, labels=range(3))
    iou = jaccard_score(truth, given, average=None, labels=range(3))
    assert list(report["dice"].values())[:3] == pytest.approx(f1.tolist())
    assert list(report["iou"].values())[:3] == pytest.approx(iou.tolist())
    assert report["pixel_error"] == pytest.approx((truth != given).mean())
    assert report["mean_dice"] == pytest.approx(f1[1:].mean())
    assert report["mean_iou"] == pytest.approx(iou[1:].mean())
    assert mean_dice(counts) == pytest.approx(report["mean_dice"])
    assert 0.5 < report["mean_iou"] < report["mean_dice"] < 0.95


def test_a_class_that_is_nowhere_has_no_figures_and_one_that_is_only_answered_has_0():
    report = mask_report(torch.tensor([[7, 2, 0], [0, 0, 0], [0, 0, 0]]), ("a", "b", "c"))
    assert report["dice"] == {"a": 14 / 16, "b": 0, "c": None}
    assert report["iou"] == {"a": 7 / 9, "b": 0, "c": None}
    assert report["mean_dice"] == report["mean_iou"] == 0
    nothing = mask_report(torch.tensor([[7, 0], [0, 0]]), ("a", "b"))
    assert nothing["mean_dice"] == nothing["mean_iou"] == 1
    assert mask_report(torch.zeros(2, 2, dtype=torch.int64), ("a", "b"))["pixel_error"] == 0


# ---------------------------------------------------------------- surfaces


def plain_distances(one, other, spacing):
    """From each surface pixel of one mask to the nearest of another, all pairs compared."""
    places = []
    for inside in (one, other):
        surface = []
        for place in np.argwhere(inside):
            for axis in range(inside.ndim):
                for step in (-1, 1):
                    beside = place.copy()
                    beside[axis] += step
                    outside = beside.min() < 0 or (beside >= inside.shape).any()
                    if outside or not inside[tuple(beside)]:
                        surface.append(tuple(place * np.array(spacing)))
        places.append(np.array(sorted({*surface})))
    gaps = np.linalg.norm(places[0][:, None] - places[1][None], axis=-1)
    return gaps.min(axis=1), gaps.min(axis=0), places


@pytest.mark.parametrize(
    ("size", "spacing"), [((23, 31), None), ((23, 31), (1.5, 0.7)), ((9, 13, 11), (2.0, 1.0, 0.6))]
)
def test_surface_figures_are_those_of_all_pairs_of_surface_pixels(size, spacing):
    labels, mask = scene(size=size)
    report = surface_report(labels, mask, CLASSES, spacing, tolerance=1.4)
    counted = (mask != 255).numpy()
    for number, name in ((1, "disc"), (2, "ring")):
        given = (labels == number).numpy() & counted
        there = (mask == number).numpy()
        one, other, places = plain_distances(given, there, spacing or (1.0,) * len(size))
        expected = max(np.percentile(one, 95), np.percentile(other, 95))
        assert report["hausdorff95"][name] == pytest.approx(expected)
        farthest = max(directed_hausdorff(*places)[0], directed_hausdorff(*places[::-1])[0])
        assert report["hausdorff95"][name] <= farthest
        near = (one < 1.4001).sum() + (other < 1.4001).sum()  # 1.4 is two pixels of 0.7
        assert report["surface_dice"][name] == pytest.approx(near / (len(one) + len(other)))
        assert 0 < report["surface_dice"][name] < 1


def test_a_shift_is_its_own_distance_in_the_spacings_unit():
    mask = torch.zeros(40, 40, dtype=torch.uint8)
    mask[10:20, 10:20] = 1
    shifted = mask.roll(3, 0)
    report = surface_report(shifted, mask, ("ground", "square"), (0.5, 2.0))
    assert report["hausdorff95"]["square"] == pytest.approx(1.5)
    near = surface_report(shifted, mask, ("ground", "square"), (0.5, 2.0), tolerance=1.5)
    assert near["surface_dice"]["square"] == 1
    assert report["surface_dice"]["square"] < 1


def test_an_object_at_the_images_edge_has_a_surface_there():
    mask = torch.zeros(6, 6, dtype=torch.uint8)
    mask[:3] = 1
    answer = torch.zeros_like(mask)
    answer[1:3] = 1
    report = surface_report(answer, mask, ("ground", "top"), tolerance=0.5)
    # There: 3 rows of 6 but for the 4 pixels inside; answered: 2 rows of 6, of which row 1 has 4
    # pixels where the mask has none of its surface.
    assert report["surface_dice"]["top"] == pytest.approx((8 + 8) / (14 + 12))


def test_what_is_on_one_side_alone_or_on_none():
    square = torch.zeros(9, 9, dtype=torch.uint8)
    square[2:5, 2:5] = 1
    nothing = torch.zeros_like(square)
    for labels, mask in ((square, nothing), (nothing, square)):
        report = surface_report(labels, mask, ("ground", "square"))
        assert report == {"hausdorff95": {"square": None}, "surface_dice": {"square": 0}}
    none = surface_report(nothing, nothing, ("ground", "square"))
    assert none == {"hausdorff95": {"square": None}, "surface_dice": {"square": None}}


def test_answers_where_the_mask_is_left_out_do_not_count():
    labels, mask = scene()
    other = labels.clone()
    other[mask == 255] = torch.randint(0, 3, (int((mask == 255).sum()),), dtype=torch.uint8)
    assert not torch.equal(other, labels)
    assert surface_report(other, mask, CLASSES) == surface_report(labels, mask, CLASSES)


MONAI = """
import json, sys
import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

found = []
for path in sys.argv[1:]:
    with np.load(path) as file:
        labels, mask, spacing = file["labels"], file["mask"], file["spacing"].tolist()
        tolerance = float(file["tolerance"])
    counted = mask != 255
    given, there = (
        torch.from_numpy(np.stack([(each == k) & counted for k in range(3)]))[None].float()
        for each in (labels, mask)
    )
    far = compute_hausdorff_distance(given, there, percentile=95, spacing=spacing)
    near = compute_surface_dice(given, there, [tolerance, tolerance], spacing=spacing)
    found.append([far[0].tolist(), near[0].tolist()])
print(json.dumps(found))
"""


def test_surface_figures_are_monais(tmp_path, hippocampus):
    part = load_masks("hippocampus", data_dir=hippocampus.parent, parts=("test",)).parts["test"]
    volume = part[0].mask
    moved = torch.from_numpy(ndimage.shift(volume.numpy(), (1, -2, 1), order=0))
    cases = [
        (*scene(), (1.0, 1.0), 1.0),
        (*scene(seed=4, size=(30, 17)), (0.8, 1.7), 2.0),
        (*scene(size=(12, 15, 10)), (3.0, 1.0, 1.2), 1.5),
        (moved, volume, (1.0, 1.0, 1.0), 1.0),
    ]
    paths = []
    for number, (labels, mask, spacing, tolerance) in enumerate(cases):
        paths.append(tmp_path / f"{number}.npz")
        np.savez(paths[-1], labels=labels, mask=mask, spacing=spacing, tolerance=tolerance)
    found = json.loads(in_peers(MONAI, *paths).splitlines()[-1])
    for (labels, mask, spacing, tolerance), (far, near) in zip(cases, found, strict=True):
        ours = surface_report(labels, mask, ("a", "b", "c"), spacing, tolerance=tolerance)
        assert list(ours["hausdorff95"].values()) == pytest.approx(far, rel=1e-5)
        assert list(ours["surface_dice"].values()) == pytest.approx(near, rel=1e-5)
        assert all(math.isfinite(value) and value > 0 for value in far)
