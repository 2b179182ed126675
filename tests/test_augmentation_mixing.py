"""Mixup and CutMix: partners, shares, mixtures by a loop, and the loss of two labels."""

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from striate.augmentation.mixing import beta, mix, partners
from striate.batches import Batch, Mixed, input_spec, training_batches
from striate.display import Silent
from striate.losses import CrossEntropy, MaximumAPosteriori, OneSided, SquaredError
from striate.models import with_defaults
from striate.randomness import integers, uniforms
from striate.recipes import Recipe
from striate.task_making import prepare

RECIPE = Recipe(network="lenet5_relu", data="digits", seed=3)
MANY = torch.arange(4000)


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 3.5])
def test_shares_are_of_scipy_s_beta_distribution(alpha):
    drawn = beta(alpha, RECIPE, 2, MANY, "mixup")
    assert torch.isfinite(drawn).all().item()
    assert 0 <= drawn.min() <= drawn.max() <= 1
    if alpha < 0.1:  # nearly all at the ends, closer than float32 can say
        assert (drawn.minimum(1 - drawn) < 0.01).float().mean() > 0.9
        assert drawn.mean().item() == pytest.approx(0.5, abs=0.03)
    else:
        assert stats.kstest(drawn.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 0.001


def test_partners_are_drawn_from_the_whole_set_and_not_from_the_batch():
    recipe = RECIPE.replace(mixup=0.2)
    drawn = partners(recipe, 2, MANY, 500)
    assert drawn is not None
    assert len(drawn.unique()) == 500
    assert torch.equal(partners(recipe, 2, MANY[70:71], 500), drawn[70:71])
    assert not torch.equal(partners(recipe, 3, MANY, 500), drawn)
    assert partners(RECIPE, 2, MANY, 500) is None


def test_mixup_blends_values_by_the_share():
    images, others = torch.rand(2, 40, 3, 4, 5)
    mixed, shares = mix(images, others, RECIPE.replace(mixup=0.8), 1, MANY[:40])
    for image, other, result, share in zip(images, others, mixed, shares.tolist(), strict=True):
        assert torch.allclose(result, share * image + (1 - share) * other, atol=1e-6)


@pytest.mark.parametrize("size", [(12, 9), (6, 8, 7)])
def test_cutmix_shows_a_box_of_the_partner_and_counts_its_pixels(size):
    recipe, number = RECIPE.replace(cutmix=1.0), 200
    images, others = torch.zeros(number, 2, *size), torch.ones(number, 2, *size)
    mixed, shares = mix(images, others, recipe, 1, MANY[:number])
    kept = beta(1.0, recipe, 1, MANY[:number], "cutmix").tolist()
    places = integers(3, 1, MANY[:number], "cutmix place", len(size), torch.tensor(size)).tolist()
    for result, share, own, place in zip(mixed, shares.tolist(), kept, places, strict=True):
        expected = torch.zeros(2, *size)
        region = [slice(None)]
        for middle, length in zip(place, size, strict=True):
            side = int(length * (1 - own) ** (1 / len(size)))
            region.append(slice(max(middle - side // 2, 0), middle + side // 2))
        expected[tuple(region)] = 1
        assert torch.equal(result, expected)
        assert share == pytest.approx(1 - expected.mean().item(), abs=1e-6)


def test_beside_one_another_half_the_images_have_either():
    recipe = RECIPE.replace(mixup=1.0, cutmix=1.0)
    images, others = torch.zeros(1000, 1, 8, 8), torch.ones(1000, 1, 8, 8)
    mixed, shares = mix(images, others, recipe, 1, MANY[:1000])
    boxed = ((mixed == 0) | (mixed == 1)).flatten(1).all(dim=1)
    assert 440 < boxed.sum() < 560
    assert torch.allclose(1 - mixed.flatten(1).mean(dim=1), shares, atol=1e-6)


@pytest.mark.parametrize("changes", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1, "cutmix": 1}])
def test_an_image_is_mixed_the_same_in_any_batch_with_its_partner_as_that_is(part, changes):
    seen = []
    for batch_size in (51, 7):
        recipe = Recipe(
            network="lecun1990", data="bars", batch_size=batch_size, flip=True, crop_padding=2,
            noise=0.1, **changes,
        )  # fmt: skip
        spec = input_spec(part.images, (0, 255), (1, 28, 28), recipe)
        batches = list(training_batches(part, (0, 255), spec, recipe, 2))
        order = torch.cat([batch.indices for batch in batches]).argsort()
        images = torch.cat([batch.images for batch in batches])[order]
        targets = torch.cat([batch.mixed.targets for batch in batches])[order]
        shares = torch.cat([batch.mixed.shares for batch in batches])[order]
        seen.append((images, targets, shares))
    for one, other in zip(*seen, strict=True):
        assert torch.equal(one, other)
    images, targets, shares = seen[0]
    others = partners(recipe, 2, torch.arange(51), 51)
    assert torch.equal(targets, part.targets[others])
    plain = recipe.replace(mixup=0, cutmix=0, batch_size=51)
    batch = next(training_batches(part, (0, 255), spec, plain, 2))
    assert batch.mixed is None
    alone = batch.images[batch.indices.argsort()]
    expected = mix(alone, alone[others], recipe, 2, torch.arange(51))
    assert torch.equal(images, expected.images)
    assert torch.equal(shares, expected.shares)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_is_that_of_cross_entropy_with_soft_labels(smoothing):
    recipe = with_defaults(RECIPE.replace(mixup=0.2, label_smoothing=smoothing, epochs=1))
    task = prepare(recipe, recipe.model_fields_set, Silent()).task
    logits = torch.randn(6, 10, requires_grad=True)
    targets, others = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]])
    shares = torch.tensor([0.9, 0.2, 0.5, 1.0, 0.3, 0.0])
    batch = Batch(MANY[:6], torch.zeros(0), targets, mixed=Mixed(others, shares))
    loss = task.loss(logits, batch)
    (ours,) = torch.autograd.grad(loss, logits)
    soft = shares[:, None] * F.one_hot(targets, 10) + (1 - shares[:, None]) * F.one_hot(others, 10)
    soft = (1 - smoothing) * soft + smoothing / 10
    expected = -(soft * logits.log_softmax(dim=1)).sum(dim=1).mean()
    (theirs,) = torch.autograd.grad(expected, logits)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_the_target_with_the_larger_share_is_right():
    recipe = with_defaults(RECIPE.replace(mixup=0.2, epochs=1))
    task = prepare(recipe, recipe.model_fields_set, Silent()).task
    logits = 5.0 * F.one_hot(torch.tensor([2, 2, 2, 2]), 10)
    mixed = Mixed(torch.tensor([2, 2, 7, 7]), torch.tensor([0.4, 0.6, 0.4, 0.4]))
    batch = Batch(MANY[:4], torch.zeros(0), torch.tensor([1, 1, 2, 2]), mixed=mixed)
    assert task.mistakes(logits, batch) == (3, 4)


@pytest.mark.parametrize(
    "loss", [CrossEntropy(), CrossEntropy(0.2), MaximumAPosteriori(3.0), SquaredError(), OneSided()]
)
def test_losses_of_each_image_average_to_the_loss(loss):
    logits, targets = torch.randn(7, 5), torch.tensor([0, 4, 2, 2, 1, 3, 0])
    each = loss.each(logits, targets)
    assert each.shape == (7,)
    assert each.mean().item() == pytest.approx(loss(logits, targets).item(), rel=1e-6)
    alone = loss(logits[2:3], targets[2:3]).item()
    assert each[2].item() == pytest.approx(alone, rel=1e-6)


def test_both_ways_are_drawn_by_numbers_of_their_own():
    recipe = RECIPE.replace(mixup=1.0, cutmix=1.0)
    one = beta(1.0, recipe, 1, MANY, "mixup")
    other = uniforms(3, 1, MANY, "cutmix or mixup", 1)[:, 0]
    assert torch.corrcoef(torch.stack([one, other]))[0, 1].abs() < 0.06
