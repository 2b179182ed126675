"""What a loop works on, where an image has one label."""

import pytest
import torch

from striate.batches import Batch, input_spec, load_training_data, training_batches
from striate.layers import Dropout, tell_dropout
from striate.losses import CrossEntropy
from striate.models import build, find_network, with_defaults
from striate.scoring import logits_of
from striate.tasks import Classification, Measures, loss_for


@pytest.fixture
def task(recipe) -> Classification:
    complete = with_defaults(recipe.replace(batch_size=7, loss="cross-entropy"))
    data = load_training_data(complete)
    shape = find_network(complete.network).input_shape
    spec = input_spec(data.training.images, data.value_range, shape, complete)
    return Classification(complete, spec, data)


def test_it_counts_what_it_was_given(task):
    assert task.num_examples == task.num_training == len(task.training.targets)
    assert task.num_validation == len(task.validation.targets)
    assert task.steps_per_epoch == -(-task.num_examples // 7)
    assert len(task.classes) == 3


def test_its_batches_are_those_of_the_set_from_a_step_on(task):
    wanted = list(training_batches(task.training, task.value_range, task.spec, task.recipe, 2))
    for given, expected in zip(task.batches(2, 3), wanted[3:], strict=True):
        assert torch.equal(given.images, expected.images)
        assert torch.equal(given.indices, expected.indices)


def test_loss_mistakes_and_validation_are_recomputed_plainly(task):
    batch = next(task.batches(0, 0))
    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    assert task.loss(logits, batch) == CrossEntropy()(logits, batch.targets)
    wrong = sum(int(row.argmax()) != int(t) for row, t in zip(logits, batch.targets, strict=True))
    assert task.mistakes(logits, batch) == (wrong, 7)
    network = build(task.recipe.network, 1, 3)
    assert task.form(network) is network
    part = task.validation
    scores = logits_of(network, part.images, task.value_range, task.spec)
    measured = task.validate(network)
    assert measured.loss == pytest.approx(CrossEntropy()(scores, part.targets).item(), rel=1e-5)
    errors = (scores.argmax(1) != part.targets).float().mean().item()
    assert measured.error == pytest.approx(errors)


def test_a_part_of_a_batch_counts_for_its_share(task):
    batch = next(task.batches(0, 0))
    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    first = Batch(*(tensor[:3] for tensor in batch[:3]), whole=7)
    rest = Batch(*(tensor[3:] for tensor in batch[:3]), whole=7)
    assert (batch.num_examples, batch.share, first.num_examples) == (7, 1, 7)
    together = task.loss(logits[:3], first) + task.loss(logits[3:], rest)
    assert together.item() == pytest.approx(task.loss(logits, batch).item())


def test_balanced_classes_weigh_by_the_inverse_of_their_share_of_the_training_images(recipe):
    complete = with_defaults(recipe.replace(loss="cross-entropy", class_weights="balanced"))
    targets = torch.tensor([0, 0, 0, 2, 2, 0])
    loss = loss_for(complete, targets, 3)
    assert loss.class_weights == pytest.approx((3 / 4, 1.0, 3 / 2))
    assert sum(loss.class_weights[target] for target in targets) == pytest.approx(6)
    assert loss_for(complete.replace(class_weights="none"), targets, 3).class_weights is None


def test_without_a_validation_part_there_is_nothing_to_measure(task):
    task.validation = None
    with pytest.raises(ValueError, match="no validation part; set the recipe's validation above 0"):
        task.validate(build(task.recipe.network, 1, 3))


def test_choices_are_made_by_dice_where_there_are_masks_and_by_error_elsewhere():
    assert Measures(0.5, 0.25).score == [0.25, 0.5]
    assert Measures(0.5, 0.25, dice=0.75).score == [0.25, 0.5]
    assert Measures(0.5, 0.01, dice=0.0).score == [1.0, 0.5]


@pytest.mark.parametrize("processes", [2, 3, 8])
def test_shares_of_a_batch_are_its_rows_and_their_dropout_masks_its_masks(task, processes):
    """With eight processes for seven images, and fewer in the last batch, some have none."""
    whole = list(task.batches(1, 0))
    shares = [list(task.batches(1, 0, (place, processes))) for place in range(processes)]
    layer = Dropout(0.5)
    for step, batch in enumerate(whole):
        parts = [batches[step] for batches in shares]
        for name in ("indices", "images", "targets"):
            together = torch.cat([getattr(part, name) for part in parts])
            assert torch.equal(together, getattr(batch, name)), name
        assert {part.num_examples for part in parts} == {len(batch.targets)}
        assert sum(part.share for part in parts) == pytest.approx(1)
        masks = []
        for part in (batch, *parts):
            tell_dropout([layer], seed=3, epoch=1, indices=part.indices)
            masks.append(layer(torch.ones(len(part.targets), 2, 5, 3)))
        assert torch.equal(torch.cat(masks[1:]), masks[0])
    if processes == 8:
        assert len(shares[0][0].targets) == 0
