"""The finder: no trace left, the same answer twice, suggestions where the curve says."""

import json
import math
from xml.etree import ElementTree

import pytest
import torch

from commanding import refused, said
from striate.errors import TrainingError
from striate.models import find_recipe
from striate.optimization import Optimizer
from striate.rate_finding import find_rate, rate_at, smooth, suggest
from striate.training import train


def test_the_suggestions_are_those_of_a_known_curve():
    """A loss that falls as a sigmoid around 1e-3 and explodes above 1: steepest there."""
    rates = [rate_at(step, 200) for step in range(200)]
    losses = [
        2.3 - 2 / (1 + math.exp(-3 * (math.log10(rate) + 3))) + max(0, math.log10(rate)) ** 2 * 9
        for rate in rates
    ]
    found = suggest(rates, losses)
    assert -3.2 < math.log10(found.steepest) < -2.3  # the average lags behind by some steps
    assert 0.05 <= found.tenth <= 0.3
    with pytest.raises(TrainingError, match="not finite within three steps"):
        suggest(rates[:2], losses[:2])


def test_the_average_of_equal_losses_is_that_loss():
    assert smooth([3.0] * 20) == pytest.approx([3.0] * 20)


def test_it_is_deterministic_writes_nothing_and_stops_where_the_loss_explodes(recipe, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    state = torch.get_rng_state()
    found = find_rate(recipe, num_threads=1)
    assert find_rate(recipe, num_threads=1) == found
    assert torch.equal(torch.get_rng_state(), state)
    assert sorted(tmp_path.rglob("*")) == before
    assert 1e-4 < found.steepest < 10
    assert len(found.losses) <= 100
    assert len(found.rates) == len(found.losses) == len(found.smoothed)
    assert found != find_rate(recipe.replace(seed=4), num_threads=1)


def test_the_losses_are_those_of_plain_steps_at_these_rates(recipe, monkeypatch):
    seen = []
    real = Optimizer.step

    def step(self, rate):
        seen.append(rate)
        real(self, rate)

    monkeypatch.setattr(Optimizer, "step", step)
    found = find_rate(recipe, num_threads=1, steps=12)
    assert seen == found.rates[:-1]
    assert found.rates == pytest.approx([rate_at(n, 12) for n in range(len(found.rates))])


def test_from_weights_it_shows_images_as_training_from_them_does(recipe, tmp_path):
    assert find_recipe("lecun1990").input_range not in (None, (-3, 4))
    begun = train(recipe.replace(epochs=1, input_range=(-3, 4)), tmp_path / "begun")
    begins = recipe.replace(weights=str(begun.path))
    found = find_rate(begins, num_threads=1, steps=12)
    assert found == find_rate(begins.replace(input_range=(-3, 4)), num_threads=1, steps=12)


def test_the_command_prints_draws_and_refuses(capsys, bars, tmp_path):
    picture = tmp_path / "rate.svg"
    options = ("lecun1990", bars, "--batch-size", "9", "--threads", "1")
    text = said(capsys, "find-rate", *options, "--out", str(picture))
    assert "loss falls fastest at" in text
    drawing = ElementTree.parse(picture).getroot()
    lines = [line.get("class") for line in drawing.iter() if line.tag.endswith("polyline")]
    assert lines == ["raw", "smooth"]
    found = json.loads(said(capsys, "find-rate", *options, "--json"))
    assert f"{found['steepest']:.2g}" in text
    assert "give a name that ends in .svg" in refused(
        capsys, 2, "find-rate", *options, "--out", "x.png"
    )
    assert "learning-rate" in refused(capsys, 2, "find-rate", *options, "--learning-rate", "1")
