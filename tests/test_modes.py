"""Evaluation for a while."""

import pytest
from torch import nn

from striate.modes import evaluating


def fail_seeing(network):
    assert not any(module.training for module in network.modules())
    raise KeyError("inside")


def test_each_layer_gets_its_own_mode_back_also_after_an_error():
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(2).eval())
    with pytest.raises(KeyError, match="inside"), evaluating(network):
        fail_seeing(network)
    assert [module.training for module in network.modules()] == [True, True, False]
