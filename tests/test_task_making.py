"""Recipe, data and network brought together, or refused with what to change."""

import shutil

import pytest
import tifffile
from torch import nn

from striate import task_making
from striate.display import Silent
from striate.errors import DataError, UsageError
from striate.misfits import misfits
from striate.models import with_defaults
from striate.preparation import InputSpec
from striate.recipes import Recipe
from striate.task_making import prepare, require_room

MASKS = Recipe(network="unet_padded", data="isbi2012", width=2, depth=2, tile=(16, 20))


def prepared(recipe, data_dir=None):
    return prepare(with_defaults(recipe), recipe.model_fields_set, Silent(), data_dir)


def test_a_tile_of_one_number_is_square_and_open_ones_are_the_network_s(cells):
    assert prepared(MASKS.replace(tile=(16,)), cells).spec.tile == (16, 16)
    made = prepared(MASKS, cells)
    assert made.spec.tile == (16, 20)
    assert made.task.tiles.output == (16, 20)
    unpadded = prepared(MASKS.replace(network="unet", tile=(44, 48)), cells)
    assert unpadded.task.tiles.output == (4, 8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tile": (16, 16, 16)}, r"2 spatial axes, but tile has 3; give 64,64, say"),
        (
            {"tile": (18, 20)},
            r"tile 18x20 does not fit unet_padded.*of 4, not 18x20; give --tile 20,20, or a small",
        ),
        ({"network": "unet", "tile": (18,)}, r"tile 18x18 does not fit unet"),
        ({"image_size": 20, "crop": "area"}, r"--image-size, --crop without effect: unet_padded"),
        ({"micro_batch": 2}, r"--micro-batch without effect: unet_padded"),
        ({"loss": "map"}, r"loss map does not fit unet_padded, which labels pixels; there are cr"),
        ({"protocol": "ten-crop"}, r"protocol ten-crop is for labels of whole images"),
        ({"network": "vnet", "tile": (16,)}, r"vnet reads volumes of 3 axes.*unet_padded say"),
        ({"validation": 0, "patience": 3}, r"patience needs a validation part"),
        ({"network": "unet", "normalization": "batch"}, r"unet has no 'normalization' to set"),
        ({"mixup": 0.2, "cutmix": 1}, r"--mixup, --cutmix without effect: unet_padded labels pix"),
        (
            {"saturation": 0.2},
            r"saturation changes red, green and blue.*1 channel; give --saturatio",
        ),
        ({"cutout": 16}, r"cutout is 16, which may hide all of 16x20; give --cutout below 16"),
        (
            {"brightness": 0.2, "contrast": 0.1, "intensity": "image"},
            r"brightness needs to know what is white, which uint8 values of intensity image do not "
            r"say; give --grey in place of --brightness, --contrast",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(changes, words, cells):
    with pytest.raises(UsageError, match=words):
        prepared(MASKS.replace(**changes), cells)


def test_a_tile_and_a_size_are_refused_before_the_network_is_built(cells, monkeypatch):
    monkeypatch.setattr(task_making, "build", None)
    with pytest.raises(
        UsageError, match=r"tile 64x64 does not fit .*multiples of 4096.*give --tile 4096,4096"
    ):
        prepared(MASKS.replace(depth=12, tile=(64,)), cells)
    with pytest.raises(UsageError, match=r"parameters, which take [\d.]+GB .* smaller --width"):
        prepared(MASKS.replace(width=2**18), cells)


def test_weights_and_gradients_need_room():
    network = nn.Linear(9, 100)  # 1,000 parameters of 4 bytes
    require_room(network, 8000, tunable=False)
    require_room(network, None, tunable=False)
    with pytest.raises(UsageError, match=r"has 1,000 parameters.*give a smaller network$"):
        require_room(network, 7999, tunable=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rare": 0.5, "tile": (8,)}, r"--tile, --rare without effect: lenet5 labels whole images"),
        ({"width": 3}, r"--width without effect: lenet5 labels whole images; leave it out"),
        ({"loss": "dice"}, r"loss dice does not fit lenet5, which labels whole images"),
        (
            {"loss": "map", "class_weights": "balanced"},
            r"--class-weights has no effect",
        ),
        ({"micro_batch": 64, "batch_size": 64}, r"micro_batch 64 does nothing with 64 in a"),
        ({"protocol": "turns"}, r"no protocol is called 'turns'"),
        ({"alternate": True}, r"--alternate has no effect without --flip; leave it out"),
        ({"decay": "weights"}, r"--decay has no effect without --weight-decay; leave"),
        (
            {"flip": True, "turns": True},
            r"--flip has no effect beside --turns, which mirror too; l",
        ),
        ({"mixup": 0.2}, r"mixup gives an image two labels, but loss map .* --loss cross-entropy"),
        ({"cutmix": 1.0}, r"cutmix gives an image two labels, but loss map .* --loss cross-ent"),
        (
            {"hue": 0.1},
            r"hue changes red, green and blue, but the images have 1 channel; give --hue 0",
        ),
        ({"cutout": 32}, r"cutout is 32, which may hide all of 32x32; give --cutout below 32"),
        (
            {"hue": 0.1, "saturation": 0.1},
            r"saturation and hue change red.*1 channel; give --saturation 0 --hue 0",
        ),
    ],
)
def test_fields_of_masks_are_refused_for_labels_of_images(changes, words):
    with pytest.raises(UsageError, match=words):
        prepared(Recipe(network="lenet5", data="digits", **changes))


def test_right_angles_need_a_square_input():
    spec = InputSpec(
        channels=3, image_size=(4, 5), input_size=(4, 5), mean=(0.5,) * 3, std=(0.25,) * 3,
        background=(0.0,) * 3,
    )  # fmt: skip
    recipe = Recipe(network="lenet5", data="digits", turns=True)
    found = [*misfits(recipe, spec, has_validation=False)]
    assert [remedy for _, remedy in found] == ["--flip in their place"]
    assert found[0].reason == "turns needs as many rows as columns, but lenet5 reads 4x5"
    square = spec.model_copy(update={"input_size": (5, 5)})
    assert misfits(recipe, square, has_validation=False) == []


class Notebook(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_what_is_odd_about_masks_is_told(tmp_path, cells):
    labels = tifffile.imread(cells / "isbi2012" / "train-labels.tif")
    labels[[0, 3, 4]] = 255  # 0 and 3 are trained on, 4 is validated on
    (tmp_path / "isbi2012").mkdir()
    tifffile.imwrite(tmp_path / "isbi2012" / "train-labels.tif", labels)
    shutil.copy(cells / "isbi2012" / "train-volume.tif", tmp_path / "isbi2012")
    display = Notebook()
    prepare(with_defaults(MASKS), MASKS.model_fields_set, display, tmp_path)
    name = "train-volume.tif, slice"
    assert display.notes == [
        f"train: no class but cell in the mask of {name} 0, {name} 3",
        f"validation: no class but cell in the mask of {name} 4",
    ]


def test_data_of_the_other_kind_are_refused(cells, monkeypatch):
    monkeypatch.delenv("STRIATE_DATA", raising=False)
    with pytest.raises(UsageError, match=r"digits has one label for an image, but a mask"):
        prepared(MASKS.replace(data="digits"), cells)
    with pytest.raises(UsageError, match=r"isbi2012 has a mask for each image"):
        prepared(Recipe(network="lenet5", data="isbi2012"), cells)
    with pytest.raises(DataError, match=r"the files of hippocampus .* are not in"):
        prepared(MASKS.replace(data="hippocampus"), cells)
