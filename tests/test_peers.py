"""The networks that torchvision and timm have too: equal outputs from the same weights.

Names are compared by loading: a peer takes all of our weights by name, or the test fails.
"""

import json

from peering import in_peers

# Ours → torchvision's builder.
TORCHVISION = {
    "alexnet_torchvision": "alexnet",
    "vgg11": "vgg11",
    "vgg13": "vgg13",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "googlenet_torchvision": "googlenet",
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50_v1_5": "resnet50",
    "resnet101_v1_5": "resnet101",
    "resnet152_v1_5": "resnet152",
}
# Ours → timm's name. It has no AlexNet and no GoogLeNet.
TIMM = {
    "vgg11": "vgg11",
    "vgg13": "vgg13",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50_v1_5": "resnet50",
    "resnet101_v1_5": "resnet101",
    "resnet152_v1_5": "resnet152",
}

PROGRAM = """
import json, sys
import torch
import torchvision_cpu
import torchvision, timm
import striate
from striate.layers import Dropout

TORCHVISION, TIMM = json.loads(sys.argv[1])


def strong(network):
    # Weights that keep the maps' size, biases and statistics of their own for every map.
    for name, tensor in network.state_dict().items():
        if tensor.dim() > 1:
            torch.nn.init.kaiming_uniform_(tensor)
        elif name.endswith("running_var") or (name.endswith("weight") and tensor.dim() == 1):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.2)
    return network


def difference(ours, theirs):
    assert ours.shape == theirs.shape
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def timm_name(name):
    # timm writes VGG's fully connected layers as convolutions, under other names.
    parts = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2",
             "classifier.6": "head.fc"}
    layer, _, kind = name.rpartition(".")
    return f"{parts.get(layer, layer)}.{kind}"


def loaded(peer, weights):
    weights = {name: w.view(peer.state_dict()[name].shape) for name, w in weights.items()}
    peer.load_state_dict(weights, strict=True, assign=True)
    return peer


torch.manual_seed(0)
for name in {**TORCHVISION, **TIMM}:
    found = {}
    # Those that read any size get a small odd one, at which every rounding of a size shows.
    side = 224 if name.startswith(("alexnet", "vgg")) else 75
    images = torch.randn(1, 3, side, side)
    with torch.no_grad():
        network = strong(striate.build(name)).eval()
        weights = network.state_dict()
        logits = network(images)
        if name in TORCHVISION:
            with torch.device("meta"):
                options = {"init_weights": False} if name == "googlenet_torchvision" else {}
                peer = getattr(torchvision.models, TORCHVISION[name])(**options)
            assert set(peer.state_dict()) == set(weights)
            peer = loaded(peer, weights).eval()
            found["torchvision"] = difference(logits, peer(images))
            if name == "googlenet_torchvision":
                # Its published weights come with transform_input: ours are given that range.
                peer.transform_input = True
                pixels = torch.rand(1, 3, side, side)
                mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
                std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
                found["transform_input"] = difference(
                    network(2 * pixels - 1), peer((pixels - mean) / std)
                )
                peer.transform_input = False
                for both in (network.train(), peer.train()):
                    for layer in both.modules():
                        if isinstance(layer, (Dropout, torch.nn.Dropout)):
                            layer.eval()
                kept = {key: value.clone() for key, value in weights.items()}
                ours = network(images)
                network.load_state_dict(kept)  # the peer has the same tensors
                theirs = peer(images)
                found["training"] = difference(ours.logits, theirs.logits)
                found["aux1"] = difference(ours.auxiliary[0], theirs.aux_logits1)
                found["aux2"] = difference(ours.auxiliary[1], theirs.aux_logits2)
        if name in TIMM:
            with torch.device("meta"):
                peer = timm.create_model(TIMM[name])
            translated = {timm_name(key): w for key, w in weights.items()}
            assert set(peer.state_dict()) == set(translated)
            found["timm"] = difference(logits, loaded(peer, translated).eval()(images))
    print(json.dumps([name, found]), flush=True)
"""


def test_same_weights_give_the_logits_of_torchvision_and_timm():
    printed = in_peers(PROGRAM, json.dumps([TORCHVISION, TIMM]))
    found = dict(json.loads(line) for line in printed.splitlines())
    differences = {
        (name, peer): difference
        for name, peers in found.items()
        for peer, difference in peers.items()
    }
    expected = [
        *((name, "torchvision") for name in TORCHVISION),
        *((name, "timm") for name in TIMM),
        *(("googlenet_torchvision", of) for of in ("transform_input", "training", "aux1", "aux2")),
    ]
    assert sorted(differences) == sorted(expected)
    assert max(differences.values()) < 1e-5, differences
