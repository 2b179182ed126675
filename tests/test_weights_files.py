"""Files of weights: both formats and what checkpoints make of them; damage and malice refused."""

import io
import json
import pickle
import tarfile
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save, save_file

from striate.errors import DataError
from striate.weights_files import read_weights


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(3)
    return {
        "conv.weight": torch.randn(5, 3, 2, 7, generator=generator),
        "conv.bias": torch.randn(5, generator=generator),
        "bn.num_batches_tracked": torch.tensor(11),
    }


def as_safetensors(tensors, path):
    save_file(tensors, path)


def as_zip(tensors, path):
    torch.save(tensors, path)


def as_legacy(tensors, path):
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


FORMATS = [as_safetensors, as_zip, as_legacy]


def assert_same(ours, theirs):
    assert list(ours) == list(theirs) or sorted(ours) == sorted(theirs)
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
        assert tensor.dtype == theirs[name].dtype


@pytest.mark.parametrize("write", FORMATS)
def test_a_file_gives_its_tensors_whatever_it_is_called(tensors, tmp_path, write):
    write(tensors, tmp_path / "weights.jpg")
    file = read_weights(tmp_path / "weights.jpg")
    assert_same(file.tensors, tensors)
    assert (file.network, file.mean, file.std, file.notes) == (None, None, None, ())


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod."])
def test_a_checkpoint_s_wrapping_and_prefixes_come_off_and_are_said(tensors, tmp_path, key, prefix):
    named = {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
    torch.save({key: named, "epoch": 7, "optimizer": {"param_groups": []}}, tmp_path / "last.pth")
    file = read_weights(tmp_path / "last.pth")
    assert_same(file.tensors, tensors)
    assert file.notes == (f"weights taken from {key!r}", f"prefix {prefix!r} taken off")


def test_prefixes_come_off_one_by_one_and_only_from_all_names(tensors, tmp_path):
    named = {f"module._orig_mod.{name}": tensor for name, tensor in tensors.items()}
    torch.save(named, tmp_path / "both.pth")
    assert_same(read_weights(tmp_path / "both.pth").tensors, tensors)
    torch.save({**tensors, "module.extra": torch.ones(2)}, tmp_path / "one.pth")
    assert "module.extra" in read_weights(tmp_path / "one.pth").tensors


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("write", FORMATS)
def test_other_precision_becomes_float32_and_is_said(tensors, tmp_path, write, dtype):
    cast = {k: t.to(dtype) if t.is_floating_point() else t for k, t in tensors.items()}
    write(cast, tmp_path / "file")
    file = read_weights(tmp_path / "file")
    assert file.notes == (f"converted from {str(dtype).removeprefix('torch.')}",)
    assert file.tensors["conv.weight"].dtype == torch.float32
    assert torch.equal(file.tensors["conv.weight"], cast["conv.weight"].float())
    assert torch.equal(file.tensors["bn.num_batches_tracked"], torch.tensor(11))


def test_a_run_s_weights_name_their_network_and_its_input(tensors, tmp_path):
    facts = {"network": "lenet5", "input": {"mean": [0.1, 0.2], "std": [0.3, 0.4]}}
    save_file(tensors, tmp_path / "run.safetensors", {"striate": json.dumps(facts)})
    file = read_weights(tmp_path / "run.safetensors")
    assert (file.network, file.mean, file.std) == ("lenet5", (0.1, 0.2), (0.3, 0.4))


@pytest.mark.parametrize("text", ["{", "[]", '{"network": "lenet5"}', '{"input": {"mean": 3}}'])
def test_metadata_of_another_making_says_nothing(tensors, tmp_path, text):
    save_file(tensors, tmp_path / "x.safetensors", {"striate": text, "format": "pt"})
    assert read_weights(tmp_path / "x.safetensors").network is None


# ---------------------------------------------------------------- what is refused


class Malice:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [as_zip, as_legacy])
def test_code_in_a_pickle_is_named_and_never_run(tensors, tmp_path, write):
    harmed = tmp_path / "harmed"
    write({**tensors, "x": Malice(harmed)}, tmp_path / "evil.pth")
    with pytest.raises(
        DataError, match=r"asks for code to be run \(.*\), which is never done; sav"
    ):
        read_weights(tmp_path / "evil.pth")
    assert not harmed.exists()
    with warnings.catch_warnings(), (tmp_path / "evil.pth").open("rb") as file:
        warnings.simplefilter("ignore")
        torch.load(file, weights_only=False)
    assert harmed.exists()  # it would have been run


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_a_bare_pickle_is_not_read(tmp_path, protocol):
    harmed = tmp_path / "harmed"
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Malice(harmed), protocol=protocol))
    with pytest.raises(
        DataError, match=r"none of torch\.save's, and is not read|is neither safete"
    ):
        read_weights(tmp_path / "evil.pkl")
    assert not harmed.exists()


