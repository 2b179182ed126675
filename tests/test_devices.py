"""Devices by name."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from striate import devices
from striate.devices import choose_device, memory_kept, suited_threads, threads
from striate.errors import UsageError


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_a_device_that_is_there_is_given():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("cpu:0").type == "cpu"


def test_auto_is_the_gpu_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto") == torch.device(expected)


NOWHERE = ["cuda:77", "warp", "", "cpu:x", "CPU", "cpu cuda", "meta", "vulkan", "privateuseone"]


@pytest.mark.parametrize("name", NOWHERE)
def test_a_device_that_is_not_there_is_refused_in_one_line(name):
    words = rf"^device '{name}' is not to be had here \([^\n]{{5,400}}\); use cpu\Z"
    with pytest.raises(UsageError, match=words):
        choose_device(name)


def test_a_tensor_can_live_on_what_is_given():
    assert torch.ones(3, device=choose_device("auto")).sum().item() == 3


@pytest.mark.usefixtures("two_threads")
def test_a_thread_is_worth_its_twenty_million_products():
    asked = (0, 19_999_999, 39_999_999, 40_000_000, 10**12)
    assert [suited_threads(products) for products in asked] == [1, 1, 1, 2, 2]


@pytest.mark.usefixtures("two_threads")
def test_threads_are_lent_for_a_block_also_one_that_fails():
    with threads(1):
        assert torch.get_num_threads() == 1
        with threads(None):
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(RuntimeError, match="the work failed"), threads(1):
        raise RuntimeError("the work failed")
    assert torch.get_num_threads() == 2


# Of malloc.h: the names of the limits that mallopt sets.
M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1


@pytest.fixture
def limits(monkeypatch) -> list[tuple[int, int]]:
    """Limits that the C library, a double here, was told to set."""
    told: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda name, value: told.append((name, value)))
    monkeypatch.setattr(devices, "ctypes", SimpleNamespace(CDLL=lambda name: library))
    monkeypatch.setattr(devices, "sys", SimpleNamespace(platform="linux"))
    return told


def test_memory_is_kept_for_a_block_also_one_that_fails(limits):
    with memory_kept():
        kept = dict(limits)
        limits.clear()
    assert kept[M_MMAP_MAX] == 0  # nothing is taken from the system by itself, and so given back
    assert kept[M_TRIM_THRESHOLD] > 2**30
    defaults = {M_MMAP_MAX: 65_536, M_TRIM_THRESHOLD: 131_072}
    assert dict(limits) == defaults
    limits.clear()
    with pytest.raises(RuntimeError, match="the work failed"), memory_kept():
        raise RuntimeError("the work failed")
    assert limits[:2] == [*kept.items()]
    assert limits[2:] == [*defaults.items()]


@pytest.mark.parametrize(
    ("platform", "library"),
    [
        ("darwin", SimpleNamespace(mallopt=lambda *_: 1 / 0)),
        ("linux", SimpleNamespace()),  # musl
    ],
)
def test_memory_is_left_alone_where_the_library_is_not_glibc(monkeypatch, platform, library):
    monkeypatch.setattr(devices, "ctypes", SimpleNamespace(CDLL=lambda name: library))
    monkeypatch.setattr(devices, "sys", SimpleNamespace(platform=platform))
    with memory_kept():
        ran = True
    assert ran
