"""Losses of masks: by the papers' formulas, by loops, and as torch and MONAI compute them."""

import json
import math

import pytest
import torch
from torch.nn import functional as F

from peering import in_peers
from striate.segmentation_losses import (
    FOCUS,
    LOSSES_OF_MASKS,
    SoftDice,
    Sum,
    WeightedCrossEntropy,
    pixel_loss,
)


def drawn(classes=3, size=(2, 5, 7), ignored=0.2, seed=0):
    """Logits (N, K, *spatial), targets with some left out, weights."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(size[0], classes, *size[1:], generator=generator, dtype=torch.float64)
    targets = torch.randint(0, classes, size, generator=generator)
    targets[torch.rand(size, generator=generator) < ignored] = 255
    weights = 0.1 + torch.rand(size, generator=generator, dtype=torch.float64)
    return logits, targets.to(torch.uint8), weights


def by_loop(logits, targets, weights, class_weights=None, focus=0.0):
    """Weighted cross-entropy, a pixel at a time."""
    total = norm = 0.0
    for index in (targets != 255).nonzero().tolist():
        scores = logits[(index[0], slice(None), *index[1:])]
        number = int(targets[tuple(index)])
        share = math.exp(scores[number]) / sum(math.exp(score) for score in scores)
        weight = float(weights[tuple(index)]) * (class_weights or (1.0,) * 9)[number]
        total -= weight * (1 - share) ** focus * math.log(share)
        norm += weight
    return total / norm


# ---------------------------------------------------------------- cross-entropy


@pytest.mark.parametrize("size", [(2, 5, 7), (1, 3, 4, 5)])
@pytest.mark.parametrize("class_weights", [None, (0.2, 1.0, 3.0)])
@pytest.mark.parametrize("focus", [0.0, FOCUS])
def test_cross_entropy_is_that_of_a_loop_over_pixels(size, class_weights, focus):
    logits, targets, weights = drawn(size=size)
    loss = WeightedCrossEntropy(class_weights, focus)
    expected = by_loop(logits, targets, weights, class_weights, focus)
    assert float(loss(logits, targets, weights)) == pytest.approx(expected)
    even = by_loop(logits, targets, torch.ones_like(weights), class_weights, focus)
    assert float(loss(logits, targets)) == pytest.approx(even)


def test_cross_entropy_with_weights_of_classes_is_torchs():
    logits, targets, _ = drawn()
    table = (0.5, 2.0, 1.5)
    weights = torch.tensor(table, dtype=torch.float64)
    expected = F.cross_entropy(logits, targets.long(), weight=weights, ignore_index=255)
    assert torch.allclose(WeightedCrossEntropy(table)(logits, targets), expected)


def test_the_scale_of_weights_does_not_matter():
    logits, targets, weights = drawn()
    loss = WeightedCrossEntropy()
    assert torch.allclose(loss(logits, targets, weights), loss(logits, targets, 1000 * weights))


def test_focal_loss_weighs_easy_pixels_down():
    logits = torch.tensor([[[4.0, 0.0]], [[0.0, 0.0]]]).view(1, 2, 1, 2)
    targets = torch.zeros(1, 1, 2, dtype=torch.long)
    hard = -math.log(0.5) * 0.5**2
    sure = 1 / (1 + math.exp(-4))
    easy = -math.log(sure) * (1 - sure) ** 2
    focal = pixel_loss("focal")(logits, targets)
    assert float(focal) == pytest.approx((hard + easy) / 2)
    assert easy < 1e-3 * hard


# ---------------------------------------------------------------- Dice


@pytest.mark.parametrize("squared", [True, False])
def test_dice_is_the_papers_formula_averaged_over_the_classes_but_the_first(squared):
    logits, targets, weights = drawn()
    shares = logits.softmax(dim=1)
    dices = []
    for number in (1, 2):
        overlap = both = 0.0
        for index in (targets != 255).nonzero().tolist():
            p = float(shares[(index[0], number, *index[1:])])
            g = float(targets[tuple(index)] == number)
            w = float(weights[tuple(index)])
            overlap += w * p * g
            both += w * ((p * p if squared else p) + g)
        dices.append(2 * overlap / both)
    loss = SoftDice(squared)(logits, targets, weights)
    assert float(loss) == pytest.approx(1 - sum(dices) / 2, abs=1e-6)


def test_the_gradient_of_dice_is_the_v_net_papers():
    logits, targets, _ = drawn(classes=2, size=(1, 4, 3, 5))
    logits.requires_grad_()
    SoftDice()(logits, targets).backward()
    p, g = logits.detach().softmax(dim=1)[:, 1], (targets == 1).double()
    counted = (targets != 255).double()
    overlap = (counted * p * g).sum()
    both = (counted * (p * p + g * g)).sum()
    of_share = counted * 2 * (g * both - 2 * p * overlap) / both**2
    of_logit = -of_share * p * (1 - p)
    assert torch.allclose(logits.grad[:, 1], of_logit, atol=1e-7)
    assert torch.allclose(logits.grad[:, 0], -of_logit, atol=1e-7)
    assert of_logit.abs().max() > 1e-3


def test_a_class_that_is_nowhere_and_is_answered_nowhere_costs_nothing():
    targets = torch.tensor([[[0, 1, 1]]])
    logits = 80 * F.one_hot(targets, 3).movedim(3, 1).float()
    for squared in (True, False):
        assert float(SoftDice(squared)(logits, targets)) == pytest.approx(0, abs=1e-6)
    answered = logits.roll(1, dims=1)
    assert float(SoftDice()(answered, targets)) == pytest.approx(1, abs=1e-6)


MONAI = """
import json
import torch
from monai.losses import DiceLoss
from striate.segmentation_losses import SoftDice