def test_a_whole_network_is_refused_as_code(tmp_path):
    torch.save(torch.nn.Linear(2, 3), tmp_path / "network.pth")
    with pytest.raises(DataError, match=r"code to be run \(torch\.nn\.modules\.linear\.Linear\)"):
        read_weights(tmp_path / "network.pth")


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_truncated_file_is_damaged(tensors, tmp_path, write, share):
    path = tmp_path / "cut"
    write({**tensors, "more": torch.zeros(999)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        DataError, match=r"is damaged or broken off \(.+\); fetch it|is broken off aft"
    ):
        read_weights(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("write", FORMATS)
def test_a_changed_byte_gives_tensors_or_one_line(tensors, tmp_path, write, data):
    path = tmp_path / "changed"
    write(tensors, path)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    refusal = ""
    try:
        read_weights(path)
    except DataError as error:
        refusal = str(error)
    assert "\n" not in refusal


def content_of_a_tar() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("storages"))
    return packed.getvalue()


def content_of_an_image() -> bytes:
    drawn = io.BytesIO()
    Image.new("RGB", (9, 7)).save(drawn, "JPEG")
    return drawn.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; fetch the weights file again"),
        (
            b"\n<!DOCTYPE html><title>404</title>",
            "is a web page, as a server sends in place of a f",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "is a Git LFS pointer in place of the f",
        ),
        (content_of_an_image(), "is an image; fetch the weights file again"),
        (
            content_of_a_tar(),
            r"is in the tar format of PyTorch before 0\.1\.10, which cannot be read",
        ),
        (b"weights, honestly", r"is neither safetensors nor a file of torch\.save"),
        (save({"a": torch.zeros(300)})[:60], "is broken off after 60 bytes"),
    ],
)
def test_what_is_no_weights_file_is_called_by_its_name(tmp_path, content, words):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(DataError, match=rf"file\.pth {words}"):
        read_weights(tmp_path / "file.pth")


def test_a_file_that_is_not_there_is_refused_with_the_ways_out(tmp_path):
    with pytest.raises(
        DataError, match=r"absent\.pth cannot be read: No such file .*; give a file"
    ):
        read_weights(tmp_path / "absent.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_program_is_refused_by_its_name(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 3)).save(str(tmp_path / "program.pt"))
    with pytest.raises(
        DataError, match=r"is a TorchScript program, .* load it with torch\.jit\.loa"
    ):
        read_weights(tmp_path / "program.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"a": torch.zeros(2)}], r"holds a list, not names with tensors; save the weights alone"),
        (torch.zeros(3), "holds a Tensor, not names with tensors"),
        ({}, "holds nothing, and weights under none of state_dict, model_state_dict, model"),
        ({"state": {}, "param_groups": [{"lr": 0.1}]}, "holds the state of an optimizer, and no w"),
        (
            {"epoch": 3, "ema": {"a": torch.zeros(2)}},
            "holds 'epoch', 'ema', and weights under none",
        ),
        ({f"k{n}": n for n in range(9)}, r"holds 'k0', .*'k5', \.\.\., and weights under none of"),
        ({"a": torch.eye(3).to_sparse()}, r"a is no plain tensor \(torch\.float32, torch\.sparse_"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, r"a is no plain tensor \(torch\.complex64"),
        (
            {"a": torch.tensor([1.0, torch.nan])},
            "a holds values that are not finite, so training w",
        ),
        ({"a": torch.tensor([torch.inf, -torch.inf])}, "a holds values that are not finite"),
        ({"a": torch.tensor([1e300], dtype=torch.float64)}, "a holds values that are not finite"),
    ],
)
def test_content_that_is_no_weights_is_refused_by_what_it_is(tmp_path, content, words):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(DataError, match=words):
        read_weights(tmp_path / "file.pth")
