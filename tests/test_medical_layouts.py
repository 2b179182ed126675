"""Sets with a dataset.json: the Decathlon's, nnU-Net's of both versions."""

import json

import pytest

from striate.datasets.medical_layouts import read_description
from striate.errors import DataError

DECATHLON = {
    "modality": {"1": "T1", "0": "FLAIR"},
    "labels": {"1": "edema", "0": "background"},
    "training": [
        {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
        for name in "ba"
    ],
    "test": ["./imagesTs/c.nii.gz"],
}
NNUNET = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "ignore": 2, "liver": 1},
    "file_ending": ".nii.gz",
}


def written(folder, facts, files):
    (folder / "dataset.json").write_text(json.dumps(facts))
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).touch()
    return folder


def pairs(described, part="train"):
    return [([path.name for path in pair.images], pair.mask.name) for pair in described.parts[part]]


def decathlon_files(*images):
    return [*images, "labelsTr/a.nii.gz", "labelsTr/b.nii.gz"]


def nnunet_files(case="a", part="Tr", channels=2):
    images = [f"images{part}/{case}_{channel:04d}.nii.gz" for channel in range(channels)]
    return [*images, f"labels{part}/{case}.nii.gz"]


def test_a_decathlon_set_is_as_its_description_lists_it(tmp_path):
    files = decathlon_files("imagesTr/a.nii.gz", "imagesTr/b.nii.gz", "imagesTr/._a.nii.gz")
    said = read_description(written(tmp_path, DECATHLON, files))
    assert pairs(said) == [(["a.nii.gz"], "a.nii.gz"), (["b.nii.gz"], "b.nii.gz")]
    assert list(said.parts) == ["train"]
    assert list(said.names.items()) == [(0, "background"), (1, "edema")]
    assert said.modalities == ("FLAIR", "T1")


def test_the_real_hippocampus_is_a_decathlon_set(hippocampus):
    said = read_description(hippocampus)
    assert (len(said.parts["train"]), said.modalities) == (80, ("MRI",))
    assert [*said.names.values()] == ["background", "Anterior", "Posterior"]


def test_the_first_version_of_nnunet_lists_images_without_their_channel(tmp_path):
    images = [f"imagesTr/{name}_000{channel}.nii.gz" for name in "ab" for channel in range(2)]
    said = read_description(written(tmp_path, DECATHLON, decathlon_files(*images)))
    assert pairs(said)[1] == (["b_0000.nii.gz", "b_0001.nii.gz"], "b.nii.gz")


def test_nnunet_s_channels_are_files_and_its_test_part_has_masks(tmp_path):
    files = [*nnunet_files("b"), *nnunet_files("a"), *nnunet_files("c", "Ts")]
    said = read_description(written(tmp_path, NNUNET, files))
    assert pairs(said)[0] == (["a_0000.nii.gz", "a_0001.nii.gz"], "a.nii.gz")
    assert pairs(said, "test") == [(["c_0000.nii.gz", "c_0001.nii.gz"], "c.nii.gz")]
    assert list(said.names.items()) == [(0, "background"), (1, "liver"), (2, "ignored")]
    assert said.modalities == ("CT", "PET")


def test_nnunet_s_unlabelled_test_images_are_no_part(tmp_path):
    files = [*nnunet_files(), "imagesTs/c_0000.nii.gz"]
    assert list(read_description(written(tmp_path, NNUNET, files)).parts) == ["train"]


@pytest.mark.parametrize(
    ("facts", "files", "told"),
    [
        (DECATHLON, decathlon_files("imagesTr/a.nii.gz"), r"lists .*b.nii.gz, which is not there"),
        (DECATHLON, ["imagesTr/a.nii.gz", "imagesTr/b.nii.gz"], r"lists .*labelsTr.b.nii.gz, whi"),
        ({**DECATHLON, "training": []}, [], r"lists no training images; complete it"),
        (NNUNET, nnunet_files(channels=1), r"labelsTr.a.nii.gz needs the image a_0001 in"),
        (NNUNET, nnunet_files(channels=3), r"a_0002.nii.gz belongs to no mask .* with 2 channels"),
        (NNUNET, [*nnunet_files(), "imagesTr/b_0000.nii.gz"], r"b_0000.nii.gz belongs to no mask"),
        (NNUNET, ["imagesTr/a_0000.nii.gz"], r"has no masks in labelsTr/; put them there"),
        (
            {**NNUNET, "labels": {"background": 0, "tumor": [1, 2], "core": [2]}}, [],
            r"names regions of several values \(tumor, core\), where a pixel can be of several",
        ),
        ({"labels": {"0": "a"}}, [], r"is no description of a Decathlon or nnU-Net set \(KeyError"),
        ({**DECATHLON, "labels": {"a": "b"}}, [], r"is no description .*ValueError"),
        ([1], [], r"is no description"),
    ],
)  # fmt: skip
def test_a_description_that_does_not_hold_is_refused(tmp_path, facts, files, told):
    with pytest.raises(DataError, match=told):
        read_description(written(tmp_path, facts, files))


def test_a_description_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"is no description .* take it away and put images into"):
        read_description(tmp_path)
