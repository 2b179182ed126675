"""Devices by name."""

import pytest
import torch

from striate.devices import choose_device
from striate.errors import UsageError


def test_a_device_that_is_there_is_given():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("cpu:0").type == "cpu"


def test_auto_is_the_gpu_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto") == torch.device(expected)


@pytest.mark.parametrize("name", ["cuda:77", "warp", "", "cpu:x", "CPU", "cpu cuda"])
def test_a_device_that_is_not_there_is_refused_in_one_line(name):
    with pytest.raises(
        UsageError, match=rf"^device '{name}' is not to be had here \(.+\); use cpu$"
    ):
        choose_device(name)


def test_a_tensor_can_live_on_what_is_given():
    assert torch.ones(3, device=choose_device("auto")).sum().item() == 3
