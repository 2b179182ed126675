"""Weights by name and by file: found, fetched, checked, for the right network, and trained from."""

import hashlib
import json
import resource
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import striate
from peering import in_peers
from striate.errors import DataError, UsageError
from striate.published_weights import IMAGENET_MEAN, IMAGENET_STD, PublishedWeights
from striate.weights import Weights, absolute, open_weights
from test_fetching import Server, serve


@pytest.fixture(autouse=True)
def _places(monkeypatch, tmp_path):
    """Keep to this test's folders: no cache of the user, no data folder, no proxy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("STRIATE_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    running = serve()
    yield running
    running.shutdown()
    running.server_close()


def trained(name="resnet20", seed=1, **changes):
    torch.manual_seed(seed)
    return striate.build(name, **changes)


def saved(path, name="resnet20", **changes):
    torch.save(trained(name, **changes).state_dict(), path)
    return path


def published(path, network, address="http://127.0.0.1:9/"):
    """A table of one entry: this file, as if it had been published for a network."""
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return {f"{network}-small-v1": PublishedWeights(network, address + path.name, digits)}


# ---------------------------------------------------------------- by name


def test_a_name_is_fetched_once_checked_and_kept_in_the_cache(server, tmp_path):
    table = published(saved(tmp_path / "small.pth"), "resnet20", server.url("whole")[:-4])
    server.content = (tmp_path / "small.pth").read_bytes()
    for _ in range(2):
        weights = open_weights("resnet20-small-v1", "resnet20", published=table)
    assert weights.path == tmp_path / "cache" / "striate" / "weights" / "small.pth"
    assert weights.path.read_bytes() == server.content
    assert server.asked == [("/whole/small.pth", "")]
    assert weights.sha256 == hashlib.sha256(server.content).hexdigest()
    assert (weights.given, weights.network) == ("resnet20-small-v1", "resnet20")
    assert (weights.mean, weights.std) == (IMAGENET_MEAN, IMAGENET_STD)
    network = trained(seed=2)
    count = len(network.state_dict())
    line = f"weights small.pth (SHA-256 {weights.sha256[:8]}): {count} of {count} tensors"
    assert weights.load_into(network) == line
    assert torch.equal(network.conv1.weight, trained().conv1.weight)


@pytest.mark.parametrize(
    "place", ["data/weights", "given/weights", "cache/striate/weights", "torch"]
)
def test_a_file_that_was_brought_by_hand_needs_no_network(tmp_path, monkeypatch, place):
    monkeypatch.setenv("STRIATE_DATA", str(tmp_path / "given"))
    folder = tmp_path / place / ("hub/checkpoints" if place == "torch" else "")
    folder.mkdir(parents=True)
    table = published(saved(folder / "small.pth"), "resnet20")
    weights = open_weights(
        "resnet20-small-v1", "resnet20", data_dir=tmp_path / "data", published=table
    )
    assert weights.path == folder / "small.pth"


def test_a_file_is_taken_from_the_first_of_its_places(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_DATA", str(tmp_path / "given"))
    places = ("data/weights", "given/weights", "cache/striate/weights", "torch/hub/checkpoints")
    files = [tmp_path / place / "small.pth" for place in places]
    for file in files:
        file.parent.mkdir(parents=True)
        saved(file)
    table = published(files[0], "resnet20")
    for file in files:
        weights = open_weights(
            "resnet20-small-v1", "resnet20", data_dir=tmp_path / "data", published=table
        )
        assert weights.path == file
        file.unlink()


def test_a_data_folder_of_one_s_own_takes_what_is_fetched(server, tmp_path):
    table = published(saved(tmp_path / "small.pth"), "resnet20", server.url("whole")[:-4])
    server.content = (tmp_path / "small.pth").read_bytes()
    open_weights("resnet20-small-v1", "resnet20", data_dir=tmp_path / "data", published=table)
    assert (tmp_path / "data" / "weights" / "small.pth").read_bytes() == server.content


def test_another_file_at_the_address_is_refused_by_both_sums(server, tmp_path):
    table = published(saved(tmp_path / "small.pth"), "resnet20", server.url("whole")[:-4])
    digits = table["resnet20-small-v1"].sha256
    with pytest.raises(
        DataError, match=rf"sent a file with SHA-256 .*, not {digits}\.\.\.; downlo"
    ):
        open_weights("resnet20-small-v1", "resnet20", published=table)
    assert [*(tmp_path / "cache" / "striate" / "weights").iterdir()] == []


def test_without_network_the_remedy_names_the_place_to_put_the_file(tmp_path):
    gone = Server()
    gone.server_close()
    table = published(saved(tmp_path / "small.pth"), "resnet20", gone.url("whole")[:-4])
    words = (
        r"could not fetch small\.pth: http.*/small\.pth cannot be reached \(.*refused\); download "
        rf"it in a browser into {tmp_path}/cache/striate/weights, or name a folder that has "
        r"weights/small\.pth with --data-dir"
    )
    with pytest.raises(DataError, match=words):
        open_weights("resnet20-small-v1", "resnet20", published=table)


def test_a_full_disk_while_fetching_is_one_line(server, tmp_path):
    table = published(saved(tmp_path / "small.pth"), "resnet20", server.url("whole")[:-4])
    server.content = (tmp_path / "small.pth").read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(
            DataError, match=r"could not write .*small\.pth\.part: .*; make room, or"
        ):
            open_weights("resnet20-small-v1", "resnet20", published=table)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_name_for_another_network_is_refused_before_anything_is_fetched(server, tmp_path):
    table = published(saved(tmp_path / "small.pth"), "resnet20", server.url("whole")[:-4])
    words = (
        r"resnet20-small-v1 holds weights of resnet20 \(by its name\), not of lenet5; take "
        "resnet20 as the network, or other weights$"
    )
    with pytest.raises(UsageError, match=words):
        open_weights("resnet20-small-v1", "lenet5", published=table)
    assert server.asked == []


def test_a_name_that_does_not_exist_is_answered_with_the_nearest():
    words = (
        r"no weights are called 'resnet18-imagenet'; did you mean 'resnet18-imagenet1k-v1'\?; or g"
    )
    with pytest.raises(UsageError, match=words):
        open_weights("resnet18-imagenet", "resnet18")


# ---------------------------------------------------------------- the right network


def test_v1_5_weights_on_resnet50_are_refused_with_the_right_name(tmp_path):
    path = saved(tmp_path / "downloaded.pth", "resnet50")  # names and shapes are v1.5's too
    table = published(path, "resnet50_v1_5")
    words = (
        r"downloaded\.pth holds weights of resnet50_v1_5 \(by its SHA-256\), not of resnet50, "
        "whose names and shapes are the same but which computes something else; take "
        "resnet50_v1_5 as the network, or other weights"
    )
    for given in (str(path), f"resnet50:{path}"):
        with pytest.raises(UsageError, match=words):
            open_weights(given, "resnet50", published=table)
    assert open_weights(str(path), "resnet50_v1_5", published=table).network == "resnet50_v1_5"
    words = (
        r"not of resnet50; .*|not of resnet50, whose names .*; take resnet50_v1_5 as the network"
    )
    with pytest.raises(UsageError, match=words):
        open_weights("resnet50_v1_5-imagenet1k-v2", "resnet50")


def test_a_file_that_names_no_network_is_asked_for_where_another_network_fits_too(tmp_path):
    path = saved(tmp_path / "mine.pth", "resnet50")
    words = (
        r"mine\.pth does not say whether it is for resnet50 or resnet50_v1_5, which have the same "
        r"names and shapes but compute different things \(torchvision's and timm's files are for "
        rf"resnet50_v1_5\); if it is for resnet50, write --weights resnet50:{path}$"
    )
    with pytest.raises(UsageError, match=words):
        open_weights(str(path), "resnet50")
    assert open_weights(f"resnet50:{path}", "resnet50").network == "resnet50"
    words = r"holds weights of resnet50_v1_5 \(as you say\), not of resnet50, whose names"
    with pytest.raises(UsageError, match=words):
        open_weights(f"resnet50_v1_5:{path}", "resnet50")


def test_a_file_s_own_word_stands_against_what_is_typed(tmp_path):
    facts = {"network": "plain20", "input": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    path = tmp_path / "plain.safetensors"
    save_file(trained("plain20").state_dict(), path, {"striate": json.dumps(facts)})
    for given in (str(path), f"resnet20:{path}"):
        with pytest.raises(
            UsageError, match=r"weights of plain20 \(as it says\), not of resnet20, w"
        ):
            open_weights(given, "resnet20")
    weights = open_weights(str(path), "plain20")
    assert (weights.mean, weights.std) == ((0.5,) * 3, (0.25,) * 3)


def test_a_file_of_another_network_is_refused_with_the_network_it_fits(tmp_path):
    path = saved(tmp_path / "mine.pth", "lecun1990")
    with pytest.raises(UsageError, match=r"mine\.pth does not fit lenet5: .*; it fits lecun1990$"):
        open_weights(str(path), "lenet5").load_into(trained("lenet5"))


@pytest.mark.parametrize(
    ("place", "error", "words"),
    [
        ("absent.pth", DataError, r"absent\.pth cannot be read: No such file"),
        (
            "resnet2O:absent.pth",
            UsageError,
            "no network is called 'resnet2O'; did you mean 'resnet",
        ),
        ("sub/absent", DataError, r"absent cannot be read: No such file"),
        (".", UsageError, r"\. is a folder without model\.safetensors; give a run or a file"),
    ],
)
def test_a_place_without_weights_is_refused(tmp_path, monkeypatch, place, error, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        open_weights(place, "resnet20")


def test_a_path_in_a_recipe_is_found_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/santiago")
    assert absolute("a/b.pth") == f"{tmp_path}/a/b.pth"
    assert absolute("resnet50:b.pth") == f"resnet50:{tmp_path}/b.pth"
    assert absolute("~/b.pth") == "/home/santiago/b.pth"
    assert absolute("vgg16-imagenet1k-v1") == "vgg16-imagenet1k-v1"


# ---------------------------------------------------------------- the door


def test_build_takes_weights_and_says_what_it_did(tmp_path, capsys):
    path = saved(tmp_path / "mine.pth", "lecun1990")
    network = striate.build("lecun1990", in_channels=2, num_classes=4, weights=path)
    line = capsys.readouterr().err
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert line == (
        f"weights mine.pth (SHA-256 {sha256}): 8 of 10 tensors; input adapted from 1 to 2 "
        "channels; head new for 4 classes, mine.pth has 10\n"
    )
    assert network.training
    assert torch.equal(network.h2.bias, trained("lecun1990").h2.bias)
    with pytest.raises(UsageError, match="no network is called 'lecun1991'"):
        striate.build("lecun1991", weights=path)


def test_standardisation_follows_the_channels():
    weights = Weights("x", "resnet18", None, "", {}, (), IMAGENET_MEAN, IMAGENET_STD)
    assert weights.standardization(3) == (IMAGENET_MEAN, IMAGENET_STD)
    (mean,), (deviation,) = weights.standardization(1)
    assert (mean, deviation) == (pytest.approx(0.449), pytest.approx(0.226))
    assert weights.standardization(7) is None
    grey = replace(weights, mean=(0.2,), std=(0.3,))
    assert grey.standardization(3) == ((0.2,) * 3, (0.3,) * 3)
    assert replace(weights, mean=None, std=None).standardization(3) is None


# ---------------------------------------------------------------- the peers

COMPARE = """
import json, sys, torch, torchvision_cpu, torchvision, timm
from pathlib import Path
from safetensors.torch import save_file
from striate.weights import build