generator = torch.Generator().manual_seed(1)
found = []
for squared in (True, False):
    for size in ((2, 6, 5), (2, 4, 5, 3)):
        logits = torch.randn(size[0], 3, *size[1:], generator=generator, dtype=torch.float64)
        logits.requires_grad_()
        targets = torch.randint(0, 3, size, generator=generator)
        theirs = DiceLoss(
            include_background=False, to_onehot_y=True, softmax=True, squared_pred=squared,
            batch=True, smooth_nr=1e-7, smooth_dr=1e-7,
        )(logits, targets[:, None])
        theirs.backward()
        gradient, logits.grad = logits.grad, None
        ours = SoftDice(squared)(logits, targets)
        ours.backward()
        found.append([ours.item(), theirs.item(), float((logits.grad - gradient).abs().max())])
print(json.dumps(found))
"""


def test_dice_and_its_gradient_are_monais():
    found = json.loads(in_peers(MONAI).splitlines()[-1])
    assert len(found) == 4
    for ours, theirs, difference in found:
        assert ours == pytest.approx(theirs, abs=1e-7)
        assert difference < 1e-7
        assert 0.3 < ours < 0.9


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", LOSSES_OF_MASKS)
def test_what_is_left_out_has_no_part_in_loss_or_gradient(name):
    logits, targets, weights = drawn()
    logits.requires_grad_()
    out = targets == 255
    changed = logits.detach() + 5 * torch.randn(logits.shape) * out[:, None]
    loss = pixel_loss(name)
    value = loss(logits, targets, weights)
    assert torch.allclose(value, loss(changed, targets, weights))
    value.backward()
    gradient = logits.grad.movedim(1, -1)
    assert out.any()
    assert gradient[out].abs().max() == 0
    assert gradient[~out].abs().min() > 0


@pytest.mark.parametrize("name", LOSSES_OF_MASKS)
def test_an_image_without_a_pixel_that_counts_moves_nothing(name):
    logits, targets, _ = drawn()
    logits.requires_grad_()
    value = pixel_loss(name)(logits, torch.full_like(targets, 255))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("name", LOSSES_OF_MASKS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_good_over_a_large_image(name, dtype):
    generator = torch.Generator().manual_seed(3)
    logits = (4 * torch.randn(1, 2, 300, 400, generator=generator)).to(dtype)
    targets = torch.randint(0, 2, (1, 300, 400), generator=generator)
    exact = pixel_loss(name)(logits.double(), targets)
    logits.requires_grad_()
    value = pixel_loss(name)(logits, targets)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    value.backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES_OF_MASKS)
def test_logits_far_apart_give_finite_losses_and_gradients(name):
    logits = torch.tensor([[[300.0, -300.0]], [[-300.0, 300.0]]]).view(1, 2, 1, 2).requires_grad_()
    value = pixel_loss(name)(logits, torch.tensor([[[1, 1]]]))
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


def test_each_name_is_its_loss():
    logits, targets, weights = drawn()
    table = (0.5, 1.0, 2.0)
    entropy = WeightedCrossEntropy(table)
    expected = {
        "cross-entropy": entropy,
        "dice": SoftDice(),
        "dice-plain": SoftDice(squared=False),
        "cross-entropy+dice": Sum((entropy, SoftDice())),
        "focal": WeightedCrossEntropy(table, FOCUS),
    }
    assert expected.keys() == {*LOSSES_OF_MASKS}
    values = {name: float(loss(logits, targets, weights)) for name, loss in expected.items()}
    assert len({*values.values()}) == 5
    assert values["cross-entropy+dice"] == pytest.approx(values["cross-entropy"] + values["dice"])
    for name, value in values.items():
        assert float(pixel_loss(name, table)(logits, targets, weights)) == pytest.approx(value)
