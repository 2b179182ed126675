"""The network of 1990 against section 4 and page 402 of LeCun et al. (1990)."""

import pytest
import torch

from striate.models.lecun1990 import H3_TABLE, LeCun1990
from striate.tracing import trace

# 2,578 and 98,442 are printed; the rows follow from the text.
PAPER_PARAMETERS = {"h1": 104, "h2": 8, "h3": 512, "h4": 24, "output": 1_930}
PAPER_CONNECTIONS = {"h1": 59_904, "h2": 2_880, "h3": 32_768, "h4": 960, "output": 1_930}
PAPER_UNITS = {"h1": 2_304, "h2": 576, "h3": 768, "h4": 192, "output": 10}


@pytest.fixture
def network():
    torch.manual_seed(1990)
    return LeCun1990()


def test_every_count_of_the_paper_holds(network):
    traced = trace(network, (1, 28, 28))
    layers = {layer.name: layer for layer in traced.layers}
    assert {n: layers[n].parameters for n in PAPER_PARAMETERS} == PAPER_PARAMETERS
    assert {n: layers[n].connections for n in PAPER_CONNECTIONS} == PAPER_CONNECTIONS
    units = {n: torch.Size(layers[n].output_shape).numel() for n in PAPER_UNITS}
    assert units == PAPER_UNITS
    assert (traced.parameters, traced.connections) == (2_578, 98_442)
    assert 784 + sum(units.values()) + 1 == 4_635  # with the inputs and one bias unit


def test_table_1_has_five_crosses_a_row_and_two_almost_independent_modules():
    assert [sum(i in maps for maps in H3_TABLE) for i in range(4)] == [5, 5, 5, 5]
    assert {len(maps) for maps in H3_TABLE} == {1, 2}
    assert all(max(maps) < 2 for maps in H3_TABLE[:6])
    assert all(min(maps) >= 2 for maps in H3_TABLE[6:])


def test_outputs_are_squashed_and_other_sizes_refused(network):
    torch.nn.init.constant_(network.output.weight, 9.0)
    assert network(torch.ones(7, 1, 28, 28)).abs().max().item() == pytest.approx(1.7159)
    with pytest.raises(ValueError, match=r"28x28, not \(7, 1, 16, 16\); put 16x16 digits"):
        network(torch.zeros(7, 1, 16, 16))


def test_every_layer_after_the_first_reads_squashed_maps(network):
    largest = {}
    for name in ("h2", "h3", "h4", "output"):
        network.get_submodule(name).register_forward_pre_hook(
            lambda _layer, inputs, name=name: largest.update({name: inputs[0].abs().max().item()})
        )
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 9.0)
    network(torch.ones(1, 1, 28, 28))
    assert largest == pytest.approx(dict.fromkeys(largest, 1.7159))
