"""The table of published weights against torchvision's own, and against the networks here."""

import json
import re

import pytest

from peering import in_peers
from striate.models import NETWORKS
from striate.published_weights import PUBLISHED

TORCHVISION = """
import json, torchvision_cpu
from torchvision.models import get_model_weights, list_models
found = {}
for name in list_models():
    if name.split("_")[0] in ("alexnet", "googlenet") or name.startswith(("vgg", "resnet")):
        for weights in get_model_weights(name):
            kind = weights.transforms()
            found[f"{name}-{weights.name}"] = [
                weights.url, len(weights.meta["categories"] or ()), kind.mean, kind.std
            ]
print(json.dumps(found))
"""
# Networks that have no counterpart here, and features whose head is not a number.
ELSEWHERE = re.compile(r"_bn-|-IMAGENET1K_FEATURES$|quantized")


def name_here(theirs: str) -> str:
    network, _, weights = theirs.partition("-")
    if network in ("alexnet", "googlenet"):
        network += "_torchvision"
    if network in ("resnet50", "resnet101", "resnet152"):
        network += "_v1_5"
    return f"{network}-{weights.lower().replace('_', '-')}"


def test_every_name_begins_with_the_network_it_is_for():
    for name, entry in PUBLISHED.items():
        assert entry.network in NETWORKS
        assert re.fullmatch(rf"{entry.network}-imagenet1k-v\d", name)
        assert re.fullmatch(r"[0-9a-f]{8}", entry.sha256)
        assert entry.file.endswith(f"-{entry.sha256}.pth")
        assert NETWORKS[entry.network].num_classes == 1000
    assert len({entry.sha256 for entry in PUBLISHED.values()}) == len(PUBLISHED)


@pytest.mark.parametrize("wrong", ["resnet50", "resnet101", "resnet152", "alexnet", "googlenet"])
def test_no_weights_are_said_to_be_the_paper_s_network_when_they_are_a_variant_s(wrong):
    assert wrong not in {entry.network for entry in PUBLISHED.values()}


def test_addresses_and_standardisation_are_torchvision_s_and_no_file_is_left_out():
    theirs = json.loads(in_peers(TORCHVISION))
    wanted = {
        name_here(name): facts for name, facts in theirs.items() if not ELSEWHERE.search(name)
    }
    assert set(PUBLISHED) == set(wanted)
    for name, (url, classes, mean, std) in wanted.items():
        entry = PUBLISHED[name]
        assert (entry.address, NETWORKS[entry.network].num_classes) == (url, classes), name
        if entry.network != "googlenet_torchvision":  # compared by its answers in test_weights
            assert (list(entry.mean), list(entry.std)) == (mean, std), name