torch.set_num_threads(2)
per_channel = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
path = Path(sys.argv[1], "weights")

def ours(name, **changes):
    return build(name, weights=f"{name}:{path}", **changes).eval()

def differ(one, other):
    return ((one - other).abs().max() / other.abs().max()).item()

@torch.inference_mode()
def compare(source, theirs, name):
    torch.manual_seed(5)
    if source == "timm":
        network = timm.create_model(theirs)
    else:
        options = {"init_weights": False, "transform_input": True} if theirs == "googlenet" else {}
        network = getattr(torchvision.models, theirs)(**options)
    tensors = network.eval().state_dict()
    for key, tensor in tensors.items():  # as if trained
        if key.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    save_file(tensors, path) if source == "timm" else torch.save(tensors, path)
    unit = torch.rand(1, 3, 224, 224)
    images = (unit - per_channel[0]) / per_channel[1]
    same = ours(name)
    answers = [differ(same(2 * unit - 1 if theirs == "googlenet" else images), network(images))]
    if theirs == "resnet18":
        grey = images[:, :1]
        answers.append(differ(ours(name, in_channels=1)(grey), same(grey.expand(-1, 3, -1, -1))))
        seven, alike = ours(name, in_channels=7), grey.expand(-1, 7, -1, -1)
        answers.append(differ(seven(alike), same(grey.expand(-1, 3, -1, -1))))
        ten = ours(name, num_classes=10).fc
        answers.append(abs(len(ten.weight) - 10))
    return answers

