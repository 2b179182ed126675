"""Files to files of labels: the whole answer, the file's own geometry, killed and gone on."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from striate.errors import DataError, UsageError
from striate.mask_prediction import Labeller
from striate.recipes import Recipe
from striate.runs import Run
from striate.tile_input import as_tensor, standardize, statistics
from striate.tiled_prediction import whole
from striate.training import train
from striate.volumes import open_volume


@pytest.fixture(scope="module")
def run(cells, tmp_path_factory) -> Run:
    recipe = Recipe(
        network="unet_padded", data="isbi2012", width=4, depth=2, tile=(24,), epochs=1,
        batch_size=4, optimizer="adamw", learning_rate=0.01,
    )  # fmt: skip
    return train(recipe, tmp_path_factory.mktemp("runs") / "cells", data_dir=cells)


@pytest.fixture(scope="module")
def brains(cells, tmp_path_factory) -> Run:
    """A run on volumes, each standardised by itself."""
    nibabel = pytest.importorskip("nibabel")
    folder = tmp_path_factory.mktemp("data") / "hippocampus"
    generator = np.random.default_rng(1)
    pairs = []
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    affine = np.diag([2.0, 1.5, 3.0, 1.0])
    for number in range(10):
        label = np.zeros((9, 13, 11), np.uint8)
        label[2:6, 3:9, 2:8], label[6:8, 3:9, 2:8] = 1, 2
        image = (label * 100 + generator.normal(0, 20, label.shape) + 500 * number).astype("f4")
        for kind, values in (("imagesTr", image), ("labelsTr", label)):
            nibabel.save(nibabel.Nifti1Image(values, affine), folder / kind / f"{number}.nii.gz")
        pairs.append(
            {"image": f"./imagesTr/{number}.nii.gz", "label": f"./labelsTr/{number}.nii.gz"}
        )
    (folder / "dataset.json").write_text(json.dumps({
        "training": pairs, "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
    }))  # fmt: skip
    recipe = Recipe(
        network="unet3d", data=str(folder), width=4, depth=1, tile=(8,), epochs=2, batch_size=2,
        normalization="none", optimizer="adamw", learning_rate=0.01,
    )  # fmt: skip
    return train(recipe, tmp_path_factory.mktemp("runs") / "brains")


def plainly(run: Run, pixels: np.ndarray) -> np.ndarray:
    """Label ``(C, *spatial)`` in one piece."""
    image = as_tensor(pixels)
    own = statistics([image]) if run.tile_spec.intensity == "image" else None
    return whole(run.network(), standardize(image, run.tile_spec, own)).argmax(0).numpy()


def test_a_stack_comes_back_as_a_stack_slice_by_slice(run, cells, tmp_path):
    file = cells / "isbi2012" / "train-volume.tif"
    done = Labeller(run, memory="300KB").label(file, tmp_path / "out.tif")
    labels = tifffile.imread(tmp_path / "out.tif")
    stack = tifffile.imread(file)
    assert (labels.shape, labels.dtype) == (stack.shape, np.uint8)
    for number in (0, 17):
        assert np.array_equal(labels[number], plainly(run, stack[number][None]))
    assert done.pixels == {"membrane": int((labels == 0).sum()), "cell": int((labels == 1).sum())}


def test_a_volume_keeps_its_affine_for_another_reader(brains, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    affine = np.array([[-2, 0.1, 0, 5], [0.1, 1.5, 0, -7], [0, 0, 3, 9], [0, 0, 0, 1]])
    values = np.random.default_rng(3).normal(90, 40, (15, 10, 12)).astype("f4")
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "scan.nii.gz")
    done = Labeller(brains, memory="400KB").label(tmp_path / "scan.nii.gz", tmp_path / "l.nii.gz")
    written = nibabel.load(tmp_path / "l.nii.gz")
    assert np.allclose(written.affine, affine, atol=1e-6)
    wanted = plainly(brains, np.ascontiguousarray(values.T)[None])
    assert np.array_equal(np.asarray(written.dataobj).T, wanted)
    assert done.notes == ()


def test_a_volume_of_other_spacing_is_told(brains, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    values = np.zeros((9, 9, 9), np.float32)
    nibabel.save(nibabel.Nifti1Image(values + 1, np.diag([4, 1.5, 3, 1])), tmp_path / "s.nii")
    (note,) = Labeller(brains).label(tmp_path / "s.nii", tmp_path / "l.nii").notes
    assert note.startswith("its pixels are 3 × 1.5 × 4 mm, those of training 3 × 1.5 × 2")


def test_pictures_become_png_and_sixteen_bits_are_brought_to_bytes(run, tmp_path):
    grey = np.random.default_rng(2).integers(0, 256, (37, 41), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "b.png")
    labeller = Labeller(run)
    labeller.label(tmp_path / "a.png", tmp_path / "la.png")
    note = labeller.label(tmp_path / "b.png", tmp_path / "lb.png").notes
    one, two = (np.asarray(Image.open(tmp_path / name)) for name in ("la.png", "lb.png"))
    assert np.array_equal(one, plainly(run, grey[None]))
    assert np.array_equal(one, two)
    assert note == ("uint16 brought to the range of uint8",)
    turned = Labeller(run, protocol="turns")
    for name in "ab":
        turned.label(tmp_path / f"{name}.png", tmp_path / f"t{name}.png")
    one, two = (np.asarray(Image.open(tmp_path / name)) for name in ("ta.png", "tb.png"))
    assert np.array_equal(one, two)


def test_eight_views_are_averaged_over_the_whole_image(run, tmp_path):
    grey = np.random.default_rng(2).integers(0, 256, (24, 24), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Labeller(run, protocol="turns").label(tmp_path / "a.png", tmp_path / "l.png")
    image = standardize(as_tensor(grey[None]), run.tile_spec)
    total = 0
    for view in (image, image.flip(-1)):
        for k in range(4):
            shares = whole(run.network(), torch.rot90(view, k, (1, 2))).softmax(0)
            back = torch.rot90(shares, -k, (1, 2))
            total = total + (back if view is image else back.flip(-1))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "l.png")), total.argmax(0).numpy())
    with pytest.raises(
        UsageError, match="protocol ten-crop is for labels of whole images; of pixels"
    ):
        Labeller(run, protocol="ten-crop")


def test_a_picture_s_opacity_and_grey_are_brought_to_the_channels_and_said(run, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (20, 24), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(np.stack([pixels, np.full_like(pixels, 255)], 2), "LA").save(
        tmp_path / "la.png"
    )
    done = Labeller(run).label(tmp_path / "la.png", tmp_path / "l.png")
    assert done.notes == ("alpha channel left out: all opaque",)
    Labeller(run).label(tmp_path / "a.png", tmp_path / "l2.png")
    assert (tmp_path / "l.png").read_bytes() == (tmp_path / "l2.png").read_bytes()


def test_files_that_do_not_fit_are_refused_by_name(run, brains, tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match=r"rgb.png has 3 channels, the run reads 1"):
        Labeller(run).label(tmp_path / "rgb.png", tmp_path / "l.png")
    tifffile.imwrite(tmp_path / "f.tif", np.zeros((8, 8), np.float32))
    with pytest.raises(DataError, match=r"f.tif stores float32, the training images uint8"):
        Labeller(run).label(tmp_path / "f.tif", tmp_path / "l.tif")
    bad = np.full((8, 8, 8), np.nan, np.float32)
    tifffile.imwrite(tmp_path / "nan.tif", bad)
    with pytest.raises(DataError, match=r"nan.tif holds values that are no numbers"):
        Labeller(brains).label(tmp_path / "nan.tif", tmp_path / "l.tif")
    assert not list(tmp_path.glob("l*"))


def test_killed_it_goes_on_and_ends_with_the_same_bytes(run, tmp_path):
    stack = np.random.default_rng(0).integers(0, 256, (60, 160, 160), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", stack)
    arguments = [sys.executable, "-m", "striate", "predict", str(run.path), "in.tif",
                 "--memory", "1MB", "--threads", "1"]  # fmt: skip
    whole_run = subprocess.run(
        [*arguments, "-o", "whole.tif"], cwd=tmp_path, capture_output=True, check=False
    )
    assert whole_run.returncode == 0, whole_run.stderr
    killed = 0
    for number in (signal.SIGINT, signal.SIGKILL, signal.SIGKILL):
        process = subprocess.Popen(
            [*arguments, "-o", "cut.tif", "--overwrite"],
            cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip
        journal = tmp_path / ".cut.tif.tiles" / "journal"
        before = len(journal.read_bytes()) if journal.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if journal.exists() and len(journal.read_bytes()) > before + 1:
                os.kill(process.pid, number)
            time.sleep(0.01)
        told = process.communicate()[1].splitlines()
        if process.returncode == 130:
            assert told[-1] == "striate: interrupted; the same command goes on where it was"
        killed += process.returncode in (130, -signal.SIGKILL)
    assert killed >= 1
    end = subprocess.run([*arguments, "-o", "cut.tif", "--overwrite"], cwd=tmp_path, check=True,
                         capture_output=True, encoding="utf-8")  # fmt: skip
    if process.returncode:  # the third may have come to its end
        assert re.search(r"goes on, \d+ of\s+360 tiles are done already", end.stderr)
    assert (tmp_path / "cut.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert not journal.parent.exists()


@pytest.mark.parametrize("name", ["l.tif", "l.nii.gz", "l.png", "l.npz"])
def test_probabilities_lie_beside_the_labels_and_decide_them(run, tmp_path, name):
    pixels = np.random.default_rng(3).integers(0, 256, (90, 70), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    labeller = Labeller(run, memory="300KB", probabilities=True)
    assert len(labeller.plan(tmp_path / "a.png").tiles) > 1
    done = labeller.label(tmp_path / "a.png", tmp_path / name)
    with open_volume(done.probabilities) as source, open_volume(done.out) as labels:
        shares, answered = source.read(), labels.read()[0].reshape(90, 70)
    assert (shares.size, shares.dtype) == (2 * 90 * 70, np.float32)
    shares = shares.reshape(2, 90, 70)
    assert np.allclose(shares.sum(axis=0), 1, atol=1e-6)
    assert np.array_equal(shares.argmax(axis=0), answered)
    turned = Labeller(run, protocol="turns", probabilities=True)
    assert turned.label(tmp_path / "a.png", tmp_path / f"turned_{name}").probabilities.exists()


def test_where_tiles_cannot_equal_the_whole_they_are_blended_if_asked_for(cells, tmp_path):
    recipe = Recipe(
        network="unet_padded", data="isbi2012", width=4, depth=1, tile=(24,), epochs=1,
        batch_size=4, normalization="group", optimizer="adamw", learning_rate=0.01,
    )  # fmt: skip
    mixing = train(recipe, tmp_path / "run", data_dir=cells)
    pixels = np.random.default_rng(3).integers(0, 256, (200, 180), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"^.*a.png: .* be blended \(--blend, in Python blend"):
        Labeller(mixing, memory="1MB").label(tmp_path / "a.png", tmp_path / "l.png")
    labeller = Labeller(mixing, memory="1MB", blend=True)
    plan = labeller.plan(tmp_path / "a.png")
    assert len(plan.tiles) > 1
    assert plan.notice.startswith("tiles overlap and are blended")
    labeller.label(tmp_path / "a.png", tmp_path / "l.png")
    apart = np.array(Image.open(tmp_path / "l.png")) != plainly(mixing, pixels[None])
    assert apart.mean() < 0.2


def test_a_cluster_is_refused_before_it_is_begun(run, tmp_path):
    labeller = Labeller(run)
    with pytest.raises(UsageError, match=r"writes labels into a Zarr, .* clu.png is none; give -o"):
        labeller.check_cluster([tmp_path / "clu.png"], "local:2")
    for address in ("local:x", "nonsense"):
        with pytest.raises(UsageError, match=rf"cluster '{address}': a scheduler's address"):
            labeller.check_cluster([tmp_path / "clu.zarr"], address)
    with pytest.raises(UsageError, match=r"single views alone; leave --protocol turns and --blend"):
        Labeller(run, protocol="turns", blend=True).check_cluster([], "local:2")
    stack = np.zeros((300, 300), np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", stack)
    labeller = Labeller(run, memory="1MB")
    labeller.plan(tmp_path / "in.tif")
    with pytest.raises(UsageError, match=r"give \S+ \(on a cluster a tile answers whole blocks of"):
        labeller.plan(tmp_path / "in.tif", clustered=True)


def test_workers_of_a_cluster_write_the_same_labels(run, tmp_path):
    pytest.importorskip("distributed")
    zarr = pytest.importorskip("zarr")
    stack = np.random.default_rng(4).integers(0, 256, (66, 40, 44), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", stack)
    labeller = Labeller(run, memory="300KB")
    here = labeller.label(tmp_path / "in.tif", tmp_path / "here.tif")
    there = labeller.label_on_cluster(tmp_path / "in.tif", tmp_path / "there.zarr", "local:2")
    labels = zarr.open(str(tmp_path / "there.zarr"), mode="r")["0"][:]
    assert np.array_equal(labels, tifffile.imread(tmp_path / "here.tif"))
    assert here.pixels == there.pixels
    with pytest.raises(UsageError, match=r"a cluster writes labels .* give -o there.zarr"):
        labeller.label_on_cluster(tmp_path / "in.tif", tmp_path / "there.tif", "local:2")
