"""V-Net: the paper's table and the released network's counts."""

from striate.models import NETWORKS, outline
from striate.tracing import trace

# L1 to L5, R4 to R1.
EXACT = (5, 22, 72, 172, 372, 468, 516, 532, 548)


def stages(name):
    """The field behind each stage [voxels]."""
    fields = {}
    for layer in trace(outline(name), NETWORKS[name].input_shape).layers:
        if layer.name.startswith("first") or ".stage." in layer.name:
            fields[layer.name.rpartition("stage.")[0] or "first"] = layer.receptive_field
    return list(fields.values())


def test_fields_are_what_the_weights_reach():
    assert stages("vnet") == [(side,) * 3 for side in EXACT]
