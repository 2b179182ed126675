"""Tiled equals whole: random networks, sizes and limits of memory; and what is refused."""

from contextlib import suppress

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from labelling import networks
from striate.errors import UsageError
from striate.tiled_prediction import run_plan, whole
from striate.tiling import plan_tiles

SIDES = {2: (5, 120), 3: (3, 40)}


def a_plan(network, shape, share):
    """Cut to a share of the memory of the whole, or to the first larger one that suffices."""
    needed = plan_tiles(network, shape).peak_bytes
    while share < 1:
        with suppress(UsageError):
            return plan_tiles(network, shape, memory=max(int(needed * share), 1))
        share *= 1.5
    return plan_tiles(network, shape, memory=needed)


def run(network, image, plan):
    answer = torch.full((plan.classes, *plan.shape[1:]), torch.nan, dtype=torch.float64)

    def write(region, logits):
        assert answer[(slice(None), *region)].isnan().all()
        answer[(slice(None), *region)] = logits

    run_plan(network, plan, lambda region: image[(slice(None), *region)], write)
    return answer


@pytest.mark.parametrize("dims", [2, 3])
def test_tiled_equals_whole_for_random_networks_and_sizes(dims):
    tiled = []

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(networks(dims), st.data())
    def try_networks(network, data):
        sizes = [data.draw(st.integers(*SIDES[dims])) for _ in range(dims)]
        image = torch.randn(1, *sizes, dtype=torch.float64)
        try:
            expected = whole(network, image)
        except UsageError as error:
            assume("one answer" in str(error))
            raise
        plan = a_plan(network, tuple(image.shape), data.draw(st.floats(0.05, 0.6)))
        answer = run(network, image, plan)
        assert answer.shape == expected.shape
        worst = (answer - expected).abs().max() / expected.abs().max()
        assert worst < 1e-9, (plan, worst)
        tiled.append(len(plan.tiles) > 1)

    try_networks()
    print(sum(tiled), len(tiled))
    assert sum(tiled) > 30
