"""Scores of a whole part: one for each image, in order, whatever the batches."""

import pytest
import torch
from torch import nn

from striate import scoring
from striate.batches import input_spec, prepare
from striate.models import build
from striate.recipes import Recipe
from striate.scoring import logits_of

RANGE = (0.0, 255.0)


@pytest.fixture
def spec(part):
    return input_spec(part.images, RANGE, (1, 28, 28), Recipe(network="lecun1990", data="bars"))


@pytest.fixture
def network():
    torch.manual_seed(2)
    return build("lecun1990", 1, 3)


class Brightness(nn.Module):
    """Answers each image with its mean and the number of images it came with; may refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.sizes: list[int] = []
        self.refuses = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.refuses:
            raise RuntimeError("these images are not to my taste")
        self.sizes.append(len(images))
        return self.drop(images.double().mean(dim=(1, 2, 3)))[:, None]


def test_the_logits_are_those_of_each_image_alone(network, part, spec):
    logits = logits_of(network, part.images, RANGE, spec)
    assert (logits.shape, logits.dtype) == ((51, 3), torch.float32)
    alone = [network.eval()(prepare(image[None], RANGE, spec)) for image in part.images]
    assert torch.allclose(logits, torch.cat(alone), atol=1e-5)


def test_order_is_kept_and_no_image_is_lost_or_seen_twice(part, spec, monkeypatch):
    monkeypatch.setattr(scoring, "BATCH_SIZE", 7)
    asked = Brightness()
    logits = logits_of(asked, part.images, RANGE, spec)
    assert asked.sizes == [7] * 7 + [2]
    expected = prepare(part.images, RANGE, spec).mean(dim=(1, 2, 3))
    assert torch.allclose(logits[:, 0], expected, atol=1e-6)
    assert logits.dtype == torch.float32
    backwards = logits_of(asked, part.images.flip(0), RANGE, spec)
    assert torch.equal(backwards.flip(0), logits)


@pytest.mark.parametrize("size", [1, 13, 51, 1000])
def test_the_size_of_the_batches_does_not_matter(network, part, spec, monkeypatch, size):
    whole = logits_of(network, part.images, RANGE, spec)
    monkeypatch.setattr(scoring, "BATCH_SIZE", size)
    cut = logits_of(network, part.images, RANGE, spec)
    assert torch.allclose(cut, whole, rtol=0, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("name", ["lecun1990", "lenet5", "lenet5_relu"])
def test_the_memory_format_does_not_change_the_answers(part, spec, name):
    torch.manual_seed(2)
    network = build(name, 1, 10)
    spec = spec.model_copy(update={"input_size": {"lecun1990": (28, 28)}.get(name, (32, 32))})
    plain = logits_of(network, part.images, RANGE, spec)
    network.to(memory_format=torch.channels_last)
    last = logits_of(network, part.images, RANGE, spec, channels_last=True)
    assert torch.allclose(last, plain, rtol=0, atol=1e-5 * float(plain.abs().max()))


@pytest.mark.parametrize("mode", [True, False])
def test_the_network_is_asked_in_evaluation_mode_and_gets_its_mode_back(part, spec, mode):
    asked = Brightness().train(mode)
    asked.drop.eval()  # as someone does who freezes a layer
    first = logits_of(asked, part.images, RANGE, spec)
    assert (asked.training, asked.drop.training) == (mode, False)
    asked.train(mode)
    assert torch.equal(logits_of(asked, part.images, RANGE, spec), first)
    assert (asked.training, asked.drop.training) == (mode, mode)


def test_the_mode_comes_back_also_when_the_network_refuses(part, spec):
    asked = Brightness()
    asked.refuses = True
    with pytest.raises(RuntimeError, match="not to my taste"):
        logits_of(asked, part.images, RANGE, spec)
    assert asked.training
    assert asked.drop.training


def test_no_gradient_is_kept(network, part, spec):
    assert not logits_of(network, part.images, RANGE, spec).requires_grad
