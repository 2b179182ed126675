"""Sets by name and by folder: which folder is used, and what is refused."""

import gzip
import hashlib
import shutil
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import real_data
from striate.datasets import DATASETS, find_or_fetch, is_path, load, load_masks
from striate.datasets.catalogue import PublishedFile
from striate.datasets.idx import write_idx
from striate.errors import DataError, UsageError

# From the data's own page.
MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def real_root():
    return real_data("mnist").parent


@pytest.fixture
def roots(tmp_path, monkeypatch):
    """A data folder, STRIATE_DATA and a cache folder, all empty; usps shrunk to three digits."""
    monkeypatch.setenv("STRIATE_DATA", str(tmp_path / "shared"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    tiny = replace(DATASETS["usps"], parts={"train": 2, "test": 1}, addresses=(), files=())
    monkeypatch.setitem(DATASETS, "usps", tiny)
    return tmp_path / "given", tmp_path / "shared", tmp_path / "cache" / "striate"


def write_usps(folder: Path, *, digit: int = 6) -> None:
    folder.mkdir(parents=True)
    (folder / "zip.train").write_text(f"{digit}.0000{' -1.0000' * 256}\n" * 2)
    (folder / "zip.test").write_text(f"{digit}.0000{' 1.0000' * 256}\n")


def test_the_first_root_that_holds_the_set_is_used(roots):
    given, shared, cache = roots
    for digit, root in ((3, cache), (2, shared), (1, given)):
        write_usps(root / "usps", digit=digit)
        found = load("usps", data_dir=given)
        assert found.source == str(root / "usps")
        assert found.parts["train"].targets.tolist() == [digit, digit]


def test_a_root_that_lacks_one_file_is_passed_over(roots):
    _, shared, cache = roots
    write_usps(shared / "usps", digit=2)
    write_usps(cache / "usps", digit=3)
    (shared / "usps" / "zip.test").unlink()
    assert load("usps", parts=["train"]).source == str(cache / "usps")


def test_without_the_environment_variable_the_cache_is_used(roots, monkeypatch):
    _, shared, cache = roots
    write_usps(shared / "usps", digit=2)
    write_usps(cache / "usps", digit=3)
    for set_or_not in (monkeypatch.delenv, partial(monkeypatch.setenv, value="")):
        set_or_not("STRIATE_DATA")
        assert load("usps").source == str(cache / "usps")


@pytest.fixture
def published(roots, tmp_path):
    """The three digits of usps at an address on this machine."""
    write_usps(tmp_path / "web")
    files = []
    for name in ("zip.train", "zip.test"):
        packed = gzip.compress((tmp_path / "web" / name).read_bytes())
        (tmp_path / "web" / f"{name}.gz").write_bytes(packed)
        files.append(PublishedFile(f"{name}.gz", hashlib.sha256(packed).hexdigest(), len(packed)))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web")))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    DATASETS["usps"] = replace(DATASETS["usps"], addresses=(address,), files=tuple(files))
    yield
    server.shutdown()
    server.server_close()


def test_a_set_that_is_nowhere_is_fetched_into_the_cache(roots, published):
    assert load("usps").source == str(roots[2] / "usps")
    assert [path.name for path in sorted((roots[2] / "usps").iterdir())] == [
        "zip.test.gz",
        "zip.train.gz",
    ]


def test_a_set_that_is_nowhere_is_fetched_into_the_given_folder(roots, published):
    found = load("usps", data_dir=roots[0])
    assert found.source == str(roots[0] / "usps")
    assert found.parts["test"].images.unique().tolist() == [1]
    assert not roots[2].exists()


def test_a_set_that_cannot_be_fetched_is_refused_with_address_and_remedy(roots):
    nowhere = "http://127.0.0.1:9/"
    file = PublishedFile("zip.train.gz", "0" * 64, 7)
    DATASETS["usps"] = replace(DATASETS["usps"], addresses=(nowhere,), files=(file,))
    words = (
        rf"{nowhere}zip.train.gz cannot be reached .*download it in a browser into "
        rf"{roots[2] / 'usps'}, or name a folder that has usps/zip.train.gz with --data-dir"
    )
    with pytest.raises(DataError, match=words):
        load("usps")


def test_parts_come_in_order_and_only_those_asked_for():
    assert list(load("digits", parts=["test", "train"]).parts) == ["train", "test"]
    assert list(load("digits", parts=("validation",)).parts) == ["validation"]
    assert load("digits").source.startswith("scikit-learn ")


def test_a_part_the_set_does_not_have_is_left_out(roots):
    write_usps(roots[0] / "usps")
    assert list(load("usps", data_dir=roots[0]).parts) == ["train", "test"]


def test_an_unknown_part_is_refused():
    with pytest.raises(UsageError, match=r"no set has a part 'tset': did you mean 'test'\?"):
        load("digits", parts=["tset"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnits", r"no data set is called 'mnits'; did you mean 'mnist'\? or give the path of a"),
        ("", "no data set is called ''; known: camvid-half, cifar10, digits, .*, usps or give"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, words):
    with pytest.raises(UsageError, match=words):
        load(name)


def test_names_and_paths_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").touch()
    assert not any(is_path(data) for data in ("mnist", "digits", "yours", "file", ""))
    assert all(is_path(data) for data in ("mine", "mnist/", ".x", "~", "~x", "a/b"))


def test_a_folder_is_loaded_by_its_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_usps(tmp_path / "mine")
    for data in (str(tmp_path / "mine"), "mine", "./mine", "~/mine"):
        assert load(data).name == "mine"
        assert load(data, parts=["train"]).parts["train"].targets.tolist() == [6, 6]


def test_paths_that_lead_nowhere_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        load(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="is empty"):
        load(str(tmp_path))
    with pytest.raises(DataError, match="give the path of a folder"):
        load("~no-such-user-here/mine")


def test_a_folder_and_a_name_give_the_same_fingerprint_for_the_same_data(roots):
    write_usps(roots[0] / "usps")
    by_name, by_path = load("usps", data_dir=roots[0]), load(str(roots[0] / "usps"))
    assert by_name.fingerprint() == by_path.fingerprint()
    assert by_name.fingerprint() != load("usps", data_dir=roots[0], parts=["test"]).fingerprint()


def test_real_mnist_has_the_published_counts(real_root):
    mnist = load("mnist")
    assert mnist.source == str(real_root / "mnist")
    assert mnist.parts["train"].images.shape == (60_000, 1, 28, 28)
    assert mnist.parts["train"].targets.bincount().tolist() == MNIST_TRAIN
    assert mnist.parts["test"].targets.bincount().tolist() == MNIST_TEST


def test_the_mean_of_real_mnist_is_the_one_everybody_uses(real_root):
    images = load("mnist", parts=["train"]).parts["train"].images
    assert images.double().mean().item() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert images.double().std().item() / 255 == pytest.approx(0.3081, abs=5e-5)


def test_real_fashion_mnist_is_balanced(real_root):
    fashion = load("fashion-mnist")
    assert fashion.parts["train"].targets.bincount().tolist() == [6_000] * 10
    assert fashion.parts["test"].targets.bincount().tolist() == [1_000] * 10
    assert fashion.classes[9] == "Ankle boot"
    assert fashion.parts["train"].targets[0] == 9


def test_real_mnist_survives_our_own_writer(real_root, tmp_path):
    test = load("mnist", parts=["test"]).parts["test"]
    write_idx(tmp_path / "images", test.images[:, 0])
    packed = (real_root / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes()
    assert (tmp_path / "images").read_bytes() == gzip.decompress(packed)


def test_a_data_dir_that_is_the_set_s_own_folder_is_answered_with_the_right_one(tmp_path, usps):
    with pytest.raises(DataError, match=r"lie in .*usps itself; give the folder above it with"):
        load("usps", data_dir=usps)


def test_a_set_in_another_form_is_told_and_passed_over(roots, capsys):
    data_dir, variable, cache = roots
    write_usps(cache / "usps")
    data_dir.mkdir()
    (data_dir / "usps.h5").touch()
    (variable / "usps").mkdir(parents=True)
    (variable / "usps" / "usps.npz").touch()
    (variable / "other").touch()
    assert find_or_fetch(DATASETS["usps"], data_dir) == cache / "usps"
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"usps is not in {data_dir}, ")
    assert "there is: usps.h5; looked for elsewhere" in first
    assert second.startswith(f"usps is not in {variable}, ")
    assert "there is: usps.npz; looked for elsewhere" in second
    find_or_fetch(DATASETS["usps"], variable)
    assert capsys.readouterr().err == f"{second}\n"
    (data_dir / "usps.h5").unlink()
    shutil.rmtree(variable / "usps")
    assert find_or_fetch(DATASETS["usps"], data_dir) == cache / "usps"
    assert capsys.readouterr().err == ""


def masked(folder):
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
        Image.fromarray(np.eye(3, 5, dtype=np.uint8)).save(folder / name / "a.png")
    return str(folder)


def test_images_with_masks_and_with_labels_are_told_apart(tmp_path, small_set, monkeypatch):
    folder = masked(tmp_path / "cells")
    assert load_masks(folder).classes == ("0", "1")
    hint = "train a network that labels pixels, unet say"
    with pytest.raises(UsageError, match=rf"cells holds images with masks; {hint}"):
        load(folder)
    with pytest.raises(UsageError, match=rf"camvid-half has a mask for each image; {hint}"):
        load("camvid-half")
    with pytest.raises(UsageError, match=r"bars is a MNIST-style IDX set, with one label for an"):
        load_masks(str(small_set))
    with pytest.raises(UsageError, match=r"digits has one label for an image, but a mask for each"):
        load_masks("digits")
    monkeypatch.chdir(tmp_path)
    masked(tmp_path / "isbi2012")  # a name comes before a folder here
    with pytest.raises(UsageError, match=r"isbi2012 has a mask for each image"):
        load("isbi2012")


def test_a_set_with_masks_or_a_part_that_does_not_exist_gets_the_nearest():
    with pytest.raises(UsageError, match=r"with masks is called 'isbi2021'; did you mean 'isbi"):
        load_masks("isbi2021")
    with pytest.raises(UsageError, match=r"no data set is called 'hippocampos'; did you mean 'hip"):
        load("hippocampos")
    with pytest.raises(UsageError, match=r"no set has a part 'valid': did you mean 'validation'"):
        load_masks("isbi2012", parts=("valid",))