print(json.dumps([compare(*case) for case in json.loads(sys.argv[2])]))
"""
CASES = [
    ("torchvision", "resnet18", "resnet18"),
    ("torchvision", "resnet50", "resnet50_v1_5"),
    ("torchvision", "vgg11", "vgg11"),
    ("torchvision", "googlenet", "googlenet_torchvision"),
    ("timm", "vgg11", "vgg11"),
]


def test_with_the_peers_weights_the_answers_are_theirs(tmp_path):
    found = json.loads(in_peers(COMPARE, tmp_path, json.dumps(CASES)))
    (tmp_path / "weights").unlink()
    assert [len(answers) for answers in found] == [4, 1, 1, 1, 1]
    for case, answers in zip(CASES, found, strict=True):
        assert max(answers) <= 1e-5, case


def test_weights_of_a_network_with_options_fit_the_one_with_the_same(tmp_path, capsys):
    narrow = {"width": 4, "depth": 2}
    path = saved(tmp_path / "narrow.pth", "unet", **narrow)
    network = striate.build("unet", num_classes=5, weights=f"unet:{path}", **narrow)
    assert "head new for 5 classes, narrow.pth has 2" in capsys.readouterr().err
    theirs = trained("unet", **narrow)
    assert torch.equal(network.paths.expanding[1].up.weight, theirs.paths.expanding[1].up.weight)
    with pytest.raises(UsageError, match=r"narrow\.pth does not fit unet: .* needed 64x1x3x3"):
        striate.build("unet", depth=2, weights=f"unet:{path}")


def test_a_padded_network_is_not_taken_for_the_paper_s(tmp_path):
    path = saved(tmp_path / "padded.pth", "unet_padded", width=4)
    with pytest.raises(UsageError, match="does not say whether it is for unet or unet_padded"):
        open_weights(str(path), "unet", options={"width": 4})
