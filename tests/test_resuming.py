"""What a run found out about the machine stays with it when it is resumed."""

import pytest
import torch

from striate import training_loop
from striate.errors import Interrupted
from striate.gradients import Execution
from striate.models.lecun1990 import LeCun1990
from striate.training import resume, train
from test_training import StopAfter, assert_same_run, final_weights


def test_a_resumed_run_computes_as_was_measured_when_it_began(recipe, tmp_path, monkeypatch):
    recipe = recipe.replace(compile="auto", channels_last=True)
    chosen = Execution(channels_last=False, bf16=True)
    monkeypatch.setattr(training_loop, "choose_execution", lambda *_: chosen)
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted, match="all is saved"):
        train(recipe, tmp_path / "cut", display=StopAfter(3))
    monkeypatch.setattr(training_loop, "choose_execution", lambda *_: 1 / 0)
    assert_same_run(whole, resume(tmp_path / "cut"))
    assert whole.load_state()[0]["execution"] == chosen._asdict()


def test_parts_found_small_enough_for_the_memory_are_kept_by_a_resumed_run(
    recipe, tmp_path, monkeypatch
):
    forward = LeCun1990.forward

    def greedy(self, images):
        if self.training and len(images) > 3:
            raise MemoryError
        return forward(self, images)

    asked = train(recipe.replace(micro_batch=3), tmp_path / "asked")
    monkeypatch.setattr(LeCun1990, "forward", greedy)
    with pytest.raises(Interrupted, match="all is saved"):
        train(recipe, tmp_path / "cut", display=StopAfter(3))
    monkeypatch.setattr(LeCun1990, "forward", forward)
    resumed = resume(tmp_path / "cut")
    assert resumed.load_state()[0]["micro_batch"] == 3
    for name, tensor in final_weights(asked).items():
        assert torch.equal(final_weights(resumed)[name], tensor)
